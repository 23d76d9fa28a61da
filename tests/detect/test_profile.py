"""Profiles against the functions they stand for."""

import numpy as np
import pytest

from adatom.core.errors import ConfigError
from adatom.detect.profile import (
    core_covariance,
    crop_table,
    make_gaussian_profile,
    make_profile,
    tabulate_profile,
)


def gaussian(y, x, sigma):
    return np.exp(-(y**2 + x**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


def test_gaussian_and_its_derivatives():
    rng = np.random.default_rng(0)
    y, x = rng.uniform(-1, 1, (2, 200))
    profile = make_gaussian_profile(0.2)
    value = gaussian(y, x, 0.2**0.5)
    peak = value.max()
    np.testing.assert_allclose(profile.evaluate(y, x), value, atol=1e-3 * peak)
    slope = profile.evaluate(y, x, orders=(1, 0))
    np.testing.assert_allclose(slope, -y / 0.2 * value, atol=5e-3 * peak)
    curve = profile.evaluate(y, x, orders=(0, 2))
    np.testing.assert_allclose(curve, (x**2 / 0.2 - 1) / 0.2 * value, atol=0.15 * peak)


def test_grid_equals_points():
    profile = make_gaussian_profile(np.array([[0.2, 0.05], [0.05, 0.3]]))
    y, x = np.linspace(-1, 1, 5), np.linspace(-0.5, 1.5, 7)
    grid = profile.evaluate_grid(y, x, orders=(1, 1))
    points = profile.evaluate(*(a.ravel() for a in np.meshgrid(y, x, indexing="ij")), orders=(1, 1))
    np.testing.assert_allclose(grid.ravel(), points, atol=1e-12)


def test_table_sums_to_one_and_follows_the_center():
    table = tabulate_profile(make_gaussian_profile(0.2), (0.2, 0.15), 1.8)
    np.testing.assert_allclose(table.basis[:, 2].sum(axis=(1, 2)), 1, atol=2e-3)
    offsets = [
        np.arange(n) - reach for n, reach in zip(table.basis.shape[2:], table.reach, strict=True)
    ]
    center = np.stack(
        [table.basis[:, 2].sum(axis=2) @ offsets[0], table.basis[:, 2].sum(axis=1) @ offsets[1]],
        axis=1,
    )
    phases = (np.arange(16) + 0.5) / 16 - 0.5
    np.testing.assert_allclose(center[:, 0], np.repeat(phases, 16), atol=3e-3)
    np.testing.assert_allclose(center[:, 1], np.tile(phases, 16), atol=3e-3)


@pytest.mark.parametrize("half_sides", [(2, 3), (4, 8), (99, 99)])
def test_cropped_table_keeps_the_pixels_around_the_column(half_sides):
    table = tabulate_profile(make_gaussian_profile(0.16), (0.2, 0.15), 1.6)
    cropped = crop_table(table, half_sides)
    assert cropped.basis.shape[3] % 8 == 0
    (top, left), (height, width) = (
        np.array(table.reach) - cropped.reach,
        cropped.basis.shape[2:],
    )
    part = table.basis[:, :, top : top + height, left : left + width]
    np.testing.assert_array_equal(cropped.basis, part)
    for half, reach, n, whole in zip(
        half_sides, cropped.reach, cropped.basis.shape[2:], table.reach, strict=True
    ):
        assert reach >= min(half, whole)
        assert n - 1 - reach >= min(half, whole)


def test_profile_from_array():
    axis = np.arange(-30, 31) * 0.08
    y, x = np.meshgrid(axis, axis, indexing="ij")
    profile = make_profile(7 * gaussian(y, x, 0.5), 0.08)
    np.testing.assert_allclose(
        profile.evaluate(np.array([0.3]), np.array([0.1])), gaussian(0.3, 0.1, 0.5), rtol=1e-3
    )
    np.testing.assert_allclose(
        core_covariance(gaussian(y, x, 0.5), 0.08), 0.25 * np.eye(2), atol=5e-3
    )


def test_refuses_wrong_shapes():
    with pytest.raises(ConfigError, match="odd side"):
        make_profile(np.ones((4, 4)), 0.1)
    with pytest.raises(ConfigError, match="positive sum"):
        make_profile(np.zeros((5, 5)), 0.1)
    with pytest.raises(ConfigError, match="positive definite"):
        make_gaussian_profile(0.0)
