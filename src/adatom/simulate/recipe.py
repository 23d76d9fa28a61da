"""Recipes: what to simulate and how to learn from it, as TOML files."""

from importlib import resources
from pathlib import Path

from ase.data import atomic_numbers
from pydantic import Field, PositiveInt, field_validator, model_validator

from adatom.core.config import Config, read_toml
from adatom.core.errors import ConfigError
from adatom.core.materials import MATERIALS
from adatom.core.random import NotNegative, Number, Positive, Share, limits_of
from adatom.optics.microscope import Microscope
from adatom.simulate.detector import Detector, FilterConfig
from adatom.simulate.scan import ScanConfig

SIMULATED_LABELS = ("M", "X2", "X1", "dopant")
FEWEST_PIXELS = 16


class StructureConfig(Config):
    """Sheets of MX2 and what is wrong with them."""

    materials: tuple[str, ...] = Field(
        ("MoS2",), min_length=1, description="Hosts, each as likely."
    )
    angle: Number = Field(0.0, description="Rotation of the lattice, degrees.")
    scale: Positive = Field(1.0, description="Lattice constant over that of the table.")
    shear: NotNegative = Field(0.0, description="Shear and axis ratio of the image, as strain.")
    distortion: NotNegative = Field(0.0, description="Smooth displacements, rms, Å.")
    distortion_length: Positive = Field(30.0, description="Length over which they vary, Å.")
    disorder: NotNegative = Field(
        0.03, description="Static displacement of every column per axis, Å."
    )
    vacancies: Share = Field(0.0, description="Share of X columns that lack an atom.")
    double_vacancies: Share = Field(0.05, description="Share of these that lack both.")
    metal_vacancies: Share = Field(0.0, description="Share of M columns that are empty.")
    metal_dopants: tuple[str, ...] = Field((), description="Elements put on M sites.")
    metal_dopant_share: Share = Field(0.0, description="Share of M sites that are doped.")
    chalcogen_dopants: tuple[str, ...] = Field((), description="Elements put on X sites.")
    chalcogen_dopant_share: Share = Field(0.0, description="Share of X atoms that are replaced.")
    grain_boundary: Share = Field(0.0, description="Chance of a grain boundary.")
    holes: Share = Field(0.0, description="Chance of a hole or an edge.")

    @model_validator(mode="after")
    def _can_be_built(self) -> "StructureConfig":
        if limits_of(self.scale)[0] <= 2 * limits_of(self.shear)[1]:
            raise ValueError("shear must be below half of scale, or the lattice is flat")
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
        known = [material.name for material in MATERIALS.values() if material.kind == "mx2"]
        for name in names:
            if name not in known:
                raise ValueError(f"must be of {', '.join(known)}")
        return names

    @field_validator("metal_dopants", "chalcogen_dopants")
    @classmethod
    def _are_elements(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        for symbol in symbols:
            if atomic_numbers.get(symbol, 0) == 0:
                raise ValueError(f"{symbol!r} is no chemical element")
        return symbols


class SpecimenConfig(Config):
    """What else scatters electrons, and how strongly each column does."""

    exponent: Positive = Field(1.7, description="Power of Z that the HAADF contrast follows.")
    background: NotNegative = Field(0.05, description="Even background, in units of an M peak.")
    slow_background: NotNegative = Field(0.0, description="Slow variation of it, rms, in M peaks.")
    contamination: Share = Field(0.0, description="Chance of patches of contamination.")
    contamination_height: NotNegative = Field(0.5, description="Their height, in M peaks.")


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


class NetworkConfig(Config):
    """Compact U-Net."""

    widths: tuple[PositiveInt, ...] = Field(
        (16, 32, 64, 128), min_length=2, description="Channels per level."
    )


class TrainingConfig(Config):
    """How the network learns."""

    name: str = Field("unnamed", pattern=r"^[A-Za-z0-9][\w.-]*$", description="Name of the model.")
    pixel_size: float = Field(0.2, gt=0, description="Å per pixel that the network works at.")
    labels: tuple[str, ...] = Field(("M", "X2", "X1", "dopant"), description="Labels of columns.")
    families: tuple[tuple[str, ...], ...] = Field(
        (("M",), ("X2", "X1")),
        min_length=1,
        description="Labels of one site, told apart by brightness too.",
    )
    radius: float = Field(0.3, gt=0, description="Radius of the target discs, Å.")
    n_steps: int = Field(20000, gt=0, description="Steps of the optimizer.")
    n_cycles: int = Field(1, gt=0, description="Falls of the learning rate to zero in that time.")
    batch_size: int = Field(8, gt=0, description="Images per step.")
    learning_rate: float = Field(2e-3, gt=0, description="Highest learning rate.")
    weight_decay: float = Field(1e-4, ge=0, description="Decay of the weights (AdamW).")
    average: float = Field(0.999, ge=0, lt=1, description="Moving average of the weights.")
    n_validation: int = Field(48, gt=0, description="Held-out images for the loss.")
    validate_every: int = Field(500, gt=0, description="Steps between two looks at them.")
    patience: int = Field(20, gt=0, description="Looks without improvement before it stops.")
    seed: int = Field(1, ge=0, description="Seed of images and weights.")

    @model_validator(mode="after")
    def _name_what_is_simulated(self) -> "TrainingConfig":
        if sorted(self.labels) != sorted(SIMULATED_LABELS):
            raise ValueError(f"labels must be {', '.join(SIMULATED_LABELS)}, in any order")
        if self.n_cycles > self.n_steps:
            raise ValueError(f"n_cycles must be at most n_steps (got {self.n_cycles})")
        if not all(self.families):
            raise ValueError("a family must hold a label at least")
        if extra := {label for family in self.families for label in family} - set(self.labels):
            raise ValueError(f"families must hold labels only (got {', '.join(sorted(extra))})")
        return self


class Recipe(Config):
    """Everything that a data set and a model are made from."""

    structure: StructureConfig = StructureConfig()
    specimen: SpecimenConfig = SpecimenConfig()
    microscope: Microscope = Microscope()
    columns: ColumnConfig = ColumnConfig()
    scan: ScanConfig = ScanConfig()
    detector: Detector = Detector()
    filter: FilterConfig = FilterConfig()
    dataset: DatasetConfig = DatasetConfig()
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()


def list_recipes() -> list[str]:
    """Names of the recipes that ship with adatom."""
    folder = resources.files("adatom.simulate") / "recipes"
    return sorted(
        Path(str(entry)).stem for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Load a recipe that ships with adatom, or a TOML file.

    Parameters
    ----------
    name_or_path : str or Path
        Name such as "haadf_mx2", or the path of a .toml file.

    Returns
    -------
    Recipe
        The checked recipe.

    Raises
    ------
    ConfigError
        If there is no such recipe, or it breaks a rule.

    Examples
    --------
    >>> load_recipe("haadf_mx2").training.labels
    ('M', 'X2', 'X1', 'dopant')
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return Recipe.from_mapping(read_toml(path), source=str(path))
    if str(name_or_path) not in list_recipes():
        raise ConfigError(
            f"recipe: must be a .toml file or one of {', '.join(list_recipes())} "
            f"(got {str(name_or_path)!r})"
        )
    shipped = resources.files("adatom.simulate") / "recipes" / f"{name_or_path}.toml"
    with resources.as_file(shipped) as file:
        return Recipe.from_mapping(read_toml(file), source=f"recipe {name_or_path}")
