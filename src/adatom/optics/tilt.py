"""The aberration function around a tilted beam: its coefficients there, and their phases."""

from dataclasses import dataclass
from math import comb

import numpy as np

from adatom.optics.aberration_table import name_parts
from adatom.optics.ceos import TERMS, find_symmetry

PARTS = tuple(name_parts(TERMS))
_HIGHEST = 6  # power of the angle


@dataclass(frozen=True)
class TiltMeasurement:
    """Defocus and two-fold astigmatism that a tilted beam sees.

    Attributes
    ----------
    tilt : complex
        Tilt x + iy as the microscope was told, rad.
    values : (3,) array
        C1', and x and y of A1', Å.
    covariance : (3, 3) array
        Of these, Å².
    slopes : (3, 25) array
        How they would change with the coefficients around the tilted beam (`PARTS`) that were
        held while they were fitted.
    """

    tilt: complex
    values: np.ndarray
    covariance: np.ndarray
    slopes: np.ndarray


def pack_parts(values: dict[str, complex]) -> np.ndarray:
    """Real numbers of complex coefficients.

    Parameters
    ----------
    values : dict
        Coefficients in the conjugate form, Å, by name; those left out are 0.

    Returns
    -------
    (25,) array
        In the order of `PARTS`, Å.
    """
    parts = []
    for name in TERMS:
        value = complex(values.get(name, 0))
        parts += [value.real, value.imag] if find_symmetry(name) else [value.real]
    return np.array(parts)


def unpack_parts(parts: np.ndarray) -> dict[str, complex]:
    """Complex coefficients of their real numbers: the inverse of `pack_parts`.

    Parameters
    ----------
    parts : (25,) array
        In the order of `PARTS`, Å.

    Returns
    -------
    dict
        Coefficients by name.
    """
    given = iter(parts)
    return {name: complex(next(given), next(given) if find_symmetry(name) else 0) for name in TERMS}


def shift_coefficients(tilt: complex) -> np.ndarray:
    """How the coefficients that a tilted beam sees follow from those of the axis.

    Parameters
    ----------
    tilt : complex
        Tilt of the beam x + iy, rad.

    Returns
    -------
    (25, 25) array
        Takes the numbers of `pack_parts` on the axis to those around the tilted beam; its first
        three rows give the apparent defocus C1' and two-fold astigmatism A1'.

    Notes
    -----
    W(t + w) is written out by the binomial theorem, with no term left out; terms that move the
    image, and the constant, are dropped. Its rows of C1' and A1' are those of S. Uhlemann and
    M. Haider, Ultramicroscopy 72 (1998) 109.
    """
    move = np.zeros((_HIGHEST + 1, _HIGHEST + 1), complex)
    for power in range(_HIGHEST + 1):
        for left in range(power + 1):
            move[left, power] = comb(power, left) * tilt ** (power - left)
    here = move @ _POLYNOMIALS @ move.conj().T
    rows = []
    for name, (a, b, factor) in TERMS.items():
        value = here[:, a, b] * ((1 if a == b else 2) / factor)
        rows += [value.real, value.imag] if find_symmetry(name) else [value.real]
    return np.array(rows)


def _make_polynomials() -> np.ndarray:
    """W of each part as a matrix of the coefficients of w^a w*^b."""
    found = np.zeros((len(PARTS), _HIGHEST + 1, _HIGHEST + 1), complex)
    for row, part in enumerate(PARTS):
        a, b, factor = TERMS[part[:2]]
        value = factor / 2 * (1j if part.endswith(".y") else 1)
        found[row, a, b] += value
        found[row, b, a] += value.conjugate()
    return found


_POLYNOMIALS = _make_polynomials()


def phase_basis(kx: np.ndarray, ky: np.ndarray, wavelength: float) -> np.ndarray:
    """Phase that each coefficient adds, so that χ is the sum of all.

    Parameters
    ----------
    kx, ky : array
        Spatial frequencies from the beam's, 1/Å.
    wavelength : float
        Å.

    Returns
    -------
    (25, …) array
        χ in rad for 1 Å of each of `PARTS`.
    """
    w = wavelength * (np.asarray(kx) + 1j * np.asarray(ky))
    phases = []
    for name, (a, b, factor) in TERMS.items():
        path = 2 * np.pi / wavelength * factor * w**a * w.conj() ** b
        phases += [path.real, -path.imag] if find_symmetry(name) else [path.real]
    return np.array(phases)


def find_quarter_angle(values: dict[str, complex], wavelength: float) -> float:
    """Angle up to which aberrations turn the phase by at most π/4.

    Parameters
    ----------
    values : dict
        Coefficients in the conjugate form, Å; C1 and A1, which are tuned by hand, are left out.
    wavelength : float
        Å.

    Returns
    -------
    float
        mrad, at most 100.
    """
    step = 5e-4
    angles = step * np.arange(1, 201)
    azimuths = np.arange(0, 2 * np.pi, np.pi / 60)
    k = angles[:, None] / wavelength * np.exp(1j * azimuths)
    parts = pack_parts({name: value for name, value in values.items() if name not in ("C1", "A1")})
    phase = np.abs(np.tensordot(parts, phase_basis(k.real, k.imag, wavelength), 1)).max(axis=1)
    beyond = np.flatnonzero(phase > np.pi / 4)
    if len(beyond) == 0:
        return float(1e3 * angles[-1])
    last = beyond[0]
    low = 0.0 if last == 0 else phase[last - 1]
    share = (np.pi / 4 - low) / (phase[last] - low)
    return float(1e3 * (angles[last] - step * (1 - share)))
