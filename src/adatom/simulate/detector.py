"""From expected electrons to the picture a user has: noise, gain, filters, gray levels."""

import io

import numpy as np
from PIL import Image
from pydantic import Field, model_validator
from scipy import ndimage

from adatom.core.config import Config
from adatom.core.random import NotNegative, Positive, Share, draw_value, limits_of


class Detector(Config):
    """Dose and electronics of the detector."""

    dose: Positive = Field(1e4, description="Incident electrons per area, e/Å².")
    peak_electrons: Positive | None = Field(
        None, description="Detected electrons per Å² at a peak of the host; replaces the dose."
    )
    read_noise: NotNegative = Field(0.0, description="Read noise, rms, electrons per pixel.")
    row_noise: NotNegative = Field(
        0.0, description="Offset of whole lines, rms, as a share of the contrast."
    )
    dead_rows: Share = Field(
        0.0, description="Share of lines that are lost (repeat the one before)."
    )


class FilterConfig(Config):
    """What users do to an image before it reaches us."""

    is_filtered: Share = Field(
        0.0, description="Chance that the image was filtered at all, 0 to 1."
    )
    width: NotNegative = Field(0.3, description="Width of the low-pass Gaussian, Å.")
    high_pass: Share = Field(0.3, description="Chance of a band-pass, 0 to 1.")
    wiener: Share = Field(0.3, description="Chance of a Wiener-like filter instead, 0 to 1.")
    gamma: Positive = Field(1.0, description="Exponent of the gray levels.")
    saturation: Share = Field(0.0, description="Share of the pixels clipped at each end.")
    jpeg: Share = Field(0.3, description="Chance of JPEG compression, 0 to 1.")

    @model_validator(mode="after")
    def _leaves_gray_levels(self) -> "FilterConfig":
        if limits_of(self.saturation)[1] >= 0.5:
            raise ValueError("saturation must be below 0.5: it clips at both ends")
        return self


def detect(
    expected: np.ndarray, pixel_size: float, config: Detector, rng: np.random.Generator
) -> np.ndarray:
    """Draw the electrons that the detector counts.

    Parameters
    ----------
    expected : (H, W) array
        Expected electrons per pixel.
    pixel_size : float
        Å per pixel.
    config : Detector
        Electronics; its dose is not used here.
    rng : Generator
        Draws the noise.

    Returns
    -------
    (H, W) float32 array
        Counts with read noise.
    """
    counts = rng.poisson(np.maximum(expected, 0)).astype(np.float32)
    read_noise = float(draw_value(config.read_noise, rng))
    if read_noise > 0:
        counts += read_noise * rng.standard_normal(counts.shape, dtype=np.float32)
    row_noise = float(draw_value(config.row_noise, rng)) * float(expected.std())
    if row_noise > 0:
        counts += row_noise * rng.standard_normal((len(counts), 1), dtype=np.float32)
    lost = np.flatnonzero(rng.random(len(counts)) < float(draw_value(config.dead_rows, rng)))
    counts[lost] = counts[np.maximum(lost - 1, 0)]
    return counts


def filter_as_users_do(
    image: np.ndarray, pixel_size: float, config: FilterConfig, rng: np.random.Generator
) -> np.ndarray:
    """Filter, clip, bend and round an image the way published images were.

    Parameters
    ----------
    image : (H, W) array
        Counts.
    pixel_size : float
        Å per pixel.
    config : FilterConfig
        Chances and strengths.
    rng : Generator
        Draws them.

    Returns
    -------
    (H, W) float32 array
        The image that a user would hand over.
    """
    if rng.random() >= float(draw_value(config.is_filtered, rng)):
        return image
    width = float(draw_value(config.width, rng)) / pixel_size
    if rng.random() < float(draw_value(config.wiener, rng)):
        filtered = _wiener(image, width)
    else:
        filtered = ndimage.gaussian_filter(image, width, truncate=3)
        if rng.random() < float(draw_value(config.high_pass, rng)):
            wide = rng.uniform(2.0, 8.0) / pixel_size
            filtered = filtered - ndimage.gaussian_filter(image, wide, truncate=2)
    clipped = float(draw_value(config.saturation, rng))
    low, high = np.quantile(filtered, [clipped, 1 - clipped])
    gray = np.clip((filtered - low) / max(high - low, 1e-9), 0, 1) ** float(
        draw_value(config.gamma, rng)
    )
    levels = np.round(gray * 255).astype(np.uint8)
    if rng.random() < float(draw_value(config.jpeg, rng)):
        levels = _compress(levels, int(rng.integers(50, 96)))
    return levels.astype(np.float32)


def _wiener(image: np.ndarray, width: float) -> np.ndarray:
    """Keep a frequency as far as its power stands above the noise floor."""
    spectrum = np.fft.rfft2(image - image.mean())
    power = ndimage.uniform_filter(np.abs(spectrum) ** 2, 3)
    floor = np.quantile(power, 0.6) * (1 + width)
    kept = np.maximum(power - floor, 0.02 * power) / np.maximum(power, 1e-12)
    return np.fft.irfft2(spectrum * kept, s=image.shape).astype(np.float32)


def _compress(levels: np.ndarray, quality: int) -> np.ndarray:
    """Through a JPEG file and back."""
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
