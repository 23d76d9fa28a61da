"""Grains, sites and empty sites of atoms whose lattice is known."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from adatom.analyze.lattice import find_lattices

ROLES = ("M", "X2")


def test_the_lattice_and_every_empty_site_of_a_sheet(make_honeycomb):
    places, labels = make_honeycomb(80, 3.16, angle=11.0, labels=ROLES, noise=0.1)
    rng = np.random.default_rng(3)
    inner = (np.abs(places) < 36).all(axis=1)
    gone = inner & (rng.random(len(places)) < 0.05)
    area = np.array([[-40.0, -40], [40, 40]])
    found = find_lattices(places[~gone], labels[~gone], area)
    (grain,) = found.grains
    for length in grain.lengths:
        assert abs(length - 3.16) < 5 * grain.vectors_err.max()
    assert 1e-4 < grain.vectors_err.max() < 2e-3
    assert grain.angle == pytest.approx(11, abs=0.1)
    assert sorted(grain.labels) == sorted(ROLES)
    assert (found.of_atom >= 0).all()
    empty = found.sites[found.sites["atom"] < 0]
    away, which = cKDTree(places[gone]).query(empty[["y", "x"]].to_numpy())
    assert len(empty) == gone.sum()
    assert sorted(which) == list(range(gone.sum()))
    assert away.max() < 0.5
    np.testing.assert_array_equal(empty["label"], labels[gone][which])


def test_neighboring_cells_differ_by_one(make_honeycomb):
    places, labels = make_honeycomb(60, noise=0.1)
    found = find_lattices(places, labels)
    sites = found.sites.iloc[found.of_atom]
    cells = sites[["i", "j"]].to_numpy()
    vectors = found.grains[0].vectors
    for pair in cKDTree(places).query_pairs(2.7, output_type="ndarray")[::50]:
        if sites["site"].iloc[pair[0]] == sites["site"].iloc[pair[1]]:
            step = (cells[pair[1]] - cells[pair[0]]) @ vectors
            np.testing.assert_allclose(places[pair[1]] - places[pair[0]], step, atol=0.6)


def test_grains_are_told_apart_where_they_meet(make_honeycomb):
    left, right = (make_honeycomb(60, angle=angle, noise=0.08)[0] for angle in (5.0, 27.0))
    places = np.concatenate([left[left[:, 1] < 0], right[right[:, 1] > 0.7]])
    is_left = np.arange(len(places)) < (left[:, 1] < 0).sum()
    found = find_lattices(places, np.full(len(places), "C"))
    assert sorted(round(grain.angle) for grain in found.grains) == [5, 27]
    grain = found.grain_of_atom
    far = np.abs(places[:, 1]) > 3
    assert len(set(grain[far & is_left])) == len(set(grain[far & ~is_left])) == 1
    assert set(grain[far & is_left]).isdisjoint(grain[far & ~is_left])
    # What the boundary has no room for is no empty site of either grain.
    assert (found.sites["atom"] < 0).sum() <= 2


def test_edges_and_large_holes_are_no_vacancies(make_honeycomb):
    places, labels = make_honeycomb(80)
    hole = np.hypot(places[:, 0] - 10, places[:, 1]) < 11
    edge = places[:, 0] < -0.3 * places[:, 1] - 12
    area = np.array([[-40.0, -40], [40, 40]])
    kept = ~hole & ~edge
    found = find_lattices(places[kept], labels[kept], area)
    assert (found.sites["atom"] < 0).sum() == 0
    small = np.hypot(places[:, 0] - 10, places[:, 1]) < 2.6
    found = find_lattices(places[~small & ~edge], labels[~small & ~edge], area)
    assert (found.sites["atom"] < 0).sum() == small.sum() > 3


def test_slow_distortion_moves_sites_with_the_atoms(make_honeycomb):
    places, labels = make_honeycomb(100, noise=0.03)
    bent = places + 1.2 * np.stack([np.sin(places[:, 1] / 20), np.cos(places[:, 0] / 25)], axis=1)
    gone = np.argsort(np.hypot(*places.T))[:40:8]
    kept = np.delete(np.arange(len(places)), gone)
    found = find_lattices(bent[kept], labels[kept])
    empty = found.sites[found.sites["atom"] < 0][["y", "x"]].to_numpy()
    away, _ = cKDTree(bent[gone]).query(empty)
    assert len(empty) == len(gone)
    assert away.max() < 0.3


def test_disorder_and_few_atoms_have_no_grain():
    rng = np.random.default_rng(0)
    for n in (0, 3, 20, 400):
        found = find_lattices(rng.random((n, 2)) * 2.5 * max(n, 1) ** 0.5, np.full(n, "C"))
        assert found.grains == ()
        assert (found.of_atom == -1).all()
        assert found.sites.empty
