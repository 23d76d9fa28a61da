"""Targets, training pairs and the training loop."""

import numpy as np
import pytest
import torch

from adatom.core.errors import ConfigError, FileError, ModelError
from adatom.core.random import make_child_rng
from adatom.learn import fit, loop
from adatom.learn.evaluate import (
    Candidates,
    fit_calibration,
    measure_reliability,
    measure_signal_range,
)
from adatom.learn.fit import train_model
from adatom.learn.samples import TRAINING, VALIDATION, SimulatedPairs, choose_split, make_pair
from adatom.learn.targets import make_target, measure_loss, weigh_classes, weigh_maps
from adatom.simulate.recipe import HrtemRecipe, Recipe, load_recipe
from adatom.simulate.wave_set import simulate_series

TINY = Recipe.from_mapping(
    {
        "dataset": {"size": 9.6},
        "network": {"kind": "unet", "widths": [4, 8]},
        "training": {
            "n_steps": 12,
            "batch_size": 2,
            "n_validation": 4,
            "validate_every": 4,
            "name": "tiny",
        },
        "columns": {"gaussian": 1.0},
    },
    source="test",
)


def test_discs_have_their_area_and_the_nearer_center_wins():
    target = make_target(
        np.array([[20.3, 20.4], [20.3, 24.4], [-0.5, 3.0]]), np.array([1, 2, 3]), (50, 50), 3.0
    )
    assert target[20, 22] == 1
    assert target[20, 23] == 2
    assert (target == 3).sum() > 0
    alone = make_target(np.array([[25.0, 25.0]]), np.array([1]), (50, 50), 6.0)
    assert alone.sum() == pytest.approx(np.pi * 36, rel=0.05)


def test_pairs_are_numbered_and_splits_differ():
    image, target = make_pair(TINY, TRAINING, 3)
    again = make_pair(TINY, TRAINING, 3)
    np.testing.assert_array_equal(image, again[0])
    assert image.shape == (1, 48, 48)
    assert target.shape == (48, 48)
    assert not np.array_equal(image, make_pair(TINY, VALIDATION, 3)[0])
    resumed = next(iter(SimulatedPairs(TINY, 3)))
    np.testing.assert_array_equal(resumed[0].numpy(), image)


def test_first_cycle_is_a_training_of_its_length(tmp_path):
    def losses(n_steps: int, n_cycles: int) -> list[str]:
        changes = {"n_steps": n_steps, "n_cycles": n_cycles, "validate_every": 6}
        recipe = TINY.model_copy(update={"training": TINY.training.model_copy(update=changes)})
        folder = tmp_path / f"{n_steps}-{n_cycles}"
        train_model(recipe, folder, n_workers=0)
        return (folder / "history.csv").read_text().splitlines()[1:]

    short, twice, once = losses(6, 1), losses(12, 2), losses(12, 1)
    assert len(twice) == 2
    assert twice[0] == short[0]
    assert once[0] != short[0]


def test_stopped_training_continues_to_the_same_weights(tmp_path):
    short = TINY.model_copy(update={"training": TINY.training.model_copy(update={"patience": 2})})
    whole = train_model(TINY, tmp_path / "whole", n_workers=0)

    class StopError(Exception):
        pass

    def stop(step: int, _n: int, _text: str) -> None:
        if step == 10:
            raise StopError

    with pytest.raises(StopError):
        train_model(TINY, tmp_path / "parts", n_workers=0, report=stop)
    with pytest.raises(FileError, match="holds a training already"):
        train_model(short, tmp_path / "parts", n_workers=0)
    with pytest.raises(ConfigError, match="another recipe"):
        train_model(short, tmp_path / "parts", n_workers=0, resume=True)
    resumed = train_model(TINY, tmp_path / "parts", n_workers=0, resume=True)
    for name, weight in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], weight, atol=1e-5, rtol=1e-4)
    history = (tmp_path / "parts" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["step", "4", "8", "12"]


def test_training_goes_on_from_another_model_with_images_that_it_did_not_see(tmp_path, monkeypatch):
    seen = []

    def draw(samples, *others):
        seen.append(next(iter(samples))[0])
        return loop.draw_batches(samples, *others)

    monkeypatch.setattr(fit, "draw_batches", draw)
    still = TINY.training.model_copy(update={"learning_rate": 1e-12, "name": "still"})
    recipe = TINY.model_copy(update={"training": still})
    first = train_model(TINY, tmp_path / "first", n_workers=0)
    second = train_model(recipe, tmp_path / "second", start=first, n_workers=0)
    for old, new in zip(first.network.parameters(), second.network.parameters(), strict=True):
        torch.testing.assert_close(new, old, atol=1e-6, rtol=1e-4)
    told = {"name": "tiny", "recipe": first.card.recipe, "n_steps": first.card.n_steps}
    assert second.card.start == told
    resumed = train_model(recipe, tmp_path / "second", n_workers=0, resume=True)
    assert resumed.card.start == second.card.start
    first_index = 12 * TINY.training.batch_size
    places = [(0, TRAINING), (0, choose_split(told)), (first_index, choose_split(told))]
    drawn = [next(iter(SimulatedPairs(TINY, start, split)))[0] for start, split in places]
    assert all(torch.equal(one, other) for one, other in zip(seen, drawn, strict=True))
    assert not torch.equal(*seen[:2])
    with pytest.raises(ConfigError, match="goes on with its own weights"):
        train_model(recipe, tmp_path / "second", start=first, resume=True)
    other = TINY.model_copy(
        update={"training": TINY.training.model_copy(update={"pixel_size": 0.4})}
    )
    with pytest.raises(ConfigError, match=r"pixel_size of tiny must be 0.4 \(got 0.2\)"):
        train_model(other, tmp_path / "other", start=first)
    assert not (tmp_path / "other").exists()


def test_training_stops_where_nothing_improves_in_the_second_half(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_evaluate", lambda *_: 1.0)
    changes = {"n_steps": 24, "patience": 1}
    recipe = TINY.model_copy(update={"training": TINY.training.model_copy(update=changes)})
    told = []
    train_model(recipe, tmp_path / "run", n_workers=0, report=lambda *line: told.append(line))
    history = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["step", "4", "8", "12", "16"]
    assert told[-1] == (16, 24, "stopped, for nothing was better since step 4")


def test_calibration_undoes_a_known_distortion():
    rng = np.random.default_rng(0)
    n = 6000
    true_logit = rng.normal(1, 2, n)
    is_column = rng.random(n) < 1 / (1 + np.exp(-true_logit))
    shares_logit = rng.normal(0, 1.5, n)
    is_first = rng.random(n) < 1 / (1 + np.exp(-shares_logit))
    sharp = 1 / (1 + np.exp(-2 * shares_logit))  # overconfident by a factor of two
    candidates = Candidates(
        1 / (1 + np.exp(-2 * true_logit - 0.4)),
        np.log(np.column_stack([sharp, 1 - sharp])),
        np.where(true_logit > 0, 10.0, 1.0),
        np.where(is_column, np.where(is_first, 0, 1), -1),
        np.zeros(n, int),
        np.zeros((1, 2), int),
    )
    found = fit_calibration(candidates)
    assert found.column_slope == pytest.approx(0.5, abs=0.04)
    assert found.column_offset == pytest.approx(-0.2, abs=0.08)
    # what counts is the difference of the two rows, for a change of one log share against the other
    weights = np.array(found.weights)
    slope = (weights[0] - weights[1]) @ np.array([0.5, -0.5])
    assert slope == pytest.approx(0.5, abs=0.05)
    assert measure_signal_range(candidates, found) == (10, 10)  # of what is a column


def test_reliability_of_true_probabilities_is_the_diagonal():
    rng = np.random.default_rng(0)
    scores = rng.random(20000)
    curve = measure_reliability(scores, rng.random(20000) < scores)
    np.testing.assert_allclose(curve[:, 0], curve[:, 1], atol=0.035)
    assert curve[:, 2].sum() == 20000


def test_rare_labels_count_more_but_not_without_end():
    targets = torch.zeros((1, 40, 40), dtype=torch.int64)
    targets[0, :20] = 1  # 800 pixels
    targets[0, 20:25] = 2  # 200: twice the weight
    targets[0, 30, :1] = 3  # 1: the cap
    weights = weigh_classes([(torch.zeros(1), targets)], 4)
    assert weights.tolist() == [1.0, 1.0, 2.0, 3.0]


def test_training_that_cannot_work_says_why(tmp_path):
    odd = TINY.model_copy(update={"dataset": TINY.dataset.model_copy(update={"size": 9.4})})
    with pytest.raises(ConfigError, match=r"multiple of 2 pixels .* \(got 47\)"):
        train_model(odd, tmp_path / "odd", n_workers=0)
    taken = TINY.training.model_copy(update={"name": "best"})
    with pytest.raises(ConfigError, match="must be none of best"):
        train_model(TINY.model_copy(update={"training": taken}), tmp_path / "taken", n_workers=0)
    wild = TINY.training.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ModelError, match=r"loss is \w+ at step \d+; lower training.learning_rate"):
        train_model(TINY.model_copy(update={"training": wild}), tmp_path / "wild", n_workers=0)


FOCAL = HrtemRecipe.from_mapping(
    load_recipe("hrtem_mos2").model_dump(mode="json")
    | {
        "network": {"kind": "msdnet", "depth": 6},
        "training": {
            "labels": ["Mo", "S2", "S1"],
            "n_pixels": 48,
            "n_steps": 6,
            "batch_size": 2,
            "n_validation": 2,
            "validate_every": 3,
            "name": "tiny",
        },
    },
    source="test",
)


def test_labels_of_focal_series_are_those_of_their_columns():
    values = FOCAL.model_dump(mode="json")
    values["training"]["labels"] = ["Mo", "X2"]
    with pytest.raises(ConfigError, match=r"must be of Mo, S1, S2, dopant \(got X2\)"):
        HrtemRecipe.from_mapping(values, source="test")


def test_pairs_of_focal_series_show_their_columns():
    """Heights of the target are those of Gaussians at the columns of the truth."""
    labels = FOCAL.labels
    for index in range(4):
        images, maps = make_pair(FOCAL, VALIDATION, index)
        assert images.shape == maps.shape == (3, 48, 48)
        assert maps.max() > 0.9
        rng = make_child_rng(FOCAL.training.seed, VALIDATION, index)
        series, truth = simulate_series(FOCAL, 48, rng)
        pixel = float(series.y[1] - series.y[0])
        for kind, label in enumerate(labels):
            mine = truth[truth["label"] == label]
            y = (mine["y"] - float(series.y[0])) / pixel
            x = (mine["x"] - float(series.x[0])) / pixel
            inside = y.between(0, 46) & x.between(0, 46)
            at = maps[kind, y[inside].round().astype(int), x[inside].round().astype(int)]
            assert (at > 0.9).all()
        again, _ = make_pair(FOCAL, VALIDATION, index)
        np.testing.assert_array_equal(images, again)


def test_networks_of_focal_series_learn_and_go_on(tmp_path):
    whole = train_model(FOCAL, tmp_path / "whole", n_workers=0)
    assert whole.card.focal_series == (-30.0, 20.0, 70.0)
    assert whole.card.labels == ("Mo", "S2", "S1")
    assert whole.card.materials == ("MoS2",)
    values = FOCAL.model_dump(mode="json") | {"network": {"kind": "residual"}}
    values["training"]["n_pixels"] = 50
    odd = HrtemRecipe.from_mapping(values, source="test")
    with pytest.raises(ConfigError, match=r"n_pixels: must be a multiple of 8 \(got 50\)"):
        train_model(odd, tmp_path / "other")


def test_maps_of_rare_labels_weigh_more():
    maps = torch.zeros(1, 2, 8, 8)
    maps[0, 0], maps[0, 1, 2, 2] = 1, 1
    weights = weigh_maps([(torch.zeros(0), maps)])
    assert weights.flatten().tolist() == [1, 3]
    right = torch.where(maps > 0.5, 9.0, -9.0)
    assert float(measure_loss(right, maps, weights)) < 1e-3
    wrong = right.clone()
    wrong[0, 1, 2, 2] = -9
    assert float(measure_loss(wrong, maps, weights)) == pytest.approx(3 * 9 / 128, rel=0.02)


def test_a_training_leaves_cores_to_the_simulation_and_takes_no_more_than_it_had(monkeypatch):
    monkeypatch.setattr(loop, "count_cores", lambda: 8)
    before = torch.get_num_threads()
    try:
        for given, n_workers, inside in ((4, 6, 2), (4, 0, 4), (1, 0, 1), (4, 9, 1)):
            torch.set_num_threads(given)
            with loop.leave_cores(n_workers):
                assert torch.get_num_threads() == inside
            assert torch.get_num_threads() == given
    finally:
        torch.set_num_threads(before)
