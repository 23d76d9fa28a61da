"""Scores of focal series: what counts, and where."""

import numpy as np
import pandas as pd
import pytest

from adatom.core.errors import ModelError
from adatom.detect.focal import SeriesMaps
from adatom.detect.scores import calibrate_column
from adatom.detect.series import predict_error
from adatom.images.normalize import FOCAL_NORMALIZATION
from adatom.learn import focal
from adatom.learn.focal import (
    calibrate_series,
    count_columns,
    fit_position,
    score_series,
    summarize_scores,
)
from adatom.learn.samples import VALIDATION
from adatom.learn.targets import make_maps
from adatom.networks.model import Model, ModelCard, build_network
from adatom.simulate.recipe import load_recipe

CARD = ModelCard(
    name="silent",
    labels=("Mo", "S2", "S1"),
    network={"kind": "msdnet", "depth": 3},
    focal_series=(-30.0, 20.0, 70.0),
    pixel_size=0.12,
    pixel_size_range=(0.06, 0.15),
    normalization=FOCAL_NORMALIZATION,
)
LIMITS = np.array([1.0, 1.0]), np.array([9.0, 9.0])


def table(*rows):
    return pd.DataFrame(rows, columns=["x", "y", "label"])


def test_places_and_labels_count_and_borders_do_not():
    truth = table((5, 5, "Mo"), (7, 5, "S2"), (5, 7, "S1"), (0.95, 5, "Mo"), (3, 3, "dopant"))
    found = table((5.1, 5, "Mo"), (7, 5.4, "S1"), (1.05, 5, "Mo"), (5, 3, "Mo"), (9.5, 2, "Mo"))
    row = count_columns(found, truth, ("Mo", "S2", "S1"), LIMITS)
    # True inside: Mo, S2, S1. Found inside: Mo right, S1 wrong, Mo where nothing is.
    assert row["f1"] == pytest.approx(2 / 6)
    assert row["nearest_f1"] == pytest.approx(2 / 6)
    assert row["sites_f1"] == pytest.approx(4 / 6)
    assert row["rms"] == pytest.approx(np.sqrt((0.1**2 + 0.4**2) / 4))
    assert [row[f"n_true_{label}"] for label in ("Mo", "S2", "S1")] == [1, 1, 1]
    assert [row[f"n_found_{label}"] for label in ("Mo", "S2", "S1")] == [2, 0, 1]
    assert [row[f"n_right_{label}"] for label in ("Mo", "S2", "S1")] == [1, 0, 0]
    figures = summarize_scores(pd.DataFrame([row, row]), ("Mo", "S2", "S1"))
    assert figures["Mo_f1"] == pytest.approx(2 / 3)
    assert figures["f1"] == figures["f1_5th"] == row["f1"]


def test_nothing_found_where_nothing_is_counts_as_right():
    row = count_columns(table(), table(), ("Mo",), LIMITS)
    assert row["f1"] == row["sites_f1"] == 1.0


def test_a_network_that_says_nothing_scores_nothing():
    recipe = load_recipe("hrtem_mos2")
    small = recipe.dataset.model_copy(update={"size": 8.0})
    recipe = recipe.model_copy(update={"dataset": small})
    silent = Model(build_network(CARD).eval(), CARD)
    rows = score_series(silent, recipe, 3, split=VALIDATION)
    assert len(rows) == 3
    assert rows["dose"].between(333, 33333).all()
    assert (rows.loc[rows["n_true_Mo"] > 0, "f1"] == 0).all()
    assert rows["n_true_Mo"].sum() > 3
    assert rows["C23"].between(0, 500).all()
    assert rows["C23"].nunique() == 3
    assert rows["pixel_size"].between(0.109, 0.131).all()
    assert rows["focus_error"].between(0.1, 15).all()
    assert set(rows["energy_eV"]) <= {50e3, 60e3, 80e3}
    assert rows["shift"].between(0.01, 2).all()


def test_a_model_of_one_image_sees_its_own(monkeypatch):
    recipe = load_recipe("hrtem_mos2")
    small = recipe.dataset.model_copy(update={"size": 8.0})
    recipe = recipe.model_copy(update={"dataset": small})
    card = CARD.model_copy(update={"focal_series": (20.0,)})
    seen = []

    def look(series, model):
        seen.append(series)
        return SeriesMaps(np.zeros((3, *series.shape[1:])), np.array([0.12, 0.12]), np.zeros(2))

    monkeypatch.setattr(focal, "draw_maps", look)
    score_series(Model(build_network(CARD).eval(), card), recipe, 1, split=VALIDATION)
    whole, _ = focal.draw_held_out(recipe, VALIDATION, 0)
    np.testing.assert_array_equal(seen[0].values, whole.values[1:2])
    assert seen[0].attrs["defoci"].tolist() == [whole.attrs["defoci"][1]]
    assert np.shape(seen[0].attrs["shifts"]) == (1, 2)


def test_errors_of_positions_are_recovered():
    rng = np.random.default_rng(0)
    raw = rng.uniform(-3, 5, 20_000)
    errors = np.exp(-2.5 - 0.3 * raw)
    away = np.column_stack([raw, errors[:, None] * rng.standard_normal((len(raw), 2))])
    offset, slope = fit_position(away)
    assert offset == pytest.approx(-2.5, abs=0.02)
    assert slope == pytest.approx(-0.3, abs=0.01)


def draw_fake(recipe, split, index):
    """Columns that are surely there, and as many places where one is in half of the cases."""
    rng = np.random.default_rng(index)
    places = 20 + 24.0 * np.stack(np.mgrid[:8, :8], axis=-1).reshape(-1, 2)
    places += 0.4 * rng.standard_normal(places.shape)
    kinds = np.arange(64) % 2
    heights = np.where(np.arange(64) < 32, 0.95, 0.5)
    maps = np.stack([make_maps(places, kinds, (2, 210, 210), 2.5)]).sum(axis=0)
    rows = np.clip(np.arange(210) // 24, 0, 7)
    maps *= heights.reshape(8, 8)[rows][:, rows]
    is_there = (heights > 0.9) | (rng.random(64) < 0.5)
    moved = 0.12 * places + 0.1 * rng.standard_normal(places.shape)
    labels = np.array(["Mo", "S2"])[kinds]
    truth = pd.DataFrame({"x": moved[:, 1], "y": moved[:, 0], "label": labels})[is_there]
    return SeriesMaps(maps, np.array([0.12, 0.12]), np.zeros(2)), truth


def test_scores_say_how_often_they_are_right(monkeypatch):
    monkeypatch.setattr(focal, "draw_held_out", draw_fake)
    monkeypatch.setattr(focal, "draw_maps", lambda maps, model: maps)
    card = CARD.model_copy(update={"labels": ("Mo", "S2")})
    found = calibrate_series(Model(None, card), None, 12)
    sure, half = calibrate_column(np.array([0.95, 0.5]), found)
    assert sure > 0.98
    assert half == pytest.approx(0.5, abs=0.06)
    assert found.prior == pytest.approx([0.5, 0.5], abs=0.03)
    assert predict_error(np.array([0.95]), found.position) == pytest.approx(0.1, rel=0.1)


def test_a_network_that_finds_nothing_is_not_calibrated():
    recipe = load_recipe("hrtem_mos2")
    small = recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update={"size": 8.0})})
    silent = Model(build_network(CARD).eval(), CARD)
    silent.network.head.bias.data[:] = -9.0
    with pytest.raises(ModelError, match="silent: must find columns in 1 held-out series"):
        calibrate_series(silent, small, 1)


def test_figures_of_both_rules_stand_side_by_side():
    row = count_columns(table((5, 5, "Mo")), table((5, 5, "Mo")), ("Mo",), LIMITS)
    worse = count_columns(table(), table((5, 5, "Mo")), ("Mo",), LIMITS)
    rows = pd.DataFrame([worse | {f"atoms_{name}": value for name, value in row.items()}])
    figures = summarize_scores(rows, ("Mo",))
    assert (figures["f1"], figures["Mo_f1"]) == (0, 0)
    assert (figures["atoms_f1"], figures["atoms_Mo_f1"], figures["atoms_rms"]) == (1, 1, 0)
