"""Specimens for electrons that come straight down: sheets on a support, particles on a film."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from ase import Atoms
from pydantic import Field, field_validator

from adatom.core.config import Config
from adatom.core.errors import ConfigError
from adatom.core.materials import get_material
from adatom.core.random import (
    Draw,
    NotNegative,
    Number,
    Positive,
    Share,
    draw_value,
    limits_of,
)
from adatom.simulate.drawing import OUTSIDE, choose_kind, draw_host, draw_structure
from adatom.simulate.structure import GrapheneConfig, MX2Config
from adatom.structures.particles import LARGEST, find_lattice, make_amorphous, make_particle
from adatom.structures.projection import label_columns, project_columns
from adatom.structures.sheets import make_sheet
from adatom.structures.vibrations import assign_amplitudes, load_amplitudes

RIM = OUTSIDE + 2.0  # Å of specimen around the image, from which electrons reach it
SEAM = 1.5  # Å between the specimen and its periodic image
GAP = 2.0  # Å between a film and what lies on it
STEEPEST = 10.0  # degrees, of a specimen that is tilted by the direction of the beam in it
SMALLEST = 3.0  # Å, radius of a particle
ABOVE = 1.0  # Å from the last atom to the plane of the wave


class ParticleConfig(Config):
    """Particles of a face-centered metal along [110]."""

    kind: Literal["particle"] = Field(description="Nanoparticles along [110].")
    share: float = Field(1.0, gt=0, description="How often this kind comes, against the others.")
    element: str = Field("Au", description="A face-centered cubic metal.")
    radius: Positive = Field(10.0, description="Radius, Å.")
    tilt: NotNegative = Field(0.0, description="Angle of [110] to the beam, degrees.")
    vibration: NotNegative = Field(0.008, description="Mean square displacement per axis, Å².")
    film: NotNegative = Field(0.0, description="Thickness of the carbon film below, Å.")
    film_density: Positive = Field(0.1, description="Atoms of the film, 1/Å³.")
    film_share: Share = Field(1.0, description="Chance that there is a film.")

    @field_validator("element")
    @classmethod
    def _is_a_metal(cls, symbol: str) -> str:
        try:
            find_lattice(symbol)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return symbol

    @field_validator("radius")
    @classmethod
    def _holds_atoms(cls, radius: float | Draw) -> float | Draw:
        if limits_of(radius)[0] < SMALLEST:
            raise ValueError(f"must be {SMALLEST:g} Å at least")
        return radius

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its columns."""
        return ("column",)


ThinConfig = Annotated[MX2Config | GrapheneConfig | ParticleConfig, Field(discriminator="kind")]


def name_columns(kind: ThinConfig) -> set[str]:
    """Labels of the columns of a kind of thin specimens, after what they consist of."""
    if isinstance(kind, MX2Config):
        hosts = map(get_material, kind.materials)
        return {host.name_column(label) for host in hosts for label in kind.labels}
    return set(kind.labels)


class ThinSpecimenConfig(Config):
    """How warm sheets are, how they lie, and on what."""

    temperature: Positive = Field(300.0, description="300 to 773 K.")
    vibrations: Literal["coordination", "element"] = Field(
        "coordination",
        description="Amplitudes by element and coordination, or by element as inside the sheet.",
    )
    tilt: NotNegative = Field(0.0, description="Angle of the normal to the beam, degrees.")
    support: str | None = Field(None, description="Formula of a sheet below, or none.")
    support_share: float = Field(1.0, gt=0, le=1, description="Chance that it is there.")
    support_distance: Positive = Field(3.4, description="Between the nearest planes of both, Å.")
    support_angle: Number = Field(0.0, description="Rotation of the lattice below, degrees.")

    @field_validator("tilt")
    @classmethod
    def _is_small(cls, tilt: float | Draw) -> float | Draw:
        if limits_of(tilt)[1] > STEEPEST:
            raise ValueError(f"must be {STEEPEST:g}° at most")
        return tilt


@dataclass(frozen=True)
class Specimen:
    """A structure in a periodic box, and where its columns are seen.

    Attributes
    ----------
    structure : Atoms
        In its box, the beam along z.
    displacements : (N,) array
        Mean square displacement of each atom along one axis across the beam, Å².
    tilt : (float, float)
        Direction of the beam in it [x, y], mrad.
    truth : DataFrame
        x, y (Å, in the box, as they are seen), label, n_atoms; one row per column.
    """

    structure: Atoms
    displacements: np.ndarray
    tilt: tuple[float, float]
    truth: pd.DataFrame


def box_side(size: float) -> float:
    """Side of the box (Å) around an image of `size`, Å."""
    return size + 2 * RIM + SEAM


def check_specimen(kinds: tuple[ThinConfig, ...], state: ThinSpecimenConfig, size: float) -> None:
    """Refuse what could not be drawn.

    Parameters
    ----------
    kinds, state, size
        As of `draw_specimen`.

    Raises
    ------
    ValueError
        If vibrations of an element or a temperature are not known, or a particle does not fit.
    """
    materials = [] if state.support is None else [state.support]
    for kind in kinds:
        if isinstance(kind, ParticleConfig):
            widest = 2 * LARGEST * limits_of(kind.radius)[1]
            if widest > box_side(size):
                raise ValueError(f"structure: a particle of {widest:.0f} Å does not fit the image")
            continue
        materials += kind.materials
        foreign = {"adatoms": kind.adatoms}
        if isinstance(kind, MX2Config):
            foreign["metal_dopant_share"] = kind.metal_dopant_share
            foreign["chalcogen_dopant_share"] = kind.chalcogen_dopant_share
        else:
            foreign["silicon"] = kind.silicon
        for name, share in foreign.items():
            if limits_of(share)[1] > 0:
                raise ValueError(f"structure.{name} must be 0: its vibrations are not known")
    for material in materials:
        for temperature in limits_of(state.temperature):
            try:
                load_amplitudes(material, temperature)
            except ConfigError as error:
                raise ValueError(str(error)) from error


def draw_specimen(
    kinds: tuple[ThinConfig, ...],
    state: ThinSpecimenConfig,
    size: float,
    rng: np.random.Generator,
) -> Specimen:
    """Draw a specimen of one of several kinds.

    Parameters
    ----------
    kinds : tuple of config
        Sheets and particles, each as often as its share says.
    state : ThinSpecimenConfig
        How warm sheets are, how they lie, and on what.
    size : float
        Side of the image, Å.
    rng : Generator
        Draws everything.

    Returns
    -------
    Specimen
        In a box somewhat larger than the image.
    """
    config = choose_kind(kinds, rng)
    if isinstance(config, ParticleConfig):
        return draw_particle(config, size, rng)
    return draw_sheet(config, state, size, rng)


def draw_sheet(
    config: MX2Config | GrapheneConfig,
    state: ThinSpecimenConfig,
    size: float,
    rng: np.random.Generator,
) -> Specimen:
    """Draw a sheet with its defects, and what it lies on.

    Parameters
    ----------
    config : MX2Config or GrapheneConfig
        The sheet.
    state : ThinSpecimenConfig
        Temperature, tilt, and what lies below.
    size : float
        Side of the image, Å.
    rng : Generator
        Draws everything.

    Returns
    -------
    Specimen
        The columns are those of the sheet, not of its support.
    """
    host = draw_host(config, rng)
    material = host.material
    if material is None:
        raise ValueError("config must be of a sheet")
    side = box_side(size)
    inner = side - SEAM - 2 * OUTSIDE  # what `draw_structure` surrounds by itself
    sheet = draw_structure(config, host, (inner, inner), rng)
    temperature = float(draw_value(state.temperature, rng))
    angle, azimuth = float(draw_value(state.tilt, rng)), rng.uniform(0, 2 * np.pi)
    slope = np.tan(np.deg2rad(angle)) * np.array([np.cos(azimuth), np.sin(azimuth)])
    parts = [(sheet, material.name)]
    if state.support is not None and (
        state.support_share == 1 or rng.random() < state.support_share
    ):
        parts.insert(0, (_lay_below(sheet, state, side, rng), state.support))
    by_coordination = state.vibrations == "coordination"
    displacements = [
        assign_amplitudes(part, name, temperature, by_coordination=by_coordination)[:, 0]
        for part, name in parts
    ]
    structure = parts[0][0] if len(parts) == 1 else parts[0][0] + sheet
    is_sheet = np.arange(len(structure)) >= len(structure) - len(sheet)
    structure = _box(structure, side)
    exit_height = structure.cell[2, 2]
    seen = structure[np.flatnonzero(is_sheet)]
    columns, column_of_atom = project_columns(seen)
    roles = label_columns(seen, column_of_atom, material)
    columns["label"] = [material.name_column(role) for role in roles]
    # The wave moves along the beam while it travels on to the upper end of the box.
    travel = np.bincount(column_of_atom, exit_height - seen.positions[:, 2], len(columns))
    columns["x"] += slope[0] * travel / columns["n_atoms"]
    columns["y"] += slope[1] * travel / columns["n_atoms"]
    tilt = 1e3 * slope
    return Specimen(
        structure, np.concatenate(displacements), (float(tilt[0]), float(tilt[1])), columns
    )


def draw_particle(config: ParticleConfig, size: float, rng: np.random.Generator) -> Specimen:
    """Draw a particle, on a film of amorphous carbon or without one.

    Parameters
    ----------
    config : ParticleConfig
        The particle and its film.
    size : float
        Side of the image, Å.
    rng : Generator
        Draws everything.

    Returns
    -------
    Specimen
        The columns of the particle, each at the mean of its atoms.
    """
    radius, tilt = float(draw_value(config.radius, rng)), float(draw_value(config.tilt, rng))
    particle = make_particle(config.element, radius, rng, tilt=tilt)
    free = max(size / 2 - radius, 0)
    particle.positions[:, :2] += box_side(size) / 2 + rng.uniform(-free, free, 2)
    vibration = float(draw_value(config.vibration, rng))
    return lay_on_film(particle, draw_film(config, size, rng), vibration, size)


def draw_film(config: ParticleConfig, size: float, rng: np.random.Generator) -> Atoms:
    """Draw the film below a particle: no atoms where there is none.

    Parameters
    ----------
    config, size, rng
        As of `draw_particle`.

    Returns
    -------
    Atoms
        Amorphous carbon, whose upper face is at z = 0.
    """
    if not config.film or rng.random() >= float(draw_value(config.film_share, rng)):
        return Atoms()
    thickness = float(draw_value(config.film, rng))
    density = float(draw_value(config.film_density, rng))
    extent = box_side(size) - SEAM
    film = make_amorphous("C", (thickness, extent, extent), density, rng)
    film.positions[:, 2] -= thickness
    return film


def lay_on_film(particle: Atoms, film: Atoms, vibration: float, size: float) -> Specimen:
    """Specimen of a particle on a film.

    Parameters
    ----------
    particle : Atoms
        Of `make_particle`, where it is seen in the box.
    film : Atoms
        Of `draw_film`.
    vibration : float
        Mean square displacement of the particle's atoms along an axis, Å².
    size : float
        Side of the image, Å.

    Returns
    -------
    Specimen
        The columns of the particle, each at the mean of its atoms.
    """
    column = particle.arrays["column"]
    count = np.bincount(column)
    x, y = (np.bincount(column, particle.positions[:, axis]) / count for axis in (0, 1))
    truth = pd.DataFrame({"x": x, "y": y, "n_atoms": count, "label": "column"})
    below = film.copy()
    below.positions[:, 2] += particle.positions[:, 2].min() - GAP
    structure = particle + below
    u2 = np.concatenate([np.full(len(particle), vibration), np.zeros(len(film))])
    return Specimen(_box(structure, box_side(size)), u2, (0.0, 0.0), truth)


def _lay_below(
    sheet: Atoms, state: ThinSpecimenConfig, side: float, rng: np.random.Generator
) -> Atoms:
    material = get_material(state.support or "")
    extent = side - SEAM
    offset = tuple(rng.uniform(-3, 3, 2))
    angle = float(draw_value(state.support_angle, rng))
    below = make_sheet(material, (extent, extent), angle=angle, offset=offset)
    lowest = sheet.positions[:, 2].min() if len(sheet) else 0.0
    distance = float(draw_value(state.support_distance, rng))
    below.positions[:, 2] += lowest - distance - below.positions[:, 2].max()
    return below


def _box(structure: Atoms, side: float) -> Atoms:
    """Put a structure into a periodic box that ends above its last atom."""
    boxed = structure.copy()
    if len(boxed):
        boxed.positions[:, 2] -= boxed.positions[:, 2].min() - ABOVE
    height = boxed.positions[:, 2].max() + ABOVE if len(boxed) else 2 * ABOVE
    boxed.set_cell((side, side, height))
    boxed.pbc = True
    return boxed
