"""One simulated image with its truth, drawn from a recipe."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import gaussian_filter, zoom

from adatom.core.random import draw_value, make_rng
from adatom.simulate.detector import Detector, detect, filter_as_users_do
from adatom.simulate.drawing import OUTSIDE, choose_kind, draw_host, draw_structure
from adatom.simulate.linear import simulate_shapes
from adatom.simulate.recipe import ANY_LABEL, BackgroundConfig, Recipe
from adatom.simulate.scan import draw_scan
from adatom.simulate.scattering import Specimen, draw_scattering
from adatom.structures.projection import label_columns, project_columns


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
    config = choose_kind(recipe.structure, rng)
    host = draw_host(config, rng)
    microscope = recipe.microscope.draw(rng)
    structure = draw_structure(config, host, size, rng)
    columns, column_of_atom = project_columns(structure)
    any_column = recipe.training.labels == (ANY_LABEL,)
    labels = label_columns(structure, column_of_atom, None if any_column else host.material)
    exponent = float(draw_value(recipe.specimen.exponent, rng))
    positions = columns[["y", "x"]].to_numpy() - OUTSIDE
    thickness = float(draw_value(recipe.specimen.thickness, rng))
    factor = _draw_thickness(positions, thickness, rng)
    scan = draw_scan((n_pixels, n_pixels), pixel_size, recipe.scan, rng)
    specimen = Specimen(config, host, structure, column_of_atom, factor)
    scattering = draw_scattering(recipe, specimen, (microscope, exponent), size=size, rng=rng)
    parts = [
        (positions[counts > 0], counts[counts > 0], shape) for counts, shape in scattering.parts
    ]
    image = simulate_shapes(parts, (scan.y, scan.shift), scan.x)
    strengths = np.sum([counts * shape.whole for counts, shape in scattering.parts], axis=0)
    peak = scattering.peak
    image = np.maximum(image, 0) + peak * draw_background(
        recipe.specimen, image.shape, pixel_size, rng
    )
    dose = draw_dose(recipe.detector, peak, rng) * pixel_size**2
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


def _draw_thickness(positions: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Thickness at the columns over its mean, (N,)."""
    factor = np.ones(len(positions))
    if spread == 0:
        return factor
    for _ in range(3):
        wave = 2 * np.pi * rng.standard_normal(2) / 60
        phase = rng.uniform(0, 2 * np.pi)
        factor += spread * (2 / 3) ** 0.5 * np.cos(positions @ wave + phase)
    return np.maximum(factor, 0.3)


def draw_dose(config: Detector, peak: float, rng: np.random.Generator) -> float:
    """Draw the dose of an image.

    Parameters
    ----------
    config : Detector
        Its dose, or electrons at a peak of the host.
    peak : float
        Share of the beam that the host scatters there.
    rng : Generator
        Draws it.

    Returns
    -------
    float
        Incident electrons per Å².
    """
    if config.peak_electrons is not None:
        return float(draw_value(config.peak_electrons, rng)) / peak
    return float(draw_value(config.dose, rng))


def draw_background(
    config: BackgroundConfig, shape: tuple[int, int], pixel_size: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw even background, its slow variation and contamination.

    Parameters
    ----------
    config : BackgroundConfig
        Their ranges.
    shape : (int, int)
        Height and width, pixels.
    pixel_size : float
        Å per pixel.
    rng : Generator
        Draws them.

    Returns
    -------
    (H, W) array
        In units of a peak of the host.
    """

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
    amorphous = float(draw_value(config.amorphous, rng))
    if amorphous > 0:
        grain = gaussian_filter(rng.standard_normal(shape), rng.uniform(0.4, 0.9) / pixel_size)
        background *= 1 + amorphous * grain / max(float(grain.std()), 1e-9)
    return np.maximum(background, 0)
