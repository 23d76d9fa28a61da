"""What a column adds to the likelihood is known; flat images show nothing."""

import numpy as np
import pytest

from adatom.restore.structure import TOLD, UNTOLD, hide_untold, weigh_structure

PIXEL = 0.2
MIDDLE = (40, 40)


def make_column(n_electrons, background):
    """One column, 0.5 Å wide, on a flat background; and its signal-to-noise ratio, squared."""
    y, x = np.mgrid[:81, :81]
    square = ((y - MIDDLE[0]) ** 2 + (x - MIDDLE[1]) ** 2) * PIXEL**2
    spot = n_electrons * np.exp(-square / (2 * 0.5**2)) / (2 * np.pi * (0.5 / PIXEL) ** 2)
    return background + spot, lambda noise: float((spot**2 / (background + noise)).sum())


@pytest.mark.parametrize("read_noise", [0.0, 20.0])
def test_a_column_gives_half_the_square_of_its_signal_to_noise_ratio(read_noise):
    expected, find_square = make_column(2500.0, 1000.0)
    half = find_square(read_noise**2) / 2
    assert 20 < half < 60
    # A Gaussian of 0.5 Å in a window of 2 Å: 3 % are lost by the weights, and by what the mean
    # holds of the column itself twice 2 * 0.25 / (0.25 + 4.25), less the square of that mean.
    assert weigh_structure(expected, expected, PIXEL, read_noise=read_noise)[MIDDLE] == (
        pytest.approx((0.97 - 2 / 9 + 0.04) * half, rel=0.03)
    )
    rng, found = np.random.default_rng(3), []
    for _ in range(50):
        image = rng.poisson(expected) + read_noise * rng.standard_normal(expected.shape)
        found.append(weigh_structure(image, expected, PIXEL, read_noise=read_noise)[MIDDLE])
    # The ratio of an image varies by its root times two: the lower of the two is lower on average.
    assert 0.45 * half < np.mean(found) < 0.8 * half


def test_neither_invented_structure_nor_learned_noise_counts():
    expected, _ = make_column(2500.0, 1000.0)
    rng = np.random.default_rng(4)
    flat = rng.poisson(np.full(expected.shape, 1000.0)).astype(float)
    assert weigh_structure(flat, expected, PIXEL)[MIDDLE] < 0
    traces = 1000 + 0.05 * (flat - 1000)  # 5 % of all noise: told by this image, at 625 pixels
    assert 0 < weigh_structure(flat, traces, PIXEL)[MIDDLE] < 0.002 * 625
    assert weigh_structure(np.full_like(flat, 1000.0), np.full_like(flat, 1000.0), PIXEL).max() == 0


def test_the_window_is_in_angstrom():
    expected, _ = make_column(2000.0, 10.0)
    found = weigh_structure(expected, expected, PIXEL)
    far = (MIDDLE[0], MIDDLE[1] + 20)  # 4 Å, two standard deviations
    assert found[far] / found[MIDDLE] == pytest.approx(np.exp(-2), rel=0.3)
    blocks = expected[:80, :80].reshape(40, 2, 40, 2).sum(axis=(1, 3))  # the same in coarse pixels
    coarse = weigh_structure(blocks, blocks, 2 * PIXEL)
    assert coarse[20, 20] == pytest.approx(found[MIDDLE], rel=0.05)


def test_what_is_not_told_is_shown_as_its_mean():
    y, x = np.mgrid[:96, :96] * PIXEL
    view = 5 + np.cos(2 * np.pi * y / 2.7) * np.cos(2 * np.pi * x / 2.7)
    for ratio, contrast in ((TOLD, 1.0), ((UNTOLD + TOLD) / 2, 0.5), (UNTOLD, 0.0)):
        seen = hide_untold(view, np.full(view.shape, ratio), PIXEL)
        assert seen.mean() == pytest.approx(5, abs=0.02)
        assert np.ptp(seen[15:-15, 15:-15]) == pytest.approx(contrast * np.ptp(view), abs=0.02)
