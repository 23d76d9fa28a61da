"""Where the scan really goes: jitter, flyback, drift."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field, model_validator
from scipy.ndimage import gaussian_filter1d

from adatom.core.config import Config
from adatom.core.random import NotNegative, Number, Positive, draw_value, limits_of

_COLUMN_WIDTH = 0.42  # Å, standard deviation of a usual column


class ScanConfig(Config):
    """Imperfections of the scan."""

    jitter: NotNegative = Field(0.0, description="Random shift of each line along x, rms, Å.")
    jitter_lines: Positive = Field(1.0, description="Lines over which the jitter is correlated.")
    flyback: NotNegative = Field(0.0, description="Stretch at the start of every line, Å.")
    flyback_length: Positive = Field(4.0, description="Distance over which the flyback decays, Å.")
    drift_y: Number = Field(0.0, description="Drift along y during the image, Å.")
    drift_x: Number = Field(0.0, description="Drift along x during the image, Å.")

    @model_validator(mode="after")
    def _goes_forward(self) -> "ScanConfig":
        if limits_of(self.flyback)[1] >= limits_of(self.flyback_length)[0]:
            raise ValueError("flyback must be below flyback_length, or the scan goes backward")
        return self


@dataclass(frozen=True)
class Scan:
    """Positions that one scan visits.

    Attributes
    ----------
    y : (H,) array
        Position of every line, Å.
    shift : (H,) array
        Shift of every line along x, Å: drift and jitter.
    x : (W,) array
        Position of every pixel along a line, Å.
    smooth_shift : (H,) array
        `shift` averaged over the lines that a column covers: what moves its center.
    """

    y: np.ndarray
    shift: np.ndarray
    x: np.ndarray
    smooth_shift: np.ndarray

    def image_positions(self, positions: np.ndarray) -> np.ndarray:
        """Where columns appear in the image.

        Parameters
        ----------
        positions : (N, 2) array
            True positions [y, x], Å.

        Returns
        -------
        (N, 2) array
            Pixel coordinates [y, x] in the image; of the jitter, what moves a column as a whole.
        """
        row = _invert(self.y, positions[:, 0])
        shift = np.interp(row, np.arange(len(self.y)), self.smooth_shift)
        return np.column_stack([row, _invert(self.x, positions[:, 1] - shift)])


def draw_scan(
    shape: tuple[int, int], pixel_size: float, config: ScanConfig, rng: np.random.Generator
) -> Scan:
    """Draw one scan.

    Parameters
    ----------
    shape : tuple of int
        Lines and pixels per line.
    pixel_size : float
        Å per pixel.
    config : ScanConfig
        Its imperfections.
    rng : Generator
        Draws ranges and jitter.

    Returns
    -------
    Scan
        Positions of lines and pixels.
    """
    drawn = {name: float(draw_value(value, rng)) for name, value in config}
    time = np.linspace(-0.5, 0.5, shape[0])
    jitter = gaussian_filter1d(
        rng.standard_normal(shape[0] + 20), drawn["jitter_lines"], mode="wrap"
    )
    jitter = jitter[: shape[0]] / max(float(jitter.std()), 1e-9) * drawn["jitter"]
    along = np.arange(shape[1]) * pixel_size
    flyback = drawn["flyback"] * np.exp(-along / drawn["flyback_length"])
    drift = drawn["drift_x"] * time
    smooth = drift + gaussian_filter1d(jitter, _COLUMN_WIDTH / pixel_size, mode="nearest")
    lines = np.arange(shape[0]) * pixel_size + drawn["drift_y"] * time
    return Scan(lines, drift + jitter, along + flyback, smooth)


def _invert(samples: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index at which increasing `samples` reach `values`, extrapolated linearly outside."""
    index = np.arange(len(samples), dtype=float)
    inside = np.interp(values, samples, index)
    step_low, step_high = samples[1] - samples[0], samples[-1] - samples[-2]
    inside = np.where(values < samples[0], (values - samples[0]) / step_low, inside)
    return np.where(values > samples[-1], index[-1] + (values - samples[-1]) / step_high, inside)
