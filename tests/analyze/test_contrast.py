"""Faint and bright columns: planted ones are found, noise is not."""

import numpy as np
import pytest

from adatom.analyze.contrast import find_outliers, measure_brightness
from adatom.analyze.defects import find_defects
from adatom.analyze.lattice import find_lattices
from adatom.core.chemistry import make_plain_chemistry


@pytest.fixture(scope="module")
def square():
    """A square lattice of 50 × 50 columns."""
    places = 3.9 * np.stack(np.mgrid[:50, :50], axis=-1).reshape(-1, 2)
    return places, find_lattices(places, np.full(len(places), "column"))


def brighten(places, rng):
    """Brightness that drifts over the image, and noise of 1."""
    return 30 + 0.05 * places[:, 0] + rng.normal(0, 1, len(places))


def test_noise_alone_has_no_outliers(square):
    places, lattices = square
    n_found = [
        (find_outliers(brighten(places, np.random.default_rng(seed)), lattices) != "").sum()
        for seed in range(20)
    ]
    assert sum(n_found) <= 5  # 0.05 of either kind are expected in each


def test_few_strong_outliers_are_found_exactly(square):
    places, lattices = square
    values = brighten(places, np.random.default_rng(1))
    values[[700, 1211]] -= 10
    values[1500] += 10
    found = find_outliers(values, lattices)
    assert np.flatnonzero(found == "faint").tolist() == [700, 1211]
    assert np.flatnonzero(found == "bright").tolist() == [1500]


def test_of_many_weak_ones_about_the_stated_share_is_false(square):
    places, lattices = square
    rng = np.random.default_rng(2)
    false, missed = [], []
    for _ in range(8):
        is_faint = rng.random(len(places)) < 0.08
        values = brighten(places, rng) - 5 * is_faint
        found = find_outliers(values, lattices) == "faint"
        false.append((found & ~is_faint).sum() / found.sum())
        missed.append((is_faint & ~found).sum() / is_faint.sum())
    assert np.mean(false) < 0.08  # 0.05 is promised
    assert np.mean(missed) < 0.1


def test_each_site_of_the_cell_is_compared_with_its_own_kind(make_honeycomb):
    places, labels = make_honeycomb(90, 3.16, labels=("M", "X2"), noise=0.03)
    lattices = find_lattices(places, np.full(len(places), "column"))
    is_heavy = labels == "M"
    values = np.where(is_heavy, 100.0, 20.0)
    values += np.random.default_rng(0).normal(0, 1, len(labels))
    inner = np.hypot(*(places - places.mean(axis=0)).T) < 20
    one, other = np.flatnonzero(inner & is_heavy)[3], np.flatnonzero(inner & ~is_heavy)[40]
    values[one], values[other] = 20, 100  # each as bright as the other kind
    found = find_outliers(values, lattices)
    assert found[one] == "faint"
    assert found[other] == "bright"
    assert (found != "").sum() == 2


def test_brightness_is_that_of_the_column_not_of_its_neighbors():
    rng = np.random.default_rng(3)
    places = 2.0 * np.stack(np.mgrid[:12, :12], axis=-1).reshape(-1, 2) + [5.0, -3.0]
    heights = rng.uniform(5, 10, len(places))
    pixel, corner = np.array([0.1, 0.16]), np.array([4.7, -3.0])
    y, x = (corner[axis] + pixel[axis] * np.arange(n) for axis, n in enumerate((225, 140)))
    shape = [np.exp(-((axis - places[:, k, None]) ** 2) / (2 * 0.45**2))
             for k, axis in enumerate((y, x))]  # fmt: skip
    image = np.einsum("n,ny,nx->yx", heights, *shape)
    found = measure_brightness(image, corner, pixel, places)
    assert np.isfinite(found).all()
    inner = (np.abs(places - places.mean(axis=0)) < 10).all(axis=1)
    assert np.corrcoef(found[inner], heights[inner])[0, 1] > 0.999
    flat = measure_brightness(np.full_like(image, 7.0), corner, pixel, places)
    np.testing.assert_allclose(flat, 7.0)


def test_faint_columns_are_named_alone_together_and_in_lines(square, tabulate):
    places, _ = square
    table = tabulate(places, np.full(len(places), "column"))
    values = brighten(places, np.random.default_rng(5))
    values[[505, 1220, 1221, 1930, 1931, 1932, 1933]] -= 12
    values[1600] += 12
    chemistry = make_plain_chemistry(("column",), 3.9)
    found = find_defects(table.assign(brightness=values), chemistry).table
    assert set(found["kind"]) == {"contrast"}
    assert sorted(found["name"]) == ["2faint", "bright", "faint", "faint line"]
    assert find_defects(table, chemistry).table.empty
