"""Particles of gold and films of carbon."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.structures.particles import make_amorphous, make_particle

BOND = 4.08 / 2**0.5


def test_atoms_have_twelve_neighbors_inside_and_columns_run_along_the_beam():
    particle = make_particle("Au", 12, np.random.default_rng(0))
    tree = cKDTree(particle.positions)
    count = np.array([len(near) - 1 for near in tree.query_ball_point(particle.positions, 3.2)])
    center = np.linalg.norm(particle.positions, axis=1) < 7
    assert (count[center] == 12).all()
    assert count.max() == 12
    assert count.min() < 9
    column = particle.arrays["column"]
    for number in range(column.max() + 1):
        members = particle.positions[column == number]
        np.testing.assert_allclose(np.ptp(members[:, :2], axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(np.diff(np.sort(members[:, 2])), BOND, atol=1e-9)
    radius = np.cbrt(len(particle) * 4.08**3 / 4 * 3 / (4 * np.pi))
    assert 11 < radius < 15


def test_a_tilt_spreads_columns_and_keeps_distances():
    straight, tilted = (
        make_particle("Au", 10, np.random.default_rng(1), tilt=tilt) for tilt in (0, 5)
    )
    column = tilted.arrays["column"]
    np.testing.assert_array_equal(column, straight.arrays["column"])
    longest = np.bincount(column).argmax()
    members = tilted.positions[column == longest]
    spread = np.linalg.norm(np.ptp(members[:, :2], axis=0))
    assert spread == pytest.approx(np.ptp(members[:, 2]) * np.tan(np.deg2rad(5)), rel=1e-6)
    assert tilted.get_distance(0, 1) == pytest.approx(straight.get_distance(0, 1))


def test_films_are_dense_and_their_atoms_apart():
    film = make_amorphous("C", (10, 20, 30), 0.1, np.random.default_rng(0))
    assert len(film) == 600
    assert cKDTree(film.positions).query(film.positions, 2)[0][:, 1].min() >= 1.35
    assert (np.ptp(film.positions, axis=0) > [29, 19, 9]).all()


@pytest.mark.parametrize("element", ["Fe", "Xx", "H"])
def test_other_elements_are_refused(element):
    with pytest.raises(ConfigError, match="must be a face-centered cubic metal"):
        make_particle(element, 10, np.random.default_rng(0))
