"""Frozen, checked configuration objects, and their TOML files."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from adatom.core.errors import ConfigError


class Config(BaseModel):
    """Base of every configuration: frozen, and an unknown key is an error.

    Examples
    --------
    >>> from pydantic import Field
    >>> class PeakConfig(Config):
    ...     threshold: float = Field(0.5, ge=0, le=1, description="Lowest score kept.")
    >>> PeakConfig.from_mapping({"treshold": 0.4}, source="peaks.toml")
    Traceback (most recent call last):
    ...
    adatom.core.errors.ConfigError: peaks.toml: treshold: extra inputs are not permitted (got 0.4)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, source: str) -> Self:
        """Build the configuration from plain values, naming `source` in every error.

        Parameters
        ----------
        values : mapping
            Field names and their values.
        source : str
            File or parameter that the values come from.

        Returns
        -------
        Config
            The checked configuration.

        Raises
        ------
        ConfigError
            If a key is unknown or a value breaks its rule.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(f"{source}: {describe_problems(error)}") from error


def describe_problems(error: ValidationError) -> str:
    """Say in one line which fields break which rule, without pydantic's links.

    Parameters
    ----------
    error : ValidationError
        What pydantic raised.

    Returns
    -------
    str
        `field.path: rule (got value)`, joined by semicolons.
    """
    parts = []
    for problem in error.errors(include_url=False, include_context=False):
        where = ".".join(str(key) for key in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        # A rule between several fields names them itself.
        parts.append(f"{where}: {message} (got {problem['input']!r:.60})" if where else message)
    return "; ".join(parts)


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict
        Its tables.

    Raises
    ------
    ConfigError
        If the file is missing or is not TOML.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML ({error})") from error
