"""Electron waves on a periodic grid across the beam."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy.fft import next_fast_len

from adatom.core.config import Config

BAND = 2 / 3  # of the highest frequency of the grid: what a product of two waves leaves unaliased


class SliceConfig(Config):
    """How finely a wave is calculated."""

    pixel_size: float = Field(0.1, gt=0, description="Largest pixel of the grid, Å.")
    slice_thickness: float = Field(1.0, gt=0, description="Thickness of abTEM's slices, Å.")


@dataclass(frozen=True)
class Grid:
    """A periodic grid across the beam.

    Attributes
    ----------
    shape : (int, int)
        Pixels along y and x.
    length : (float, float)
        Period along y and x, Å.
    """

    shape: tuple[int, int]
    length: tuple[float, float]

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Å per pixel along y and x."""
        return self.length[0] / self.shape[0], self.length[1] / self.shape[1]

    @property
    def k_max(self) -> float:
        """Highest frequency that waves carry, 1/Å."""
        return BAND / 2 / max(self.pixel_size)

    def frequencies(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies ky, (H,), and kx, (W,), in the order of `numpy.fft.fftfreq`, 1/Å."""
        ky, kx = map(np.fft.fftfreq, self.shape, self.pixel_size)
        return ky, kx


@dataclass(frozen=True)
class ExitWave:
    """The wave behind a specimen.

    Attributes
    ----------
    spectrum : (H, W) complex64 array
        Fourier transform in the order of `numpy.fft.fft2`, divided by the number of pixels: 1 at
        zero frequency and 0 elsewhere without a specimen.
    grid : Grid
        Its pixels.
    energy_eV : float
        Energy of the electrons, eV.
    """

    spectrum: np.ndarray
    grid: Grid
    energy_eV: float

    @property
    def values(self) -> np.ndarray:
        """The wave itself, (H, W)."""
        return np.fft.ifft2(self.spectrum, norm="forward")

    def cut(self, k_max: float) -> "ExitWave":
        """The same wave without frequencies above `k_max`, 1/Å, on no more than these."""
        return self._resize(k_max, count_frequencies(self.grid.length, k_max))

    def crop(self, k_max: float) -> "ExitWave":
        """The same wave without frequencies above `k_max`, 1/Å, on a grid for its intensity."""
        # Twice the frequencies of the wave, so that those of the intensity are not aliased.
        n_y, n_x = count_frequencies(self.grid.length, k_max)
        return self._resize(k_max, (2 * next_fast_len(n_y), 2 * next_fast_len(n_x)))

    def _resize(self, k_max: float, shape: tuple[int, int]) -> "ExitWave":
        grid = Grid(shape, self.grid.length)
        ky, kx = grid.frequencies()
        kept = resize_spectrum(self.spectrum, grid.shape) * (ky[:, None] ** 2 + kx**2 <= k_max**2)
        return ExitWave(kept, grid, self.energy_eV)


def count_frequencies(length: tuple[float, float], k_max: float) -> tuple[int, int]:
    """Frequencies of both signs up to `k_max`, 1/Å, along periods y and x of `length`, Å."""
    return 2 * int(k_max * length[0]) + 1, 2 * int(k_max * length[1]) + 1


def resize_spectrum(spectrum: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Put a spectrum on more or fewer frequencies of the same lengths.

    Parameters
    ----------
    spectrum : (H, W) complex array
        In the order of `numpy.fft.fft2`, divided by the number of pixels.
    shape : (int, int)
        New rows and columns.

    Returns
    -------
    (H', W') complex array
        Frequencies that both have; zero elsewhere, and at the highest one of an even number.
    """
    resized = np.zeros(shape, spectrum.dtype)
    pairs = []
    for n, n_new in zip(spectrum.shape, shape, strict=True):
        half = (min(n, n_new) - 1) // 2
        common = np.arange(-half, half + 1)
        pairs.append((common % n, common % n_new))
    (rows, new_rows), (columns, new_columns) = pairs
    resized[np.ix_(new_rows, new_columns)] = spectrum[np.ix_(rows, columns)]
    return resized
