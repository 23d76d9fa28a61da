"""Tiles against the whole image."""

import numpy as np
import pytest

from adatom.core import threads
from adatom.detect import tiles
from adatom.detect.profile import make_gaussian_profile
from adatom.detect.refine import refine_positions
from adatom.detect.tiles import cut_tiles

PIXEL = 0.2


@pytest.fixture(scope="module")
def lattice():
    """Counts of a lattice with an empty lower third, and its true places, px."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[8:150:10, 8:292:10].reshape(2, -1) + rng.normal(0, 0.4, (2, 435))
    y, x = np.arange(240)[:, None], np.arange(300)
    expected = np.full((240, 300), 2.0)
    for row, column in zip(rows, columns, strict=True):
        expected += 60 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * 2.1**2))
    return rng.poisson(expected).astype(float), np.column_stack([rows, columns])


def test_cores_cover_the_image_once():
    shape = (1700, 2300)
    covered = np.zeros(shape, int)
    for tile in cut_tiles(shape, (0.1, 0.2)):
        covered[tile.core] += 1
        for core, crop, n in zip(tile.core, tile.crop, shape, strict=True):
            assert core.start - crop.start in (0, min(core.start, 80), min(core.start, 40))
            assert crop.stop <= n
    assert (covered == 1).all()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_tiles_are_the_whole(lattice, monkeypatch, n_threads):
    values, true = lattice
    profile = make_gaussian_profile((2.1 * PIXEL) ** 2)
    options = {"is_counts": True, "profile": profile}
    whole = refine_positions(values, true, PIXEL, **options)
    monkeypatch.setattr(tiles, "LARGEST_TILE", (70, 110))
    monkeypatch.setattr(threads, "count_cores", lambda: n_threads)
    cut = refine_positions(values, true, PIXEL, **options)
    moved = np.abs(cut.positions - whole.positions) / whole.errors
    assert np.quantile(moved, 0.99) < 0.15
    assert moved.max() < 0.5
    np.testing.assert_allclose(cut.errors, whole.errors, rtol=0.1)
    brighter = np.abs(cut.intensity - whole.intensity) / whole.intensity_err
    assert np.quantile(brighter, 0.99) < 0.5
    monkeypatch.setattr(tiles, "MARGIN", 0.0)  # this test can fail
    bare = refine_positions(values, true, PIXEL, **options)
    assert np.abs((bare.positions - whole.positions) / whole.errors).max() > 1


def test_the_shape_is_that_of_the_whole_image(lattice, monkeypatch):
    """Tiles of few columns estimate none of their own."""
    values, true = lattice
    monkeypatch.setattr(tiles, "LARGEST_TILE", (70, 110))
    monkeypatch.setattr(tiles, "LEAST_SAVING", 0.0)
    found = refine_positions(values, true, PIXEL, is_counts=True)
    assert found.profile.kind == "estimated"
    assert found.intensity.std() / found.intensity.mean() < 0.06


def test_false_columns_in_an_empty_part_are_not_certain(lattice, monkeypatch):
    values, true = lattice
    dark = np.where(np.arange(240)[:, None] < 155, values, 0.0)
    false = np.array([[200.0, 100.0], [215.0, 200.0]])
    monkeypatch.setattr(tiles, "LARGEST_TILE", (70, 110))
    profile = make_gaussian_profile((2.1 * PIXEL) ** 2)
    found = refine_positions(
        dark, np.concatenate([true, false]), PIXEL, is_counts=True, profile=profile
    )
    assert (found.intensity_err[-2:] > 1).all()
