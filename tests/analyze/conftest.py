"""A focal series of a perfect MoS2 monolayer in a known microscope, and its columns."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from ase.build import make_supercell, mx2

from adatom.analyze.defects import find_defects
from adatom.analyze.library import cut_defects
from adatom.analyze.microscope import MicroscopeFit
from adatom.core.chemistry import make_chemistry
from adatom.core.materials import get_material
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.hrtem import Camera, simulate_focal_series
from adatom.simulate.multislice import simulate_exit_wave
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect

SCOPE = ImagingMicroscope(
    energy_eV=60e3,
    defocus=12,
    focal_series=(-30, 20, 70),
    C12=25,
    phi12=40,
    C21=150,
    phi21=100,
    C23=300,
    phi23=20,
    C30=-8e4,
    focal_spread=30,
)


@pytest.fixture(scope="session")
def monolayer():
    cell = mx2("MoS2", a=3.16, thickness=3.13, vacuum=3)
    sheet = make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]]) * (9, 5, 1)
    u2 = np.where(sheet.numbers == 42, 0.0038, 0.0066)
    wave = simulate_exit_wave(sheet, 60e3, displacements=u2).crop(1.5)
    camera = Camera(pixel_size=0.12, dose=5e3, blur=0.08, mtf_frequency=1.0)
    series = simulate_focal_series(wave, SCOPE, camera, 5)
    upper = sheet[sheet.positions[:, 2] > sheet.positions[:, 2].mean() - 0.5]
    labels = np.where(upper.numbers == 42, "Mo", "S2")
    table = pd.DataFrame({"x": upper.positions[:, 0], "y": upper.positions[:, 1], "label": labels})
    for name, is_it in (("Mo", labels == "Mo"), ("S2", labels == "S2"), ("S1", labels == "S1")):
        table[f"score_{name}"] = np.where(is_it, 0.8, 0.08)
    return series, table.assign(score=0.8)


@pytest.fixture(scope="session")
def truth(monolayer):
    """The microscope that took it, as a fit would give it."""
    series, _ = monolayer
    drawn = series.attrs["microscope"] | {"focal_series": tuple(series.attrs["defoci"])}
    return MicroscopeFit(
        lens=ImagingMicroscope(**drawn),
        camera=Camera(**series.attrs["camera"]),
        shifts=np.array(series.attrs["shifts"]),
        tilt=0.0,
        contrast=1.0,
        vectors=3.16 * np.array([[0.0, 1.0], [0.75**0.5, 0.5]]),
        metal=np.zeros(2),
        others=np.zeros(2),
        chi_square=1.0,
        n_data=1,
        chi_square_flat=1.0,
    )


@pytest.fixture(scope="session")
def make_honeycomb():
    """Places [y, x] and labels of a square piece of a honeycomb."""

    def make(side, constant=2.461, *, angle=7.0, labels=("C", "C"), noise=0.0, seed=0):
        n = int(2 * side / constant)
        i, j = np.mgrid[-n : n + 1, -n : n + 1]
        turn = np.deg2rad(angle + np.array([0, 60]))
        one, other = constant * np.stack([np.sin(turn), np.cos(turn)], axis=1)
        cells = i.reshape(-1, 1) * one + j.reshape(-1, 1) * other
        places = np.concatenate([cells, cells + (one + other) / 3])
        inside = (np.abs(places) < side / 2).all(axis=1)
        places = places + np.random.default_rng(seed).normal(0, noise, places.shape)
        return places[inside], np.repeat(labels, len(cells))[inside]

    return make


@pytest.fixture(scope="session")
def tabulate():
    """Atoms table of places and labels."""

    def make(places, labels, **more):
        values = {"frame": 0, "atom": np.arange(len(places)), "x": places[:, 1], "y": places[:, 0]}
        values |= {"label": labels, "score": 0.9, "score_none": 0.05, "x_err": 0.05, "y_err": 0.05}
        return pd.DataFrame(values | more)

    return make


GRAPHENE = get_material("graphene")


@pytest.fixture(scope="session")
def plant_defect():
    """Cuts of defects in graphene at any angle, either side up, each atom off by a known noise."""

    def plant(kind, n, *, noise=0.0, rng, move=None, scale=1.0, size=36.0):
        for frame in range(n):
            sheet = make_sheet(GRAPHENE, (36, 36), angle=float(rng.uniform(0, 60)))
            sheet = insert_defect(sheet, kind, (18.0, 18.0), rng)
            if move is not None:
                move(sheet)
            places = sheet.positions[:, :2] + rng.normal(0, noise, (len(sheet), 2))
            if frame % 2:
                places[:, 0] = 36 - places[:, 0]
            places *= scale
            axis = np.arange(0, size + 0.1, 0.15)
            heights = (sheet.numbers / 6) ** 1.7
            shape = np.exp(-((axis - places[:, :, None]) ** 2) / (2 * 0.35**2))
            gain, offset = rng.uniform(0.5, 2), rng.uniform(-1, 1)
            values = offset + gain * np.einsum("n,ny,nx->yx", heights, shape[:, 1], shape[:, 0])
            image = xr.DataArray(values, dims=("y", "x"), coords={"y": axis, "x": axis})
            table = pd.DataFrame(
                {"frame": frame, "atom": np.arange(len(sheet)), "x": places[:, 0]}
                | {"y": places[:, 1], "label": sheet.get_chemical_symbols(), "score": 0.9}
                | {"x_err": noise, "y_err": noise}
            )
            table = table[(places < size).all(axis=1)]
            found = find_defects(
                table.reset_index(drop=True),
                make_chemistry(GRAPHENE),
                material=GRAPHENE,
                area=np.array([[0.0, 0.0], [size, size]]),
            )
            yield cut_defects(image, found, GRAPHENE)

    return plant


@pytest.fixture(scope="session")
def pull_silicon():
    """Moves the silicon atom of a sheet by 0.2 Å toward one of its neighbors."""

    def pull(sheet):
        silicon = sheet.numbers.argmax()
        away = sheet.positions - sheet.positions[silicon]
        first = np.argsort(np.linalg.norm(away, axis=1))[1]
        sheet.positions[silicon] += 0.2 * away[first] / np.linalg.norm(away[first])

    return pull


@pytest.fixture(scope="session")
def source():
    """What a library says of the images of `plant_defect`."""
    known = {"image": "a.tif", "material": "graphene", "model": "haadf-graphene"}
    return known | {"pixel_size": [0.15, 0.15], "use_lattice": False, "modality": "HAADF"}
