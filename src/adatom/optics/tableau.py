"""Aberrations from what tilted beams see: weighted least squares with honest errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field, field_validator
from scipy.stats import chi2

from adatom.core.config import Config
from adatom.core.errors import ConfigError, ImageError
from adatom.optics.aberration_table import UNITS, AberrationTable, name_parts
from adatom.optics.ceos import TERMS, find_order, find_symmetry, write_polar
from adatom.optics.microscope import electron_wavelength
from adatom.optics.tilt import (
    PARTS,
    TiltMeasurement,
    find_quarter_angle,
    shift_coefficients,
    unpack_parts,
)

# Sizes in a well-tuned corrected microscope, Å: what is expected of orders that were not asked for.
TYPICAL = {
    "C1": 15.0,
    "A1": 15.0,
    "B2": 70.0,
    "A2": 140.0,
    "C3": 4e3,
    "S3": 1.3e3,
    "A3": 4e3,
    "B4": 5e4,
    "D4": 5e4,
    "A4": 1.7e5,
    "C5": 2e7,
    "S5": 3e6,
    "R5": 3e6,
    "A5": 2e7,
}
FREE = 1e5  # times these sizes: no rule at all
_UNLIKELY = 1e-3  # a larger χ² by chance
_DRIFT = 100.0  # Å an image: a drift of the focus that is far beyond any


class TableauConfig(Config):
    """What is asked of a tableau, and what is known of the microscope."""

    energy_eV: float = Field(200e3, gt=0, description="Electron energy, eV.")
    order: int = Field(
        5,
        ge=1,
        le=5,
        description="Highest order asked for; higher ones are taken for those of a tuned lens.",
    )
    without: tuple[str, ...] = Field((), description="Coefficients that are taken for 0.")
    tilt_error: float = Field(
        0.01, ge=0, description="Standard deviation of the scale of the tilts, as a share."
    )
    focus_walk: float = Field(
        2.0, ge=0, description="Random walk of the focus from tilt to tilt, rms, Å."
    )
    k_min: float = Field(0.08, ge=0, description="Lowest frequency that is looked at, 1/Å.")
    k_max: float = Field(0.6, gt=0, description="Highest frequency that is looked at, 1/Å.")

    @field_validator("without")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in TERMS]
        if unknown:
            raise ValueError(f"must be of {', '.join(TERMS)}, not {', '.join(unknown)}")
        return names

    @property
    def asked(self) -> list[str]:
        """Names of the coefficients that are asked for."""
        return [name for name in TERMS if find_order(name) <= self.order and self.has(name)]

    def has(self, name: str) -> bool:
        """Whether a coefficient is not taken for 0."""
        return name not in self.without


@dataclass(frozen=True)
class Point:
    """Where the equations of a tableau are made linear.

    Attributes
    ----------
    parts : (25,) array
        Coefficients that were held while the tilts were measured, Å.
    tilt_scale : float
        True tilts over those told, minus 1.
    """

    parts: np.ndarray
    tilt_scale: float

    def look(self, tilt: complex) -> np.ndarray:
        """Coefficients around a tilted beam, (25,), Å."""
        return shift_coefficients(tilt * (1 + self.tilt_scale)) @ self.parts


@dataclass(frozen=True)
class TableauFit:
    """Aberrations of a tableau.

    Attributes
    ----------
    table : AberrationTable
        The coefficients that were asked for, with covariance.
    conditioning : dict
        How many times the error of a coefficient is that which it had if all others were known.
    chi_square : float
        Sum of squared residuals over their errors.
    n_free : int
        Degrees of freedom: equations less the unknowns that they settle; 0 if none is left over.
    quarter_angle : float
        Angle up to which aberrations but C1 and A1 turn the phase by at most π/4, mrad.
    tilt_scale, tilt_scale_err : float
        True tilts over those told, minus 1, and its error.
    focus_drift, focus_drift_err : float
        Drift of C1, which is the negative defocus, from tilt to tilt, and its error, Å.
    tilts : DataFrame
        One row per tilt: `tilt_x tilt_y` (mrad), `C1 A1_x A1_y` measured, their errors `C1_err
        A1_x_err A1_y_err`, and what the fit expects, `C1_fit A1_x_fit A1_y_fit` (Å).
    warnings : tuple of str
        What the user should know before trusting it.
    parts, part_errors : (25,) array
        All numbers of `tilt.PARTS`, those that were not asked for too, and their errors, Å.
    measurements : tuple of TiltMeasurement
        What the tilts saw, to be fitted again with `fit_aberrations` and another configuration.
    point : Point
        What was held while they were measured.
    """

    table: AberrationTable
    conditioning: dict[str, float]
    chi_square: float
    n_free: int
    quarter_angle: float
    tilt_scale: float
    tilt_scale_err: float
    focus_drift: float
    focus_drift_err: float
    tilts: pd.DataFrame
    warnings: tuple[str, ...]
    parts: np.ndarray
    part_errors: np.ndarray
    measurements: tuple[TiltMeasurement, ...]
    point: Point


START = Point(np.zeros(len(PARTS)), 0.0)


def fit_aberrations(
    measurements: Sequence[TiltMeasurement],
    *,
    config: TableauConfig,
    point: Point = START,
    widths: float = FREE,
) -> TableauFit:
    """Fit coefficients to the defoci and astigmatisms that tilted beams see.

    Parameters
    ----------
    measurements : sequence of TiltMeasurement
        In the order in which they were taken.
    config : TableauConfig
        What is asked for.
    point : Point
        What was held while they were measured.
    widths : float
        Standard deviation beforehand of the coefficients that are asked for, in units of `TYPICAL`.

    Returns
    -------
    TableauFit
        Most likely coefficients with their errors.

    Raises
    ------
    ConfigError
        If there are fewer equations than coefficients asked for.
    ImageError
        If the error of a tilt could not be found.

    Notes
    -----
    Three equations per tilt (`tilt.shift_coefficients`), linear in the coefficients. The scale of
    the tilts is one more unknown, of which `tilt_error` is known beforehand, and so is the drift of
    the focus; its random walk correlates the errors of C1'. Coefficients beyond the order asked for
    are unknowns too, which are expected to be as small as in a tuned microscope.
    """
    n_asked = len(name_parts(config.asked))
    if widths == FREE and 3 * len(measurements) < n_asked:
        raise ConfigError(
            f"order: must leave at most {3 * len(measurements)} unknowns for "
            f"{len(measurements)} tilts (got {n_asked})"
        )
    design, values, root = _make_equations(measurements, config, point)
    sizes = expect_sizes() * np.where([part[:2] in config.asked for part in PARTS], widths, 1)
    is_kept = np.array([config.has(part[:2]) for part in PARTS] + [True, True])
    scales = np.append(sizes, [max(config.tilt_error, 1e-9), _DRIFT])[is_kept]
    found = _solve(np.linalg.solve(root, design[:, is_kept]), np.linalg.solve(root, values), scales)
    unknowns, covariance, lone = np.zeros(len(is_kept)), np.zeros((len(is_kept),) * 2), np.ones(27)
    unknowns[is_kept], covariance[np.ix_(is_kept, is_kept)], lone[is_kept] = found[:3]
    # The drift, too, is known beforehand by next to nothing.
    is_free = np.array([part[:2] in config.asked for part in PARTS] + [False, True])[is_kept]
    settled = 1 - np.diag(found[1]) / scales**2
    n_free = 3 * len(measurements) - round(float(settled[is_free].sum()))
    residuals = (values - design @ unknowns).reshape(-1, 3)
    errors = np.sqrt(np.diag(covariance))
    table = _make_table(unknowns, covariance, config)
    wavelength = electron_wavelength(config.energy_eV)
    return TableauFit(
        table=table,
        conditioning={
            name: float(max(lone[k] for k, part in enumerate(PARTS) if part[:2] == name))
            for name in config.asked
        },
        chi_square=found[3],
        n_free=n_free,
        quarter_angle=find_quarter_angle(dict(table.values), wavelength),
        tilt_scale=float(unknowns[-2]),
        tilt_scale_err=float(errors[-2]),
        focus_drift=float(unknowns[-1]),
        focus_drift_err=float(errors[-1]),
        tilts=_list_tilts(measurements, residuals),
        warnings=_find_doubts(measurements, table, residuals, (found[3], n_free)),
        parts=unknowns[: len(PARTS)],
        part_errors=errors[: len(PARTS)],
        measurements=tuple(measurements),
        point=point,
    )


def expect_sizes() -> np.ndarray:
    """Standard deviations of the 25 numbers of `tilt.PARTS` in a tuned microscope, Å."""
    return np.array([_expect_size(part) for part in PARTS])


def _expect_size(part: str) -> float:
    """Standard deviation of one real number of a coefficient of a tuned microscope, Å."""
    name = part[:2]
    return TYPICAL[name] / (np.sqrt(2) if find_symmetry(name) else 1)


def _make_equations(
    measurements: Sequence[TiltMeasurement], config: TableauConfig, point: Point
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrix and right side of the equations, and the root of the covariance of their errors."""
    n = len(measurements)
    design = np.zeros((n, 3, len(PARTS) + 2))
    values = np.zeros((n, 3))
    step = 1e-4
    for row, seen in enumerate(measurements):
        ends = [point.look(seen.tilt * (1 + sign * step)) for sign in (1, -1)]
        by_scale = (ends[0] - ends[1]) / (2 * step * (1 + point.tilt_scale))
        # What was held while an image was fitted moves its C1' and A1'.
        effect = np.eye(3, len(PARTS)) - seen.slopes
        design[row, :, :-2] = effect @ shift_coefficients(seen.tilt * (1 + point.tilt_scale))
        design[row, :, -2] = effect @ by_scale
        design[row, 0, -1] = row
        values[row] = seen.values - seen.slopes @ point.look(seen.tilt)
        values[row] += design[row, :, -2] * point.tilt_scale
    covariance = np.zeros((n, 3, n, 3))
    for row, seen in enumerate(measurements):
        if not (np.linalg.eigvalsh(seen.covariance) > 0).all():
            raise ImageError(
                f"measurements: the covariance of tilt {row + 1} must be positive definite (got "
                f"variances {np.diag(seen.covariance)})"
            )
        covariance[row, :, row] = seen.covariance
    order = np.arange(n)
    covariance[:, 0, :, 0] += config.focus_walk**2 * np.minimum(order[:, None], order)
    root = np.linalg.cholesky(covariance.reshape(3 * n, 3 * n))
    return design.reshape(3 * n, -1), values.ravel(), root


def _solve(
    rows: np.ndarray, values: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Unknowns around 0 within `scales`, their covariance, by how much others widen it, and χ²."""
    # In units of what is expected of them, unknowns differ by few powers of ten.
    stacked = np.vstack([rows * scales, np.eye(len(scales))])
    right = np.append(values, np.zeros(len(scales)))
    u, s, v = np.linalg.svd(stacked, full_matrices=False)
    scaled = v.T @ (u.T @ right / s)
    covariance = (v.T / s**2) @ v
    alone = np.sqrt(np.diag(covariance) * np.sum(stacked**2, axis=0))
    chi_square = float(np.sum((right - stacked @ scaled) ** 2))
    return scaled * scales, covariance * scales[:, None] * scales, alone, chi_square


def _make_table(
    unknowns: np.ndarray, covariance: np.ndarray, config: TableauConfig
) -> AberrationTable:
    values = unpack_parts(unknowns[: len(PARTS)])
    places = [PARTS.index(part) for part in name_parts(config.asked)]
    errors = {
        name: float(
            np.sqrt(np.mean([covariance[k, k] for k in places if PARTS[k].startswith(name)]))
        )
        for name in config.asked
    }
    chosen = {name: values[name] for name in config.asked}
    return AberrationTable(chosen, errors, covariance[np.ix_(places, places)])


def _list_tilts(measurements: Sequence[TiltMeasurement], residuals: np.ndarray) -> pd.DataFrame:
    rows = []
    for seen, residual in zip(measurements, residuals, strict=True):
        row = {"tilt_x": 1e3 * seen.tilt.real, "tilt_y": 1e3 * seen.tilt.imag}
        errors = np.sqrt(np.diag(seen.covariance))
        for index, name in enumerate(("C1", "A1_x", "A1_y")):
            value = float(seen.values[index])
            row |= {name: value, f"{name}_err": float(errors[index])}
            row[f"{name}_fit"] = value - float(residual[index])
        rows.append(row)
    return pd.DataFrame(rows)


def _find_doubts(
    measurements: Sequence[TiltMeasurement],
    table: AberrationTable,
    residuals: np.ndarray,
    fit: tuple[float, int],
) -> tuple[str, ...]:
    notes = []
    largest = 1e3 * max(abs(seen.tilt) for seen in measurements)
    for name, error in table.errors.items():
        if error > _expect_size(name):
            unit, factor = UNITS[find_order(name)]
            notes.append(
                f"tilts up to {largest:.3g} mrad do not see {name}: its error of "
                f"{error / factor:.2g} {unit} is above its size in a tuned microscope, "
                f"{TYPICAL[name] / factor:g} {unit}"
            )
    chi_square, n_free = fit
    if n_free > 0 and chi2.sf(chi_square, n_free) < _UNLIKELY:
        # By their astigmatism, as the focus wanders.
        off = [
            residual[1:] @ np.linalg.solve(seen.covariance[1:, 1:], residual[1:])
            for seen, residual in zip(measurements, residuals, strict=True)
        ]
        notes.append(
            f"χ² of {chi_square:.0f} for {n_free} degrees of freedom: the coefficients do not "
            f"explain the tilts, tilt {np.argmax(off) + 1} least of all; one may be left out, the "
            "focus may wander by more than focus_walk, or a tilt be another than was told"
        )
    return tuple(notes)


def format_tableau(fit: TableauFit) -> str:
    """Show a tableau to people.

    Parameters
    ----------
    fit : TableauFit
        Of `fit_aberrations`.

    Returns
    -------
    str
        One line per coefficient, its size rounded as its error is, then χ², and the π/4 angle, the
        scale of the tilts and the drift where the tableau tells them.
    """
    lines = ["       size          1σ           azimuth     conditioning"]
    for name, value in fit.table.values.items():
        unit, factor = UNITS[find_order(name)]
        size, angle = write_polar(name, value)
        turn = f"{angle:9.1f}°" if find_symmetry(name) else " " * 10
        error = fit.table.errors[name] / factor
        n_decimals = int(np.clip(1 - np.floor(np.log10(error)), 0, 6))
        lines.append(
            f"{name} {size / factor:10.{n_decimals}f} {unit} ± {error:8.{n_decimals}f} {unit} "
            f"{turn} {fit.conditioning[name]:14.1f}"
        )
    lines.append(f"χ² {fit.chi_square:.1f} for {fit.n_free} degrees of freedom")
    if not {"C1", "A1"}.issuperset(fit.table.values):
        lines.append(f"π/4 angle {fit.quarter_angle:.1f} mrad (of these without C1 and A1)")
    if len(fit.measurements) > 1:
        scale, drift = 100 * fit.tilt_scale, fit.focus_drift
        lines += [
            f"tilts {scale:+.2f} ± {100 * fit.tilt_scale_err:.2f} % beyond those told",
            f"C1 drifts by {drift:+.2f} ± {fit.focus_drift_err:.2f} Å from tilt to tilt",
        ]
    return "\n".join(lines)
