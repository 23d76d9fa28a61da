"""Silicon in graphene."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from adatom.core.materials import get_material
from adatom.structures.graphene import SILICON, dope_with_silicon, relax_bonds
from adatom.structures.projection import label_columns, project_columns
from adatom.structures.sheets import make_sheet

GRAPHENE = get_material("graphene")


@pytest.fixture(scope="module")
def sheet():
    return make_sheet(GRAPHENE, (60, 50), angle=17)


def test_every_inner_atom_has_three_neighbors_at_the_bond_length(sheet):
    inner = ((sheet.positions[:, :2] > 4) & (sheet.positions[:, :2] < (46, 56))).all(1)
    distance, _ = cKDTree(sheet.positions).query(sheet.positions[inner], k=5)
    np.testing.assert_allclose(distance[:, 1:4], 1.421, atol=1e-3)
    assert (distance[:, 4] > 2.4).all()


@pytest.mark.parametrize("host", ["graphene", "h-BN"])
def test_perfect_sheets_do_not_relax_not_even_at_their_edges(host):
    sheet = make_sheet(get_material(host), (60, 50), angle=17)
    assert np.abs(relax_bonds(sheet).positions - sheet.positions).max() < 1e-6


@pytest.mark.parametrize(
    ("fourfold", "n_neighbors", "length"),
    [(0.0, 3, 1.70), (1.0, 4, 1.90)],  # Zhou et al. 2012, seen along the beam
)
def test_silicon_has_its_neighbors_at_its_own_bond_length(sheet, fourfold, n_neighbors, length):
    rng = np.random.default_rng(4)
    doped = dope_with_silicon(sheet, 8, fourfold, rng)
    is_silicon = doped.numbers == SILICON
    points = doped.positions[:, :2]
    near, _ = cKDTree(points).query(points[is_silicon], k=6)
    others, _ = cKDTree(points[is_silicon]).query(points[is_silicon], k=2)
    inner = ((points[is_silicon] > 5) & (points[is_silicon] < (45, 55))).all(1)
    single = near[inner & (others[:, 1] > 5)]
    assert len(single) >= 4
    bonds = single[:, 1 : n_neighbors + 1]
    assert bonds.mean() == pytest.approx(length, abs=0.03)
    assert (single[:, n_neighbors + 1] > bonds.max(axis=1) + 0.3).mean() > 0.9
    carbon, _ = cKDTree(points[~is_silicon]).query(points[~is_silicon], k=2)
    assert carbon[:, 1].min() > 1.3


@pytest.mark.parametrize(
    ("members", "lengths"),
    [
        ((1, 2), [1.70, 1.70, 1.70]),  # two at next neighbors' places are not bonded
        ((0, 1), [1.70, 1.70, 2.24]),  # a dimer
        ((0, 1, 2, 3), [2.24, 2.24, 2.24]),  # the middle of a star
    ],
)
def test_clusters_have_bonds_of_their_own_length(sheet, members, lengths):
    points = sheet.positions[:, :2]
    middle = points[np.argmin(np.hypot(*(points - (25, 30)).T))]
    doped = sheet.copy()
    chosen = np.argsort(np.hypot(*(points - middle).T))[list(members)]
    doped.numbers[chosen] = SILICON
    relaxed = relax_bonds(doped).positions[:, :2]
    distance, _ = cKDTree(relaxed).query(relaxed[chosen[0]], k=4)
    np.testing.assert_allclose(distance[1:], lengths, atol=0.09)


def test_crowded_clusters_keep_their_atoms_apart(sheet):
    for seed in range(20):
        points = dope_with_silicon(sheet, 20, 0.4, np.random.default_rng(seed)).positions[:, :2]
        assert cKDTree(points).query(points, k=2)[0][:, 1].min() > 1.2


def test_no_silicon_changes_nothing_and_columns_are_named_by_element(sheet):
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(dope_with_silicon(sheet, 0, 0.5, rng).positions, sheet.positions)
    doped = dope_with_silicon(sheet, 5, 0.5, rng)
    columns, column = project_columns(doped)
    labels = label_columns(doped, column, GRAPHENE)
    assert set(labels) == {"C", "Si"}
    assert (labels == "Si").sum() == (doped.numbers == SILICON).sum()
    assert len(columns) == len(doped)
