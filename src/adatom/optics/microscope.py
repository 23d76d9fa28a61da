"""The microscope as a configuration, and the electron's wavelength."""

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from adatom.core.config import Config
from adatom.core.random import Draw, NotNegative, Number, Positive, draw_value, limits_of

_REST_ENERGY = 510998.95  # eV
_PLANCK_LIGHT = 12398.42  # eV Å
_BOHR_RADIUS = 0.529177  # Å


class Lens(Config):
    """Energy and aberrations to fifth order (Krivanek's notation). Each is fixed or a range."""

    energy_eV: Positive = Field(60e3, description="Electron energy, eV.")
    defocus: Number = Field(0.0, description="Defocus, Å, + = underfocus (C10 = -defocus).")
    C12: Number = Field(0.0, description="Two-fold astigmatism, Å.")
    phi12: Number = Field(0.0, description="Azimuth of C12, degrees.")
    C21: Number = Field(0.0, description="Axial coma, Å.")
    phi21: Number = Field(0.0, description="Azimuth of C21, degrees.")
    C23: Number = Field(0.0, description="Three-fold astigmatism, Å.")
    phi23: Number = Field(0.0, description="Azimuth of C23, degrees.")
    C30: Number = Field(0.0, description="Spherical aberration, Å.")
    C32: Number = Field(0.0, description="Star aberration, Å.")
    phi32: Number = Field(0.0, description="Azimuth of C32, degrees.")
    C34: Number = Field(0.0, description="Four-fold astigmatism, Å.")
    phi34: Number = Field(0.0, description="Azimuth of C34, degrees.")
    C41: Number = Field(0.0, description="Coma of fourth order, Å.")
    phi41: Number = Field(0.0, description="Azimuth of C41, degrees.")
    C43: Number = Field(0.0, description="Three-lobe aberration, Å.")
    phi43: Number = Field(0.0, description="Azimuth of C43, degrees.")
    C45: Number = Field(0.0, description="Five-fold astigmatism, Å.")
    phi45: Number = Field(0.0, description="Azimuth of C45, degrees.")
    C50: Number = Field(0.0, description="Spherical aberration of fifth order, Å.")
    C52: Number = Field(0.0, description="Star aberration of fifth order, Å.")
    phi52: Number = Field(0.0, description="Azimuth of C52, degrees.")
    C54: Number = Field(0.0, description="Rosette aberration, Å.")
    phi54: Number = Field(0.0, description="Azimuth of C54, degrees.")
    C56: Number = Field(0.0, description="Six-fold astigmatism, Å.")
    phi56: Number = Field(0.0, description="Azimuth of C56, degrees.")

    def draw(self, rng: np.random.Generator) -> Self:
        """The same with numbers drawn from its ranges."""
        # In this order the data sets of the shipped models were drawn.
        fields = sorted(self, key=lambda field: field[0] not in {"energy_eV", "semi_angle"})
        drawn = {k: draw_value(v, rng) for k, v in fields if isinstance(v, Draw)}
        return self.model_copy(update=drawn)


class Microscope(Lens):
    """A probe-corrected STEM. Every number is fixed or a range."""

    semi_angle: Positive = Field(30.0, description="Convergence semi-angle, mrad.")
    source_size: NotNegative = Field(0.8, description="Source size, full width at half maximum, Å.")
    inner_angle: Positive = Field(80.0, description="Inner angle of the HAADF detector, mrad.")
    outer_angle: Positive = Field(200.0, description="Outer angle of the HAADF detector, mrad.")
    focal_spread: NotNegative = Field(
        0.0, description="Focal spread, 1/e half-width (√2 standard deviations), Å."
    )

    @model_validator(mode="after")
    def _sees_a_ring(self) -> "Microscope":
        if limits_of(self.inner_angle)[1] >= limits_of(self.outer_angle)[0]:
            raise ValueError("inner_angle must be below outer_angle")
        return self


def electron_wavelength(energy_eV: float) -> float:
    """Relativistic wavelength of an electron.

    Parameters
    ----------
    energy_eV : float
        Kinetic energy, eV.

    Returns
    -------
    float
        Wavelength, Å.

    Examples
    --------
    >>> round(electron_wavelength(60e3), 5)
    0.04866
    """
    return _PLANCK_LIGHT / float(np.sqrt(energy_eV * (2 * _REST_ENERGY + energy_eV)))


def find_band_limit(microscope: Microscope) -> float:
    """Highest frequency that the image of a probe carries.

    Parameters
    ----------
    microscope : Microscope
        Its energy and semi-angle, both of them numbers.

    Returns
    -------
    float
        2α/λ, 1/Å.

    Examples
    --------
    >>> round(find_band_limit(Microscope(energy_eV=60e3, semi_angle=30)), 3)
    1.233
    """
    wavelength = electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    return 2e-3 * float(microscope.semi_angle) / wavelength  # type: ignore[arg-type]


def interaction_constant(energy_eV: float) -> float:
    """Phase that an electron gains per projected potential.

    Parameters
    ----------
    energy_eV : float
        Kinetic energy, eV.

    Returns
    -------
    float
        σ, rad/(V Å).

    Notes
    -----
    σ = 2π/(λE) (E0 + E)/(2 E0 + E), E0 the rest energy (E. J. Kirkland, Advanced Computing in
    Electron Microscopy, 2nd ed., Springer 2010, eq. 5.6).

    Examples
    --------
    >>> round(1e3 * interaction_constant(80e3), 3)
    1.009
    """
    share = (_REST_ENERGY + energy_eV) / (2 * _REST_ENERGY + energy_eV)
    return float(2 * np.pi / (electron_wavelength(energy_eV) * energy_eV) * share)


def haadf_cross_section(
    atomic_number: np.ndarray, microscope: Microscope, exponent: float
) -> np.ndarray:
    """Cross-section of single atoms for scattering onto the HAADF detector.

    Parameters
    ----------
    atomic_number : (N,) array
        Atomic numbers.
    microscope : Microscope
        Its energy and detector angles, all of them numbers.
    exponent : float
        Power of the atomic number that the contrast follows, 1.2 to 2.

    Returns
    -------
    (N,) array
        Cross-sections, Å².

    Notes
    -----
    Rutherford scattering between the detector's angles for molybdenum, scaled to other elements by
    (Z/42)^exponent: screening lowers the exponent below Rutherford's 2 (Krivanek et al., Nature 464
    (2010) 571).
    """
    energy = float(microscope.energy_eV)  # type: ignore[arg-type]
    gamma = 1 + energy / _REST_ENERGY
    wave_number = 2 * np.pi / electron_wavelength(energy)
    inner, outer = float(microscope.inner_angle), float(microscope.outer_angle)  # type: ignore[arg-type]
    angles = (inner * 1e-3) ** -2 - (outer * 1e-3) ** -2
    molybdenum = 4 * np.pi * (42 * gamma) ** 2 * angles / (_BOHR_RADIUS**2 * wave_number**4)
    return molybdenum * (np.asarray(atomic_number) / 42) ** exponent
