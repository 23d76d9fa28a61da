"""Predictions by neighbors: exact under affine distortion, blind to the column itself."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adatom.detect.prior import (
    combine_prediction,
    fit_displacements,
    predict_positions,
)


def make_honeycomb(n=9):
    first, second = (a.ravel()[:, None] for a in np.meshgrid(np.arange(n), np.arange(n)))
    metal = first * np.array([0, 3.16]) + second * np.array([2.7366, 1.58])
    return np.concatenate([metal, metal + np.array([0.9122, 1.58])])


small = st.floats(-0.04, 0.04)


@settings(max_examples=25, deadline=None)
@given(small, small, small, small)
def test_exact_under_affine_distortion(yy, yx, xy, xx):
    positions = make_honeycomb() @ (np.eye(2) + np.array([[yy, yx], [xy, xx]]))
    variances = np.full_like(positions, 1e-4)
    prediction = predict_positions(positions, variances, np.ones(len(positions), bool), positions)
    known = prediction.n_pairs > 0
    assert known.mean() > 0.7
    np.testing.assert_allclose(prediction.positions[known], positions[known], atol=1e-9)


def test_does_not_use_own_position():
    sites = make_honeycomb()
    positions = sites.copy()
    center = np.argmin(np.hypot(*(sites - sites.mean(axis=0)).T))
    positions[center] += 0.3
    variances = np.full_like(positions, 1e-4)
    prediction = predict_positions(positions, variances, np.ones(len(positions), bool), sites)
    np.testing.assert_allclose(prediction.positions[center], sites[center], atol=1e-9)


def test_width_of_displacements_and_gain():
    rng = np.random.default_rng(0)
    sites = make_honeycomb(24)
    moved = sites + rng.normal(0, 0.03, sites.shape)
    positions = moved + rng.normal(0, 0.06, sites.shape)
    variances = np.full_like(positions, 0.06**2)
    prediction = predict_positions(positions, variances, np.ones(len(positions), bool), sites)
    known = prediction.n_pairs == 3
    innovation = (positions - prediction.positions)[known]
    found = fit_displacements(
        innovation, (variances + prediction.variances)[known], prediction.n_pairs[known]
    )
    assert found is not None
    assert abs(found.narrow - 0.03) < 0.012
    joined, joined_variances = combine_prediction(positions, variances, prediction, found)
    errors = (joined - moved)[known]
    assert np.sqrt(np.mean(errors**2)) < 0.7 * 0.06
    assert 0.6 < np.mean(np.abs(errors) < np.sqrt(joined_variances[known])) < 0.76


def test_certain_columns_are_left_alone():
    sites = make_honeycomb(12)
    positions = sites + np.random.default_rng(1).normal(0, 0.03, sites.shape)
    variances = np.full_like(positions, 0.005**2)
    prediction = predict_positions(positions, variances, np.ones(len(positions), bool), sites)
    known = prediction.n_pairs > 0
    found = fit_displacements(
        (positions - prediction.positions)[known],
        (variances + prediction.variances)[known],
        prediction.n_pairs[known],
    )
    assert found is not None
    joined, joined_variances = combine_prediction(positions, variances, prediction, found)
    np.testing.assert_array_equal(joined, positions)
    np.testing.assert_array_equal(joined_variances, variances)


def test_too_few_columns():
    assert fit_displacements(np.zeros((5, 2)), np.ones((5, 2)), np.ones(5)) is None
