"""Matches against optimal assignment, and scores counted by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from adatom.metrics.detection import match_points, score_atoms, score_nearest


@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(0, 40))
def test_matches_are_one_to_one_and_within_reach(seed: int, n_found: int, n_true: int):
    rng = np.random.default_rng(seed)
    found, true = rng.uniform(0, 8, (n_found, 2)), rng.uniform(0, 8, (n_true, 2))
    matches = match_points(found, true, 0.5)
    assert len(set(matches.found)) == len(set(matches.true)) == len(matches.found)
    distance = cdist(found, true)
    assert (distance[matches.found, matches.true] <= 0.5).all()
    left = np.delete(np.delete(distance, matches.found, 0), matches.true, 1)
    assert left.size == 0 or left.min() > 0.5  # nothing more could be paired


def test_well_apart_points_are_matched_as_the_assignment_does():
    rng = np.random.default_rng(0)
    true = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2) * 1.8
    found = (true + rng.normal(0, 0.1, true.shape))[rng.permutation(400)[:350]]
    matches = match_points(found, true, 0.5)
    rows, columns = linear_sum_assignment(cdist(found, true))
    assert dict(zip(matches.found, matches.true, strict=True)) == dict(
        zip(rows, columns, strict=True)
    )


def test_scores_count_label_and_place():
    truth = pd.DataFrame({"x": [0.0, 5, 10, 15], "y": 0.0, "label": ["M", "M", "X2", "X1"]})
    atoms = pd.DataFrame({"x": [0.1, 5.2, 10.1, 30], "y": 0.0, "label": ["M", "X2", "X2", "X1"]})
    scores = score_atoms(atoms, truth, ["M", "X2", "X1"])
    assert scores["sites"]["f1"] == pytest.approx(6 / 8)
    assert scores["M"]["recall"] == pytest.approx(1 / 2)
    assert scores["X2"]["precision"] == pytest.approx(1 / 2)
    assert scores["X1"]["f1"] == 0


def test_nearest_neighbors_flatter_what_is_found_twice():
    truth = pd.DataFrame({"x": [0.0, 5, 10], "y": 0.0, "label": ["M", "M", "X1"]})
    twice = pd.DataFrame({"x": [-0.1, 0.1, 5, 10], "y": 0.0, "label": ["M", "M", "M", "X2"]})

    # Three of four found ones are near a true one of their label, two of three true ones are met.
    def score(found, truth):
        counted = np.ones(len(found), bool), np.ones(len(truth), bool)
        return score_nearest(found, truth, 0.5, counted=counted)

    assert score(twice, truth) == pytest.approx(2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))
    assert score(truth, truth) == 1.0
    assert score(truth.iloc[:0], truth.iloc[:0]) == 1.0
    assert score(truth.iloc[:0], truth) == 0.0
    only = np.array([True, False, True])
    assert score_nearest(truth, truth.iloc[1:], 0.5, counted=(only, only[1:])) == pytest.approx(
        2 / 3
    )
