"""Randomness as an argument: generators from seeds, children by spawning, ranges to draw from."""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from adatom.core.config import Config


def make_rng(rng: np.random.Generator | int) -> np.random.Generator:
    """Turn a seed into a generator; a generator is returned as it is.

    Parameters
    ----------
    rng : Generator or int
        The generator, or the seed of a new one.

    Returns
    -------
    Generator
        A numpy random generator.
    """
    return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(rng)


def make_child_rng(seed: int, *keys: int) -> np.random.Generator:
    """Generator of one numbered item, the same in whatever order the items are made.

    Parameters
    ----------
    seed : int
        Seed of the whole.
    *keys : int
        Numbers of the item (split, index, …).

    Returns
    -------
    Generator
        Independent of the generators of all other keys.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=keys))


class Draw(Config):
    """A number drawn for each image: `{min=, max=}`, `{log_min=, log_max=}`, `{choice=[…]}`."""

    min: float | None = Field(None, description="Lower end of a uniform range.")
    max: float | None = Field(None, description="Upper end of a uniform range.")
    log_min: float | None = Field(None, gt=0, description="Lower end of a log-uniform range.")
    log_max: float | None = Field(None, gt=0, description="Upper end of a log-uniform range.")
    choice: tuple[float, ...] | None = Field(
        None, min_length=1, description="Values, each as likely."
    )

    @model_validator(mode="after")
    def _is_one_range(self) -> "Draw":
        given = {name for name, value in self if value is not None}
        if given not in ({"min", "max"}, {"log_min", "log_max"}, {"choice"}):
            raise ValueError("a range is {min=, max=}, {log_min=, log_max=} or {choice=[…]}")
        low, high = (self.min, self.max) if self.min is not None else (self.log_min, self.log_max)
        if low is not None and high is not None and low > high:
            raise ValueError(f"the lower end {low} is above the upper end {high}")
        return self

    def limits(self) -> tuple[float, float]:
        """Lowest and highest number of the range."""
        numbers = [n for n in (self.min, self.max, self.log_min, self.log_max) if n is not None]
        numbers += list(self.choice or ())
        return min(numbers), max(numbers)

    def __call__(self, rng: np.random.Generator) -> float:
        """Draw one value."""
        if self.choice is not None:
            return self.choice[int(rng.integers(len(self.choice)))]
        if self.min is not None and self.max is not None:
            return float(rng.uniform(self.min, self.max))
        if self.log_min is not None and self.log_max is not None:
            return float(np.exp(rng.uniform(np.log(self.log_min), np.log(self.log_max))))
        raise ValueError("empty range")


def limits_of(value: float | Draw) -> tuple[float, float]:
    """Lowest and highest number of a field that is fixed or a range."""
    return value.limits() if isinstance(value, Draw) else (value, value)


def _require_positive(value: float | Draw) -> float | Draw:
    if limits_of(value)[0] <= 0:
        raise ValueError("must be above 0")
    return value


def _require_not_negative(value: float | Draw) -> float | Draw:
    if limits_of(value)[0] < 0:
        raise ValueError("must not be below 0")
    return value


def _require_share(value: float | Draw) -> float | Draw:
    low, high = limits_of(value)
    if low < 0 or high > 1:
        raise ValueError("must lie between 0 and 1")
    return value


_EITHER = Field(union_mode="left_to_right")
Number = Annotated[float | Draw, _EITHER]
Positive = Annotated[float | Draw, _EITHER, AfterValidator(_require_positive)]
NotNegative = Annotated[float | Draw, _EITHER, AfterValidator(_require_not_negative)]
Share = Annotated[float | Draw, _EITHER, AfterValidator(_require_share)]


def draw_value(value: float | Draw, rng: np.random.Generator) -> float:
    """Value of a field that is fixed or a range.

    Parameters
    ----------
    value : float or Draw
        A fixed number, or the range to draw from.
    rng : Generator
        Used only if `value` is a range.

    Returns
    -------
    float
        The number.
    """
    return value(rng) if isinstance(value, Draw) else value
