"""Bounds against formulas."""

import numpy as np

from adatom.detect.bounds import position_bound, vacancy_bound
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
