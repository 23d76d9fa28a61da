"""Aberration coefficients as corrector software writes them (CEOS), and their Krivanek form."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from adatom.core.errors import ConfigError
from adatom.optics.microscope import Lens

Form = Literal["conjugate", "plain"]
Azimuth = Literal["spatial", "argument"]

# W = Σ Re(factor w^a w*^b c): the powers a and b, and the factor, of each coefficient c.
TERMS: dict[str, tuple[int, int, float]] = {
    "C1": (1, 1, 1 / 2),
    "A1": (0, 2, 1 / 2),
    "B2": (1, 2, 1),
    "A2": (0, 3, 1 / 3),
    "C3": (2, 2, 1 / 4),
    "S3": (1, 3, 1),
    "A3": (0, 4, 1 / 4),
    "B4": (2, 3, 1),
    "D4": (1, 4, 1),
    "A4": (0, 5, 1 / 5),
    "C5": (3, 3, 1 / 6),
    "S5": (2, 4, 1),
    "R5": (1, 5, 1),
    "A5": (0, 6, 1 / 6),
}


def find_symmetry(name: str) -> int:
    """Azimuthal symmetry m of a coefficient.

    Parameters
    ----------
    name : str
        One of `TERMS`.

    Returns
    -------
    int
        0 for a coefficient that is a real number.

    Raises
    ------
    ConfigError
        If there is no coefficient of this name.

    Examples
    --------
    >>> find_symmetry("S3")
    2
    """
    if name not in TERMS:
        raise ConfigError(f"coefficient: must be one of {', '.join(TERMS)} (got {name!r})")
    a, b, _ = TERMS[name]
    return b - a


def find_order(name: str) -> int:
    """Order n of a coefficient, which turns the phase as the power n + 1 of the angle.

    Parameters
    ----------
    name : str
        One of `TERMS`.

    Returns
    -------
    int
        1 to 5.
    """
    a, b, _ = TERMS[name]
    return a + b - 1


def read_polar(
    name: str, size: float, angle: float, *, azimuth: Azimuth = "spatial", form: Form = "conjugate"
) -> complex:
    """Complex coefficient, in the conjugate form, from the size and angle of a table.

    Parameters
    ----------
    name : str
        One of `TERMS`.
    size : float
        Å; that of C1, C3 and C5 has a sign.
    angle : float
        Degrees.
    azimuth : {"spatial", "argument"}
        Whether the angle is the azimuth in space, or the argument of the complex number (which is
        m times the azimuth).
    form : {"conjugate", "plain"}
        Form of the table: its mixed terms are w*² w B2, w*³ w S3, … (conjugate), or w² w* B2,
        w³ w* S3, … (plain), whose coefficients are the conjugates. A spatial azimuth is the same
        in both.

    Returns
    -------
    complex
        Å.

    Raises
    ------
    ConfigError
        If a spatial azimuth lies beyond ±180°/m, as only an argument may.

    Examples
    --------
    >>> np.rad2deg(np.angle(read_polar("B2", 70.0, 30.0, azimuth="argument", form="plain"))).round()
    np.float64(-30.0)
    """
    symmetry = find_symmetry(name)
    if symmetry == 0:
        return complex(size)
    if azimuth == "spatial":
        limit = 180 / symmetry
        if abs(angle) > limit * (1 + 1e-9):
            raise ConfigError(
                f"azimuth of {name}: must lie within ±{limit:g}°; where a table gives the argument "
                f"of the complex number, say azimuth='argument' (got {angle:g}°)"
            )
        return complex(size * np.exp(1j * np.deg2rad(symmetry * angle)))
    turned = complex(size * np.exp(1j * np.deg2rad(angle)))
    return turned.conjugate() if form == "plain" and TERMS[name][0] else turned


def write_polar(
    name: str, value: complex, *, azimuth: Azimuth = "spatial", form: Form = "conjugate"
) -> tuple[float, float]:
    """Size and angle of a coefficient: the inverse of `read_polar`.

    Parameters
    ----------
    name : str
        One of `TERMS`.
    value : complex
        Å, in the conjugate form.
    azimuth, form
        As of `read_polar`.

    Returns
    -------
    (float, float)
        Size, Å, and angle, degrees; the angle of C1, C3 and C5 is 0 and their size has a sign.
    """
    symmetry = find_symmetry(name)
    if symmetry == 0:
        return value.real, 0.0
    argument = float(np.rad2deg(np.angle(value)))
    if azimuth == "spatial":
        return abs(value), argument / symmetry
    return abs(value), -argument if form == "plain" and TERMS[name][0] else argument


def to_krivanek(values: Mapping[str, complex]) -> dict[str, float]:
    """Fields of a `Lens` from complex coefficients.

    Parameters
    ----------
    values : mapping
        Coefficients in the conjugate form, Å, by name.

    Returns
    -------
    dict
        Of these coefficients alone `defocus`, `C12`, `phi12`, … for `lens.model_copy(update=…)`: Å
        and degrees.

    Notes
    -----
    Both sides are the same phase: S. Uhlemann and M. Haider, Ultramicroscopy 72 (1998) 109, and
    O. L. Krivanek, N. Dellby and A. R. Lupini, Ultramicroscopy 78 (1999) 1.
    """
    fields = {}
    for name, value in values.items():
        key, factor = _find_field(name)
        size, angle = write_polar(name, value)
        if name == "C1":
            fields["defocus"] = -size
            continue
        fields[f"C{key}"] = factor * size
        if find_symmetry(name):
            fields[f"phi{key}"] = angle
    return fields


def from_krivanek(lens: Lens) -> dict[str, complex]:
    """Complex coefficients of a lens.

    Parameters
    ----------
    lens : Lens
        All of its numbers fixed.

    Returns
    -------
    dict
        Every coefficient of `TERMS` in the conjugate form, Å.
    """
    values = {"C1": complex(-float(lens.defocus))}  # type: ignore[arg-type]
    for name in TERMS:
        key, factor = _find_field(name)
        if name != "C1":
            turn = np.deg2rad(float(getattr(lens, f"phi{key}", 0.0)))
            size = float(getattr(lens, f"C{key}")) / factor
            values[name] = complex(size * np.exp(1j * find_symmetry(name) * turn))
    return values


def _find_field(name: str) -> tuple[str, float]:
    """Indices nm of Krivanek's coefficient, and its size in units of the CEOS one."""
    symmetry, order = find_symmetry(name), find_order(name)
    return f"{order}{symmetry}", TERMS[name][2] * (order + 1)
