"""Splitting at a known band limit; false alarms counted, wrong results found."""

import numpy as np
import pytest
from scipy import ndimage

from adatom.core.errors import ConfigError, ImageError
from adatom.optics.microscope import electron_wavelength
from adatom.restore.classical import RichardsonLucyConfig, restore_richardson_lucy
from adatom.restore.support import SupportConfig, judge_support, split_band

from .conftest import PIXEL, Scene, make_blurred_probe

CUTOFF = 2 * 0.030 / electron_wavelength(60e3)


def test_waves_fall_on_their_side_of_the_band_limit():
    y, x = np.mgrid[:80, :60] * PIXEL
    low = np.cos(2 * np.pi * (0.6 * y + 0.5 * x))
    high = 0.5 * np.cos(2 * np.pi * (1.3 * y + 1.1 * x))
    band = split_band(3 + low + high, PIXEL, CUTOFF)
    np.testing.assert_allclose(band.inside + band.beyond, 3 + low + high)
    assert band.share_beyond == pytest.approx(0.2, abs=0.01)
    np.testing.assert_allclose(band.inside[8:-8, 8:-8], (3 + low)[8:-8, 8:-8], atol=0.12)


def test_what_a_probe_transfers_lies_inside(probe):
    assert split_band(Scene().expect(probe), PIXEL, CUTOFF).share_beyond < 1e-3
    assert split_band(Scene().truth, PIXEL, CUTOFF).share_beyond > 0.1
    assert split_band(np.ones((8, 8)), PIXEL, CUTOFF).share_beyond == 0


@pytest.mark.parametrize(("size", "cutoff", "name"), [(0, 1, "pixel_size"), (1, -2, "cutoff")])
def test_the_band_limit_must_be_a_length(size, cutoff, name):
    with pytest.raises(ConfigError, match=f"{name}: must be a number above 0"):
        split_band(np.ones((8, 8)), size, cutoff)


@pytest.mark.parametrize(
    ("electrons", "background", "read_noise"), [(30, 0.02, 0.0), (300, 0.2, 0.0), (300, 1.0, 1.5)]
)
def test_right_results_are_supported_but_for_the_stated_level(
    probe, electrons, background, read_noise
):
    expected = Scene(40, electrons).expect(probe, background).clip(background)
    rng = np.random.default_rng(11)
    config = SupportConfig(read_noise=read_noise, level=0.05)
    found = []
    for _ in range(200):
        image = rng.poisson(expected) + read_noise * rng.standard_normal(expected.shape)
        found.append(judge_support(image, expected, probe, config=config))
    chi_squares = [each.reduced_chi_square for each in found]
    assert np.mean(chi_squares) == pytest.approx(1, abs=0.01)
    assert np.mean([each.autocorrelation for each in found]) == pytest.approx(0, abs=1e-3)
    # 10 of 200 at the level; 19 or more have a chance below 1 %.
    assert sum(not each.is_supported for each in found) < 19
    for name in ("p_chi_square", "p_autocorrelation"):
        share = np.mean([getattr(each, name) < 0.25 for each in found])
        assert share == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("changes", [{"defocus": 150}, {"source_size": 0.2}, {"C12": 120}])
def test_the_true_object_with_a_wrong_probe_is_not_supported(probe, changes):
    scene, wrong = Scene(electrons=1000), make_blurred_probe(**changes)
    image = np.random.default_rng(1).poisson(scene.expect(probe, 0.5).clip(0))
    assert judge_support(image, scene.expect(probe, 0.5), probe).is_supported
    found = judge_support(image, scene.expect(wrong, 0.5), wrong)
    assert not found.is_supported
    assert found.reduced_chi_square > 1.1


def test_an_invented_atom_is_not_supported_and_seen_where_it_is(probe):
    scene = Scene(electrons=300)
    image = np.random.default_rng(1).poisson(scene.expect(probe, 0.5).clip(0))
    scene.whole[scene.MARGIN + 30, scene.MARGIN + 22] += 300
    found = judge_support(image, scene.expect(probe, 0.5), probe)
    assert not found.is_supported
    assert found.p_local < 1e-6
    lack = ndimage.gaussian_filter(-found.residual, 2.0)
    y, x = np.unravel_index(lack.argmax(), lack.shape)
    assert np.hypot(y - 30, x - 22) < 3


def test_what_richardson_lucy_fits_is_supported_unless_the_probe_is_too_wide(probe):
    scene, wrong = Scene(48, electrons=3000), make_blurred_probe(defocus=150)
    image = np.random.default_rng(1).poisson(scene.expect(probe, 1.0).clip(0))
    config = RichardsonLucyConfig(background=1.0, most_iterations=300)
    for used, is_right in ((probe, True), (wrong, False)):
        result = restore_richardson_lucy(image, used, config=config, rng=1)
        assert judge_support(image, result.reconvolved, used).is_supported == is_right


def test_a_probe_of_one_pixel_correlates_nothing():
    image = np.random.default_rng(0).poisson(5.0, (32, 32))
    found = judge_support(image, np.full((32, 32), 5.0), np.ones((1, 1)))
    assert found.is_supported
    assert (found.autocorrelation, found.p_autocorrelation) == (0, 1)


def test_image_and_expectation_must_fit(probe):
    with pytest.raises(ImageError, match=r"expected: must be finite, of the shape \(8, 8\)"):
        judge_support(np.ones((8, 8)), np.ones((8, 9)), probe)
