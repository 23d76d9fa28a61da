"""Normalization against scipy's own Gaussian, and its invariances."""

import numpy as np
import pytest
from scipy import ndimage

from adatom.core.errors import ImageError
from adatom.images.normalize import NormalizeConfig, normalize_image


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    slow = ndimage.gaussian_filter(rng.normal(size=(150, 210)), 40) * 100
    return (slow + rng.normal(size=slow.shape)).astype(np.float32)


@pytest.mark.parametrize("pixel_size", [0.1, 0.25, 2.0])
def test_is_the_formula(image, pixel_size):
    config = NormalizeConfig()
    exact = image.astype(float)
    exact -= ndimage.gaussian_filter(exact, config.background_width / pixel_size, mode="reflect")
    width = config.contrast_width / pixel_size
    variance = ndimage.gaussian_filter(exact**2, width, mode="reflect")
    exact /= np.sqrt(variance + config.contrast_floor**2 * np.mean(exact**2))
    found = normalize_image(image, pixel_size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.clip(exact, -6, 6), atol=0.03)


@pytest.mark.parametrize(("gain", "offset"), [(1e-3, 0), (7, -300), (500, 1e4)])
def test_gain_and_offset_change_nothing(image, gain, offset):
    changed = gain * image.astype(float) + offset
    np.testing.assert_allclose(
        normalize_image(changed, 0.1), normalize_image(image, 0.1), atol=2e-3
    )


@pytest.mark.parametrize("value", [0, 0.1, 1e6])
def test_constant_image_is_zero(value):
    assert not normalize_image(np.full((30, 40), value), 0.1).any()


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3, 4)), np.zeros((0, 4)), np.array([[1.0, np.nan], [0.0, 1.0]])]
)
def test_refuses_what_is_no_image(values):
    with pytest.raises(ImageError, match="values: must be"):
        normalize_image(values, 0.1)


def test_refuses_a_pixel_size_of_zero():
    with pytest.raises(ImageError, match="pixel_size"):
        normalize_image(np.eye(4), 0.0)
