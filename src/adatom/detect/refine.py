"""Refine the positions of all columns of an image at once, with their errors."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ImageError
from adatom.core.threads import limit_blas, share_out
from adatom.detect.columns import make_background
from adatom.detect.fit import JointFit, Noise
from adatom.detect.noise import find_unlisted, fit_inflation, fit_noise
from adatom.detect.prior import combine_prediction, fit_displacements, predict_positions
from adatom.detect.profile import Profile, make_gaussian_profile
from adatom.detect.shape import ShapeFit, improve_width
from adatom.detect.tiles import choose_window, cut_tiles, lies_in, whole_tile

FIRST_WIDTH = 0.45  # Å, of the Gaussian that a fit starts with
RIM = 1.5  # Å that a column may lie outside the image
DARKEST = 0.02  # of the mean: the least that is expected of a pixel, for its noise
ROUGH, FINE = 0.15, 0.01  # to which steps are solved
FEWEST_FOR_SHAPE = 20  # columns; fewer keep the Gaussian
MOST_STEPS = 4  # of the last fit
PER_COLUMN = ("positions", "errors", "intensity", "intensity_err", "background", "is_refined")
MOST_SHAPES, SETTLED = 3, 0.006  # steps of the shape; change, in peaks, that ends them


class RefineConfig(Config):
    """How the columns are fitted."""

    max_pixel_size: float = Field(
        default=0.2, ge=0.05, description="Finer pixels are summed up to this, Å."
    )
    max_shift: float = Field(
        default=0.5, gt=0, description="Longest way from the start position, Å."
    )
    background_spacing: float = Field(
        default=8.0, gt=0, description="Distance of background nodes, Å."
    )
    use_lattice: bool = Field(
        default=True,
        description="Whether the neighbors help where a column's own pixels say little. They halve "
        "the error at low dose, and pull a displaced column back: off to measure displacements.",
    )


@dataclass(frozen=True)
class Refined:
    """Columns after the fit.

    Attributes
    ----------
    positions : (N, 2) array, px
        Centers [y, x].
    errors : (N, 2) array, px
        Standard error of each coordinate.
    intensity : (N,) array
        Integral above the background: counts, or value times Å².
    intensity_err : (N,) array
        Its standard error.
    background : (N,) array
        Background at each column, in the units of a pixel of the image.
    is_refined : (N,) bool array
        False where the fit was refused: the start position is kept, with a larger error.
    profile : Profile
        Shape of a column that was used.
    prior : float or None
        Width of the static displacements, Å; None if the prior was not used.
    """

    positions: np.ndarray
    errors: np.ndarray
    intensity: np.ndarray
    intensity_err: np.ndarray
    background: np.ndarray
    is_refined: np.ndarray
    profile: Profile
    prior: float | None


def refine_positions(
    values: np.ndarray,
    positions: np.ndarray,
    pixel_size: float | tuple[float, float],
    *,
    is_counts: bool,
    profile: Profile | None = None,
    config: RefineConfig | None = None,
) -> Refined:
    """Fit all columns of an image jointly by maximum likelihood.

    Parameters
    ----------
    values : (H, W) array
        The image: electrons per pixel, or any values that grow linearly with them.
    positions : (N, 2) array, px
        About where the columns are, [y, x], to 0.3 Å.
    pixel_size : float or (float, float)
        Å per pixel, the same or along y and x.
    is_counts : bool
        Whether the values are counts of electrons (Poisson noise); else the noise is found from
        the image.
    profile : Profile, optional
        Shape of a column, such as the probe's; without it, it is estimated from all columns.
    config : RefineConfig, optional
        How the columns are fitted.

    Returns
    -------
    Refined
        Positions, intensities and their errors, one row per column in the order given.

    Raises
    ------
    ImageError
        If the image is not two-dimensional, has values that are not finite, or does not hold all
        positions.
    """
    config = config or RefineConfig()
    sizes = np.broadcast_to(np.asarray(pixel_size, float), 2)
    values, positions = _check(values, positions, RIM / sizes)
    if len(positions) == 0:
        return _find_nothing()
    bins = np.maximum(1, (config.max_pixel_size / sizes + 1e-6).astype(int))
    bins = np.minimum(bins, values.shape)
    binned = bin_image(values, (int(bins[0]), int(bins[1]))) / (1 if is_counts else bins.prod())
    unit = 1.0 if is_counts else float(binned.std()) or 1.0
    coarse = sizes * bins
    start = (positions - (bins - 1) / 2) / bins
    pixels = (float(coarse[0]), float(coarse[1]))
    scaled = binned / unit
    # A dark part of an image of counts is not free of noise.
    darkest = DARKEST * float(np.abs(scaled).mean())
    noise = Noise(0.0, 1.0, darkest) if is_counts else Noise(1.0, 0.0)
    with limit_blas():
        if profile is None and (window := choose_window(scaled.shape, start, pixels)):
            inside = lies_in(start, window, scaled.shape)
            origin = np.array([part.start for part in window])
            part = _fit(scaled[window], start[inside] - origin, pixels, noise, None, config)
            profile = part.profile
        # Without a window that tells the shape, the whole image does: it is not cut.
        is_whole = profile is None
        tiles = [whole_tile(scaled.shape)] if is_whole else cut_tiles(scaled.shape, pixels)
        found: list[tuple[np.ndarray, Refined]] = []

        def work(first: int, end: int) -> None:
            for tile in tiles[first:end]:
                if len(seen := np.flatnonzero(lies_in(start, tile.crop, scaled.shape))):
                    origin = np.array([part.start for part in tile.crop])
                    local = (scaled[tile.crop], start[seen] - origin, pixels)
                    part = _collect(_fit(*local, noise, profile, config), len(seen), config)
                    mine = lies_in(start[seen], tile.core, scaled.shape)
                    placed = replace(part, positions=part.positions + origin)
                    found.append((seen[mine], _select(placed, mine)))

        share_out(work, len(tiles), fewest=1)
    return _join(found, bins, is_counts, coarse, unit)


def _check(
    values: np.ndarray, positions: np.ndarray, rim: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, float)
    if values.ndim != 2 or values.size == 0:
        raise ImageError(f"values: must be one image (H, W) (got shape {values.shape})")
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        raise ImageError(f"values: must be finite (got {n_bad} that are not)")
    positions = np.asarray(positions, float).reshape(-1, 2)
    inside = (positions > -rim) & (positions < np.array(values.shape) - 1 + rim)
    if not inside.all():
        wrong = positions[~inside.all(axis=1)][0].tolist()
        raise ImageError(
            f"positions: must lie inside the image of {values.shape[0]} × {values.shape[1]} pixels"
            f" (got {wrong})"
        )
    return values, positions


def _find_nothing() -> Refined:
    none = np.zeros(0)
    profile = make_gaussian_profile(FIRST_WIDTH**2)
    return Refined(
        positions=np.zeros((0, 2)),
        errors=np.zeros((0, 2)),
        intensity=none,
        intensity_err=none,
        background=none,
        is_refined=np.zeros(0, bool),
        profile=profile,
        prior=None,
    )


def _fit(  # noqa: PLR0917
    values: np.ndarray,
    start: np.ndarray,
    sizes: tuple[float, float],
    noise: Noise,
    profile: Profile | None,
    config: RefineConfig,
) -> JointFit:
    """Fit columns; the noise is found from the residual unless it is that of counts."""
    is_counts = noise.constant == 0
    spacing = (config.background_spacing / sizes[0], config.background_spacing / sizes[1])
    background = make_background(values.shape, spacing)
    first = profile or make_gaussian_profile(FIRST_WIDTH**2)
    fit = JointFit(values, start, sizes, background, first, noise)
    fit.iterate(2 if profile is None else 1, tolerance=ROUGH)
    if profile is None:
        improve_width(fit)
        fit.iterate(1, tolerance=ROUGH)
    if not is_counts:
        fit.change_noise(fit_noise(fit))
    has_new = fit.add_columns(*find_unlisted(fit))
    if profile is None:
        if has_new:
            fit.iterate(2, tolerance=ROUGH)
        improve_width(fit)
        fit.iterate(1, tolerance=ROUGH)
        if len(start) >= FEWEST_FOR_SHAPE:
            _fit_shape(fit, is_counts)
    if not is_counts:
        fit.change_noise(fit_noise(fit))
    fit.iterate(MOST_STEPS)
    return fit


def _fit_shape(fit: JointFit, is_counts: bool) -> None:
    """Estimate the shape and fit the columns with it, in turn, until the shape stays."""
    shape = ShapeFit(fit)
    for _ in range(MOST_SHAPES):
        inflation = 1.0 if is_counts else fit_inflation(fit)
        if shape.improve(inflation) < SETTLED:
            break
        fit.iterate(2, tolerance=FINE)
        if not is_counts:
            fit.change_noise(fit_noise(fit))


def _collect(fit: JointFit, n_listed: int, config: RefineConfig) -> Refined:
    """Columns that were listed, with what their neighbors say, in pixels and units of the fit."""
    covariance = fit.covariance() * fit_inflation(fit) ** 2
    spread = np.diagonal(covariance, axis1=1, axis2=2) ** 0.5
    sizes = np.array(fit.pixel_sizes)
    errors = spread[:, :2] / np.maximum(fit.intensity, spread[:, 2])[:, None]
    listed = slice(n_listed)
    positions, errors, is_refined, prior = _use_prior(
        fit.positions[listed] * sizes, errors[listed] * sizes, fit.start[listed] * sizes, config
    )
    limit = np.array(fit.values.shape) - 1
    y, x = np.clip(np.rint(fit.positions[listed]), 0, limit).astype(np.intp).T
    return Refined(
        positions=positions / sizes,
        errors=errors / sizes,
        intensity=fit.intensity[listed],
        intensity_err=spread[listed, 2],
        background=fit.background.field(fit.nodes)[y, x],
        is_refined=is_refined,
        profile=fit.profile,
        prior=prior,
    )


def _select(columns: Refined, mine: np.ndarray) -> Refined:
    """Some of the columns, by their rows or by True and False."""
    return replace(columns, **{name: getattr(columns, name)[mine] for name in PER_COLUMN})


def _join(
    found: list[tuple[np.ndarray, Refined]],
    bins: np.ndarray,
    is_counts: bool,
    coarse: np.ndarray,
    unit: float,
) -> Refined:
    """Columns of all tiles in the order given, in the pixels and the unit of the image."""
    parts = [part for _, part in found]
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(p, name) for p in parts]) for name in PER_COLUMN
    }
    whole = replace(parts[0], **joined)
    whole = _select(whole, np.argsort(np.concatenate([rows for rows, _ in found])))
    priors = [part.prior for part in parts if part.prior is not None]
    scale = unit if is_counts else unit * float(coarse.prod())
    return replace(
        whole,
        positions=whole.positions * bins + (bins - 1) / 2,
        errors=whole.errors * bins,
        intensity=whole.intensity * scale,
        intensity_err=whole.intensity_err * scale,
        background=whole.background * unit / (bins.prod() if is_counts else 1),
        prior=float(np.median(priors)) if priors else None,
    )


def _use_prior(
    positions: np.ndarray, errors: np.ndarray, start: np.ndarray, config: RefineConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float | None]:
    """Positions and errors (Å) with what the neighbors predict, and without runaways."""
    moved = np.hypot(*(positions - start).T)
    is_refined = (moved <= config.max_shift) & (errors < config.max_shift).all(axis=1)
    is_own = is_refined[:, None]
    positions = np.where(is_own, positions, start)
    variances = np.where(is_own, errors, config.max_shift) ** 2
    if not config.use_lattice:
        return positions, np.sqrt(variances), is_refined, None
    prediction = predict_positions(positions, variances, is_refined, start)
    known = is_refined & (prediction.n_pairs > 0)
    displacements = fit_displacements(
        (positions - prediction.positions)[known],
        (variances + prediction.variances)[known],
        prediction.n_pairs[known],
    )
    if displacements is None:
        return positions, np.sqrt(variances), is_refined, None
    joined, joined_variances = combine_prediction(positions, variances, prediction, displacements)
    gained = joined_variances < 0.999 * variances
    # Where the fit was refused, the prediction stands alone: the start came from the same pixels.
    lost = ~is_own & np.isfinite(prediction.positions)
    alone = prediction.variances + 2 * displacements.narrow**2
    positions = np.where(lost, prediction.positions, joined)
    variances = np.where(lost, alone, joined_variances)
    is_used = bool(gained.any() or lost.any())
    return positions, np.sqrt(variances), is_refined, displacements.narrow if is_used else None


def bin_image(values: np.ndarray, bins: tuple[int, int]) -> np.ndarray:
    """Sum pixels in blocks; rows and columns that fill no block are left out.

    Parameters
    ----------
    values : (H, W) array
        The image.
    bins : (int, int)
        Rows and columns of a block.

    Returns
    -------
    (H // bins[0], W // bins[1]) array
        Sums.
    """
    n_y, n_x = (n // step for n, step in zip(values.shape, bins, strict=True))
    blocks = values[: n_y * bins[0], : n_x * bins[1]].reshape(n_y, bins[0], n_x, bins[1])
    return blocks.sum(axis=(1, 3))
