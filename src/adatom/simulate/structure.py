"""Ranges that structures to learn from are drawn from."""

from typing import Annotated, Literal

from ase.data import atomic_numbers
from pydantic import Field, field_validator, model_validator

from adatom.core.config import Config
from adatom.core.materials import MATERIALS, get_material
from adatom.core.random import NotNegative, Number, Positive, Share, limits_of
from adatom.structures.crystals import PROJECTIONS


def check_elements(symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Symbols of chemical elements, or ValueError."""
    for symbol in symbols:
        if atomic_numbers.get(symbol, 0) == 0:
            raise ValueError(f"{symbol!r} is no chemical element")
    return symbols


def check_materials(names: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """Names of materials of one kind, or ValueError."""
    known = [material.name for material in MATERIALS.values() if material.kind == kind]
    for name in names:
        if name not in known:
            raise ValueError(f"must be of {', '.join(known)}")
    return names


class GeometryConfig(Config):
    """How a structure lies in the image, and how it is bent and cut."""

    share: float = Field(1.0, gt=0, description="How often this kind comes, against the others.")
    scale: Positive = Field(1.0, description="Distances over those of the table.")
    shear: NotNegative = Field(0.0, description="Shear and axis ratio of the image, as strain.")
    distortion: NotNegative = Field(0.0, description="Smooth displacements, rms, Å.")
    distortion_length: Positive = Field(30.0, description="Length over which they vary, Å.")
    disorder: NotNegative = Field(
        0.03, description="Static displacement of every column per axis, Å."
    )
    holes: Share = Field(0.0, description="Chance of a hole or an edge.")

    @model_validator(mode="after")
    def _is_not_flat(self) -> "GeometryConfig":
        if limits_of(self.scale)[0] <= 2 * limits_of(self.shear)[1]:
            raise ValueError("shear must be below half of scale, or the lattice is flat")
        return self


class LatticeConfig(GeometryConfig):
    """How a lattice lies, and its grains."""

    angle: Number = Field(0.0, description="Rotation of the lattice, degrees.")
    grain_boundary: Share = Field(0.0, description="Chance of a grain boundary.")


class SheetConfig(LatticeConfig):
    """Sheets, and what lies on them."""

    adatoms: NotNegative = Field(0.0, description="Foreign atoms on it, per 1000 Å².")
    adatom_elements: tuple[str, ...] = Field((), description="Elements of these.")

    @model_validator(mode="after")
    def _names_its_adatoms(self) -> "SheetConfig":
        if limits_of(self.adatoms)[1] > 0 and not self.adatom_elements:
            raise ValueError("adatoms need their elements")
        return self

    @property
    def has_depth(self) -> bool:
        """Whether it is known where the atoms of its columns are."""
        return True

    @field_validator("adatom_elements")
    @classmethod
    def _are_elements(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return check_elements(symbols)


class MX2Config(SheetConfig):
    """Sheets of MX2 and what is wrong with them."""

    kind: Literal["mx2"] = Field(description="Sheets of MX2.")
    materials: tuple[str, ...] = Field(
        ("MoS2",), min_length=1, description="Hosts, each as likely."
    )
    vacancies: Share = Field(0.0, description="Share of X columns that lack an atom.")
    double_vacancies: Share = Field(0.05, description="Share of these that lack both.")
    metal_vacancies: Share = Field(0.0, description="Share of M columns that are empty.")
    metal_dopants: tuple[str, ...] = Field((), description="Elements put on M sites.")
    metal_dopant_share: Share = Field(0.0, description="Share of M sites that are doped.")
    chalcogen_dopants: tuple[str, ...] = Field((), description="Elements put on X sites.")
    chalcogen_dopant_share: Share = Field(0.0, description="Share of X atoms that are replaced.")

    @model_validator(mode="after")
    def _names_its_dopants(self) -> "MX2Config":
        for share, elements in (
            (self.metal_dopant_share, self.metal_dopants),
            (self.chalcogen_dopant_share, self.chalcogen_dopants),
        ):
            if limits_of(share)[1] > 0 and not elements:
                raise ValueError("a share of dopants needs their elements")
        return self

    @field_validator("materials")
    @classmethod
    def _are_sheets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_materials(names, "mx2")

    @field_validator("metal_dopants", "chalcogen_dopants")
    @classmethod
    def _dope(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return check_elements(symbols)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its columns."""
        return ("M", "X2", "X1", "dopant")


class GrapheneConfig(SheetConfig):
    """Graphene and h-BN with silicon."""

    kind: Literal["graphene"] = Field(description="Graphene or h-BN.")
    materials: tuple[str, ...] = Field(
        ("graphene",), min_length=1, description="Hosts, each as likely."
    )
    silicon: NotNegative = Field(0.0, description="Clusters of 1 to 4 Si per 1000 atoms.")
    fourfold: Share = Field(0.4, description="Share of single Si that take two places.")
    vacancies: Share = Field(0.0, description="Share of the atoms that are missing.")

    @field_validator("materials")
    @classmethod
    def _are_honeycombs(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_materials(names, "honeycomb")

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its columns."""
        hosts = (label for name in self.materials for label, _ in get_material(name).elements)
        foreign = self.adatom_elements if limits_of(self.adatoms)[1] > 0 else ()
        return tuple(dict.fromkeys((*hosts, "Si", *foreign)))


class CrystalConfig(LatticeConfig):
    """Crystals along a zone axis: known ones, and lattices that are drawn."""

    kind: Literal["crystal"] = Field(description="Columns of a crystal.")
    crystals: tuple[str, ...] = Field((), description="Names; none: a lattice is drawn.")
    thickness: Positive = Field(100.0, description="Along the beam, Å, for multislice.")
    vacancies: Share = Field(0.0, description="Share of the columns that are missing.")
    particle: Share = Field(0.0, description="Chance that only round patches are left.")

    @field_validator("crystals")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PROJECTIONS:
                raise ValueError(f"must be of {', '.join(PROJECTIONS)}")
        return names

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its columns."""
        return ("column",)

    @property
    def has_depth(self) -> bool:
        """Whether it is known of one of them where the atoms of its columns are."""
        return any(PROJECTIONS[name].atoms for name in self.crystals)


class PointsConfig(GeometryConfig):
    """Atoms without any order."""

    kind: Literal["points"] = Field(description="Atoms without any order.")
    density: Positive = Field(0.1, description="Atoms thrown, 1/Å².")
    min_distance: Positive = Field(1.3, description="Least distance of two of them, Å.")

    @property
    def has_depth(self) -> bool:
        """Whether it is known where the atoms of its columns are."""
        return False

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of its columns."""
        return ("column",)


StructureConfig = Annotated[
    MX2Config | GrapheneConfig | CrystalConfig | PointsConfig, Field(discriminator="kind")
]
