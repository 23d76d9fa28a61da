"""Defocus and astigmatism from the rings in the diffractogram of an amorphous film."""

from dataclasses import dataclass

import numpy as np

from adatom.optics.spectra import (
    Spectra,
    exp_bounded,
    find_information,
    fit_spectra,
    radial_basis,
)
from adatom.optics.tilt import PARTS, TiltMeasurement, phase_basis

_N_NODES = 6  # of the film's spectrum: too few to follow rings
_N_SECTORS = 12
_LOOSE = 0.3  # standard deviation of the logarithm of the focal spread
_EVEN = np.array([index for index, name in enumerate(PARTS) if name[1] in "135"])
_HELD = _EVEN[3:]  # all but C1 and A1


@dataclass(frozen=True)
class Rings:
    """What a fit of rings needs over the box of the spectra, the same for all tilts.

    Attributes
    ----------
    basis : (15, H, W) array
        Phase of each even coefficient, rad/Å.
    film : (M, H, W) array
        Functions of the logarithm of the film's spectrum.
    noise : (2, H, W) array
        Functions of the logarithm of the noise's spectrum.
    theta : (H, W) complex array
        Angles, rad.
    wavelength, focal_spread : float
        Å.
    """

    basis: np.ndarray
    film: np.ndarray
    noise: np.ndarray
    theta: np.ndarray
    wavelength: float
    focal_spread: float


def prepare_rings(spectra: Spectra, wavelength: float, focal_spread: float) -> Rings:
    """Calculate what all fits of a tableau share.

    Parameters
    ----------
    spectra : Spectra
        Of any image of the tableau.
    wavelength : float
        Å.
    focal_spread : float
        1/e half-width, Å; known to 30 %.

    Returns
    -------
    Rings
        For `fit_rings`.
    """
    kx, ky = spectra.make_box()
    square = (kx**2 + ky**2) / (spectra.kx**2 + spectra.ky**2).max()
    noise = np.array([np.ones(kx.shape), square])
    theta = wavelength * (kx + 1j * ky)
    film = radial_basis(kx, ky, _find_nodes(spectra))
    basis = phase_basis(kx, ky, wavelength)[_EVEN]
    return Rings(basis, film, noise, theta, wavelength, focal_spread)


def _find_nodes(spectra: Spectra) -> np.ndarray:
    radius = np.hypot(spectra.kx, spectra.ky)
    return np.linspace(radius.min(), radius.max(), _N_NODES)


def fit_rings(
    spectra: Spectra,
    rings: Rings,
    tilt: complex,
    local: np.ndarray,
    start: np.ndarray,
) -> tuple[TiltMeasurement, np.ndarray, bool]:
    """Fit C1' and A1' of one diffractogram, the higher orders held.

    Parameters
    ----------
    spectra : Spectra
        Of one image.
    rings : Rings
        Of its grid.
    tilt : complex
        Tilt of the beam, rad.
    local : (25,) array
        Coefficients around the tilted beam, Å; C1' and A1' are not looked at.
    start : (P,) array
        Of `start_rings`, or the parameters of an earlier fit.

    Returns
    -------
    TiltMeasurement
        C1', A1' with their errors.
    (P,) array
        All parameters: C1', A1', logarithms of film, noise and focal spread.
    bool
        Whether the fit came to rest.

    Notes
    -----
    The image of a weak object has the spectrum |V|² |p(k) - p*(-k)|², p = E exp(-iχ): E the
    envelope of the focal spread, which differs at ±k where the beam is tilted. The rings are those
    of the even part of χ. (F. Zemlin et al., Ultramicroscopy 3 (1978) 49.)
    """
    held = local[_HELD]
    tight = np.zeros(len(start))
    tight[3:-1], tight[-1] = 1 / 5, 1 / _LOOSE

    def model(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        expected, slopes = _expect(rings, tilt, parameters, held)
        return expected[None, None], slopes[: len(parameters), None, None]

    fit = fit_spectra(spectra, model, start, np.diag(tight**2))
    expected, slopes = _expect(rings, tilt, fit.values, held)
    information = find_information(spectra, expected[None, None], slopes[:, None, None])
    all_slopes = np.zeros((3, len(PARTS)))
    all_slopes[:, _HELD] = -(fit.gain @ information[: len(start), len(start) :])[:3]
    measured = TiltMeasurement(tilt, fit.values[:3], fit.covariance, all_slopes)
    return measured, fit.values, fit.is_converged


def _expect(
    rings: Rings, tilt: complex, parameters: np.ndarray, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum before the window, and its derivatives: parameters, then coefficients held."""
    n_film = len(rings.film)
    phase = np.tensordot(np.concatenate([parameters[:3], held]), rings.basis, 1)
    film = exp_bounded(np.tensordot(parameters[3 : 3 + n_film], rings.film, 1))
    noise = exp_bounded(np.tensordot(parameters[3 + n_film : -1], rings.noise, 1))
    spread = np.pi / (2 * rings.wavelength) * rings.focal_spread * exp_bounded(parameters[-1])
    both = np.abs(rings.theta) ** 2
    lean = 2 * (rings.theta * np.conj(tilt)).real
    far, near = (spread * (both + sign * lean) for sign in (1, -1))
    high, low = np.exp(-(far**2)), np.exp(-(near**2))
    contrast = high * low
    cosine = contrast * np.cos(2 * phase)
    shape = (high**2 + low**2 - 2 * cosine) / 4
    by_phase = film * contrast * np.sin(2 * phase)
    by_spread = far**2 * high**2 + near**2 * low**2 - (far**2 + near**2) * cosine
    slopes = np.concatenate(
        [
            by_phase * rings.basis[:3],
            film * shape * rings.film,
            noise * rings.noise,
            [-film * by_spread],
            by_phase * rings.basis[3:],
        ]
    )
    return film * shape + noise, slopes


def start_rings(spectra: Spectra, rings: Rings, defocus: float) -> tuple[np.ndarray, float]:
    """Search the rings for C1' and A1', and guess the spectra of film and noise.

    Parameters
    ----------
    spectra : Spectra
        Of one image.
    rings : Rings
        Of its grid.
    defocus : float
        Nominal defocus, Å; the true one is searched within half of it, on its side of focus, which
        rings cannot tell.

    Returns
    -------
    (P,) array
        Parameters for `fit_rings`.
    float
        Standard deviations by which the rings stand out from noise; the search finds up to about 4
        where there are none.
    """
    power = spectra.values[:, 0, 0].real
    radius = np.hypot(spectra.kx, spectra.ky)
    highest = radius.max()
    floor = 0.7 * power[radius > 0.95 * highest].mean()
    shell = np.minimum((radius / highest * 40).astype(int), 39)
    smooth = np.bincount(shell, power, 40) / np.maximum(np.bincount(shell, minlength=40), 1)
    smooth = np.convolve(np.pad(smooth, 2, "edge"), np.full(5, 0.2), "valid")
    flat = power / smooth[shell] - 1
    theta = rings.wavelength * (spectra.kx + 1j * spectra.ky)
    found, score = _search(flat, theta, rings.wavelength, defocus)
    # The power of noise varies by its mean, and the mean square of a cosine is a half.
    strength = score / np.sqrt(len(flat) / 2 / spectra.n_effective)
    logarithm = np.log(2 * np.maximum(smooth - floor, 0.05 * floor))[shell]
    basis = radial_basis(spectra.kx, spectra.ky, _find_nodes(spectra))
    film = np.linalg.lstsq(basis.T, logarithm, rcond=None)[0]
    return np.concatenate([found, film, [np.log(floor), 0.0, 0.0]]), strength


def _search(
    flat: np.ndarray, theta: np.ndarray, wavelength: float, defocus: float
) -> tuple[np.ndarray, float]:
    """C1' and A1' whose rings agree best with the flattened spectrum, and how well they do."""
    square = np.abs(theta) ** 2
    period = wavelength / square.max()  # of the outermost ring, Å of defocus
    foci = -defocus + np.arange(-0.5 * abs(defocus), 0.5 * abs(defocus), period / 6)
    sector = (np.angle(theta) % np.pi / np.pi * _N_SECTORS).astype(int) % _N_SECTORS
    n_shells = 600
    cell = np.minimum((square / square.max() * n_shells).astype(int), n_shells - 1)
    binned = np.bincount(sector * n_shells + cell, flat, _N_SECTORS * n_shells)
    middle = (np.arange(n_shells) + 0.5) / n_shells * square.max()
    waves = np.cos(2 * np.pi / wavelength * foci[:, None] * middle)
    table = -binned.reshape(_N_SECTORS, n_shells) @ waves.T
    angles = (np.arange(_N_SECTORS) + 0.5) * np.pi / _N_SECTORS
    steps = np.arange(-12, 13) * period / 3
    x, y = np.meshgrid(steps, steps, indexing="ij")
    score = np.zeros((*x.shape, len(foci)))
    for values, angle in zip(table, angles, strict=True):
        offset = np.rint((x * np.cos(2 * angle) + y * np.sin(2 * angle)) / (period / 6)).astype(int)
        places = np.arange(len(foci)) + offset[..., None]
        inside = (places >= 0) & (places < len(foci))
        score += np.where(inside, values[np.clip(places, 0, len(foci) - 1)], 0)
    best = np.unravel_index(np.argmax(score), score.shape)
    return np.array([foci[best[2]], x[best[:2]], y[best[:2]]]), float(score[best])
