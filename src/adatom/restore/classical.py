"""Classical restoration of an object function: Wiener, Richardson–Lucy, with total variation."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
from pydantic import Field
from skimage import restoration

from adatom.core.config import Config
from adatom.core.errors import ConfigError, ImageError
from adatom.core.random import make_rng
from adatom.restore.imaging import LinearImaging, Restoration, check_image_and_probe

WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)
_LEAST_SHARE = 0.001  # of a cell's electrons in the image, for the image to tell about the cell
_NOISE_SHARE = 0.1  # of all frequencies, those that the probe transfers least
_LEAST_BALANCE = 1e-4  # of noise to signal: what lies beyond the borders is never known better
_TINY = 1e-12


def restore_wiener(image: np.ndarray, probe: np.ndarray) -> Restoration:
    """Restore an object function by a Wiener filter.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel or gray levels, indexed [y, x].
    probe : (h, w) array
        Image of a point as of `make_point_image`: sum 1, its center at [h//2, w//2].

    Returns
    -------
    Restoration
        Its object function has negative values too, and its sum is about that of the image.

    Raises
    ------
    ImageError
        If image or probe are not what they must be.

    Notes
    -----
    O = I T*/(|T|² + N/S), T the transfer function of the probe (scikit-image's `wiener`). N is the
    mean noise power, from the median power of the tenth of all frequencies that the probe transfers
    least (the power of noise is distributed exponentially, its median is ln 2 times its mean). S is
    the mean power of the object, taken to be the same at all frequencies, as of point scatterers.
    N/S is at least 1e-4. The image goes on by reflection, and fades to its mean there, so that its
    borders do not ring.
    """
    check_image_and_probe(image, probe)
    margins = [(n - 1 - n // 2, n // 2) for n in probe.shape]
    mean = float(image.mean())
    window = np.outer(*(_fade(n, *margin) for n, margin in zip(image.shape, margins, strict=True)))
    extended = np.pad(image - mean, margins, mode="symmetric") * window
    transfer = np.abs(np.fft.fft2(probe, extended.shape))
    power = np.abs(np.fft.fft2(extended)) ** 2 / (window**2).sum()
    weakest = transfer <= np.quantile(transfer, _NOISE_SHARE)
    noise = float(np.median(power[weakest])) / np.log(2)
    signal = float((power - noise)[~weakest].sum() / (transfer[~weakest] ** 2).sum())
    balance = max(noise / max(signal, _TINY), _LEAST_BALANCE)
    filtered = restoration.wiener(extended, probe, balance, reg=np.ones((1, 1)), clip=False)
    inside = tuple(slice(a, a + n) for n, (a, _) in zip(image.shape, margins, strict=True))
    model = LinearImaging.from_probe(probe, (image.shape[0], image.shape[1]))
    grid = np.zeros(model.grid_shape)
    grid[: extended.shape[0], : extended.shape[1]] = filtered + mean
    return Restoration(filtered[inside] + mean, model.apply(grid))


def _fade(n_pixels: int, before: int, after: int) -> np.ndarray:
    """1 inside, falling to 0 through the margins."""
    rise = np.sin(np.pi / 2 * (np.arange(before) + 0.5) / max(before, 1)) ** 2
    fall = np.sin(np.pi / 2 * (np.arange(after) + 0.5) / max(after, 1))[::-1] ** 2
    return np.concatenate([rise, np.ones(n_pixels), fall])


class RichardsonLucyConfig(Config):
    """How long Richardson–Lucy runs, and on what background."""

    background: float = Field(
        0.0, ge=0, description="Level that no object makes, in the units of the image."
    )
    n_iterations: int | None = Field(
        None, ge=1, description="Iterations (chosen by held-out electrons)."
    )
    most_iterations: int = Field(1000, ge=2, description="Most iterations that are tried.")


LUCY = RichardsonLucyConfig()


def restore_richardson_lucy(
    image: np.ndarray,
    probe: np.ndarray,
    *,
    config: RichardsonLucyConfig = LUCY,
    rng: np.random.Generator | int = 0,
) -> Restoration:
    """Restore an object function by Richardson–Lucy, stopped by held-out electrons.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel, whole numbers; gray levels only with a number of iterations.
    probe : (h, w) array
        Image of a point as of `make_point_image`: sum 1, its center at [h//2, w//2].
    config : RichardsonLucyConfig
        Background and number of iterations.
    rng : Generator or int
        Splits the electrons; not used if the number of iterations is given.

    Returns
    -------
    Restoration
        Its object function is not negative.

    Raises
    ------
    ImageError
        If image or probe are not what they must be.

    Notes
    -----
    Maximizes the Poisson likelihood of the image O ⊗ P + b, O ≥ 0 (Richardson, J. Opt. Soc. Am. 62
    (1972) 55; Lucy, Astron. J. 79 (1974) 745). The object reaches beyond the image by the probe,
    and each cell is normalized by the share of its electrons that fall into the image (Bertero and
    Boccacci, Astron. Astrophys. 437 (2005) 369); cells with less than 0.1 % of them stay dark.

    Each electron goes to one of two halves. The iterations on one half stop where the likelihood of
    the other is highest; all electrons then take twice as many, because the number of iterations
    that is best grows in proportion to the dose. What is best for the likelihood, which knows the
    object as the probe blurs it, is rather too early for the object than too late.
    """
    image = _check_counts(image, probe, config.background, config.n_iterations)
    model = LinearImaging.from_probe(probe, (image.shape[0], image.shape[1]))
    n_iterations = config.n_iterations
    if n_iterations is None:
        halves = _split_electrons(image, rng)
        best, _ = _watch_other_half(halves, model, config.background, 0.0, config.most_iterations)
        n_iterations = 2 * best
    return _run(image, model, config.background, 0.0, n_iterations)


class TotalVariationConfig(RichardsonLucyConfig):
    """Richardson–Lucy with total variation."""

    weight: float | None = Field(
        None,
        gt=0,
        lt=0.2,
        description="Weight of the total variation (chosen by held-out electrons).",
    )


VARIATION = TotalVariationConfig()


def restore_total_variation(
    image: np.ndarray,
    probe: np.ndarray,
    *,
    config: TotalVariationConfig = VARIATION,
    rng: np.random.Generator | int = 0,
) -> Restoration:
    """Restore an object function by Richardson–Lucy with total variation.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel, whole numbers; gray levels only with weight and number of iterations.
    probe : (h, w) array
        Image of a point as of `make_point_image`: sum 1, its center at [h//2, w//2].
    config : TotalVariationConfig
        Background, number of iterations and weight.
    rng : Generator or int
        Splits the electrons; not used if weight and number of iterations are given.

    Returns
    -------
    Restoration
        Its object function is not negative.

    Raises
    ------
    ImageError
        If image or probe are not what they must be.
    ConfigError
        If only one of weight and number of iterations is given.

    Notes
    -----
    As `restore_richardson_lucy`, each step divided by 1 - λ div(∇O/|∇O|) (Dey et al., Microsc. Res.
    Tech. 69 (2006) 260); λ counts in units of the likelihood per electron. Of 0.001, 0.003, 0.01,
    0.03 and 0.1 the one is taken that gives the held-out half its highest likelihood.
    """
    if (config.weight is None) != (config.n_iterations is None):
        raise ConfigError(
            "weight, n_iterations: must be given both or neither "
            f"(got {config.weight}, {config.n_iterations})"
        )
    image = _check_counts(image, probe, config.background, config.n_iterations)
    model = LinearImaging.from_probe(probe, (image.shape[0], image.shape[1]))
    weight, n_iterations = config.weight, config.n_iterations
    if weight is None or n_iterations is None:
        halves, most = _split_electrons(image, rng), config.most_iterations
        tried = {
            each: _watch_other_half(halves, model, config.background, each, most)
            for each in WEIGHTS
        }
        weight = max(tried, key=lambda each: tried[each][1])
        n_iterations = 2 * tried[weight][0]
    return _run(image, model, config.background, weight, n_iterations)


def _check_counts(
    image: np.ndarray, probe: np.ndarray, background: float, n_iterations: int | None
) -> np.ndarray:
    """The image in double precision, if Richardson–Lucy can take it."""
    check_image_and_probe(image, probe)
    if image.size and image.min() < 0:
        raise ImageError(f"image: must not be negative (got {float(image.min()):.4g})")
    if n_iterations is None and np.any(image != np.round(image)):
        raise ImageError(
            "image: must be whole numbers of electrons, so that some can be held out, unless "
            f"n_iterations is given (got values such as {float(image[image % 1 != 0][0]):.6g})"
        )
    if image.size == 0 or image.mean() <= background:
        mean = float(image.mean()) if image.size else 0.0
        raise ImageError(f"image: its mean must be above the background {background} (got {mean})")
    return np.asarray(image, float)


def _split_electrons(
    image: np.ndarray, rng: np.random.Generator | int
) -> tuple[np.ndarray, np.ndarray]:
    """Two independent images of half the dose."""
    first = make_rng(rng).binomial(image.astype(np.int64), 0.5).astype(float)
    return first, image - first


def _watch_other_half(
    halves: tuple[np.ndarray, np.ndarray],
    model: LinearImaging,
    background: float,
    weight: float,
    most_iterations: int,
) -> tuple[int, float]:
    """Iterations on the first half that fit the second one best, and its log-likelihood then."""
    first, second = halves
    best, highest = 1, -np.inf
    steps = _iterate(first, model, background / 2, weight)
    for number, (_, expected) in enumerate(islice(steps, most_iterations // 2), 1):
        likelihood = float((second * np.log(np.maximum(expected, _TINY)) - expected).sum())
        if likelihood > highest:
            best, highest = number, likelihood
        elif number > 2 * best + 50:
            break
    return best, highest


def _run(
    image: np.ndarray, model: LinearImaging, background: float, weight: float, n_iterations: int
) -> Restoration:
    steps = _iterate(image, model, background, weight)
    grid, expected = next(islice(steps, n_iterations - 1, None))
    return Restoration(model.crop(grid), expected, background, n_iterations, weight or None)


def _iterate(
    image: np.ndarray, model: LinearImaging, background: float, weight: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Object on the grid, and the image that it stands for, after each iteration."""
    seen = model.transpose(np.ones(image.shape))
    is_seen = seen > _LEAST_SHARE
    share = np.where(is_seen, seen, 1.0)
    grid = np.where(is_seen, image.mean() - background, 0.0)
    expected = model.apply(grid) + background
    while True:
        # Rounding of the Fourier transforms leaves tiny negative values where all is dark.
        ratio = np.maximum(model.transpose(image / np.maximum(expected, _TINY)), 0)
        divisor = share * (1 - weight * _find_curvature(grid)) if weight else share
        grid = np.where(is_seen, grid * ratio / divisor, 0.0)
        expected = np.maximum(model.apply(grid), 0) + background
        yield grid, expected


def _find_curvature(grid: np.ndarray) -> np.ndarray:
    """Divergence of the direction of the gradient, -4 to 4."""
    slopes = np.zeros((2, *grid.shape))
    slopes[0, :-1] = np.diff(grid, axis=0)
    slopes[1, :, :-1] = np.diff(grid, axis=1)
    size = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + (1e-3 * grid.mean() + _TINY) ** 2)
    down, right = slopes / size
    return np.diff(down, axis=0, prepend=0) + np.diff(right, axis=1, prepend=0)
