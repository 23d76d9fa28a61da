"""Scores of focal series: what counts, and where."""

import numpy as np
import pandas as pd
import pytest

from adatom.images.normalize import FOCAL_NORMALIZATION
from adatom.learn.focal import count_columns, score_series, summarize_scores
from adatom.learn.samples import VALIDATION
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
