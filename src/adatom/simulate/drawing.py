"""Structures to learn from, drawn from the ranges of a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from adatom.core.materials import Material, get_material
from adatom.core.random import draw_value
from adatom.simulate.structure import (
    CrystalConfig,
    GeometryConfig,
    GrapheneConfig,
    LatticeConfig,
    MX2Config,
    PointsConfig,
    SheetConfig,
    StructureConfig,
)
from adatom.structures.crystals import (
    HEAVIEST,
    LIGHTEST,
    PROJECTIONS,
    Projection,
    draw_projection,
    make_crystal,
    scatter_atoms,
)
from adatom.structures.edits import (
    add_adatoms,
    cut_holes,
    join_grains,
    keep_patches,
    remove_atoms,
    remove_chalcogens,
    strain_sheet,
    substitute,
)
from adatom.structures.graphene import dope_with_silicon
from adatom.structures.sheets import make_sheet

OUTSIDE = 3.0  # Å around the image that holds columns too


@dataclass(frozen=True)
class Host:
    """What a structure consists of.

    Attributes
    ----------
    number : int
        Atomic number of the element that brightness is measured against.
    material : Material or None
        Of a sheet.
    projection : Projection or None
        Of a crystal.
    """

    number: int
    material: Material | None = None
    projection: Projection | None = None

    @property
    def has_depth(self) -> bool:
        """Whether it is known where the atoms of its columns are."""
        return self.material is not None or bool(self.projection and self.projection.atoms)


class _Kind(Protocol):
    @property
    def share(self) -> float: ...


Kind = TypeVar("Kind", bound=_Kind)


def choose_kind(kinds: Sequence[Kind], rng: np.random.Generator) -> Kind:
    """Draw one of several kinds of structures, each as often as its share says.

    Parameters
    ----------
    kinds : sequence of config
        The kinds.
    rng : Generator
        Not used if there is only one.

    Returns
    -------
    config
        One of them.
    """
    if len(kinds) == 1:
        return kinds[0]
    shares = np.array([kind.share for kind in kinds])
    return kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]


def draw_host(config: StructureConfig, rng: np.random.Generator) -> Host:
    """Draw what a structure consists of.

    Parameters
    ----------
    config : StructureConfig
        Its materials or crystals.
    rng : Generator
        Draws one of them.

    Returns
    -------
    Host
        Material or projected crystal, and the element that brightness is measured against.
    """
    if isinstance(config, MX2Config | GrapheneConfig):
        material = get_material(str(rng.choice(config.materials)))
        return Host(atomic_numbers[material.elements[0][1]], material=material)
    if isinstance(config, PointsConfig):
        return Host(int(rng.integers(LIGHTEST, HEAVIEST + 1)))
    names = config.crystals
    projection = PROJECTIONS[str(rng.choice(names))] if names else draw_projection(rng)
    return Host(max(column[0] for column in projection.columns), projection=projection)


def draw_structure(
    config: StructureConfig, host: Host, size: tuple[float, float], rng: np.random.Generator
) -> Atoms:
    """Draw a structure with its defects.

    Parameters
    ----------
    config : StructureConfig
        Ranges of everything.
    host : Host
        What it consists of.
    size : tuple of float
        Height and width of the image, Å; the structure reaches 3 Å further on every side.
    rng : Generator
        Draws everything.

    Returns
    -------
    Atoms
        Structure whose origin lies at (-3, -3) Å of the image.
    """
    full = (size[0] + 2 * OUTSIDE, size[1] + 2 * OUTSIDE)
    scale, shear = float(draw_value(config.scale, rng)), float(draw_value(config.shear, rng))
    # Strain must not uncover a corner.
    area = (full[0] / (scale - 2 * shear) + 6, full[1] / (scale - 2 * shear) + 6)
    if isinstance(config, PointsConfig):
        density, distance = (draw_value(v, rng) for v in (config.density, config.min_distance))
        sheet = scatter_atoms(area, host.number, float(density), float(distance), rng)
    else:
        sheet = _draw_grains(config, host, area, rng)
        if isinstance(config, MX2Config):
            sheet = _damage_mx2(sheet, config, rng)
        elif isinstance(config, GrapheneConfig):
            sheet = _damage_graphene(sheet, config, rng)
        else:
            sheet = _damage_crystal(sheet, config, area, rng)
        if isinstance(config, SheetConfig) and config.adatom_elements:
            adatoms = float(draw_value(config.adatoms, rng))
            sheet = add_adatoms(sheet, config.adatom_elements, adatoms, rng)
    if rng.random() < float(draw_value(config.holes, rng)):
        sheet = cut_holes(sheet, _draw_holes(area, rng))
    gradient = (scale - 1) * np.eye(2) + shear * rng.uniform(-1, 1, (2, 2))
    sheet = strain_sheet(sheet, gradient)
    _displace(sheet, config, rng)
    sheet.positions[:, :2] -= (np.array(area[::-1]) - full[::-1]) / 2
    inside = ((sheet.positions[:, :2] >= 0) & (sheet.positions[:, :2] < full[::-1])).all(1)
    return sheet[np.flatnonzero(inside)]


def _draw_grains(
    config: LatticeConfig, host: Host, area: tuple[float, float], rng: np.random.Generator
) -> Atoms:
    """Fill the area with the lattice of the host, in one orientation or two."""

    def grain() -> Atoms:
        offset = tuple(rng.uniform(-3, 3, 2))
        angle = float(draw_value(config.angle, rng))
        if host.material is not None:
            return make_sheet(host.material, area, angle=angle, offset=offset)
        if host.projection is None:
            raise ValueError("host must be a sheet or a crystal to have grains")
        return make_crystal(host.projection, area, angle=angle, offset=offset)

    sheet = grain()
    if rng.random() < float(draw_value(config.grain_boundary, rng)):
        point = tuple(rng.uniform(0.2, 0.8, 2) * area)
        normal = float(rng.uniform(0, 360))
        closest = 1.1 if isinstance(config, GrapheneConfig) else 1.3
        sheet = join_grains(sheet, grain(), point, normal, min_distance=closest)
    return sheet


def _damage_mx2(sheet: Atoms, config: MX2Config, rng: np.random.Generator) -> Atoms:
    sheet = remove_chalcogens(
        sheet,
        float(draw_value(config.vacancies, rng)),
        rng,
        both=float(draw_value(config.double_vacancies, rng)),
    )
    sheet = remove_atoms(sheet, float(draw_value(config.metal_vacancies, rng)), rng, site="M")
    for site, elements, share in (
        ("M", config.metal_dopants, config.metal_dopant_share),
        ("X", config.chalcogen_dopants, config.chalcogen_dopant_share),
    ):
        if elements:
            sheet = substitute(sheet, site, elements, float(draw_value(share, rng)), rng)
    return sheet


def _damage_graphene(sheet: Atoms, config: GrapheneConfig, rng: np.random.Generator) -> Atoms:
    sheet = remove_atoms(sheet, float(draw_value(config.vacancies, rng)), rng)
    silicon, fourfold = (float(draw_value(v, rng)) for v in (config.silicon, config.fourfold))
    return dope_with_silicon(sheet, silicon, fourfold, rng)


def _damage_crystal(
    crystal: Atoms, config: CrystalConfig, area: tuple[float, float], rng: np.random.Generator
) -> Atoms:
    crystal = remove_atoms(crystal, float(draw_value(config.vacancies, rng)), rng)
    if rng.random() < float(draw_value(config.particle, rng)):
        crystal = keep_patches(crystal, _draw_patches(area, rng))
    return crystal


def _displace(sheet: Atoms, config: GeometryConfig, rng: np.random.Generator) -> None:
    """Add smooth and random displacements; the atoms of one column move together."""
    points = sheet.positions[:, :2]
    amplitude = float(draw_value(config.distortion, rng))
    length = float(draw_value(config.distortion_length, rng))
    shift = np.zeros_like(points)
    for _ in range(4):
        wave = rng.standard_normal(2) / length
        shift += (
            rng.standard_normal(2)
            * amplitude
            / 2
            * np.cos(points @ wave + rng.uniform(0, 2 * np.pi))[:, None]
        )
    disorder = float(draw_value(config.disorder, rng))
    _, index = np.unique(np.round(points, 2), axis=0, return_inverse=True)
    shift += (
        disorder
        * rng.standard_normal((int(index.max()) + 1 if len(index) else 0, 2))[index.ravel()]
    )
    sheet.positions[:, :2] += shift


def _draw_holes(
    area: tuple[float, float], rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """A few round holes, or one straight edge."""
    if rng.random() < 0.5:
        direction, radius = rng.uniform(0, 2 * np.pi), 500.0
        depth = radius + rng.uniform(-0.1, 0.4) * area[0]
        return [
            (
                area[0] / 2 + depth * np.sin(direction),
                area[1] / 2 + depth * np.cos(direction),
                radius,
            )
        ]
    n_holes = int(rng.integers(1, 4))
    return [
        (rng.uniform(0, area[0]), rng.uniform(0, area[1]), rng.uniform(2.5, 10))
        for _ in range(n_holes)
    ]


def _draw_patches(
    area: tuple[float, float], rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """One or two round patches."""
    return [
        (*(rng.uniform(0.2, 0.8, 2) * area), rng.uniform(0.15, 0.4) * min(area))
        for _ in range(int(rng.integers(1, 3)))
    ]
