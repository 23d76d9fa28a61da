"""The probe of a scanning microscope."""

import numpy as np
import xarray as xr

from adatom.optics.aberrations import aberration_phase
from adatom.optics.microscope import Microscope, electron_wavelength

WIDE = 40.0  # Å
_FWHM = 2 * np.sqrt(2 * np.log(2))
_N_FOCI = 15  # of the sum over the focal spread: exact for polynomials of degree 29


def make_probe_image(microscope: Microscope, n_pixels: int, pixel_size: float) -> xr.DataArray:
    """The probe as an image, to draw or to store.

    Parameters
    ----------
    microscope, n_pixels, pixel_size
        As of `make_probe`.

    Returns
    -------
    DataArray
        Dims (y, x) in Å from the optical axis; the share of the beam in each pixel.
    """
    places = (np.arange(n_pixels) - n_pixels // 2) * pixel_size
    coords = {name: (name, places, {"units": "angstrom"}) for name in ("y", "x")}
    attrs = {"energy_eV": float(microscope.energy_eV), "units": "share"}  # type: ignore[arg-type]
    values = make_probe(microscope, n_pixels, pixel_size)
    return xr.DataArray(values, dims=("y", "x"), coords=coords, attrs=attrs, name="probe")


def make_probe(microscope: Microscope, n_pixels: int, pixel_size: float) -> np.ndarray:
    """Intensity of the probe on a square grid.

    Parameters
    ----------
    microscope : Microscope
        Its aberrations, aperture, source size and focal spread, all of them numbers.
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


def make_point_image(microscope: Microscope, n_pixels: int, pixel_size: float) -> np.ndarray:
    """Image of a point scatterer: what a HAADF image is convolved with.

    Parameters
    ----------
    microscope, pixel_size
        As of `make_probe`.
    n_pixels : int
        Pixels along each axis, an odd number.

    Returns
    -------
    (n_pixels, n_pixels) array
        Share of its electrons in each pixel [y, x], ≥ 0, sum 1, the center of mass in the middle.

    Notes
    -----
    The point sees the probe from the other side: its image is the probe turned by 180°. Coma moves
    the center away from the axis, and the whole image with it, which no image can show.
    """
    # On a wide grid, whose frequencies resolve the edge of the aperture.
    spare = max(0, int(np.ceil(WIDE / pixel_size)) - n_pixels) // 2
    n_wide = n_pixels + 2 * spare
    transfer = transfer_function(microscope, n_wide, pixel_size).conj()
    k = np.fft.fftfreq(n_wide)
    ramp = (np.angle(transfer[1, 0]) * k[:, None] + np.angle(transfer[0, 1]) * k) / k[1]
    wide = np.fft.fftshift(np.fft.ifft2(transfer * np.exp(-1j * ramp)).real)
    spot = np.maximum(wide[spare : n_wide - spare, spare : n_wide - spare], 0)
    return spot / spot.sum()


def transfer_function(microscope: Microscope, n_pixels: int, pixel_size: float) -> np.ndarray:
    """Fourier transform of the probe: optical transfer function of the linear image model.

    Parameters
    ----------
    microscope : Microscope
        Its aberrations, aperture, source size and focal spread, all of them numbers.
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
    wave = aperture * np.exp(-1j * aberration_phase(kx, ky, microscope))
    transfer = np.fft.fft2(_mean_intensity(wave, kx**2 + ky**2, microscope))
    sigma = float(microscope.source_size) / _FWHM  # type: ignore[arg-type]
    return transfer / transfer[0, 0].real * np.exp(-2 * (np.pi * sigma) ** 2 * (kx**2 + ky**2))


def _mean_intensity(wave: np.ndarray, square: np.ndarray, microscope: Microscope) -> np.ndarray:
    """Intensity of a wave at the specimen, the mean over the focal spread."""
    spread = float(microscope.focal_spread)  # type: ignore[arg-type]
    if spread == 0:
        return np.abs(np.fft.ifft2(wave)) ** 2
    wavelength = electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    # Gauss-Hermite nodes are in units of the 1/e half-width.
    nodes, weights = np.polynomial.hermite.hermgauss(_N_FOCI)
    mean = np.zeros(wave.shape)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        phase = np.pi * wavelength * spread * node * square
        mean += weight * np.abs(np.fft.ifft2(wave * np.exp(-1j * phase))) ** 2
    return mean
