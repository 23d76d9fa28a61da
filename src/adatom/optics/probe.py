"""The probe of a scanning microscope."""

import numpy as np

from adatom.optics.aberrations import aberration_phase
from adatom.optics.microscope import Microscope, electron_wavelength

_FWHM = 2 * np.sqrt(2 * np.log(2))


def make_probe(microscope: Microscope, n_pixels: int, pixel_size: float) -> np.ndarray:
    """Intensity of the probe on a square grid.

    Parameters
    ----------
    microscope : Microscope
        Its aberrations, aperture and source size, all of them numbers.
    n_pixels : int
        Pixels along each axis.
    pixel_size : float
        Å per pixel. The aperture must fit: semi-angle/λ below 1/(4 pixel_size) keeps the intensity
        free of aliasing.

    Returns
    -------
    (n_pixels, n_pixels) array
        Probe [y, x], ≥ 0, sum 1, its optical axis at pixel [n//2, n//2].
    """
    return np.fft.fftshift(np.fft.ifft2(transfer_function(microscope, n_pixels, pixel_size)).real)


def transfer_function(microscope: Microscope, n_pixels: int, pixel_size: float) -> np.ndarray:
    """Fourier transform of the probe: optical transfer function of the linear image model.

    Parameters
    ----------
    microscope : Microscope
        Its aberrations, aperture and source size, all of them numbers.
    n_pixels : int
        Pixels along each axis.
    pixel_size : float
        Å per pixel.

    Returns
    -------
    (n_pixels, n_pixels) complex array
        Transfer [ky, kx] in the order of `numpy.fft.fftfreq`, 1 at zero frequency.
    """
    k = np.fft.fftfreq(n_pixels, pixel_size)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    cutoff = float(microscope.semi_angle) * 1e-3 / electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    width = k[1] - k[0]
    aperture = np.clip((cutoff - np.hypot(kx, ky)) / width + 0.5, 0, 1)
    wave = np.fft.ifft2(aperture * np.exp(-1j * aberration_phase(kx, ky, microscope)))
    transfer = np.fft.fft2(np.abs(wave) ** 2)
    sigma = float(microscope.source_size) / _FWHM  # type: ignore[arg-type]
    return transfer / transfer[0, 0].real * np.exp(-2 * (np.pi * sigma) ** 2 * (kx**2 + ky**2))
