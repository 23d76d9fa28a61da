"""Electron dose and dwell time of a data set, and those of published ones."""

from dataclasses import dataclass
from importlib import resources

import pandas as pd
from pydantic import Field, PositiveInt

from adatom.core.config import Config
from adatom.core.errors import ConfigError
from adatom.core.materials import get_material

TABLE = "published_doses.csv"
_ELECTRONS = 6.241509  # per pA and µs


class DoseConfig(Config):
    """What a data set was recorded with; a file may fill in what is not given."""

    beam_current: float | None = Field(None, gt=0, description="Beam current, pA.")
    dwell_time: float | None = Field(None, gt=0, description="Time on a pixel, µs.")
    frame_time: float | None = Field(
        None, gt=0, description="Time of a frame with its fly-back, s; needs the shape."
    )
    pixel_size: float | None = Field(None, gt=0, description="Å per pixel.")
    shape: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Height and width of a frame, px."
    )
    frames: int | None = Field(None, ge=1, description="Number of frames (1).")
    material: str | None = Field(
        None, description="Formula of a monolayer, for what falls on an atom."
    )


@dataclass(frozen=True)
class Dose:
    """Electrons and time that a data set cost.

    Attributes
    ----------
    electrons_per_pixel : float
        Electrons that hit the specimen while a pixel is recorded.
    dose_per_frame, total_dose : float
        e/Å² of one frame, and of all.
    dose_rate : float or None
        e/(Å² s), the mean over a frame; None where neither shape nor frame time are known.
    dwell_per_area, total_dwell_per_area : float
        Time that the beam spends on an area, in one frame and in all, µs/Å².
    electrons_per_atom, dwell_per_atom : float or None
        Electrons that fall on the area of an atom in one frame, and the time, µs, that the beam
        spends on it; None where no material is named.
    n_frames : int
        How many frames.
    """

    electrons_per_pixel: float
    dose_per_frame: float
    total_dose: float
    dose_rate: float | None
    dwell_per_area: float
    total_dwell_per_area: float
    electrons_per_atom: float | None
    dwell_per_atom: float | None
    n_frames: int


def calculate_dose(config: DoseConfig) -> Dose:
    """Dose and dwell time from beam current, time and pixel size.

    Parameters
    ----------
    config : DoseConfig
        Beam current, pixel size, and dwell time or frame time with shape.

    Returns
    -------
    Dose
        Per frame and in all.

    Raises
    ------
    ConfigError
        If one of them is missing, the frame time is shorter than all dwell times, or the material
        is not known.

    Notes
    -----
    Dose = I τ/(e p²) of one frame, for current I, dwell time τ and pixel size p. Fly-back is not
    counted, unless a frame time is given: then the beam is taken to stay on the field of view
    throughout, and τ is the frame time over the number of pixels. Electrons per pixel count the
    dwell time alone where both are given.

    Examples
    --------
    >>> dose = calculate_dose(DoseConfig(beam_current=30, dwell_time=4, pixel_size=0.1))
    >>> round(dose.electrons_per_pixel), round(dose.dose_per_frame)
    (749, 74898)
    """
    current = _require(config.beam_current, "beam_current", "pA")
    area = _require(config.pixel_size, "pixel_size", "Å") ** 2
    on_pixel, with_flyback = _find_times(config)
    n_frames = config.frames or 1
    per_frame = _ELECTRONS * current * with_flyback / area
    duration = config.frame_time
    if duration is None and config.shape is not None:
        duration = 1e-6 * with_flyback * config.shape[0] * config.shape[1]
    area_per_atom = None
    if config.material is not None:
        material = get_material(config.material)
        area_per_atom = material.cell_area / material.atoms_per_cell
    return Dose(
        electrons_per_pixel=_ELECTRONS * current * on_pixel,
        dose_per_frame=per_frame,
        total_dose=per_frame * n_frames,
        dose_rate=None if duration is None else per_frame / duration,
        dwell_per_area=with_flyback / area,
        total_dwell_per_area=with_flyback / area * n_frames,
        electrons_per_atom=None if area_per_atom is None else per_frame * area_per_atom,
        dwell_per_atom=None if area_per_atom is None else with_flyback / area * area_per_atom,
        n_frames=n_frames,
    )


def _require(value: float | None, name: str, unit: str) -> float:
    if value is None:
        raise ConfigError(f"{name}: must be given in {unit}, for no file says it (got nothing)")
    return value


def _find_times(config: DoseConfig) -> tuple[float, float]:
    """Time per pixel, µs: that of recording, and that with its share of the fly-back."""
    if config.frame_time is None:
        dwell = _require(config.dwell_time, "dwell_time", "µs")
        return dwell, dwell
    if config.shape is None:
        raise ConfigError("shape: must be given with a frame time (got nothing)")
    n_pixels = config.shape[0] * config.shape[1]
    share = 1e6 * config.frame_time / n_pixels
    dwell = config.dwell_time or share
    if dwell > 1.001 * share:  # files round their times
        raise ConfigError(
            f"frame_time: must not be below the {1e-6 * dwell * n_pixels:.4g} s that all pixels "
            f"take (got {config.frame_time})"
        )
    return dwell, share


def load_published_doses() -> pd.DataFrame:
    """Doses of published data sets: a table that ships with adatom.

    Returns
    -------
    DataFrame
        Columns name, material, technique, energy_eV (eV), dose_per_frame and total_dose (e/Å²),
        beam_current_pA (pA), dwell_time_us (µs), pixel_size (Å), frame_time_s (s), reference, doi,
        and where the numbers stand. Numbers that the text does not give are NaN.
    """
    with resources.files("adatom.optics").joinpath(TABLE).open(encoding="utf-8") as file:
        return pd.read_csv(file)
