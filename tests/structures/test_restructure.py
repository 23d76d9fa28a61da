"""Particles that restructure: the same atoms, the same lattice, another surface."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.structures.particles import make_particle
from adatom.structures.restructure import find_axis, move_surface_atoms, number_columns

BOND = 4.08 / 2**0.5


@pytest.mark.parametrize("tilt", [0.0, 2.5])
def test_moves_keep_atoms_and_lattice(tilt):
    particle = make_particle("Au", 9, np.random.default_rng(0), tilt=tilt)
    moved = move_surface_atoms(particle, 12, np.random.default_rng(1))
    assert len(moved) == len(particle)
    distance, _ = cKDTree(particle.positions).query(moved.positions)
    assert 1 <= (distance > 0.1).sum() <= 12
    nearest, _ = cKDTree(moved.positions).query(moved.positions, k=[2])
    np.testing.assert_allclose(nearest, BOND, atol=1e-6)
    counts = [len(f) - 1 for f in cKDTree(moved.positions).query_ball_point(moved.positions, 3.2)]
    assert min(counts) >= 2
    assert abs(find_axis(moved) @ find_axis(particle)) == pytest.approx(1)


def test_columns_are_numbered_as_they_were_made():
    particle = make_particle("Au", 10, np.random.default_rng(2), tilt=3.0)
    found = number_columns(particle.positions, find_axis(particle))
    pairs = np.unique(np.column_stack([particle.arrays["column"], found]), axis=0)
    assert len(pairs) == len(np.unique(found)) == len(np.unique(particle.arrays["column"]))


def test_atoms_prefer_sites_with_many_neighbors():
    particle = make_particle("Au", 9, np.random.default_rng(3))

    def bonds(atoms):
        return len(cKDTree(atoms.positions).query_pairs(3.2))

    rough = move_surface_atoms(particle, 40, np.random.default_rng(4), eagerness=100.0)
    smooth = move_surface_atoms(rough, 60, np.random.default_rng(5), eagerness=0.3)
    assert bonds(rough) < bonds(particle)
    assert bonds(smooth) > bonds(rough)


def test_a_particle_too_small_to_have_a_lattice_is_refused():
    particle = make_particle("Au", 9, np.random.default_rng(0))[:4]
    with pytest.raises(ConfigError, match="12 neighbors"):
        move_surface_atoms(particle, 1, np.random.default_rng(0))
