"""Restoration of objects that are known, and scikit-image as an oracle."""

import numpy as np
import pytest
from scipy import ndimage, signal
from skimage import restoration

from adatom.core.errors import ConfigError, ImageError
from adatom.restore.classical import (
    RichardsonLucyConfig,
    TotalVariationConfig,
    restore_richardson_lucy,
    restore_total_variation,
    restore_wiener,
)

from .conftest import Scene, make_blurred_probe


def lucy(image, probe, n_iterations, background=0.0):
    config = RichardsonLucyConfig(n_iterations=n_iterations, background=background)
    return restore_richardson_lucy(image, probe, config=config)


def vary(image, probe, n_iterations, weight):
    config = TotalVariationConfig(n_iterations=n_iterations, weight=weight)
    return restore_total_variation(image, probe, config=config)


def miss(result, truth, rim=6):
    """Error of an object function in the band of the image, over the variation of the truth."""
    found, true = (
        ndimage.gaussian_filter(values, 1.2)[rim:-rim, rim:-rim]
        for values in (result.object_function, truth)
    )
    return float(np.sqrt(np.mean((found - true) ** 2)) / true.std())


def test_a_point_source_recovers_its_electrons(probe):
    point = np.zeros((49, 49))
    point[20, 28] = 1000.0
    image = signal.fftconvolve(point, probe, mode="same").clip(0)
    for result in (lucy(image, probe, 300), vary(image, probe, 300, 0.001)):
        found = result.object_function
        assert np.unravel_index(np.argmax(found), found.shape) == (20, 28)
        assert found[18:23, 26:31].sum() == pytest.approx(1000, rel=0.01)
    found = restore_wiener(image, probe).object_function
    assert np.unravel_index(np.argmax(found), found.shape) == (20, 28)
    assert found.sum() == pytest.approx(image.sum(), rel=0.04)
    assert found.max() > 5 * image.max()


def test_a_band_limited_object_comes_back_without_noise(probe):
    rng = np.random.default_rng(3)
    whole = 10 + ndimage.gaussian_filter(rng.standard_normal((128, 128)), 3.0) * 20
    inner = (slice(32, -32),) * 2
    image = signal.fftconvolve(whole, probe, mode="same")[inner]
    blurred = np.abs(image - whole[inner]).max()
    rim = (slice(12, -12),) * 2
    for result in (lucy(image, probe, 300), restore_wiener(image, probe)):
        rest = np.abs(result.object_function - whole[inner])[rim]
        assert rest.max() < 0.3 * blurred
        np.testing.assert_allclose(result.reconvolved[rim], image[rim], rtol=0.01)


def test_richardson_lucy_is_that_of_scikit_image_far_from_the_border(probe):
    # Dark borders, so that what either does there does not matter.
    scene = np.zeros((101, 101))
    scene[40:61, 40:61] = Scene(21).truth
    image = np.random.default_rng(0).poisson(signal.fftconvolve(scene, probe, "same").clip(0))
    image[:8] = image[-8:] = image[:, :8] = image[:, -8:] = 0
    n_iterations = 12
    theirs = restoration.richardson_lucy(
        image.astype(float), probe, num_iter=n_iterations, clip=False, filter_epsilon=1e-12
    )
    ours = lucy(image, probe, n_iterations).object_function
    np.testing.assert_allclose(
        ours[30:71, 30:71], theirs[30:71, 30:71], atol=1e-3 * theirs.max(), rtol=1e-3
    )


def test_objects_are_not_negative_and_make_all_electrons(probe):
    image = np.random.default_rng(1).poisson(Scene().expect(probe).clip(0))
    for result in (lucy(image, probe, 40), vary(image, probe, 40, 0.003)):
        assert result.object_function.min() >= 0
        assert result.reconvolved.sum() == pytest.approx(image.sum(), rel=3e-3)
        truth = Scene().truth.sum()
        assert result.object_function.sum() == pytest.approx(truth, rel=0.04)
    found = restore_wiener(image, probe)
    assert found.object_function.sum() == pytest.approx(image.sum(), rel=0.03)


@pytest.mark.parametrize("side", [32, 33])
def test_a_flat_image_has_a_flat_object_up_to_the_border(side):
    probe, image = make_blurred_probe(side), np.full((40, 50), 7.0)
    np.testing.assert_allclose(restore_wiener(image, probe).object_function, 7.0)
    for result in (lucy(image, probe, 30), vary(image, probe, 30, 0.01)):
        # Where nothing has a slope, total variation makes a grain of rounding errors.
        np.testing.assert_allclose(
            result.object_function, 7.0, rtol=0.03 if result.weight else 4e-3
        )
        np.testing.assert_allclose(result.reconvolved, 7.0, rtol=3e-3)
    # The level below all that scatters belongs to no object.
    np.testing.assert_allclose(lucy(image, probe, 30, 5.0).object_function, 2.0, rtol=4e-3)


def test_borders_neither_wrap_around_nor_lose_their_atoms(probe):
    whole = np.zeros((120, 120))
    whole[60, 38] = 500.0  # 2 px outside of the image, whose corner is at [40, 40]
    whole[70, 41] = 500.0  # 1 px inside
    inner = (slice(40, 90),) * 2
    image = signal.fftconvolve(whole, probe, "same")[inner].clip(0)
    result = lucy(image, probe, 400)
    found = result.object_function
    np.testing.assert_allclose(result.reconvolved, image, atol=0.05 * image.max())
    assert found[28:33, :4].sum() == pytest.approx(500, rel=0.07)
    assert found[18:23].sum() < 25  # that of the atom outside stays outside
    assert found[:, 25:].max() < 1e-3 * found.max()
    wiener = restore_wiener(image, probe).object_function
    assert np.abs(wiener[:, 25:]).max() < 0.01 * wiener.max()


@pytest.mark.parametrize("electrons", [30.0, 100.0, 300.0])
def test_held_out_electrons_stop_near_the_smallest_error(probe, electrons):
    scene = Scene(80, electrons, seed=1)
    expected = scene.expect(probe, 0.2).clip(0)
    image = np.random.default_rng(2).poisson(expected)
    config = RichardsonLucyConfig(background=0.2)
    chosen = restore_richardson_lucy(image, probe, config=config, rng=4)
    others = [lucy(image, probe, n, 0.2) for n in (1, 3, 10, 30, 100, 300, 1000)]
    errors = [miss(each, scene.truth) for each in others]
    assert miss(chosen, scene.truth) < 1.1 * min(errors)
    # What it watches is the image, where it comes closer.
    rest = [np.std(each.reconvolved - expected) for each in (chosen, *others)]
    assert rest[0] < 1.1 * min(rest)
    assert rest[0] < 0.85 * max(rest)
    again = restore_richardson_lucy(image, probe, config=config, rng=4)
    np.testing.assert_array_equal(again.object_function, chosen.object_function)


def test_total_variation_is_smoother_and_chooses_its_weight(probe):
    image = np.random.default_rng(2).poisson(Scene(48, 100.0).expect(probe).clip(0))
    variations = []
    for weight in (0.001, 0.01, 0.1):
        found = vary(image, probe, 60, weight).object_function
        variations.append(np.hypot(*np.gradient(found)).sum())
    assert variations == sorted(variations, reverse=True)
    config = TotalVariationConfig(most_iterations=100)
    result = restore_total_variation(image, probe, config=config, rng=3)
    assert result.weight in (0.001, 0.003, 0.01, 0.03, 0.1)
    assert 2 <= result.n_iterations <= 100


def test_the_wiener_filter_shows_no_structure_in_mere_noise(probe):
    image = np.random.default_rng(5).poisson(50.0, (64, 64))
    found = restore_wiener(image, probe).object_function
    assert found.mean() == pytest.approx(50, rel=0.01)
    assert found.std() < 0.3 * image.std()


def test_gray_levels_need_a_number_of_iterations(probe):
    image = Scene(40).expect(probe).clip(0)
    with pytest.raises(ImageError, match=r"whole numbers of electrons.*n_iterations"):
        restore_richardson_lucy(image, probe)
    with pytest.raises(ImageError, match="whole numbers of electrons"):
        restore_total_variation(image, probe)
    assert lucy(image, probe, 3).n_iterations == 3
    with pytest.raises(ConfigError, match="weight, n_iterations: must be given both or neither"):
        restore_total_variation(image, probe, config=TotalVariationConfig(n_iterations=3))
    with pytest.raises(ImageError, match="must not be negative"):
        lucy(image - 5, probe, 3)
    with pytest.raises(ImageError, match=r"mean must be above the background 1000"):
        lucy(image, probe, 3, 1000.0)
