"""Columns of crystals, of drawn lattices and of none."""

import numpy as np
import pytest
from ase.build import bulk, surface
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.structures.crystals import (
    LEAST_DISTANCE,
    PROJECTIONS,
    draw_projection,
    make_crystal,
    scatter_atoms,
)
from adatom.structures.projection import project_columns

# Built by ASE: element, structure, lattice constant, surface whose normal is the beam.
BUILT = {
    "Si [110]": (bulk("Si", "diamond", 5.431, cubic=True), (1, 1, 0)),
    "GaAs [110]": (bulk("GaAs", "zincblende", 5.653, cubic=True), (1, 1, 0)),
    "Si [001]": (bulk("Si", "diamond", 5.431, cubic=True), (0, 0, 1)),
    "Au [110]": (bulk("Au", "fcc", 4.078, cubic=True), (1, 1, 0)),
    "Au [001]": (bulk("Au", "fcc", 4.078, cubic=True), (0, 0, 1)),
    "Fe [001]": (bulk("Fe", "bcc", 2.866, cubic=True), (0, 0, 1)),
}


def neighbors(points: np.ndarray) -> np.ndarray:
    """Distances of a column in the middle to its ten nearest neighbors, Å."""
    middle = points[np.argmin(np.hypot(*(points - points.mean(axis=0)).T))]
    return np.sort(np.hypot(*(points - middle).T))[1:11]


@pytest.mark.parametrize("name", BUILT)
def test_columns_lie_as_in_a_crystal_that_ase_builds(name: str):
    crystal, normal = BUILT[name]
    slab = surface(crystal, normal, layers=4).repeat((7, 7, 1))
    columns, _ = project_columns(slab, tolerance=0.1)
    expected = columns[["x", "y"]].to_numpy()
    found = make_crystal(name, (40, 40), angle=23).positions[:, :2]
    np.testing.assert_allclose(neighbors(found), neighbors(expected), atol=2e-3)


@pytest.mark.parametrize("name", PROJECTIONS)
def test_density_is_that_of_the_cell(name: str):
    size = (150.0, 150.0)
    n_columns = len(make_crystal(name, size, angle=31))
    assert n_columns / (size[0] * size[1]) == pytest.approx(PROJECTIONS[name].density, rel=0.02)


@pytest.mark.parametrize("seed", range(20))
def test_drawn_lattices_keep_their_columns_apart(seed: int):
    drawn = draw_projection(np.random.default_rng(seed))
    crystal = make_crystal(drawn, (40, 30), angle=77, offset=(1, 2))
    points = crystal.positions[:, :2]
    assert cKDTree(points).query(points, k=2)[0][:, 1].min() > LEAST_DISTANCE - 1e-9
    assert 0.15 <= crystal.arrays["weight"].min() <= crystal.arrays["weight"].max() == 1


def test_drawn_lattices_are_of_every_symmetry():
    cells = [draw_projection(np.random.default_rng(seed)).cell for seed in range(200)]
    assert max(max(a, b) for a, b, _ in cells) <= 8
    assert sum(a == b and angle == 90 for a, b, angle in cells) > 25
    assert sum(a == b and angle == 60 for a, b, angle in cells) > 25
    assert sum(a != b and angle == 90 for a, b, angle in cells) > 25
    assert sum(60 < angle < 90 for _, _, angle in cells) > 25


def test_scattered_atoms_have_no_order_but_their_distance():
    points = scatter_atoms((200, 200), 30, 0.2, 1.5, np.random.default_rng(1)).positions[:, :2]
    assert cKDTree(points).query(points, k=2)[0][:, 1].min() > 1.5
    wave = 2 * np.pi * np.stack(np.meshgrid(*(np.linspace(0.2, 0.7, 40),) * 2), -1).reshape(-1, 2)
    power = np.abs(np.exp(1j * points @ wave.T).sum(axis=0)) ** 2 / len(points)
    assert power.max() < 15  # a crystal has spots as strong as it has columns


def test_unknown_crystal_is_refused():
    with pytest.raises(ConfigError, match=r"Si \[110\]"):
        make_crystal("Si [123]", (10, 10))
