"""Recipes: what to simulate and how to learn from it, as TOML files."""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from adatom.core.config import Config, read_toml
from adatom.core.errors import ConfigError
from adatom.core.materials import find_role
from adatom.core.random import Draw, NotNegative, Positive, Share, limits_of
from adatom.networks.kinds import MSDNetConfig, NetworkConfig, UNetConfig
from adatom.optics.microscope import Microscope
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.detector import Detector, FilterConfig
from adatom.simulate.hrtem import Camera
from adatom.simulate.learning import CardConfig, LearningConfig
from adatom.simulate.scan import ScanConfig
from adatom.simulate.specimen import (
    ParticleConfig,
    ThinConfig,
    ThinSpecimenConfig,
    check_specimen,
    name_columns,
)
from adatom.simulate.structure import CrystalConfig, MX2Config, StructureConfig
from adatom.simulate.waves import BAND, SliceConfig
from adatom.structures.crystals import PROJECTIONS

ANY_LABEL = "column"
FEWEST_PIXELS = 16


class BackgroundConfig(Config):
    """What scatters besides columns."""

    background: NotNegative = Field(0.05, description="Even background, in peaks of the host.")
    slow_background: NotNegative = Field(0.0, description="Slow variation of it, rms, in peaks.")
    contamination: Share = Field(0.0, description="Chance of patches of contamination.")
    contamination_height: NotNegative = Field(0.5, description="Their height, in peaks.")
    amorphous: NotNegative = Field(
        0.0, description="Grain of the background, as of an amorphous film, rms over its height."
    )


class SpecimenConfig(BackgroundConfig):
    """What else scatters electrons, and how strongly each column does."""

    exponent: Positive = Field(1.7, description="Power of Z that the HAADF contrast follows.")
    multislice: Share = Field(
        0.0,
        description="Chance that columns without a Gaussian shape are those of multislice: of"
        " sheets, and of crystals that are known in depth.",
    )
    thickness: NotNegative = Field(
        0.0,
        description="Slow variation of the brightness of the columns, of crystals by multislice of"
        " their thickness; rms over the mean.",
    )


class ColumnConfig(Config):
    """How wide a column looks."""

    gaussian: Share = Field(0.0, description="Chance of a Gaussian in place of the real probe.")
    sigma: Positive = Field(0.42, description="Standard deviation of that Gaussian, Å.")
    split: NotNegative = Field(0.0, description="Elongation of that Gaussian (astigmatism), Å.")
    vibration: NotNegative = Field(
        0.08, description="Thermal displacement per axis added to the probe, Å."
    )
    tail_weight: Share = Field(0.0, description="Share of the intensity in wide tails.")
    tail_sigma: Positive = Field(1.2, description="Standard deviation of the tails, Å.")


class DatasetConfig(Config):
    """Size of the images."""

    size: float = Field(38.4, gt=0, description="Height and width of an image, Å.")
    pixel_size: Positive = Field(0.2, description="Å per pixel.")

    @model_validator(mode="after")
    def _has_pixels(self) -> "DatasetConfig":
        if self.size < FEWEST_PIXELS * limits_of(self.pixel_size)[1]:
            raise ValueError(f"size must be {FEWEST_PIXELS} pixels at least")
        return self


class TrainingConfig(LearningConfig):
    """How the network of HAADF images learns."""

    pixel_size: float = Field(0.2, gt=0, description="Å per pixel that the network works at.")
    labels: tuple[str, ...] = Field(("M", "X2", "X1", "dopant"), description="Labels of columns.")
    families: tuple[tuple[str, ...], ...] = Field(
        (("M",), ("X2", "X1")), description="Labels of one site, told apart by brightness too."
    )
    radius: float = Field(0.3, gt=0, description="Radius of the target discs, Å.")

    @model_validator(mode="after")
    def _name_what_is_simulated(self) -> "TrainingConfig":
        if not all(self.families):
            raise ValueError("a family must hold a label at least")
        if extra := {label for family in self.families for label in family} - set(self.labels):
            raise ValueError(f"families must hold labels only (got {', '.join(sorted(extra))})")
        return self


class FocalTrainingConfig(LearningConfig):
    """How the network of focal series learns."""

    labels: tuple[str, ...] = Field(
        (), description="Labels of columns; none: all that are simulated."
    )
    width: float = Field(0.3, gt=0, description="Standard deviation of the target Gaussians, Å.")
    n_pixels: int = Field(160, ge=FEWEST_PIXELS, description="Side of the images it learns from.")
    n_views: int = Field(
        1, gt=0, description="Microscopes that look at each specimen while a network learns."
    )

    @field_validator("labels")
    @classmethod
    def _differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels):
            raise ValueError("must differ from each other")
        return labels


class Recipe(Config):
    """Everything that a data set and a model are made from."""

    modality: Literal["HAADF"] = Field("HAADF", description="What kind of images.")
    structure: tuple[StructureConfig, ...] = Field(
        (MX2Config(kind="mx2"),), min_length=1, description="Kinds of structures."
    )
    specimen: SpecimenConfig = SpecimenConfig()
    microscope: Microscope = Microscope()
    columns: ColumnConfig = ColumnConfig()
    scan: ScanConfig = ScanConfig()
    detector: Detector = Detector()
    filter: FilterConfig = FilterConfig()
    dataset: DatasetConfig = DatasetConfig()
    network: UNetConfig = UNetConfig(kind="unet")
    training: TrainingConfig = TrainingConfig()
    card: CardConfig = CardConfig()

    @field_validator("structure", mode="before")
    @classmethod
    def _take_one_or_many(cls, given: object) -> object:
        return [given] if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _name_what_is_simulated(self) -> "Recipe":
        simulated = dict.fromkeys(label for kind in self.structure for label in kind.labels)
        labels = self.training.labels
        if labels != (ANY_LABEL,) and sorted(labels) != sorted(simulated):
            raise ValueError(
                f"training.labels must be {', '.join(simulated)}, in any order, or {ANY_LABEL}"
            )
        has_depth = any(kind.has_depth for kind in self.structure)
        if limits_of(self.specimen.multislice)[1] > 0 and not has_depth:
            known = ", ".join(name for name, seen in PROJECTIONS.items() if seen.atoms)
            raise ValueError(f"specimen.multislice must be 0 but for sheets, {known}")
        spread = limits_of(self.microscope.focal_spread)[1]
        if limits_of(self.specimen.multislice)[1] > 0 and spread > 0:
            raise ValueError("microscope.focal_spread must be 0 where specimen.multislice is not")
        self._check_slicing()
        return self

    def _check_slicing(self) -> None:
        """Crystals are sliced once for each energy, detector and vibration: not for every image."""
        is_sliced = limits_of(self.specimen.multislice)[1] > 0 and any(
            isinstance(kind, CrystalConfig) and kind.has_depth for kind in self.structure
        )
        for room, names in (
            ("microscope", ("energy_eV", "inner_angle", "outer_angle")),
            ("columns", ("vibration",)),
        ):
            for name in names:
                value = getattr(getattr(self, room), name)
                if is_sliced and isinstance(value, Draw) and value.choice is None:
                    raise ValueError(
                        f"{room}.{name} must be a number or a choice for crystals by multislice"
                    )


class WaveSetConfig(Config):
    """Size of the images, and what is stored of the waves."""

    size: float = Field(38.4, gt=0, description="Height and width of an image, Å.")
    k_max: float = Field(1.5, ge=0.5, description="Highest frequency that is stored, 1/Å.")


class HrtemRecipe(Config):
    """Everything that a data set of exit waves, and the images of them, are made from."""

    modality: Literal["HRTEM"] = Field(description="What kind of images.")
    structure: tuple[ThinConfig, ...] = Field(min_length=1, description="Kinds of structures.")
    specimen: ThinSpecimenConfig = ThinSpecimenConfig()
    microscope: ImagingMicroscope = ImagingMicroscope()
    detector: Camera = Camera()
    slices: SliceConfig = SliceConfig()
    dataset: WaveSetConfig = WaveSetConfig()
    network: NetworkConfig = MSDNetConfig(kind="msdnet")
    training: FocalTrainingConfig = FocalTrainingConfig()
    card: CardConfig = CardConfig()

    @field_validator("structure", mode="before")
    @classmethod
    def _take_one_or_many(cls, given: object) -> object:
        return [given] if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "HrtemRecipe":
        finest, given = BAND / 2 / self.dataset.k_max, self.slices.pixel_size
        if given > finest:
            raise ValueError(
                f"slices.pixel_size must be at most {finest:.3f} Å for dataset.k_max "
                f"{self.dataset.k_max:g} 1/Å (got {given:g})"
            )
        if self.dataset.size < FEWEST_PIXELS * limits_of(self.detector.pixel_size)[1]:
            raise ValueError(f"dataset.size must be {FEWEST_PIXELS} pixels at least")
        check_specimen(self.structure, self.specimen, self.dataset.size)
        if unknown := set(self.training.labels) - set(self._simulated):
            raise ValueError(
                f"training.labels must be of {', '.join(self._simulated)} "
                f"(got {', '.join(sorted(unknown))})"
            )
        return self

    @property
    def _simulated(self) -> tuple[str, ...]:
        return tuple(sorted({name for kind in self.structure for name in name_columns(kind)}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the network tells apart."""
        return self.training.labels or self._simulated

    @property
    def sublattices(self) -> tuple[tuple[str, ...], ...]:
        """Labels of the two sublattices of a honeycomb; none where others are told apart too."""
        roles = {label: find_role(label) for label in self.labels}
        parts = tuple(
            tuple(label for label in self.labels if roles[label] in part)
            for part in (("M",), ("X2", "X1"))
        )
        is_whole = all(parts) and sum(map(len, parts)) == len(self.labels)
        return parts if is_whole and all(k.kind == "mx2" for k in self.structure) else ()

    @property
    def n_field(self) -> int:
        """Side of the images that are simulated to learn from parts of them, pixels.

        Sheets fill images of any size; those of particles have the size of the data set.
        """
        if not any(isinstance(kind, ParticleConfig) for kind in self.structure):
            return self.training.n_pixels
        return max(self.training.n_pixels, self.n_whole)

    @property
    def n_whole(self) -> int:
        """Side of an image of the data set, pixels of the mean size."""
        low, high = limits_of(self.detector.pixel_size)
        return round(2 * self.dataset.size / (low + high))


def list_recipes() -> list[str]:
    """Names of the recipes of columns that ship with adatom."""
    return sorted(file.stem for file in _shipped().glob("*.toml"))


def list_restore_recipes() -> list[str]:
    """Names of the recipes of object functions that ship with adatom."""
    return sorted(file.stem for file in (_shipped() / "restore").glob("*.toml"))


def _shipped() -> Path:
    return Path(str(resources.files("adatom.simulate"))) / "recipes"


def load_recipe(name_or_path: str | Path) -> Recipe | HrtemRecipe:
    """Load a recipe that ships with adatom, or a TOML file.

    Parameters
    ----------
    name_or_path : str or Path
        Name such as "haadf_mx2", or the path of a .toml file. With `extends = "haadf_mx2"` in the
        file, what it does not say is that of the shipped recipe; structures and networks of another
        kind replace those of the shipped one.

    Returns
    -------
    Recipe or HrtemRecipe
        The checked recipe, by its `modality`.

    Raises
    ------
    ConfigError
        If there is no such recipe, or it breaks a rule.

    Examples
    --------
    >>> load_recipe("hrtem_mos2").microscope.focal_series
    (-30.0, 20.0, 70.0)
    """
    return _check_recipe(*read_recipe(name_or_path))


def read_recipe(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    """Read a recipe that ships with adatom, or a TOML file, without checking what it says.

    Parameters
    ----------
    name_or_path : str or Path
        As of `load_recipe`.

    Returns
    -------
    values : dict
        Over those of the shipped recipe that it extends.
    source : str
        What errors call it.

    Raises
    ------
    ConfigError
        If there is no such recipe, or it is no TOML.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return _extend(read_toml(path), str(path)), str(path)
    source = f"recipe {name_or_path}"
    return _extend(_read_shipped(str(name_or_path), "recipe"), source), source


def _read_shipped(name: str, asked: str) -> dict[str, Any]:
    known = {file.stem: file for file in sorted(_shipped().rglob("*.toml"))}
    if name not in known:
        raise ConfigError(
            f"{asked}: must be {'a .toml file or ' if asked == 'recipe' else ''}one of "
            f"{', '.join(known)} (got {name!r:.60})"
        )
    return read_toml(known[name])


def _extend(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Put what a recipe says over the shipped recipe that it extends."""
    values = dict(values)
    base = values.pop("extends", None)
    if base is None:
        return values
    found = _extend(_read_shipped(base, f"{source}: extends"), source)
    for room, given in values.items():
        old = found.get(room)
        if isinstance(given, dict) and isinstance(old, dict):
            is_alike = given.get("kind", old.get("kind")) == old.get("kind")
            found[room] = old | given if is_alike else given
        else:
            found[room] = given
    return found


def _check_recipe(values: dict[str, Any], source: str) -> Recipe | HrtemRecipe:
    modality = values.get("modality", "HAADF")
    if is_restore_recipe(values):
        raise ConfigError(
            f"{source}: network.kind: must be one that finds columns (got 'deepstem', which "
            "restores images: `adatom train` takes it)"
        )
    if modality == "HAADF":
        return Recipe.from_mapping(values, source=source)
    if modality == "HRTEM":
        return HrtemRecipe.from_mapping(values, source=source)
    raise ConfigError(f"{source}: modality: must be HAADF or HRTEM (got {modality!r:.60})")


def is_restore_recipe(values: dict[str, Any]) -> bool:
    """Whether a recipe is one of a network that restores object functions."""
    network = values.get("network")
    return isinstance(network, dict) and network.get("kind") == "deepstem"
