"""Movies of particles: what moves and what stays."""

import itertools

import numpy as np
import pytest

from adatom.core.errors import ConfigError
from adatom.simulate.movie import MotionConfig, simulate_movie
from adatom.simulate.recipe import load_recipe
from adatom.simulate.wave_set import take_series


def load_small():
    recipe = load_recipe("hrtem_au")
    kind = recipe.structure[0].model_copy(update={"radius": 6.0, "film": 8.0, "tilt": 0.0})
    return recipe.model_copy(
        update={
            "structure": (kind,),
            "dataset": recipe.dataset.model_copy(update={"size": 20.0}),
            "slices": recipe.slices.model_copy(update={"pixel_size": 0.2, "slice_thickness": 4.0}),
        }
    )


def test_atoms_hop_and_the_particle_drifts_as_asked():
    motion = MotionConfig(n_hops=3, drift=0.4, turn=0.0)
    waves = simulate_movie(load_small(), 5, np.random.default_rng(1), motion=motion)
    n_atoms = [wave.truth["n_atoms"].sum() for wave in waves]
    assert n_atoms == [n_atoms[0]] * 5
    places = [wave.truth[["x", "y"]].to_numpy() for wave in waves]
    for before, after in itertools.pairwise(places):
        moved = after[:, None] - before
        nearest = moved[np.arange(len(after)), np.linalg.norm(moved, axis=2).argmin(axis=1)]
        drift = np.median(nearest, axis=0)
        assert 0 < np.linalg.norm(drift) < 1.6
        stayed = np.linalg.norm(nearest - drift, axis=1) < 0.1
        assert len(after) - 3 <= stayed.sum() <= len(after)


def test_nothing_moves_where_nothing_shall():
    recipe, still = load_small(), MotionConfig(n_hops=0, drift=0, turn=0)
    first, second = simulate_movie(recipe, 2, np.random.default_rng(2), motion=still)
    np.testing.assert_array_equal(first.values, second.values)
    one, other = (take_series(wave, recipe, 3) for wave in (first, second))
    np.testing.assert_array_equal(one, other)
    assert one.attrs["defoci"] == pytest.approx([float(one.focus[0])])


def test_sheets_do_not_move():
    with pytest.raises(ConfigError, match=r"must be particles to move \(got mx2\)"):
        simulate_movie(load_recipe("hrtem_mos2"), 2, np.random.default_rng(0))
