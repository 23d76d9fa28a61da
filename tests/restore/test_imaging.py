import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal

from adatom.core.errors import ImageError
from adatom.restore.imaging import LinearImaging, check_image_and_probe, show_object

SIDES = st.integers(3, 20)


@given(image=st.tuples(SIDES, SIDES), probe=st.tuples(SIDES, SIDES))
def test_it_is_a_convolution_without_wrapping_and_its_adjoint(image, probe):
    rng = np.random.default_rng(1)
    kernel = rng.random(probe)
    model = LinearImaging.from_probe(kernel, image)
    needed = tuple(n + m - 1 for n, m in zip(image, probe, strict=True))
    grid, seen = np.zeros(model.grid_shape), rng.random(image)
    grid[: needed[0], : needed[1]] = rng.random(needed)
    direct = signal.convolve(grid[: needed[0], : needed[1]], kernel, mode="valid")
    np.testing.assert_allclose(model.apply(grid), direct, rtol=1e-9)
    assert np.vdot(model.apply(grid), seen) == pytest.approx(np.vdot(grid, model.transpose(seen)))


@pytest.mark.parametrize("side", [5, 6])
def test_an_atom_is_imaged_where_it_is(side):
    probe = np.zeros((side, side))
    probe[side // 2, side // 2] = 1
    model = LinearImaging.from_probe(probe, (9, 12))
    grid = np.zeros(model.grid_shape)
    model.crop(grid)[3, 7] = 5
    assert np.unravel_index(np.argmax(model.apply(grid)), (9, 12)) == (3, 7)


def test_another_lens_shows_each_point_as_its_spot_on_the_background():
    rng = np.random.default_rng(2)
    spot, background = rng.random((5, 5)), rng.random((12, 20))
    points = np.zeros((12, 20))
    points[6, 4], points[5, 14] = 3, 2
    expected = background.copy()
    expected[4:9, 2:7] += 3 * spot
    expected[3:8, 12:17] += 2 * spot
    np.testing.assert_allclose(show_object(points, background, spot), expected, atol=1e-12)


@pytest.mark.parametrize(("shape", "beyond"), [((9, 7), "mirror"), ((2, 4), "nearest")])
def test_an_object_goes_on_beyond_the_border(shape, beyond):
    rng = np.random.default_rng(3)
    points, spot = rng.random(shape), rng.random((5, 5))
    seen = show_object(points, 0.5, spot)
    np.testing.assert_allclose(seen, ndimage.convolve(points, spot, mode=beyond) + 0.5)


@pytest.mark.parametrize(
    ("image", "probe", "message"),
    [
        (np.ones((4, 4, 2)), np.ones((1, 1)), r"image: must be finite, .*\(4, 4, 2\)"),
        (np.full((4, 4), np.nan), np.ones((1, 1)), "image: must be finite"),
        (np.ones((4, 4)), np.ones((2, 2)), "probe: must not be negative, .*sum 4"),
        (np.ones((4, 4)), np.array([[-1.0, 2.0]]), "minimum -1"),
    ],
)
def test_what_is_no_image_or_probe_is_refused(image, probe, message):
    with pytest.raises(ImageError, match=message):
        check_image_and_probe(image, probe)
