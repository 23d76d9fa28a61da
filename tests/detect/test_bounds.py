"""Bounds against formulas."""

import numpy as np
import pytest

from adatom.core.errors import ConfigError
from adatom.detect.bounds import position_bound, rare_label_bound, vacancy_bound
from adatom.detect.profile import make_gaussian_profile


def test_isolated_column_without_background():
    profile = make_gaussian_profile(0.45**2)
    for is_isolated in (True, False):
        bound = position_bound(
            np.array([[30.2, 29.7]]),
            np.array([500.0]),
            1e-6,
            profile,
            (60, 60),
            0.2,
            is_isolated=is_isolated,
        )
        # sigma / sqrt(counts)
        np.testing.assert_allclose(bound * 0.2, 0.45 / 500**0.5, rtol=0.02)


def test_neighbors_make_it_worse():
    profile = make_gaussian_profile(0.45**2)
    pair = np.array([[30.0, 26.0], [30.0, 33.0]])
    args = (np.full(2, 500.0), 1.0, profile, (60, 60), 0.2)
    joint = position_bound(pair, *args)
    isolated = position_bound(pair, *args, is_isolated=True)
    assert (joint[:, 1] > 1.05 * isolated[:, 1]).all()


def test_vacancy_bound_against_gaussian_limit():
    # One pixel: the better of two Poisson means, equal odds.
    right, right_full = vacancy_bound(
        np.array([1000.0]), np.array([900.0]), 0.5, n_draws=20_000, rng=0
    )
    assert abs((right + right_full) / 2 - 0.948) < 0.01


def test_rare_label_bound_is_that_of_a_simulated_test():
    rng = np.random.default_rng(3)
    distance, share, n = 2.5, 0.06, 400_000
    is_rare = rng.random(n) < share
    ratio = np.where(is_rare, 0.5, -0.5) * distance**2 + distance * rng.standard_normal(n)
    posterior = ratio + np.log(share / (1 - share))
    scores = [
        2 * (is_rare & said).sum() / (is_rare.sum() + said.sum())
        for said in (posterior > threshold for threshold in np.linspace(-2, 2, 41))
    ]
    assert rare_label_bound(np.array([distance]), share) == pytest.approx(max(scores), abs=0.01)
    with pytest.raises(ConfigError, match=r"share: must lie between 0 and 1 \(got 0 to 0\)"):
        rare_label_bound(np.array([1.0]), 0)
    with pytest.raises(ConfigError, match="separation: must be finite numbers, one at least"):
        rare_label_bound(np.array([]), 0.1)
