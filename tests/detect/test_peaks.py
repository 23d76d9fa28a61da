"""Candidates from class maps, and their scores."""

import numpy as np
import pytest
from scipy.special import expit, logit

from adatom.core.errors import ModelError
from adatom.detect.peaks import find_peaks
from adatom.detect.scores import (
    adapt_shares,
    calibrate_column,
    calibrate_labels,
    measure_evidence,
)
from adatom.networks.model import Calibration


def _maps(centers: np.ndarray, labels: np.ndarray, shape=(60, 80)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    maps = np.zeros((3, *shape))
    for (cy, cx), label in zip(centers, labels, strict=True):
        maps[1 + label] += 0.95 * expit((1.5 - np.hypot(y - cy, x - cx)) * 4)
    maps[0] = 1 - maps[1:].sum(axis=0)
    return maps.astype(np.float32)


def test_planted_discs_are_found_with_their_labels():
    centers = np.array([[10.0, 10.3], [10.4, 19.6], [30.7, 40.2], [55.0, 75.5]])
    labels = np.array([0, 1, 1, 0])
    peaks = find_peaks(_maps(centers, labels), 0.2, threshold=0.3, min_distance=0.9)
    order = np.lexsort((peaks.positions[:, 1], peaks.positions[:, 0].round()))
    np.testing.assert_allclose(peaks.positions[order], centers, atol=0.35)
    np.testing.assert_array_equal(peaks.shares[order].argmax(axis=1), labels)
    np.testing.assert_allclose(peaks.column, 0.95, atol=0.06)


def test_close_and_weak_candidates_are_dropped_and_nothing_gives_nothing():
    maps = _maps(np.array([[20.0, 20.0], [20.0, 23.5]]), np.array([0, 0]))
    assert len(find_peaks(maps, 0.2, threshold=0.3, min_distance=0.9).column) == 1
    empty = np.zeros((3, 20, 20), np.float32)
    empty[0] = 1
    nothing = find_peaks(empty, 0.2, threshold=0.3, min_distance=0.9)
    assert nothing.positions.shape == (0, 2)
    evidence = measure_evidence(
        nothing.shares, np.empty((0, 2)), np.empty(0), np.empty(0), [[0], [1]]
    )
    card = Calibration(weights=((1.0,) * 8,) * 2, offsets=(0.0, 0.0), prior=(0.5, 0.5))
    assert calibrate_labels(evidence, np.empty(0), card).shape == (0, 2)


def test_scores_sum_to_one_and_follow_the_calibration():
    column, shares = np.array([0.9, 0.6]), np.array([[0.7, 0.3], [0.2, 0.8]])
    card = Calibration(
        column_slope=2.0,
        column_offset=-0.5,
        weights=((1.0, 0.0), (0.0, 1.0)),
        offsets=(0.0, 0.0),
        prior=(0.5, 0.5),
    )
    is_column = calibrate_column(column, card)
    np.testing.assert_allclose(is_column, expit(2 * logit(column) - 0.5))
    labels = calibrate_labels(np.log(shares), is_column, card)
    np.testing.assert_allclose(labels.sum(axis=1), is_column)
    with pytest.raises(ModelError, match="no calibration"):
        calibrate_labels(np.log(shares), is_column, Calibration())


def test_brightness_tells_half_columns_from_whole_ones_by_the_likelihood_ratio():
    rng = np.random.default_rng(0)
    whole, error = rng.normal(100, 5, 400), np.full(420, 5.0)
    intensity = np.concatenate([whole, rng.normal(50, 5, 20)])
    shares = np.tile([0.1, 0.45, 0.45], (420, 1))
    positions = rng.uniform(0, 60, (420, 2))
    evidence = measure_evidence(shares, positions, intensity, error, [[0], [1, 2]])
    ratio = evidence[:, 3 + 3]
    assert (ratio[:400] < 0).mean() > 0.99
    assert (ratio[400:] > 0).mean() > 0.99
    expected = ((intensity - 100) ** 2 - (intensity - 50) ** 2) / (2 * 25)
    np.testing.assert_allclose(ratio, np.clip(expected, -2.5, 2.5), atol=0.1)
    assert not evidence[:, 3:6].any()  # nothing belongs to the other family


@pytest.mark.parametrize("share", [0.01, 0.04, 0.3])
def test_vacancy_share_of_the_image_replaces_that_of_the_training(share: float):
    """Two overlapping Gaussians with known posteriors: the true share comes back."""
    rng = np.random.default_rng(1)
    is_vacancy = rng.random(4000) < share
    signal = rng.normal(np.where(is_vacancy, 0.0, 2.0), 1.0)
    prior = np.array([0.85, 0.15])
    log_ratio = (signal**2 - (signal - 2) ** 2) / 2  # full over vacancy
    odds = prior[0] / prior[1] * np.exp(log_ratio)
    given = np.column_stack([odds / (1 + odds), 1 / (1 + odds)])
    adapted = adapt_shares(given, prior, np.ones(4000))
    assert adapted[:, 1].mean() == pytest.approx(share, abs=0.012)


def test_brightness_is_compared_with_the_columns_around():
    rng = np.random.default_rng(2)
    positions = rng.uniform(0, 80, (600, 2))
    slope = 50 + positions[:, 1]  # brighter to the right by more than a missing atom makes
    is_half = rng.random(600) < 0.05
    intensity = slope * np.where(is_half, 0.5, 1.0) * rng.normal(1, 0.03, 600)
    shares = np.tile([0.1, 0.45, 0.45], (600, 1))
    evidence = measure_evidence(shares, positions, intensity, np.full(600, 2.0), [[0], [1, 2]])
    assert (evidence[is_half, 6] > 0).all()
    assert (evidence[~is_half, 6] < 0).mean() > 0.98
