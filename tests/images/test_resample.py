"""Resampling keeps places and means."""

import numpy as np
import pytest
import xarray as xr

from adatom.images.resample import LARGEST_SHOWN, resample_image, shrink_image


@pytest.mark.parametrize("size", [(0.1, 0.1), (0.08, 0.11), (0.26, 0.24)])
def test_spots_stay_where_they_are_in_angstrom(size: tuple[float, float]):
    center = np.array([9.13, 12.71])
    shape = [round(20 / s) for s in size]
    y, x = (np.arange(n) * s for n, s in zip(shape, size, strict=True))
    spot = np.exp(-((y[:, None] - center[0]) ** 2 + (x[None] - center[1]) ** 2) / (2 * 0.6**2))
    result = resample_image(spot, size, 0.2)
    grid = np.arange(max(result.shape)) * 0.2
    total = result.sum()
    found = (
        result.sum(axis=1) @ grid[: result.shape[0]] / total,
        result.sum(axis=0) @ grid[: result.shape[1]] / total,
    )
    np.testing.assert_allclose(found, center, atol=0.003)


def test_finer_noise_is_averaged_over_the_new_pixel():
    noise = np.random.default_rng(0).standard_normal((800, 800))
    result = resample_image(noise, (0.05, 0.05), 0.2)
    assert result.shape == (200, 200)
    assert abs(result.std() - 0.25) < 0.06  # 16 pixels of unit noise


@pytest.mark.parametrize("is_lazy", [False, True])
def test_large_images_are_shown_small_and_in_their_place(is_lazy):
    n = 2 * LARGEST_SHOWN + 6
    values = np.broadcast_to((np.arange(n) // 3 % 2).astype(np.uint8), (12, n))
    places = {"y": 0.1 * np.arange(12), "x": 0.1 * np.arange(n)}
    image = xr.DataArray(values, dims=("y", "x"), coords=places, attrs={"units": "e"})
    small = shrink_image(image.chunk({"x": 1000}) if is_lazy else image)
    assert small.dtype == np.float32
    assert small.shape == (4, n // 3)
    np.testing.assert_allclose(small[0, :4], [0, 1, 0, 1])
    np.testing.assert_allclose(small.x[:2], [0.1, 0.4])
    assert small.attrs == image.attrs
    assert shrink_image(small) is small
