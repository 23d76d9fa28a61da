"""Images of a Zemlin tableau: diffractograms of a film, and probe triples, with their faults."""

import numpy as np

from adatom.core.random import make_rng
from adatom.optics.aberrations import aberration_phase
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.optics.transfer import ImagingMicroscope, image_transfer

_FWHM = 2 * np.sqrt(2 * np.log(2))
_GRAIN = 0.25  # Å: Gaussian radius of an atom's phase


def simulate_film(
    microscope: ImagingMicroscope,
    n_pixels: int,
    pixel_size: float,
    *,
    dose: float,
    drift: tuple[float, float] = (0.0, 0.0),
    phase: float = 0.1,
    rng: np.random.Generator | int,
) -> np.ndarray:
    """Simulate the image of an amorphous film under a tilted beam.

    Parameters
    ----------
    microscope : ImagingMicroscope
        All of its numbers fixed; its tilt is that of the beam.
    n_pixels : int
        Pixels along each axis; the image is cut out of a larger one, so that it is not periodic.
    pixel_size : float
        Å per pixel.
    dose : float
        Electrons per Å².
    drift : (float, float)
        How far the film moves along x and y while the image is taken, Å.
    phase : float
        Root mean square of the phase of the film, rad.
    rng : Generator or int
        For film and noise.

    Returns
    -------
    (n_pixels, n_pixels) array
        Electrons per pixel, indexed [y, x].
    """
    rng = make_rng(rng)
    side = n_pixels + 2 * (n_pixels // 16)
    k = np.fft.fftfreq(side, pixel_size)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    atoms = np.exp(-2 * (np.pi * _GRAIN) ** 2 * (kx**2 + ky**2))
    film = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * atoms).real
    wave = np.fft.fft2(np.exp(1j * phase * film / film.std()))
    image = np.abs(np.fft.ifft2(wave * image_transfer(kx, ky, microscope))) ** 2
    moved = np.fft.fft2(image) * np.sinc(kx * drift[0] + ky * drift[1])
    mean = np.fft.ifft2(moved).real[:n_pixels, :n_pixels] * dose * pixel_size**2
    return rng.poisson(np.maximum(mean, 0)).astype(np.float32)


def simulate_particles(
    n_pixels: int, pixel_size: float, *, density: float, rng: np.random.Generator | int
) -> np.ndarray:
    """Draw an object of small particles for the images of a probe.

    Parameters
    ----------
    n_pixels : int
        Pixels along each axis.
    pixel_size : float
        Å per pixel.
    density : float
        Particles per Å².
    rng : Generator or int
        For places, sizes and strengths.

    Returns
    -------
    (n_pixels, n_pixels) array
        Gaussian particles of 0.5 to 2 Å radius on a weak ground, mean 1, indexed [y, x].
    """
    rng = make_rng(rng)
    n = int(rng.poisson(density * (n_pixels * pixel_size) ** 2))
    k = np.fft.fftfreq(n_pixels, pixel_size)
    square = k[:, None] ** 2 + k**2
    total = np.zeros((n_pixels, n_pixels), complex)
    for radius in (0.5, 1.0, 2.0):
        share = rng.uniform(0.5, 1.5, n // 3)
        cells = rng.integers(0, n_pixels**2, n // 3)
        points = np.bincount(cells, share, n_pixels**2).reshape(n_pixels, n_pixels)
        total += np.fft.fft2(points) * np.exp(-2 * (np.pi * radius) ** 2 * square)
    particles = np.maximum(np.fft.ifft2(total).real, 0)
    return (particles / particles.mean() + 0.2) / 1.2


def simulate_probe_image(
    particles: np.ndarray,
    microscope: Microscope,
    n_pixels: int,
    pixel_size: float,
    *,
    tilt: tuple[float, float],
    shift: tuple[float, float] = (0.0, 0.0),
    counts: float,
    rng: np.random.Generator | int,
) -> np.ndarray:
    """Simulate the image of an object scanned with a tilted probe.

    Parameters
    ----------
    particles : (H, W) array
        Object, periodic and larger than the image, indexed [y, x].
    microscope : Microscope
        All of its numbers fixed.
    n_pixels : int
        Pixels along each axis of the image.
    pixel_size : float
        Å per pixel.
    tilt : (float, float)
        Tilt of the beam along x and y, mrad; the image is kept in place.
    shift : (float, float)
        How far the object has drifted along x and y, Å.
    counts : float
        Mean electrons per pixel.
    rng : Generator or int
        For the noise.

    Returns
    -------
    (n_pixels, n_pixels) array
        Electrons per pixel, indexed [y, x]; its pixel [0, 0] is that of the object.

    Notes
    -----
    The image is the sum of O(r') P(r' - r) over r', P the probe of `optics.probe.make_probe`.
    """
    rng = make_rng(rng)
    ky, kx = np.meshgrid(*(np.fft.fftfreq(n, pixel_size) for n in particles.shape), indexing="ij")
    wavelength = electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    tilt_x, tilt_y = (1e-3 * part / wavelength for part in tilt)
    phase = aberration_phase(kx + tilt_x, ky + tilt_y, microscope)
    slope_x, slope_y = _find_slope(tilt_x, tilt_y, microscope)
    phase = phase - kx * slope_x - ky * slope_y
    cutoff = 1e-3 * float(microscope.semi_angle) / wavelength  # type: ignore[arg-type]
    edge = 1 / (pixel_size * max(particles.shape))
    aperture = np.clip((cutoff - np.hypot(kx, ky)) / edge + 0.5, 0, 1)
    # With the probe at r, the object's r' lies at r' - r in it: a point's image is the probe turned
    # by half a turn.
    transfer = np.fft.fft2(np.abs(np.fft.ifft2(aperture * np.exp(-1j * phase))) ** 2).conj()
    sigma = float(microscope.source_size) / _FWHM  # type: ignore[arg-type]
    transfer *= np.exp(-2 * (np.pi * sigma) ** 2 * (kx**2 + ky**2)) / transfer[0, 0].real
    moved = np.exp(-2j * np.pi * (kx * shift[0] + ky * shift[1]))
    image = np.fft.ifft2(np.fft.fft2(particles) * transfer * moved).real
    mean = counts * np.maximum(image[:n_pixels, :n_pixels], 0)
    return rng.poisson(mean).astype(np.float32)


def _find_slope(kx: float, ky: float, microscope: Microscope) -> tuple[float, float]:
    """Derivatives of the phase at a tilt, which would move the image, rad Å."""
    step = 1e-5
    slopes = []
    for x, y in ((step, 0), (0, step)):
        ends = [
            aberration_phase(np.array(kx + s * x), np.array(ky + s * y), microscope)
            for s in (1, -1)
        ]
        slopes.append(float(ends[0] - ends[1]) / (2 * step))
    return slopes[0], slopes[1]
