"""One simulated image with its truth, drawn from a recipe."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from ase import Atoms
from scipy.ndimage import gaussian_filter, zoom

from adatom.core.errors import ConfigError
from adatom.core.materials import Material, get_material
from adatom.core.random import draw_value, make_rng
from adatom.optics.microscope import Microscope, electron_wavelength, haadf_cross_section
from adatom.optics.probe import transfer_function
from adatom.simulate.detector import detect, filter_as_users_do
from adatom.simulate.linear import (
    Transfer,
    gaussian_transfer,
    grid_length,
    simulate_linear,
)
from adatom.simulate.recipe import ColumnConfig, Recipe, SpecimenConfig, StructureConfig
from adatom.simulate.scan import draw_scan
from adatom.structures.edits import (
    cut_holes,
    join_grains,
    remove_chalcogens,
    remove_metals,
    strain_sheet,
    substitute,
)
from adatom.structures.projection import label_columns, project_columns
from adatom.structures.sheets import make_sheet

_OUTSIDE = 3.0  # Å around the image that holds columns too


@dataclass(frozen=True)
class Example:
    """A simulated image and what is true of it.

    Attributes
    ----------
    image : (H, W) float32 array
        The image a user would have.
    expected : (H, W) float32 array
        Expected electrons per pixel, without noise and filters.
    truth : DataFrame
        x, y (Å; pixel [0, 0] at 0), label, intensity (electrons of the column); columns inside the
        image.
    pixel_size : float
        Å per pixel.
    is_counts : bool
        Whether `image` holds electrons with Poisson noise alone.
    """

    image: np.ndarray
    expected: np.ndarray
    truth: pd.DataFrame
    pixel_size: float
    is_counts: bool

    def to_image(self) -> xr.DataArray:
        """The image with its coordinates in Å, as `read_image` would give it."""
        coords = {
            name: (name, np.arange(n) * self.pixel_size, {"units": "angstrom"})
            for name, n in zip(("y", "x"), self.image.shape, strict=True)
        }
        attrs = {"modality": "HAADF", "units": "electrons" if self.is_counts else "arbitrary"}
        return xr.DataArray(self.image, dims=("y", "x"), coords=coords, attrs=attrs)


def simulate_example(recipe: Recipe, rng: np.random.Generator | int) -> Example:
    """Simulate one image of a recipe.

    Parameters
    ----------
    recipe : Recipe
        Ranges are drawn anew.
    rng : Generator or int
        Draws everything.

    Returns
    -------
    Example
        Image, expectation and truth.
    """
    rng = make_rng(rng)
    pixel_size = float(draw_value(recipe.dataset.pixel_size, rng))
    n_pixels = round(recipe.dataset.size / pixel_size)
    size = (n_pixels * pixel_size,) * 2
    material = get_material(str(rng.choice(recipe.structure.materials)))
    microscope = recipe.microscope.draw(rng)
    structure = draw_structure(recipe.structure, material, size, rng)
    columns, column_of_atom = project_columns(structure)
    labels = label_columns(structure, column_of_atom, material)
    exponent = float(draw_value(recipe.specimen.exponent, rng))
    sections = haadf_cross_section(structure.numbers, microscope, exponent)
    strengths = np.bincount(column_of_atom, sections, len(columns))
    positions = columns[["y", "x"]].to_numpy() - _OUTSIDE
    scan = draw_scan((n_pixels, n_pixels), pixel_size, recipe.scan, rng)
    transfer = _draw_transfer(recipe.columns, microscope, size, rng)
    image = simulate_linear(positions, strengths, transfer, (scan.y, scan.shift), scan.x)
    peak = _peak_of(transfer) * float(
        haadf_cross_section(np.array([_metal(material)]), microscope, exponent)[0]
    )
    image = np.maximum(image, 0) + peak * _draw_background(
        recipe.specimen, image.shape, pixel_size, rng
    )
    dose = float(draw_value(recipe.detector.dose, rng)) * pixel_size**2
    expected = (image * dose).astype(np.float32)
    detected = detect(expected, pixel_size, recipe.detector, rng)
    final = filter_as_users_do(detected, pixel_size, recipe.filter, rng)
    seen = scan.image_positions(positions)
    truth = pd.DataFrame(
        {
            "x": seen[:, 1] * pixel_size,
            "y": seen[:, 0] * pixel_size,
            "label": labels,
            "intensity": strengths * dose / pixel_size**2,
        }
    )
    inside = np.flatnonzero(((seen > -0.5) & (seen < n_pixels - 0.5)).all(axis=1))
    electronics = recipe.detector
    is_pure = electronics.read_noise == electronics.row_noise == electronics.dead_rows == 0
    is_counts = final is detected and is_pure
    return Example(
        final, expected, truth.iloc[inside].reset_index(drop=True), pixel_size, is_counts
    )


def draw_structure(
    config: StructureConfig, material: Material, size: tuple[float, float], rng: np.random.Generator
) -> Atoms:
    """Draw a sheet with its defects.

    Parameters
    ----------
    config : StructureConfig
        Ranges of everything.
    material : Material
        Host lattice.
    size : tuple of float
        Height and width of the image, Å; the sheet reaches 3 Å further on every side.
    rng : Generator
        Draws everything.

    Returns
    -------
    Atoms
        Sheet whose origin lies at (-3, -3) Å of the image.
    """
    if material.kind != "mx2":
        raise ConfigError(f"materials: must be MX2 sheets (got {material.name})")
    full = (size[0] + 2 * _OUTSIDE, size[1] + 2 * _OUTSIDE)
    scale, shear = float(draw_value(config.scale, rng)), float(draw_value(config.shear, rng))
    # Strain must not uncover a corner.
    area = (full[0] / (scale - 2 * shear) + 6, full[1] / (scale - 2 * shear) + 6)

    def grain() -> Atoms:
        offset = tuple(rng.uniform(-3, 3, 2))
        return make_sheet(material, area, angle=float(draw_value(config.angle, rng)), offset=offset)

    sheet = grain()
    if rng.random() < float(draw_value(config.grain_boundary, rng)):
        point = tuple(rng.uniform(0.2, 0.8, 2) * area)
        sheet = join_grains(sheet, grain(), point, float(rng.uniform(0, 360)))
    sheet = remove_chalcogens(
        sheet,
        float(draw_value(config.vacancies, rng)),
        rng,
        both=float(draw_value(config.double_vacancies, rng)),
    )
    sheet = remove_metals(sheet, float(draw_value(config.metal_vacancies, rng)), rng)
    if config.metal_dopants:
        sheet = substitute(
            sheet, "M", config.metal_dopants, float(draw_value(config.metal_dopant_share, rng)), rng
        )
    if config.chalcogen_dopants:
        sheet = substitute(
            sheet,
            "X",
            config.chalcogen_dopants,
            float(draw_value(config.chalcogen_dopant_share, rng)),
            rng,
        )
    if rng.random() < float(draw_value(config.holes, rng)):
        sheet = cut_holes(sheet, _draw_holes(area, rng))
    gradient = (scale - 1) * np.eye(2) + shear * rng.uniform(-1, 1, (2, 2))
    sheet = strain_sheet(sheet, gradient)
    _displace(sheet, config, rng)
    sheet.positions[:, :2] -= (np.array(area[::-1]) - full[::-1]) / 2
    inside = ((sheet.positions[:, :2] >= 0) & (sheet.positions[:, :2] < full[::-1])).all(1)
    return sheet[np.flatnonzero(inside)]


def _displace(sheet: Atoms, config: StructureConfig, rng: np.random.Generator) -> None:
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


def _draw_transfer(
    config: ColumnConfig,
    microscope: Microscope,
    size: tuple[float, float],
    rng: np.random.Generator,
) -> Transfer:
    """Draw the shape of the columns."""
    vibration = float(draw_value(config.vibration, rng))
    tail, tail_sigma = (
        float(draw_value(config.tail_weight, rng)),
        float(draw_value(config.tail_sigma, rng)),
    )
    sigma, split = float(draw_value(config.sigma, rng)), float(draw_value(config.split, rng))
    angle = rng.uniform(0, np.pi)
    if rng.random() < float(draw_value(config.gaussian, rng)):
        direction = np.array([np.sin(angle), np.cos(angle)])
        core = sigma**2 * np.eye(2) + split**2 * np.outer(direction, direction)
        parts = [(1 - tail, core, (0.0, 0.0)), (tail, tail_sigma**2 * np.eye(2), (0.0, 0.0))]
        return gaussian_transfer(size, parts)
    return probe_transfer(microscope, size, vibration=vibration, tail=(tail, tail_sigma))


def probe_transfer(
    microscope: Microscope,
    size: tuple[float, float],
    *,
    vibration: float = 0.0,
    tail: tuple[float, float] = (0.0, 1.0),
) -> Transfer:
    """Transfer of the real probe, with thermal motion and tails.

    Parameters
    ----------
    microscope : Microscope
        Energy, aperture, aberrations and source size, all of them numbers.
    size : tuple of float
        Height and width of the image, Å.
    vibration : float
        Thermal displacement per axis, Å.
    tail : (float, float)
        Share of the intensity in wide Gaussian tails and their standard deviation, Å.

    Returns
    -------
    Transfer
        For `simulate_linear`.
    """
    cutoff = float(microscope.semi_angle) * 1e-3 / electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    pixel_size = min(0.2, 1 / (4.2 * cutoff))  # the intensity reaches twice the cutoff
    n_pixels = 2 * int(np.ceil(max(grid_length(size)) / pixel_size / 2))
    full = transfer_function(microscope, n_pixels, pixel_size)
    k = np.fft.fftfreq(n_pixels, pixel_size)
    # Coma moves the whole image, which no image can show: the center of mass goes to zero.
    ramp = np.angle(full[1, 0]) / k[1] * k[:, None] + np.angle(full[0, 1]) / k[1] * k[None, :]
    full = full * np.exp(-1j * ramp)
    square = k[:, None] ** 2 + k[None, :] ** 2
    full = full * np.exp(-2 * (np.pi * vibration) ** 2 * square)
    full = (1 - tail[0]) * full + tail[0] * np.exp(-2 * (np.pi * tail[1]) ** 2 * square)
    reach = int(np.flatnonzero(np.abs(full).max(axis=0)[: n_pixels // 2] > 2e-5)[-1]) + 1
    reach = min(reach, n_pixels // 2 - 1)
    rows = np.arange(-reach, reach + 1)
    length = n_pixels * pixel_size
    return Transfer(
        full[np.ix_(rows, rows[reach:])].astype(np.complex64),
        rows / length,
        rows[reach:] / length,
        (length, length),
    )


def _peak_of(transfer: Transfer) -> float:
    """Height of a column of unit strength, 1/Å²."""
    total = transfer.values[:, 0].real.sum() + 2 * transfer.values[:, 1:].real.sum()
    return float(total / (transfer.length[0] * transfer.length[1]))


def _metal(material: Material) -> int:
    from ase.data import atomic_numbers

    return atomic_numbers[dict(material.elements)["M"]]


def _draw_background(
    config: SpecimenConfig, shape: tuple[int, int], pixel_size: float, rng: np.random.Generator
) -> np.ndarray:
    """Even background, slow variation and contamination, in units of an M peak."""
    coarse = (max(shape[0] // 16, 4), max(shape[1] // 16, 4))

    def smooth_field(width: float) -> np.ndarray:
        field = gaussian_filter(rng.standard_normal(coarse), width, mode="reflect")
        field = (field - field.mean()) / max(float(field.std()), 1e-9)
        return zoom(field, (shape[0] / coarse[0], shape[1] / coarse[1]), order=1)[
            : shape[0], : shape[1]
        ]

    background = np.full(shape, float(draw_value(config.background, rng)))
    background += float(draw_value(config.slow_background, rng)) * smooth_field(2.0)
    if rng.random() < float(draw_value(config.contamination, rng)):
        height = float(draw_value(config.contamination_height, rng))
        background += height * np.clip(smooth_field(1.0) - rng.uniform(0, 1), 0, 1.5)
    return np.maximum(background, 0)
