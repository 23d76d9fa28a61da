"""Waves of a lattice in points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatom.analyze.waves import find_point_waves, find_spacing, follow_waves, reduce_vectors


def make_points(vectors, basis, side, noise, seed=0):
    n = int(2 * side / np.linalg.norm(vectors, axis=1).min())
    i, j = np.mgrid[-n : n + 1, -n : n + 1]
    cells = np.column_stack([i.ravel(), j.ravel()]) @ vectors
    places = np.concatenate([cells + site for site in basis])
    places = places[(np.abs(places) < side / 2).all(axis=1)]
    return places + np.random.default_rng(seed).normal(0, noise, places.shape)


@pytest.mark.parametrize(
    ("vectors", "basis"),
    [
        ([(0, 2.46), (2.13, 1.23)], [(0, 0), (0.71, 1.23)]),  # graphene
        ([(0.3, 3.9), (3.9, -0.3)], [(0, 0), (2.1, 1.8), (2.1, -0.1)]),  # perovskite, three columns
        ([(0, 3.84), (5.43, 0)], [(0, 0), (1.36, 0), (2.72, 1.92), (4.07, 1.92)]),  # Si [110]
        ([(1.0, 2.7), (3.3, 0.4)], [(0, 0)]),  # oblique
    ],
)
def test_waves_are_those_of_the_cell_of_any_symmetry(vectors, basis):
    vectors = np.array(vectors, float)
    places = make_points(vectors, np.array(basis), 60, 0.08)
    waves = find_point_waves(places, np.ones(len(places)), find_spacing(places))
    index = vectors @ waves.T  # whole numbers, whose determinant is 1, for waves of that lattice
    np.testing.assert_allclose(index, np.rint(index), atol=0.01)
    # Sites that differ by a fraction of the cell make it smaller: Si [110] is centered.
    cell = 1 / abs(np.linalg.det(waves))
    assert cell == pytest.approx(
        abs(np.linalg.det(vectors)) / (2 if len(basis) == 4 else 1), rel=0.01
    )


def test_points_without_order_have_no_waves():
    rng = np.random.default_rng(0)
    for n in (30, 300, 3000):
        places = rng.random((n, 2)) * 2.5 * n**0.5
        assert find_point_waves(places, np.ones(n), find_spacing(places)) is None


def test_phases_follow_a_bent_lattice(make_honeycomb):
    places, _ = make_honeycomb(120, noise=0.05)
    bend = 1.5 * np.sin(places[:, 1] / 25)  # Å, along y: more than half a cell
    bent = places + np.stack([bend, np.zeros(len(places))], axis=1)
    waves = find_point_waves(places, np.ones(len(places)), 1.42)
    order = follow_waves(bent, np.ones(len(places)), waves, 1.42)
    shift = np.stack([order.look(part, bent) for part in order.shift], axis=1)
    found = -shift @ np.linalg.inv(waves).T
    inner = (np.abs(places) < 50).all(axis=1)
    miss = (found[:, 0] - bend)[inner]
    assert (miss - miss.mean()).std() < 0.1
    assert found[inner, 1].std() < 0.1


@given(
    st.sampled_from([(1.0, 60.0), (1.0, 90.0), (1.0, 120.0), (1.7, 75.0)]),
    st.floats(0, 360),
    st.lists(st.integers(-3, 3), min_size=4, max_size=4),
)
def test_any_vectors_of_a_lattice_reduce_to_the_shortest(cell, turn, steps):
    """Also where several are as long as each other, whatever rounding makes of it."""
    ratio, angle = cell
    angles = np.deg2rad([turn, turn + angle])
    shortest = 2.461 * np.array([[1.0], [ratio]]) * np.stack([np.sin(angles), np.cos(angles)], 1)
    skew = np.array([[1, steps[0]], [0, 1]]) @ np.array([[1, 0], [steps[1], 1]])
    skew = skew @ np.array([[1, steps[2]], [0, 1]]) @ np.array([[1, 0], [steps[3], 1]])
    vectors = skew @ shortest
    found = reduce_vectors(vectors)
    assert abs(round(np.linalg.det(found))) == 1
    lengths = np.linalg.norm(found @ vectors, axis=1)
    np.testing.assert_allclose(sorted(lengths), [2.461, 2.461 * ratio], rtol=1e-6)
