"""From the images of a Zemlin tableau to aberrations: diffractograms, or probe triples."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field, field_validator

from adatom.core.errors import ConfigError, ImageError
from adatom.core.progress import Report, ignore_progress
from adatom.optics.diffractograms import fit_rings, prepare_rings, start_rings
from adatom.optics.microscope import electron_wavelength
from adatom.optics.probe_triples import (
    ProbeGrid,
    fit_probes,
    follow_probes,
    prepare_probes,
    start_probes,
)
from adatom.optics.spectra import Spectra, measure_spectra
from adatom.optics.tableau import (
    START,
    Point,
    TableauConfig,
    TableauFit,
    expect_sizes,
    fit_aberrations,
)
from adatom.optics.tilt import PARTS, TiltMeasurement, shift_coefficients

_REACH = 4.0  # sides of a tile over how far the images correlate
_TUNED = 10.0  # times a tuned microscope's: widest guess while tilts are missing
_LOOSE = 3.0  # the same for a probe, whose every triple sees all coefficients
_WANDER = 5.0  # Å: of the focus from triple to triple
_MOST_ROUNDS = 8
_REST = 0.1  # of its error, by which no coefficient moves any more
_SHORTEST = 40.0  # Å: side of a tile, however small the defocus
_DARK = 4.5  # standard deviations: rings that stand out by less may be noise
_FEWEST_TILES = 3.0  # along the side of a probe's image, or errors come out too small

# From the number of a tilt, coefficients around it and parameters found before.
Found = tuple[TiltMeasurement, np.ndarray, bool]
Measure = Callable[[int, np.ndarray, np.ndarray], Found]


class FilmConfig(TableauConfig):
    """A tableau of diffractograms of an amorphous film."""

    defocus: float = Field(
        2000.0, description="Nominal defocus, Å, + is underfocus; right within half of it."
    )
    focal_spread: float = Field(
        35.0, gt=0, description="Focal spread, 1/e half-width, Å; right within 30 %."
    )

    @field_validator("defocus")
    @classmethod
    def _shows_rings(cls, defocus: float) -> float:
        if defocus == 0:
            raise ValueError("must not be 0, as there are no rings in focus")
        return defocus


class ProbeConfig(TableauConfig):
    """A tableau of over-, in- and underfocused images of a scanned probe."""

    semi_angle: float = Field(25.0, gt=0, description="Convergence semi-angle, mrad.")
    focal_series: tuple[float, float, float] = Field(
        (-200.0, 0.0, 200.0), description="What each image adds to the defocus, Å."
    )
    k_min: float = Field(0.04, ge=0, description="Lowest frequency that is looked at, 1/Å.")
    k_max: float = Field(0.7, gt=0, description="Highest frequency that is looked at, 1/Å.")

    @field_validator("focal_series")
    @classmethod
    def _surrounds_focus(cls, series: tuple[float, float, float]) -> tuple[float, float, float]:
        if not (series[1] == 0 and series[0] * series[2] < 0):
            raise ValueError("must be one focus on either side and 0 between them")
        return series


def fit_film_tableau(
    images: np.ndarray,
    tilts: np.ndarray,
    pixel_size: float,
    *,
    config: FilmConfig,
    report: Report = ignore_progress,
) -> TableauFit:
    """Find aberrations from images of an amorphous film under tilted beams.

    Parameters
    ----------
    images : (N, H, W) array
        In the order in which they were taken, indexed [y, x].
    tilts : (N, 2) array
        Tilt of the beam along x and y in the images, mrad.
    pixel_size : float
        Å per pixel.
    config : FilmConfig
        What is asked for, and what is known.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    TableauFit
        Coefficients with errors that follow from the noise of the images.

    Raises
    ------
    ImageError
        If images and tilts do not fit together.
    ConfigError
        If more is asked than the tilts can give.
    """
    directions = _check(images, tilts, pixel_size, config, 3)
    wavelength = electron_wavelength(config.energy_eV)
    lag = 2 * wavelength * abs(config.defocus) * config.k_max
    spectra = _measure_spectra(images[:, None], pixel_size, _REACH * lag, config)
    rings = prepare_rings(spectra[0], wavelength, config.focal_spread)

    def measure(number: int, local: np.ndarray, known: np.ndarray) -> Found:
        return fit_rings(spectra[number], rings, directions[number], local, known)

    begun = [start_rings(seen, rings, config.defocus) for seen in spectra]
    notes = _find_film_doubts(
        [strength for _, strength in begun], pixel_size * min(images.shape[-2:]), config
    )
    starts = [parameters for parameters, _ in begun]
    point = _start_inside(measure, directions, starts, config)
    return _warn(_iterate(measure, directions, (point, starts), config, report), notes)


def _find_film_doubts(strengths: Sequence[float], side: float, config: FilmConfig) -> list[str]:
    """What the rings found, and the side of the images, Å, say against a tableau."""
    notes = [
        f"image {number} shows no rings within half of the defocus of {config.defocus:g} Å (what "
        f"comes nearest stands out by {strength:.1f} standard deviations)"
        for number, strength in enumerate(strengths, 1)
        if strength < _DARK
    ]
    lag = 2 * electron_wavelength(config.energy_eV) * abs(config.defocus)
    if side < _REACH * lag * config.k_max:
        notes.append(
            f"images of {side:.0f} Å do not hold the rings up to k_max: they must be "
            f"{_REACH * lag * config.k_max:.0f} Å wide, or k_max {side / (_REACH * lag):.2g} 1/Å"
        )
    return notes


def fit_probe_tableau(
    images: np.ndarray,
    tilts: np.ndarray,
    pixel_size: float,
    *,
    config: ProbeConfig,
    report: Report = ignore_progress,
) -> TableauFit:
    """Find the aberrations of a probe from three images of one object at each tilt.

    Parameters
    ----------
    images : (N, 3, H, W) array
        The three images of each tilt in the order of `focal_series`, the tilts in the order in
        which they were taken, indexed [y, x].
    tilts, pixel_size, report
        As of `fit_film_tableau`.
    config : ProbeConfig
        What is asked for, and what is known.

    Returns
    -------
    TableauFit
        Coefficients with errors that follow from the noise of the images.

    Raises
    ------
    ImageError
        If images and tilts do not fit together.
    ConfigError
        If more is asked than the tilts can give.
    """
    directions = _check(images, tilts, pixel_size, config, 4)
    wavelength = electron_wavelength(config.energy_eV)
    angle = 1e-3 * config.semi_angle
    widest = 2 * angle * max(abs(focus) for focus in config.focal_series)
    spectra = _measure_spectra(images, pixel_size, _REACH * widest, config)
    grid = prepare_probes(spectra[0], wavelength, angle, config.focal_series)

    def measure(number: int, local: np.ndarray, known: np.ndarray) -> Found:
        return fit_probes(spectra[number], grid, directions[number], local, known)

    start = _follow_inside(spectra, grid, directions, config)
    result = _iterate(measure, directions, start, config, report)
    side, wanted = pixel_size * min(images.shape[-2:]), _FEWEST_TILES * _REACH * widest
    if side < wanted:
        note = f"images of {side:.0f} Å make errors too small: they should be {wanted:.0f} Å wide"
        return _warn(result, [note])
    return result


def _check(
    images: np.ndarray, tilts: np.ndarray, pixel_size: float, config: TableauConfig, n_dims: int
) -> list[complex]:
    """Refuse what does not fit together; give the tilts as complex numbers, rad."""
    given = np.asarray(tilts, float)
    if not np.isfinite(given).all():
        raise ImageError(f"tilts: must be finite numbers, mrad (got {given.tolist()})")
    n_images = len(images)
    if np.ndim(images) != n_dims or given.shape != (n_images, 2) or n_images == 0:
        wanted = "(N, H, W)" if n_dims == 3 else "(N, 3, H, W)"
        raise ImageError(
            f"images: must be {wanted} with N tilts along x and y (got {np.shape(images)} and "
            f"{given.shape})"
        )
    if n_dims == 4 and np.shape(images)[1] != 3:
        raise ImageError(f"images: must be three for each tilt (got {np.shape(images)[1]})")
    if not 0 < pixel_size < np.inf:
        raise ImageError(f"pixel_size: must be a number above 0 Å (got {pixel_size})")
    if not config.k_min < config.k_max <= 0.5 / pixel_size:
        raise ConfigError(
            f"k_max: must lie between k_min and {0.5 / pixel_size:.3g} 1/Å, the highest frequency "
            f"of the pixels (got {config.k_max:g})"
        )
    return [complex(1e-3 * x, 1e-3 * y) for x, y in given]


def _measure_spectra(
    images: np.ndarray, pixel_size: float, length: float, config: TableauConfig
) -> list[Spectra]:
    """Spectra of the (N, C, H, W) images of all tilts, in tiles of one length, Å."""
    found = []
    for number, seen in enumerate(images, 1):
        try:
            limits = (config.k_min, config.k_max)
            found.append(measure_spectra(seen, pixel_size, max(length, _SHORTEST), limits))
        except ImageError as error:
            raise ImageError(f"tilt {number}: {error}") from error
    return found


def _warn(fit: TableauFit, notes: Sequence[str]) -> TableauFit:
    return replace(fit, warnings=(*fit.warnings, *notes))


def _start_inside(
    measure: Measure, tilts: Sequence[complex], starts: list[np.ndarray], config: TableauConfig
) -> Point:
    """Coefficients from ring after ring, each fitted with those that the rings inside of it say."""
    radii = np.round(np.abs(tilts), 4)
    point, seen = START, []
    everything = config.model_copy(update={"order": 5})
    for radius in np.unique(radii):
        for number in np.flatnonzero(radii == radius).tolist():
            found, starts[number], _ = measure(number, point.look(tilts[number]), starts[number])
            seen.append(found)
        fit = fit_aberrations(seen, config=everything, point=point, widths=_TUNED)
        point = Point(fit.parts, fit.tilt_scale)
    return point


def _follow_inside(
    spectra: Sequence[Spectra], grid: ProbeGrid, tilts: Sequence[complex], config: TableauConfig
) -> tuple[Point, list[np.ndarray]]:
    """Coefficients from probe after probe, from the inside, each from what is known by then.

    The shape of a probe alone tells all coefficients a little: too many to be sure of, but enough
    to begin with where each tilt would have many optima by itself.
    """
    order = np.argsort(np.abs(tilts), kind="stable").tolist()
    parts = np.zeros(len(PARTS))
    parts[:3] = start_probes(spectra[order[0]], grid)
    covariance = np.diag((_LOOSE * expect_sizes()) ** 2)
    starts: list[np.ndarray] = [parts] * len(tilts)
    for number in order:
        move = shift_coefficients(tilts[number])
        local = move @ parts
        # The tilt may be wrong, and the focus has wandered.
        doubt = (config.tilt_error * (local - parts)) ** 2
        doubt[0] += _WANDER**2
        known = move @ covariance @ move.T + np.diag(doubt)
        local, known, starts[number] = follow_probes(spectra[number], grid, local, known)
        back = np.linalg.inv(move)
        parts, covariance = back @ local, back @ known @ back.T
    return Point(parts, 0.0), starts


def _iterate(
    measure: Measure,
    tilts: Sequence[complex],
    start: tuple[Point, list[np.ndarray]],
    config: TableauConfig,
    report: Report,
) -> TableauFit:
    """Measure all tilts with the coefficients that they say, until nothing moves.

    Higher orders bias rings and moments at large tilts.
    """
    point, known = start
    for step in range(_MOST_ROUNDS):
        report(step, _MOST_ROUNDS, f"all tilts, round {step + 1}")
        found = [
            measure(number, point.look(tilt), known[number]) for number, tilt in enumerate(tilts)
        ]
        known = [parameters for _, parameters, _ in found]
        result = fit_aberrations([seen for seen, *_ in found], config=config, point=point)
        moved = np.abs(result.parts - point.parts) > _REST * result.part_errors
        point = Point(result.parts, result.tilt_scale)
        if not moved.any():
            break
    restless = [str(number) for number, (*_, is_at_rest) in enumerate(found, 1) if not is_at_rest]
    notes = []
    if moved.any():
        names = dict.fromkeys(
            part[:2] for part, is_moving in zip(PARTS, moved, strict=True) if is_moving
        )
        notes.append(f"{', '.join(names)} did not come to rest in {_MOST_ROUNDS} rounds")
    if restless:
        notes.append(f"the fit of tilt {', '.join(restless)} did not come to rest")
    return _warn(result, notes)
