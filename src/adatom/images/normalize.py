"""Bring an image of any gain, offset and slow background to one scale."""

import math
from functools import lru_cache

import numpy as np
from pydantic import Field
from scipy import ndimage

from adatom.core.config import Config
from adatom.core.errors import ImageError


class NormalizeConfig(Config):
    """Over which lengths an image is leveled."""

    background_width: float = Field(
        6.0, gt=0, description="Standard deviation of the Gaussian that gives the background, Å."
    )
    contrast_width: float = Field(
        12.0, gt=0, description="Standard deviation of the Gaussian that gives the contrast, Å."
    )
    contrast_floor: float = Field(
        0.3, ge=0, description="Least contrast divided by, as a part of that of the whole image."
    )
    clip: float = Field(6.0, gt=0, description="Largest absolute value kept.")


DEFAULT = NormalizeConfig()
# Of HRTEM images, whose contrast varies with thickness and illumination (J. Madsen et al., Adv.
# Theory Simul. 1 (2018) 1800037).
FOCAL_NORMALIZATION = NormalizeConfig(background_width=12.0, contrast_width=12.0)


def normalize_image(
    values: np.ndarray,
    pixel_size: float,
    *,
    config: NormalizeConfig = DEFAULT,
    contrast: float | None = None,
) -> np.ndarray:
    """Subtract the slow background of an image and divide by its local contrast.

    The result does not change when the image is multiplied by a positive gain or an offset is
    added; an image without contrast becomes zero.

    Parameters
    ----------
    values : (H, W) array
        Image in any units, indexed [y, x].
    pixel_size : float
        Å per pixel.
    config : NormalizeConfig
        Widths of background and contrast.
    contrast : float, optional
        Contrast of the whole image that this is a part of, from `measure_contrast`; else that of
        `values`.

    Returns
    -------
    (H, W) float32 array
        Image in units of its local standard deviation.

    Raises
    ------
    ImageError
        If the image is not two-dimensional, is empty, or holds values that are not finite.

    Examples
    --------
    >>> image = np.sin(np.arange(100.0))[:, None] * np.ones(100)
    >>> normalize_image(3 * image + 40, 0.1).std().round(1)
    np.float32(1.0)
    """
    residual, span = _level(values, pixel_size, config)
    if span == 0:
        return residual
    variance = _blur(residual**2, config.contrast_width / pixel_size)
    own = float(np.mean(residual**2, dtype=np.float64))
    floor = config.contrast_floor**2 * (own if contrast is None else (contrast / span) ** 2)
    scale = np.sqrt(np.maximum(variance + np.float32(floor), np.finfo(np.float32).tiny))
    return np.clip(residual / scale, -config.clip, config.clip)


def measure_contrast(
    values: np.ndarray, pixel_size: float, *, config: NormalizeConfig = DEFAULT
) -> float:
    """Standard deviation of an image around its slow background.

    Parameters
    ----------
    values : (H, W) array
        Image in any units, indexed [y, x].
    pixel_size : float
        Å per pixel.
    config : NormalizeConfig
        Width of the background.

    Returns
    -------
    float
        In units of the image.

    Raises
    ------
    ImageError
        As `normalize_image`.
    """
    residual, span = _level(values, pixel_size, config)
    return span * float(np.sqrt(np.mean(residual**2, dtype=np.float64)))


def _level(
    values: np.ndarray, pixel_size: float, config: NormalizeConfig
) -> tuple[np.ndarray, float]:
    """Image without its slow background, in parts of its span; zeros and 0 without contrast."""
    if values.ndim != 2 or values.size == 0:
        raise ImageError(f"values: must be an image with two axes (got shape {values.shape})")
    if not pixel_size > 0:
        raise ImageError(f"pixel_size: must be above 0 Å (got {pixel_size})")
    offset = float(np.mean(values, dtype=np.float64))
    if not np.isfinite(offset):
        raise ImageError("values: must be finite (the image holds NaN or infinite values)")
    # Subtracting in the precision of the input keeps a large offset from costing digits.
    centered = np.subtract(values, offset, dtype=np.result_type(values, np.float32))
    span = float(np.abs(centered).max())
    # What is left of a constant image is rounding, not contrast.
    if span <= 1e-6 * abs(offset) or span == 0:
        return np.zeros(values.shape, np.float32), 0.0
    residual = (centered / span).astype(np.float32)
    residual -= _blur(residual, config.background_width / pixel_size)
    return residual, span


def _blur(values: np.ndarray, width_px: float) -> np.ndarray:
    """Gaussian filter with mirrored edges, whose time does not grow with its width."""
    if width_px < 6:
        return ndimage.gaussian_filter(values, width_px, mode="reflect", truncate=3)
    (reduce_y, spread_y), (reduce_x, spread_x) = (_blur_matrices(n, width_px) for n in values.shape)
    small = reduce_y @ values @ reduce_x.T
    return spread_y @ small @ spread_x.T


@lru_cache(maxsize=8)
def _blur_matrices(n_pixels: int, width_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that average pixels to blocks, and blocks to the Gaussian mean at every pixel.

    Blocks of a quarter of the width sample the Gaussian closely enough; the width that they add
    themselves is taken off.
    """
    n_blocks = min(n_pixels, math.ceil(4 * n_pixels / width_px))
    edges = np.round(np.linspace(0, n_pixels, n_blocks + 1))
    sizes: np.ndarray = np.diff(edges)
    pixels = np.arange(n_pixels)
    block = np.searchsorted(edges, pixels, side="right") - 1
    reduce = (block == np.arange(n_blocks)[:, None]) / sizes[:, None]
    center = (edges[:-1] + edges[1:] - 1) / 2
    variance = max(width_px**2 - (np.mean(sizes) ** 2 - 1) / 12, width_px**2 / 2)
    spread: np.ndarray = np.zeros((n_pixels, n_blocks))
    n_mirrors = math.ceil(2 * width_px / n_pixels) + 1
    for mirror in range(-n_mirrors, n_mirrors + 1):
        for source in (center, -1 - center):
            distance = pixels[:, None] - source - 2 * mirror * n_pixels
            spread += np.exp(-(distance**2) / (2 * variance)) * sizes
    spread /= spread.sum(axis=1, keepdims=True)
    return reduce.astype(np.float32), spread.astype(np.float32)
