"""What a column adds to the likelihood is known; neither guesses nor learned noise count."""

import numpy as np
import pytest

from adatom.restore.structure import MOST, TOLD, UNTOLD, hide_untold, weigh_structure

PIXEL = 0.2
MIDDLE = (40, 40)
SIDE = 81


def make_columns(places, electrons, background=1000.0):
    """Columns of 0.5 Å on a flat background."""
    y, x = np.mgrid[:SIDE, :SIDE]
    square = [((y - i) ** 2 + (x - j) ** 2) * PIXEL**2 for i, j in places]
    spots = electrons * np.exp(-np.array(square) / (2 * 0.5**2)) / (2 * np.pi * (0.5 / PIXEL) ** 2)
    return background + spots.sum(axis=0)


def weigh(counts, expected, background=1000.0, read_noise=0.0):
    smooth = np.full(expected.shape, background)
    return weigh_structure(counts, expected, smooth, PIXEL, read_noise=read_noise)


@pytest.mark.parametrize("noise", [0.0, 20.0])
def test_a_column_gives_half_the_square_of_its_signal_to_noise_ratio(noise):
    # Faint, so that it weighs as it is. A Gaussian of 0.5 Å in a window of 2 Å: 3 % are lost by the
    # weights, 2/9 by what its mean holds of it twice, 4 % come back as the square of that mean.
    expected = make_columns([MIDDLE], 500.0)
    half = ((expected - 1000) ** 2 / (1000 + noise**2)).sum() / 2
    known = (0.97 - 2 / 9 + 0.04) * half
    assert 0.8 < known < MOST / 4  # of the window of one column
    assert weigh(expected, expected, read_noise=noise)[MIDDLE] == pytest.approx(known, rel=0.02)
    # The ratio of an image varies by the root of twice that: so the mean of the lower is known.
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        image = rng.poisson(expected) + noise * rng.standard_normal(expected.shape)
        found.append(weigh(image, expected, read_noise=noise)[MIDDLE])
    spread = np.sqrt(2 * known)
    assert np.mean(found) == pytest.approx(known - spread / np.sqrt(2 * np.pi), abs=0.15 * spread)


def test_a_guess_is_not_told_by_electrons_that_know_nothing_of_it():
    expected = make_columns([MIDDLE], 500.0)
    rng = np.random.default_rng(4)
    flat = rng.poisson(np.full((100, SIDE, SIDE), 1000.0))
    found = [weigh(image, expected)[MIDDLE] for image in flat]
    known = weigh(expected, expected)[MIDDLE]  # then without: the same, below 0
    assert np.mean(found) == pytest.approx(-known, abs=0.5 * known)


def test_an_object_that_follows_a_little_of_all_noise_tells_nothing():
    rng = np.random.default_rng(5)
    flat = rng.poisson(np.full((SIDE, SIDE), 1000.0)).astype(float)
    traces = 1000 + 0.05 * (flat - 1000)
    n_pixels = 2 * np.pi * (2 / PIXEL) ** 2
    # A share s of its noise gives a pixel of the image s - s²/2 on average, and lets expect s²/2.
    alone = (flat * np.log(traces / 1000) - traces + 1000).sum() * n_pixels / flat.size
    assert alone == pytest.approx(0.05 * n_pixels, rel=0.1)
    assert weigh(flat, traces)[MIDDLE] == pytest.approx(0.05**2 / 2 * n_pixels, rel=0.2)


def test_strong_columns_do_not_speak_for_what_lies_beside_them():
    line = [(i, 10) for i in range(0, SIDE, 13)]
    expected = make_columns(line, 50000.0)
    found = weigh(expected, expected)
    assert 0.2 * MOST < found[:, 10].min() < found[:, 10].max() < MOST
    assert found[:, 50].max() < UNTOLD  # 8 Å away, where 3e-4 of the ratio of 16,000 would be left
    alone = make_columns([MIDDLE], 50000.0)
    assert weigh(alone, alone)[MIDDLE] > TOLD


def test_steps_and_slopes_of_the_background_are_no_structure():
    y, x = np.mgrid[:SIDE, :SIDE]
    background = 1000.0 + 500 * (x > 40) + 3 * y
    counts = np.random.default_rng(6).poisson(background)
    assert weigh_structure(counts, background, background, PIXEL).max() == pytest.approx(0)


def test_a_border_has_half_the_electrons_and_not_twice():
    inside, rim = (make_columns([place], 500.0) for place in (MIDDLE, (0, 40)))
    at_rim = weigh(rim, rim)[0, 40] / weigh(inside, inside)[MIDDLE]
    row = PIXEL / (0.5 * np.sqrt(np.pi))  # share of a square's light in the row of its middle
    assert at_rim == pytest.approx(0.5 + row / 2, abs=0.02)


def test_the_window_is_in_angstrom():
    expected = make_columns([MIDDLE], 500.0)
    found = weigh(expected, expected)[MIDDLE]
    blocks = expected[:80, :80].reshape(40, 2, 40, 2).sum(axis=(1, 3))  # the same in coarse pixels
    coarse = weigh_structure(blocks, blocks, np.full(blocks.shape, 4000.0), 2 * PIXEL)
    spread = 0.5**2 / (0.5**2 + (2 * PIXEL) ** 2 / 12)  # by pixels that are large
    assert coarse[20, 20] == pytest.approx(spread * found, rel=0.02)


def test_no_electrons_tell_nothing():
    nothing = np.zeros((40, 40))
    assert weigh_structure(nothing, nothing, nothing, PIXEL).max() == pytest.approx(0)


def test_what_is_not_told_is_shown_as_its_mean():
    y, x = np.mgrid[:96, :96] * PIXEL
    view = 5 + np.cos(2 * np.pi * y / 2.7) * np.cos(2 * np.pi * x / 2.7)
    for ratio, contrast in ((TOLD, 1.0), ((UNTOLD + TOLD) / 2, 0.5), (UNTOLD, 0.0)):
        seen = hide_untold(view, np.full(view.shape, ratio), PIXEL)
        assert seen.mean() == pytest.approx(5, abs=0.02)
        assert np.ptp(seen[15:-15, 15:-15]) == pytest.approx(contrast * np.ptp(view), abs=0.02)
