"""How much of a focal series the atoms that were found in it explain."""

import itertools

import numpy as np
import pandas as pd
import xarray as xr
from ase import Atoms
from scipy import fft
from scipy.spatial import cKDTree

from adatom.analyze.microscope import TEMPERATURE, MicroscopeFit
from adatom.core.materials import Material, find_role
from adatom.images import pixel_size
from adatom.simulate.hrtem import expect_electrons, form_images
from adatom.simulate.multislice import simulate_exit_wave
from adatom.simulate.waves import SliceConfig
from adatom.structures.vibrations import load_amplitudes

BORDER = 6.0  # Å at the edges, where columns outside the image are seen too
SLOWEST = 4.0  # Å: what varies more slowly is not looked at
LEAST_DISTANCE = 1.2  # Å between a column and one that follows beyond an edge
COARSE = SliceConfig(pixel_size=0.16)


def explain_series(
    series: xr.DataArray, atoms: pd.DataFrame, material: Material, fit: MicroscopeFit
) -> float:
    """Find how much of a focal series is explained by an MX2 monolayer and a microscope.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x).
    atoms : DataFrame
        Columns x, y (Å, by the coordinates of the series), label.
    material : Material
        An MX2 monolayer whose vibrations are known.
    fit : MicroscopeFit
        The microscope.

    Returns
    -------
    float
        Share of the variance of all images that a simulation of the atoms takes away, each image
        scaled for itself; at most 1. Six Å at the edges, and what varies over more than some Å, are
        left out; 0 if the images are smaller than that.
    """
    size = np.array(pixel_size(series))
    n_border = np.ceil(BORDER / size).astype(int)
    shape = np.array(series.shape[1:])
    if (shape <= 2 * n_border).any() or not len(atoms):
        return 0.0
    expected = simulate_columns(series, atoms, material, fit)
    inner = np.s_[n_border[0] : shape[0] - n_border[0], n_border[1] : shape[1] - n_border[1]]
    left = total = 0.0
    for seen, known in zip(np.asarray(series.values, float), expected, strict=True):
        data, model = (_flatten(part / part.mean(), size)[inner] for part in (seen, known))
        scale = (data * model).sum() / max((model**2).sum(), 1e-12)
        left += ((data - max(scale, 0.0) * model) ** 2).sum()
        total += (data**2).sum()
    return float(1 - left / total)


def simulate_columns(
    series: xr.DataArray, atoms: pd.DataFrame, material: Material, fit: MicroscopeFit
) -> np.ndarray:
    """Simulate a focal series of columns of an MX2 monolayer in a microscope that was fitted.

    Parameters
    ----------
    series, atoms, material, fit
        As of `explain_series`.

    Returns
    -------
    (F, H, W) array
        Images without noise, in the pixels of the series. Beyond the edges the lattice of the
        columns near them goes on, without vacancies.
    """
    size, shape = np.array(pixel_size(series)), np.array(series.shape[1:])
    border = np.ceil(BORDER / size).astype(int)
    corner = np.array([float(series.y[0]), float(series.x[0])])
    places, roles = _continue(
        atoms[["y", "x"]].to_numpy() - corner,
        atoms["label"].map(find_role).to_numpy(),
        shape * size,
        fit.vectors,
    )
    extent = (shape + 2 * border) * size
    structure, displacements = _build(places + border * size, roles, material, extent)
    wave = simulate_exit_wave(
        structure,
        float(fit.lens.energy_eV),  # type: ignore[arg-type]
        displacements=displacements,
        config=COARSE,
    )
    images = form_images(wave, fit.lens, np.array(fit.lens.focal_series), fit.shifts)
    camera = fit.camera.model_copy(
        # What the camera blurs, it blurs, though it is not known to count electrons.
        update={"dose": 1 / size.prod(), "is_counting": True}
    )
    padded = (int(shape[0] + 2 * border[0]), int(shape[1] + 2 * border[1]))
    expected = expect_electrons(images, wave.grid.length, camera, shape=padded)[0]
    return expected[:, border[0] : border[0] + shape[0], border[1] : border[1] + shape[1]]


def _continue(
    places: np.ndarray, roles: np.ndarray, extent: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns in an image [y, x] of some extent, and those that follow beyond its edges."""
    inside = ((places >= 0) & (places <= extent)).all(axis=1)
    places, roles = places[inside], roles[inside]
    known, kinds = [places], [roles]
    steps = np.array(list(itertools.product(range(-2, 3), repeat=2)))
    for order in steps[np.argsort(np.linalg.norm(steps @ vectors, axis=1), kind="stable")]:
        moved = places + order @ vectors
        beyond = ((moved < 0) | (moved > extent)).any(axis=1)
        beyond &= ((moved > -BORDER) & (moved < extent + BORDER)).all(axis=1)
        if not beyond.any():
            continue
        free = cKDTree(np.concatenate(known)).query(moved[beyond])[0] > LEAST_DISTANCE
        known.append(moved[beyond][free])
        kinds.append(np.where(roles[beyond][free] == "M", "M", "X2"))
    return np.concatenate(known), np.concatenate(kinds)


def _build(
    places: np.ndarray, roles: np.ndarray, material: Material, extent: np.ndarray
) -> tuple[Atoms, np.ndarray]:
    """Monolayer with these columns in a box [y, x], and how its atoms vibrate."""
    elements, height = dict(material.elements), material.thickness / 2
    vibrations = load_amplitudes(material.name, TEMPERATURE)
    heights = {"M": (height,), "X2": (0.0, 2 * height), "X1": (2 * height,)}
    neighbors = {"M": 6, "X2": 3, "X1": 3}
    positions, symbols, u2 = [], [], []
    for (y, x), role in zip(places, roles, strict=True):
        element = elements["M" if role == "M" else "X2"]
        for z in heights[role]:
            positions.append((x, y, z))
            symbols.append(element)
            u2.append(vibrations[element, neighbors[role]][0])
    cell = (extent[1], extent[0], 2 * height)
    return Atoms(symbols, positions, cell=cell, pbc=True), np.array(u2)


def _flatten(values: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Without what varies slowly; borders are left out later."""
    ky, kx = fft.fftfreq(values.shape[0], size[0])[:, None], fft.rfftfreq(values.shape[1], size[1])
    kept = 1 - np.exp(-2 * (np.pi * SLOWEST) ** 2 * (ky**2 + kx**2))
    return np.asarray(fft.irfft2(fft.rfft2(values) * kept, s=values.shape))
