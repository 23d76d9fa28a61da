"""A focal series as a better microscope would have taken it."""

import numpy as np
import xarray as xr
from scipy import fft

from adatom.core.errors import ImageError
from adatom.images import pixel_size
from adatom.optics.transfer import ImagingMicroscope, image_transfer

BORDER = 8.0  # Å that the images are mirrored at their edges
LEAST_RIDGE = 1e-6
SIGNAL = 0.5  # power of the scattered wave, over the square of the mean and per pixel
NOISE_BAND = (1.0, 1.5)  # 1/Å: frequencies that lenses of usual focal spread hardly transfer
K_MAX = 1.5  # 1/Å, of what is kept
OF_THE_LENS = ("microscope", "camera", "defoci", "shifts")  # not true of a corrected series


def correct_series(
    series: xr.DataArray,
    taken: ImagingMicroscope,
    wanted: ImagingMicroscope,
    *,
    shifts: np.ndarray,
) -> xr.DataArray:
    """Take the aberrations out of a focal series of a thin specimen.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x).
    taken : ImagingMicroscope
        That took it; its focal series is the defocus of each image, Å.
    wanted : ImagingMicroscope
        That should have taken it.
    shifts : (F, 2) array
        [y, x] of each image, Å: taken out.

    Returns
    -------
    DataArray
        As many images as `wanted` has in its focal series, in the units of the series.

    Raises
    ------
    ImageError
        If there are not as many images, or shifts, as `taken` has in its focal series.

    Notes
    -----
    To first order in the scattered wave, each image is I/<I> - 1 = ψ(k) t(k) + ψ*(-k) t*(-k), t the
    transfer of the lens (`image_transfer`). ψ(k) and ψ*(-k) are found by least squares from all
    images, held back by the noise, which is that of 1 to 1.5 1/Å (Schiske,
    Proc. 4th European Congress on Electron Microscopy, Rome 1968, p. 145; Saxton, Ultramicroscopy
    55 (1994) 171); the same sum with the other lens is the new image. The camera blurs both alike.
    """
    n_images = len(taken.focal_series)
    if len(series) != n_images or np.shape(shifts) != (n_images, 2):
        raise ImageError(
            f"series, shifts: must be of {n_images} images, as taken.focal_series "
            f"(got {len(series)} and {np.shape(shifts)})"
        )
    size = pixel_size(series)
    images = np.asarray(series.values, float)
    means = images.mean(axis=(1, 2), keepdims=True)
    border = [(round(BORDER / s),) * 2 for s in size]
    contrast = np.pad(images / means - 1, [(0, 0), *border], mode="reflect")
    shape = contrast.shape[1:]
    ky = fft.fftfreq(shape[0], size[0])[:, None]
    kx = fft.rfftfreq(shape[1], size[1])
    rows, columns = np.nonzero(np.hypot(ky, kx) < K_MAX)
    ky, kx = ky[rows, 0], kx[columns]
    spectra = fft.rfft2(contrast)
    ridge = max(_measure_noise(spectra, size, shape) / SIGNAL, LEAST_RIDGE)
    a = b = ridge * np.ones(len(ky))
    c = wave = twin = np.zeros(len(ky), complex)
    for spectrum, defocus, (y, x) in zip(spectra, taken.focal_series, shifts, strict=True):
        moved = spectrum[rows, columns] * np.exp(2j * np.pi * (y * ky + x * kx))
        here, there = _transfer(ky, kx, taken, defocus)
        a, b, c = a + np.abs(here) ** 2, b + np.abs(there) ** 2, c + here.conj() * there
        wave, twin = wave + here.conj() * moved, twin + there.conj() * moved
    share = a * b - np.abs(c) ** 2
    wave, twin = (b * wave - c * twin) / share, (a * twin - c.conj() * wave) / share
    corrected = []
    for defocus in wanted.focal_series:
        here, there = _transfer(ky, kx, wanted, defocus)
        spectrum = np.zeros_like(spectra[0])
        spectrum[rows, columns] = here * wave + there * twin
        corrected.append(fft.irfft2(spectrum, s=shape))
    inner = np.s_[:, border[0][0] : shape[0] - border[0][1], border[1][0] : shape[1] - border[1][1]]
    values = (1 + np.array(corrected)[inner]) * means.mean()
    kept = {name: series[name] for name in series.coords if "focus" not in series[name].dims}
    coords = kept | {"focus": ("focus", list(wanted.focal_series), {"units": "angstrom"})}
    attrs = {name: value for name, value in series.attrs.items() if name not in OF_THE_LENS}
    return xr.DataArray(values, dims=("focus", "y", "x"), coords=coords, attrs=attrs)


def _measure_noise(spectra: np.ndarray, size: tuple[float, float], shape: tuple[int, int]) -> float:
    """Mean variance of a pixel by the frequencies where there is noise alone."""
    ky, kx = fft.fftfreq(shape[0], size[0])[:, None], fft.rfftfreq(shape[1], size[1])
    k = np.hypot(ky, kx)
    ring = (k > NOISE_BAND[0]) & (k < NOISE_BAND[1])
    return float(np.mean(np.abs(spectra[:, ring]) ** 2) / np.prod(shape))


def _transfer(
    ky: np.ndarray, kx: np.ndarray, lens: ImagingMicroscope, defocus: float
) -> tuple[np.ndarray, np.ndarray]:
    """Factors of ψ(k) and of ψ*(-k) in the image."""
    lens = lens.model_copy(update={"defocus": defocus})
    return image_transfer(kx, ky, lens), image_transfer(-kx, -ky, lens).conj()
