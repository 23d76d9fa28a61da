"""Aberration function and the probe it makes, to second order and spherical aberration."""

import numpy as np

from adatom.optics.microscope import Microscope, electron_wavelength

_FWHM = 2 * np.sqrt(2 * np.log(2))


def aberration_phase(kx: np.ndarray, ky: np.ndarray, microscope: Microscope) -> np.ndarray:
    """Phase χ that the lens adds at every spatial frequency.

    Parameters
    ----------
    kx, ky : array
        Spatial frequencies, 1/Å.
    microscope : Microscope
        Its energy and aberrations, all of them numbers.

    Returns
    -------
    array
        χ in rad; the probe's wave carries exp(-iχ).

    Notes
    -----
    Krivanek's notation: W = Σ θ^(n+1)/(n+1) C_nm cos(m(φ - φ_nm)), χ = 2πW/λ, C10 = -defocus
    (Krivanek, Dellby and Lupini, Ultramicroscopy 78 (1999) 1).
    """
    scope = {name: float(value) for name, value in microscope}
    wavelength = electron_wavelength(scope["energy_eV"])
    theta = wavelength * np.hypot(kx, ky)
    phi = np.arctan2(ky, kx)
    azimuth = {name: np.deg2rad(scope[name]) for name in ("phi12", "phi21", "phi23")}
    path = theta**2 / 2 * -scope["defocus"]
    path = path + theta**2 / 2 * scope["C12"] * np.cos(2 * (phi - azimuth["phi12"]))
    path = path + theta**3 / 3 * scope["C21"] * np.cos(phi - azimuth["phi21"])
    path = path + theta**3 / 3 * scope["C23"] * np.cos(3 * (phi - azimuth["phi23"]))
    path = path + theta**4 / 4 * scope["C30"]
    return 2 * np.pi / wavelength * path


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
