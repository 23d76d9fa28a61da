"""Images of known object functions: what a network that restores them begins with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator, model_validator
from scipy.special import erf

from adatom.core.config import Config
from adatom.core.random import NotNegative, Positive, Share, draw_value, limits_of, make_rng
from adatom.networks.kinds import DeepSTEMConfig
from adatom.optics.microscope import Microscope, find_band_limit, haadf_cross_section
from adatom.simulate.detector import Detector, detect
from adatom.simulate.drawing import OUTSIDE, choose_kind, draw_host, draw_structure
from adatom.simulate.example import draw_background, draw_dose
from adatom.simulate.learning import CardConfig, LearningConfig
from adatom.simulate.linear import Transfer, simulate_linear
from adatom.simulate.recipe import BackgroundConfig, read_recipe
from adatom.simulate.scan import ScanConfig, draw_scan
from adatom.simulate.scattering import peak_of, probe_transfer
from adatom.simulate.structure import MX2Config, StructureConfig

N_PROBE = 65  # pixels along each axis of a probe
FEWEST_PIXELS = 40  # of an image, which must hold half a probe
NARROWEST = 0.5  # pixels, standard deviation of an atom
COARSEST = 0.48  # pixel size times the band limit, at most
_REACH = 6  # pixels around an atom that its Gaussian covers


class AtomSpecimenConfig(BackgroundConfig):
    """What else scatters electrons, and how strongly and where each atom does."""

    exponent: Positive = Field(1.7, description="Power of Z that the HAADF contrast follows.")
    spread: NotNegative = Field(
        0.0, description="Spread of how strongly atoms of one kind scatter, as a share."
    )
    vibration: NotNegative = Field(0.08, description="Thermal displacement per axis, Å.")
    step: Share = Field(0.0, description="Chance of a step of the background.")
    step_height: NotNegative = Field(1.0, description="Its height, in peaks of the host.")


class MistakeConfig(Config):
    """How far the probe that a network is told may be from the one that took the image.

    Standard deviations: about those of a Zemlin tableau to 34 mrad whose images tell defocus and
    astigmatism to 5 Å and 1 %.
    """

    size: NotNegative = Field(0.0, description="Factor of all errors below; 0: told exactly.")
    defocus: float = Field(2.6, ge=0, description="Of the defocus, Å.")
    C12: float = Field(2.4, ge=0, description="Of the two-fold astigmatism, Å.")
    C21: float = Field(78.0, ge=0, description="Of the axial coma, Å.")
    C23: float = Field(26.0, ge=0, description="Of the three-fold astigmatism, Å.")


class ObjectSetConfig(Config):
    """Size of the images."""

    n_pixels: int = Field(96, ge=FEWEST_PIXELS, description="Side of the images, pixels.")
    pixel_size: Positive = Field(
        0.2, description="Å per pixel; finer where the band limit of the probe asks for it."
    )


class RestoreTrainingConfig(LearningConfig):
    """How a network learns to restore object functions."""

    simulated: float = Field(
        0.5, ge=0, le=1, description="Share of simulated images, where there are others."
    )
    smoothness: float = Field(
        0.1, ge=0, description="Weight of the slope of the background in images without truth."
    )


class RestoreRecipe(Config):
    """Everything that images with known object functions, and a network for them, are made from."""

    modality: Literal["HAADF"] = Field("HAADF", description="What kind of images.")
    structure: tuple[StructureConfig, ...] = Field(
        (MX2Config(kind="mx2"),), min_length=1, description="Kinds of structures."
    )
    specimen: AtomSpecimenConfig = AtomSpecimenConfig()
    microscope: Microscope = Microscope()
    mistake: MistakeConfig = MistakeConfig()
    scan: ScanConfig = ScanConfig()
    detector: Detector = Detector()
    dataset: ObjectSetConfig = ObjectSetConfig()
    network: DeepSTEMConfig = DeepSTEMConfig(kind="deepstem")
    training: RestoreTrainingConfig = RestoreTrainingConfig()
    card: CardConfig = CardConfig()

    @field_validator("structure", mode="before")
    @classmethod
    def _take_one_or_many(cls, given: object) -> object:
        return [given] if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _can_be_drawn(self) -> "RestoreRecipe":
        detector = self.detector
        if any(limits_of(v)[1] for v in (detector.row_noise, detector.dead_rows)):
            raise ValueError("detector: row_noise and dead_rows must be 0 to restore images")
        if self.dataset.n_pixels % self.network.step:
            raise ValueError(
                f"dataset.n_pixels must be a multiple of {self.network.step} "
                f"(got {self.dataset.n_pixels})"
            )
        return self


def load_restore_recipe(name_or_path: str | Path) -> RestoreRecipe:
    """Load a recipe of a network that restores object functions.

    Parameters
    ----------
    name_or_path : str or Path
        As of `load_recipe`.

    Returns
    -------
    RestoreRecipe
        The checked recipe.

    Raises
    ------
    ConfigError
        If there is no such recipe, or it breaks a rule.
    """
    values, source = read_recipe(name_or_path)
    return RestoreRecipe.from_mapping(values, source=source)


@dataclass(frozen=True)
class ObjectExample:
    """A simulated image and the object function behind it.

    Attributes
    ----------
    image : (H, W) float32 array
        Electrons per pixel.
    expected : (H, W) float32 array
        Their expectation.
    object_function : (H, W) float32 array
        Electrons that the atoms scatter to the detector, by pixel.
    background : (H, W) float32 array
        Expected electrons that come from no atom.
    probe : (P, P) float32 array
        Image of a point, as of `make_point_image`.
    told_probe : (P, P) float32 array
        The same by numbers of the microscope that may be wrong.
    pixel_size : float
        Å per pixel.
    read_noise : float
        Of a pixel, rms, electrons.
    """

    image: np.ndarray
    expected: np.ndarray
    object_function: np.ndarray
    background: np.ndarray
    probe: np.ndarray
    told_probe: np.ndarray
    pixel_size: float
    read_noise: float


def simulate_object(recipe: RestoreRecipe, rng: np.random.Generator | int) -> ObjectExample:
    """Simulate one image by the linear model, with the object function behind it.

    Parameters
    ----------
    recipe : RestoreRecipe
        Ranges are drawn anew.
    rng : Generator or int
        Draws everything.

    Returns
    -------
    ObjectExample
        Image, expectation, object function, background and probe.
    """
    rng = make_rng(rng)
    microscope = recipe.microscope.draw(rng)
    coarsest = COARSEST / find_band_limit(microscope)
    pixel_size = min(float(draw_value(recipe.dataset.pixel_size, rng)), coarsest)
    shape = (recipe.dataset.n_pixels,) * 2
    size = (shape[0] * pixel_size, shape[1] * pixel_size)
    config = choose_kind(recipe.structure, rng)
    host = draw_host(config, rng)
    structure = draw_structure(config, host, size, rng)
    exponent = float(draw_value(recipe.specimen.exponent, rng))
    vibration = float(draw_value(recipe.specimen.vibration, rng))
    positions = structure.positions[:, [1, 0]] - OUTSIDE
    sections = haadf_cross_section(structure.numbers, microscope, exponent)
    spread = float(draw_value(recipe.specimen.spread, rng))
    sections = sections * structure.arrays.get("weight", 1.0)
    sections = sections * _draw_strengths(len(sections), spread, rng)
    scan = draw_scan(shape, pixel_size, recipe.scan, rng)
    point = _turn_probe(microscope, size)
    square = point.ky[:, None] ** 2 + point.kx**2
    atom = replace(point, values=point.values * np.exp(-2 * (np.pi * vibration) ** 2 * square))
    image = simulate_linear(positions, sections, atom, (scan.y, scan.shift), scan.x)
    brightest = haadf_cross_section(np.array([host.number]), microscope, exponent)[0]
    peak = peak_of(atom) * float(brightest)
    background = peak * _draw_step(recipe.specimen, shape, rng)
    background += peak * draw_background(recipe.specimen, shape, pixel_size, rng)
    dose = draw_dose(recipe.detector, peak, rng) * pixel_size**2
    expected = dose * (np.maximum(image, 0) + background)
    read_noise = float(draw_value(recipe.detector.read_noise, rng))
    detector = recipe.detector.model_copy(update={"read_noise": read_noise})
    width = max(vibration / pixel_size, NARROWEST)
    counts = detect(expected, pixel_size, detector, rng)
    strengths = sections * dose / pixel_size**2
    told = _mistake(microscope, recipe.mistake, rng)
    return ObjectExample(
        image=counts,
        expected=expected.astype(np.float32),
        object_function=draw_atoms(scan.image_positions(positions), strengths, shape, width),
        background=(dose * background).astype(np.float32),
        probe=_draw_point(point, pixel_size),
        told_probe=_draw_point(_turn_probe(told, size), pixel_size),
        pixel_size=pixel_size,
        read_noise=read_noise,
    )


def draw_atoms(
    positions_px: np.ndarray, electrons: np.ndarray, shape: tuple[int, int], width_px: float
) -> np.ndarray:
    """Draw atoms as Gaussians, integrated over each pixel.

    Parameters
    ----------
    positions_px : (N, 2) array
        Centers [y, x], pixels.
    electrons : (N,) array
        Sum over each atom.
    shape : (int, int)
        Height and width.
    width_px : float
        Standard deviation, pixels, 0.3 at least, with what the area of a pixel adds to it; cut at
        six pixels.

    Returns
    -------
    (H, W) float32 array
        Atoms outside count as far as they reach into the image.

    Examples
    --------
    >>> atoms = draw_atoms(np.array([[4.0, 4.3]]), np.array([2.0]), (9, 9), 0.4)
    >>> round(float(atoms.sum()), 3)
    2.0
    """
    nearest = np.round(positions_px).astype(int)
    steps = np.arange(-_REACH, _REACH + 1)
    edges = np.arange(-_REACH, _REACH + 2) - 0.5 - (positions_px - nearest)[:, :, None]
    width_px = (width_px**2 - 1 / 12) ** 0.5
    shares = np.diff(erf(edges / (2**0.5 * width_px)) / 2, axis=2)
    values = electrons[:, None, None] * shares[:, 0, :, None] * shares[:, 1, None, :]
    y, x = (nearest[:, axis, None] + steps for axis in (0, 1))
    inside_y, inside_x = (y >= 0) & (y < shape[0]), (x >= 0) & (x < shape[1])
    is_inside = inside_y[:, :, None] & inside_x[:, None, :]
    index = (y[:, :, None] * shape[1] + x[:, None, :])[is_inside]
    total = np.bincount(index, values[is_inside], shape[0] * shape[1])
    return total.reshape(shape).astype(np.float32)


def _draw_strengths(n_atoms: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Factors of mean 1, by a gamma distribution, (N,)."""
    if spread == 0:
        return np.ones(n_atoms)
    return rng.gamma(1 / spread**2, spread**2, n_atoms)


def _mistake(microscope: Microscope, config: MistakeConfig, rng: np.random.Generator) -> Microscope:
    """The microscope by numbers that are wrong."""
    size = float(draw_value(config.size, rng))
    told = {"defocus": float(microscope.defocus) - rng.normal(0, size * config.defocus)}  # type: ignore[arg-type]
    for name, symmetry in (("C12", 2), ("C21", 1), ("C23", 3)):
        azimuth, spread = f"phi{name[1:]}", size * getattr(config, name)
        turn = np.exp(1j * symmetry * np.deg2rad(getattr(microscope, azimuth)))
        value = getattr(microscope, name) * turn + complex(*rng.normal(0, spread / 2**0.5, 2))
        told |= {name: abs(value), azimuth: np.rad2deg(np.angle(value)) / symmetry}
    return microscope.model_copy(update=told)


def _turn_probe(microscope: Microscope, size: tuple[float, float]) -> Transfer:
    """Transfer of the probe as a point sees it: from the other side."""
    transfer = probe_transfer(microscope, size)
    return replace(transfer, values=transfer.values.conj())


def _draw_point(transfer: Transfer, pixel_size: float) -> np.ndarray:
    """Image of a point, as `make_point_image` gives it."""
    line = (np.arange(N_PROBE) - N_PROBE // 2) * pixel_size
    spot = simulate_linear(
        np.zeros((1, 2)), np.ones(1), transfer, (line, np.zeros(N_PROBE)), line
    ).clip(0)
    return spot / spot.sum()


def _draw_step(
    config: AtomSpecimenConfig, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """A straight step of the background, in peaks of the host, or none."""
    angle, place = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
    height = float(draw_value(config.step_height, rng))
    if rng.random() >= float(draw_value(config.step, rng)):
        return np.zeros(shape)
    y, x = (np.linspace(-0.5, 0.5, n) for n in shape)
    distance = np.cos(angle) * y[:, None] + np.sin(angle) * x - place
    return height * np.clip(distance * shape[0] / 2 + 0.5, 0, 1)
