"""Electron waves on a periodic grid across the beam."""

from dataclasses import dataclass

import numpy as np

BAND = 2 / 3  # of the highest frequency of the grid: what a product of two waves leaves unaliased


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

    def crop(self, k_max: float) -> "ExitWave":
        """The same wave without frequencies above `k_max`, 1/Å, on the coarsest grid for them."""
        # Twice, so that the intensity of an image is not aliased.
        shape = [
            min(n, 2 * int(np.ceil(2 * k_max * side)))
            for n, side in zip(self.grid.shape, self.grid.length, strict=True)
        ]
        grid = Grid((shape[0], shape[1]), self.grid.length)
        rows, columns = (
            np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) % whole
            for n, whole in zip(shape, self.grid.shape, strict=True)
        )
        ky, kx = grid.frequencies()
        kept = self.spectrum[np.ix_(rows, columns)] * (ky[:, None] ** 2 + kx**2 <= k_max**2)
        return ExitWave(kept.astype(np.complex64), grid, self.energy_eV)


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
    resized = np.zeros(shape, complex)
    pairs = []
    for n, n_new in zip(spectrum.shape, shape, strict=True):
        half = (min(n, n_new) - 1) // 2
        common = np.arange(-half, half + 1)
        pairs.append((common % n, common % n_new))
    (rows, new_rows), (columns, new_columns) = pairs
    resized[np.ix_(new_rows, new_columns)] = spectrum[np.ix_(rows, columns)]
    return resized
