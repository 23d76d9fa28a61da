"""Movies of particles: what moves and what stays."""

import itertools

import numpy as np
import pytest

from adatom.core.errors import ConfigError
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.movie import MotionConfig, simulate_movie
from adatom.simulate.recipe import load_recipe
from adatom.simulate.specimen import RIM
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


def test_images_show_the_columns_where_the_truth_says_while_the_particle_turns():
    recipe = load_small()
    kind = recipe.structure[0].model_copy(update={"film": 0.0, "radius": 8.0})
    scope = ImagingMicroscope(energy_eV=300e3, defocus=-60, C30=-1e5)
    camera = recipe.detector.model_copy(update={"dose": 1e6, "pixel_size": 0.1, "blur": 0.0})
    changes = {"structure": (kind,), "microscope": scope, "detector": camera}
    recipe = recipe.model_copy(update=changes)
    motion = MotionConfig(n_hops=0, drift=1.0, turn=12.0)
    for wave in simulate_movie(recipe, 3, 4, motion=motion):
        image = take_series(wave, recipe, 0)[0]
        steps = np.arange(-10, 11) * 0.1
        around = [
            image.interp(y=wave.truth["y"].to_xarray() + dy, x=wave.truth["x"].to_xarray() + dx)
            for dy in steps
            for dx in steps
        ]
        seen = np.reshape([float(values.mean()) for values in around], (21, 21))
        away = np.unravel_index(np.abs(seen - np.median(seen)).argmax(), seen.shape)
        assert np.abs(np.array(away) - 10).max() <= 1


def test_particles_stay_in_the_image():
    motion = MotionConfig(n_hops=0, drift=30.0, turn=0.0)
    recipe = load_small()
    for wave in simulate_movie(recipe, 6, 1, motion=motion):
        assert wave.truth["n_atoms"].sum() > 0
        assert wave.truth[["x", "y"]].min().min() > RIM
        assert wave.truth[["x", "y"]].max().max() < RIM + recipe.dataset.size


def test_sheets_do_not_move():
    with pytest.raises(ConfigError, match=r"must be particles to move \(got mx2\)"):
        simulate_movie(load_recipe("hrtem_mos2"), 2, np.random.default_rng(0))
