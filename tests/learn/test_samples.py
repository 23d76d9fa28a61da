"""Pairs of focal series: several microscopes for each specimen, parts of images of particles."""

import numpy as np
import pytest

from adatom.core.random import make_child_rng
from adatom.learn import samples
from adatom.learn.samples import (
    CALIBRATION,
    N_KEPT,
    TRAINING,
    SimulatedPairs,
    choose_split,
    make_pair,
    turn_pair,
)
from adatom.simulate.recipe import load_recipe


def load_small(name, n_views, **changes):
    recipe = load_recipe(name)
    training = {"n_pixels": 48, "n_views": n_views}
    training = recipe.training.model_copy(update=training)
    return recipe.model_copy(update={"training": training, **changes})


def test_a_specimen_is_seen_by_several_microscopes_and_then_left():
    pairs = SimulatedPairs(load_small("hrtem_mos2", 2), 0)
    found = [pairs._find_wave(pairs.recipe, index, 1) for index in range(2 * N_KEPT + 2)]
    assert len({id(wave) for wave in found[:N_KEPT]}) == N_KEPT
    assert [found[N_KEPT + i] is found[i] for i in range(N_KEPT)] == [True] * N_KEPT
    assert found[2 * N_KEPT] is not found[0]
    assert set(pairs._waves) == {N_KEPT, N_KEPT + 1}


def test_specimens_of_a_batch_differ_and_those_of_the_workers_too(monkeypatch):
    drawn = iter(range(10_000))
    monkeypatch.setattr(samples, "simulate_small_wave", lambda *given: next(drawn))
    recipe = load_small("hrtem_mos2", 4)
    workers = [SimulatedPairs(recipe, 0) for _ in range(8)]
    seen = [
        [one._find_wave(recipe, lane + 8 * turn, 8) for turn in range(64)]
        for lane, one in enumerate(workers)
    ]
    assert all(len(set(row[turn : turn + 8])) == 8 for row in seen for turn in (0, 8, 40))
    assert all(len(set(row)) == 16 for row in seen)
    assert len({wave for row in seen for wave in row}) == 8 * 16
    numbers = {number for one in workers for number in one._waves}
    assert len(numbers) == 8 * 16


def test_a_resumed_training_sees_the_pairs_that_would_have_come():
    recipe = load_small("hrtem_mos2", 2)
    whole, resumed = SimulatedPairs(recipe, 0), SimulatedPairs(recipe, 5)
    for index in range(5):
        whole.make_view(index, 1)
    image, target = (maps.numpy() for maps in next(iter(resumed)))
    again = whole.make_view(5, 1)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(target, again[1])
    assert image.shape == target.shape == (3, 48, 48)


def test_each_model_that_is_trained_on_has_images_of_its_own():
    start = {"name": "a", "n_steps": 4, "recipe": {"x": 1, "y": 2}}
    further = [
        start,
        start | {"name": "b"},
        start | {"n_steps": 5},
        start | {"recipe": {"x": 1, "y": 3}},
        start | {"checksum": "0"},
        start | {"start": start},
    ]
    splits = [choose_split(each) for each in further]
    assert len(set(splits)) == len(further)
    assert min(splits) > CALIBRATION + 3  # and what tests a model
    assert choose_split(dict(reversed(start.items()))) == splits[0]
    assert choose_split({}) == TRAINING


def test_another_split_has_other_specimens_and_other_microscopes():
    recipe = load_small("hrtem_mos2", 2)
    first, other = (SimulatedPairs(recipe, 0, split) for split in (TRAINING, 16))
    images = [pairs.make_view(0, 1)[0] for pairs in (first, other)]
    assert not np.array_equal(*images)
    assert not np.array_equal(first._waves[0].values, other._waves[0].values)
    # The same specimen, seen by the microscope of the other split.
    other._waves = first._waves
    assert not np.array_equal(other.make_view(0, 1)[0], images[0])


def test_image_and_target_are_turned_alike():
    maps = np.arange(2 * 36.0).reshape(2, 6, 6)
    ways = set()
    for seed in range(60):
        image, target = turn_pair(maps, maps[:1], make_child_rng(seed))
        np.testing.assert_array_equal(image[:1], target)
        ways.add(image.tobytes())
    assert len(ways) == 8


@pytest.mark.parametrize("n_views", [1, 2])
def test_parts_of_images_of_particles_hold_a_column(n_views):
    recipe = load_recipe("hrtem_au")
    thin = recipe.structure[0].model_copy(update={"radius": 4.0, "film": 0.0})
    dataset = recipe.dataset.model_copy(update={"size": 14.0})
    recipe = load_small("hrtem_au", n_views, structure=(thin,), dataset=dataset)
    assert recipe.n_field == 140
    for index in range(4):
        if n_views == 1:
            image, target = make_pair(recipe, TRAINING, index)
        else:
            image, target = SimulatedPairs(recipe, 0).make_view(index, 1)
        assert image.shape == target.shape == (1, 48, 48)
        assert target.max() > 0.9
