"""Defocus and astigmatism of a probe from over-, in- and underfocused images of one object."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len

from adatom.optics.spectra import (
    Spectra,
    exp_bounded,
    find_information,
    fit_spectra,
    radial_basis,
)
from adatom.optics.tilt import PARTS, TiltMeasurement, phase_basis

_N_NODES = 8  # of the spectrum of object and source
_N_SHIFTS = 4
_N_NOISES = 3
# Standard deviation of the logarithm of a noise: a likelihood may like an image without any.
_NOISE = 0.5
_ROUGH = 1.0  # of the logarithm of the likelihood
_LOW = 0.12  # 1/Å: below, shifts are straight phase ramps even out of focus


@dataclass(frozen=True)
class ProbeGrid:
    """What a fit of probes needs, the same for all tilts.

    Attributes
    ----------
    aperture : (n, n) array
        In the order of `numpy.fft.fftfreq`, with a soft edge.
    basis : (25, n, n) array
        Phase of each of `PARTS`, rad/Å.
    cells : (H, W) array, (H, W) array
        Rows and columns of the box of the spectra.
    kx, ky : (H, W) array
        Frequencies of the box, 1/Å.
    object : (M, H, W) array
        Functions of the logarithm of the spectrum of object and source.
    foci : (3,) array
        What each image adds to C1, Å.
    semi_angle : float
        rad.
    """

    aperture: np.ndarray
    basis: np.ndarray
    cells: tuple[np.ndarray, np.ndarray]
    kx: np.ndarray
    ky: np.ndarray
    object: np.ndarray
    foci: np.ndarray
    semi_angle: float


def prepare_probes(
    spectra: Spectra, wavelength: float, semi_angle: float, focal_series: tuple[float, ...]
) -> ProbeGrid:
    """Calculate what all fits of a tableau share.

    Parameters
    ----------
    spectra : Spectra
        Of any triple of the tableau.
    wavelength : float
        Å.
    semi_angle : float
        Convergence semi-angle, rad.
    focal_series : tuple of float
        What each image adds to the defocus, Å, + is underfocus.

    Returns
    -------
    ProbeGrid
        For `fit_probes`. The grid of the probe is as large as a tile, and as fine as the aperture
        asks for.
    """
    length = spectra.tile_px * spectra.pixel_size
    cutoff = semi_angle / wavelength
    # What lies beyond the highest frequency may be aliased, as long as it stays there.
    highest = float(np.hypot(spectra.kx, spectra.ky).max())
    n = next_fast_len(int(np.ceil((2 * cutoff + highest) * length)) + 6)
    k = np.fft.fftfreq(n, length / n)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    aperture = np.clip((cutoff - np.hypot(kx, ky)) * length + 0.5, 0, 1)
    basis = phase_basis(kx, ky, wavelength) * (aperture > 0)
    kx, ky = spectra.make_box()
    cells = (np.rint(ky * length).astype(int), np.rint(kx * length).astype(int))
    smooth = radial_basis(kx, ky, _find_nodes(spectra))
    foci = -np.array(focal_series)
    return ProbeGrid(aperture, basis, cells, kx, ky, smooth, foci, semi_angle)


def _find_nodes(spectra: Spectra) -> np.ndarray:
    radius = np.hypot(spectra.kx, spectra.ky)
    return np.linspace(radius.min(), radius.max(), _N_NODES)


def fit_probes(
    spectra: Spectra, grid: ProbeGrid, tilt: complex, local: np.ndarray, start: np.ndarray
) -> tuple[TiltMeasurement, np.ndarray, bool]:
    """Fit C1' and A1' of one triple, the higher orders held.

    Parameters
    ----------
    spectra : Spectra
        Cross spectra of the three images.
    grid : ProbeGrid
        Of its grid.
    tilt : complex
        Tilt of the beam, rad.
    local : (25,) array
        Coefficients around the tilted beam, Å; C1' and A1' are not looked at.
    start : (P,) array
        Of `follow_probes`, or the parameters of an earlier fit.

    Returns
    -------
    TiltMeasurement
        C1', A1' with their errors.
    (P,) array
        All parameters: C1', A1', shifts of the outer images (Å), logarithms of the spectra of
        object and noise.
    bool
        Whether the fit came to rest.

    Notes
    -----
    The cross spectra are S T_i* T_j exp(-2πi k·(r_i - r_j)) plus the noise of each image: T the
    transform of a probe P, and S that of the object, in which the size of the source is contained.
    T is conjugate as the image is the sum of O(r') P(r' - r) over r', in which a point looks like
    the probe turned by half a turn.
    """
    tight = np.zeros(len(start))
    tight[3 + _N_SHIFTS :] = 1 / 5
    tight[-_N_NOISES:] = 1 / _NOISE

    def model(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _expect(grid, parameters, local, 3)

    fit = fit_spectra(spectra, model, start, np.diag(tight**2))
    box, slopes = _expect(grid, fit.values, local, len(PARTS))
    information = find_information(spectra, box, slopes)
    all_slopes = np.zeros((3, len(PARTS)))
    all_slopes[:, 3:] = -(fit.gain @ information[: len(start), len(start) :])[:3]
    measured = TiltMeasurement(tilt, fit.values[:3], fit.covariance, all_slopes)
    return measured, fit.values, fit.is_converged


def _expect(
    grid: ProbeGrid, parameters: np.ndarray, local: np.ndarray, n_slopes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Spectra before the window, and derivatives by the parameters, then the coefficients held."""
    n_smooth = len(grid.object)
    coefficients = np.concatenate([parameters[:3], local[3:]])
    shifts = np.insert(parameters[3 : 3 + _N_SHIFTS].reshape(2, 2), 1, 0, axis=0)
    smooth = exp_bounded(np.tensordot(parameters[7 : 7 + n_smooth], grid.object, 1) / 2)
    noise = exp_bounded(parameters[7 + n_smooth :])
    ramps = -2j * np.pi * np.array([grid.kx, grid.ky])
    transfers, changes = [], []
    for focus, shift in zip(grid.foci, shifts, strict=True):
        found, slopes = _transfer(grid, coefficients, focus, n_slopes)
        factor = smooth * np.exp(np.tensordot(shift, ramps, 1))
        transfers.append(factor * found)
        changes.append(factor * slopes)
    seen = np.array(transfers)
    # Derivatives of the three transfers by every parameter but the noise's.
    by_phase = np.array(changes).transpose(1, 0, 2, 3)
    by_shift = np.zeros((_N_SHIFTS, *seen.shape), complex)
    for row, image in enumerate((0, 0, 2, 2)):
        by_shift[row, image] = ramps[row % 2] * seen[image]
    by_smooth = grid.object[:, None] / 2 * seen
    by_all = np.concatenate([by_phase[:3], by_shift, by_smooth, by_phase[3:]])
    half = by_all[:, :, None] * seen.conj()
    slopes = half + half.conj().transpose(0, 2, 1, 3, 4)
    by_noise = np.zeros((3, 3, 3, *grid.kx.shape))
    for image in range(3):
        by_noise[image, image, image] = noise[image]
    box = seen[:, None] * seen.conj() + by_noise.sum(axis=0)
    n_first = 7 + n_smooth
    return box, np.concatenate([slopes[:n_first], by_noise, slopes[n_first:]])


def _transfer(
    grid: ProbeGrid, coefficients: np.ndarray, focus: float, n_slopes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Transform of a point's image over the box, and its derivatives by the first coefficients.

    A scan moves the probe over the point, so that its image is the probe turned by half a turn.
    """
    # The first of the parts is C1.
    moved = coefficients + focus * (np.arange(len(coefficients)) == 0)
    spectrum = grid.aperture * np.exp(-1j * np.tensordot(moved, grid.basis, 1))
    wave = np.fft.ifft2(spectrum)
    whole = np.sum(np.abs(wave) ** 2)
    found = np.fft.fft2(np.abs(wave) ** 2)[grid.cells].conj() / whole
    slopes = []
    for phase in grid.basis[:n_slopes]:
        change = np.fft.ifft2(-1j * phase * spectrum)
        slopes.append(np.fft.fft2(2 * (wave.conj() * change).real)[grid.cells].conj() / whole)
    return found, np.array(slopes)


def start_probes(spectra: Spectra, grid: ProbeGrid) -> np.ndarray:
    """Find C1' and A1' of an untilted probe from the moments of its images.

    Parameters
    ----------
    spectra : Spectra
        Cross spectra of the three images.
    grid : ProbeGrid
        Of its grid.

    Returns
    -------
    (3,) array
        C1' and A1', Å, none larger than half the range of the focal series.

    Notes
    -----
    At low frequencies the power of a defocused image falls as 1 - 4π² k·M k with the second moments
    M of its probe, and M(+Δ) - M(-Δ) = α² Δ (C1' 1 + A1'), whatever object and source are; the
    middle of the two foci adds to C1' where it is not 0.
    """
    kx, ky = spectra.kx, spectra.ky
    radius = np.hypot(kx, ky)
    clean = _subtract_noise(spectra)[0]
    low = radius <= max(_LOW / 2, np.sort(radius)[12])
    over, under = np.argmax(grid.foci), np.argmin(grid.foci)
    ratio = np.log(clean[over] / clean[under])[low]
    forms = np.array([kx**2 + ky**2, kx**2 - ky**2, 2 * kx * ky])[:, low]
    half = (grid.foci[over] - grid.foci[under]) / 2
    factor = -4 * np.pi**2 * grid.semi_angle**2 * half
    found = np.linalg.lstsq(forms.T, ratio, rcond=None)[0] / factor
    found[0] -= (grid.foci[over] + grid.foci[under]) / 2
    return np.clip(found, -half, half)


def follow_probes(
    spectra: Spectra, grid: ProbeGrid, local: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit all coefficients around a tilted beam to one triple, from what is known of them.

    Parameters
    ----------
    spectra : Spectra
        Cross spectra of the three images.
    grid : ProbeGrid
        Of its grid.
    local : (25,) array
        Coefficients to expect, Å.
    covariance : (25, 25) array
        How well they are known, Å².

    Returns
    -------
    (25,) array
        Coefficients, Å.
    (25, 25) array
        Their covariance, Å².
    (P,) array
        Parameters for `fit_probes`.
    """
    n_held = len(PARTS) - 3
    start = np.concatenate([_guess(spectra, grid, local), local[3:]])
    places = np.r_[0:3, len(start) - n_held : len(start)]
    prior = np.zeros((len(start), len(start)))
    others = np.arange(3 + _N_SHIFTS, len(start) - n_held)
    prior[others, others] = 1 / 5**2
    prior[others[-_N_NOISES:], others[-_N_NOISES:]] = 1 / _NOISE**2
    scale = np.sqrt(np.diag(covariance))
    inverse = np.linalg.inv(covariance / scale[:, None] / scale) / scale[:, None] / scale
    prior[np.ix_(places, places)] = inverse

    def model(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moved = np.concatenate([parameters[:3], parameters[-n_held:]])
        return _expect(grid, parameters[:-n_held], moved, len(PARTS))

    # High frequencies alone have many optima, low ones have one.
    highest = np.hypot(spectra.kx, spectra.ky).max()
    found = start
    for share in (0.4, 1.0):
        fit = fit_spectra(
            spectra.narrow(share * highest), model, start, prior, tolerance=_ROUGH, first=found
        )
        found = fit.values
    return found[places], fit.gain[np.ix_(places, places)], found[:-n_held]


def _guess(spectra: Spectra, grid: ProbeGrid, local: np.ndarray) -> np.ndarray:
    """Parameters of a triple whose coefficients are known: shifts, spectra of object and noise."""
    kx, ky = spectra.kx, spectra.ky
    clean, floor = _subtract_noise(spectra)
    near = np.hypot(kx, ky) <= _LOW
    shifts = []
    for image in (0, 2):
        cross = spectra.values[near, image, 1]
        plane = -2 * np.pi * np.array([kx, ky])[:, near] * np.abs(cross)
        shifts.append(np.linalg.lstsq(plane.T, np.angle(cross) * np.abs(cross), rcond=None)[0])
    expected, _ = _transfer(grid, local, 0.0, 0)
    through = spectra.look(np.abs(expected[None, None]) ** 2)[:, 0, 0]
    logarithm = np.log(clean[1] / np.maximum(through, 1e-3))
    basis = radial_basis(kx, ky, _find_nodes(spectra))
    smooth = np.linalg.lstsq(basis.T, logarithm, rcond=None)[0]
    return np.concatenate([local[:3], *shifts, smooth, np.log(floor)])


def _subtract_noise(spectra: Spectra) -> tuple[np.ndarray, np.ndarray]:
    """Power of each image above its noise, and that of the noise."""
    power = np.einsum("nii->in", spectra.values).real
    radius = np.hypot(spectra.kx, spectra.ky)
    floor = 0.9 * power[:, radius > 0.95 * radius.max()].mean(axis=1)
    return np.maximum(power - floor[:, None], 0.02 * power), floor
