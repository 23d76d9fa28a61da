"""Gray levels that count electrons, and those that do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from adatom.core.errors import ImageError
from adatom.restore.electrons import fit_gain

PIXEL, CUTOFF = 0.15, 1.2


def make_counts(mean, seed=0, side=192):
    """A lattice within the band limit."""
    y, x = np.mgrid[:side, :side] * PIXEL
    waves = np.cos(2 * np.pi * 0.4 * x) * np.cos(2 * np.pi * 0.35 * y)
    return np.random.default_rng(seed).poisson(mean * (1 + 0.9 * waves))


@settings(max_examples=12, deadline=None)
@given(st.floats(0.01, 500), st.floats(-3, 3), st.floats(0.2, 50))
def test_gain_and_offset_come_from_the_noise(gain, shift, mean):
    counts = make_counts(mean)
    found = fit_gain(gain * (counts + shift * mean), PIXEL, CUTOFF)
    assert found.gain == pytest.approx(gain, rel=0.08)
    assert found.offset == pytest.approx(gain * shift * mean, abs=0.12 * gain * mean)
    assert found.is_poisson
    assert found.is_white
    assert found.count(gain * (counts + shift * mean)).mean() == pytest.approx(mean, rel=0.15)


def test_filtered_noise_is_not_that_of_a_detector():
    counts = ndimage.gaussian_filter(make_counts(20.0).astype(float), 0.8)
    assert not fit_gain(counts, PIXEL, CUTOFF).is_white


def test_noise_that_does_not_grow_is_not_that_of_electrons():
    clean = 50 * (1 + 0.5 * ndimage.gaussian_filter(make_counts(20.0).astype(float), 4) / 20)
    image = clean + np.random.default_rng(1).standard_normal(clean.shape)
    found = fit_gain(image, PIXEL, CUTOFF)
    assert not found.is_poisson
    assert found.gain > 0


def test_noise_must_be_there_to_be_seen():
    with pytest.raises(ImageError, match=r"pixels of 0\.4 Å hide .* at most 0\.362 Å"):
        fit_gain(make_counts(5.0), 0.4, CUTOFF)
    with pytest.raises(ImageError, match="must have noise"):
        fit_gain(np.ones((64, 64)), PIXEL, CUTOFF)
