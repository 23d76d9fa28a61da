"""Mean cells of lattices whose Fourier coefficients are known."""

import numpy as np
import pytest
import xarray as xr

from adatom.analyze.unit_cell import average_cells
from adatom.core.errors import ImageError

LATTICE, TURN, SIDE = 3.16, 17.0, 34.0
FIRST, SECOND = ((1, 0), (0, 1), (1, 1)), ((1, -1), (2, 1), (1, 2))


def find_vectors(lattice=LATTICE):
    """Lattice vectors [y, x]."""
    angles = np.deg2rad(TURN + np.array([0.0, 60.0]))
    return lattice * np.column_stack([np.sin(angles), np.cos(angles)])


def make_series(amplitudes, noise=0.0, lattice=LATTICE, moved=0.0):
    """Six waves of either order, 100 in the mean; their amplitudes in each image."""
    axis = np.arange(0, SIDE, 0.13)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    x = x - moved * np.sin(2 * np.pi * y / 60)
    waves = np.linalg.inv(find_vectors(lattice)).T
    sums = [
        sum(2 * np.cos(2 * np.pi * (ky * y + kx * x) + 0.4) for ky, kx in np.array(orders) @ waves)
        for orders in (FIRST, SECOND)
    ]
    images = np.einsum("fn,nyx->fyx", np.array(amplitudes), np.array(sums))
    images = 100 * (1 + images)
    images += noise * np.random.default_rng(0).standard_normal(images.shape)
    return xr.DataArray(images, dims=("focus", "y", "x"), coords={"y": axis, "x": axis})


def pick(values, *orders):
    return np.array([values[..., h, k] for h, k in orders])


def test_coefficients_are_those_of_the_image():
    cell = average_cells(make_series([(0.1, 0.03), (-0.05, 0.02)]), LATTICE * 1.03)
    lengths = np.linalg.norm(cell.vectors, axis=1)
    np.testing.assert_allclose(lengths, LATTICE, rtol=1e-3)
    assert (cell.vectors @ cell.vectors.T)[0, 1] == pytest.approx(LATTICE**2 / 2, rel=3e-3)
    known = np.exp(0.4j) * np.array([[0.1, 0.03], [-0.05, 0.02]])
    for number, orders in enumerate((FIRST, SECOND)):
        found = pick(cell.values, *orders)
        for image in (0, 1):
            # Of a wave or its conjugate, by the side of the lattice vectors.
            strengths = np.abs(found[:, image])
            np.testing.assert_allclose(strengths, abs(known[image, number]), atol=1e-3)
    assert np.abs(pick(cell.values, (3, 0), (2, 2))).max() < 1e-3


def test_errors_are_those_of_the_noise():
    quiet, noisy = (average_cells(make_series([(0.1, 0.05)], noise=n), LATTICE) for n in (0, 20))
    low = np.ix_([0], [1, 2, -1, -2], [1, 2, -1, -2])
    off = np.abs(noisy.values[low]) - np.abs(quiet.values[low])
    assert np.sqrt((off**2).mean()) == pytest.approx(noisy.errors[low].mean(), rel=0.5)


def test_cells_follow_a_lattice_that_is_bent():
    straight, bent = (average_cells(make_series([(0.1, 0.05)], moved=m), LATTICE) for m in (0, 0.5))
    kept, usual = (np.abs(pick(cell.values, *FIRST, *SECOND)) for cell in (bent, straight))
    assert (kept / usual).min() > 0.9


def test_holes_are_left_out():
    series = make_series([(0.1, 0.05)])
    holed = series.where(~((series.y < 17) & (series.x < 17)), 100.0)
    cell = average_cells(holed, LATTICE)
    inside = (cell.origins < 15).all(axis=1)
    assert not inside.any()
    assert len(cell.origins) > 50
    assert np.abs(pick(cell.values, (1, 0)))[0, 0] == pytest.approx(0.1, rel=0.1)


def test_what_has_no_such_lattice_has_no_cell():
    noise = make_series([(0.0, 0.0)], noise=10)
    assert average_cells(noise, LATTICE) is None
    assert average_cells(noise - 100, LATTICE) is None
    assert average_cells(make_series([(0.1, 0.0)], noise=10, lattice=4.2), LATTICE) is None
    assert average_cells(make_series([(0.1, 0.05)])[:, :60, :60], LATTICE) is None
    with pytest.raises(ImageError, match="finite"):
        average_cells(noise.where(noise.x > 1), LATTICE)
