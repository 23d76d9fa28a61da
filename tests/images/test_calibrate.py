"""Lattices with a known answer: rotated, stretched, sheared, noisy; and real images."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from adatom.core.errors import CalibrationError, ConfigError
from adatom.core.materials import get_material
from adatom.images import calibrate
from adatom.images.calibrate import calibrate_image, fit_matrix
from adatom.images.lattice import find_lattice

REAL = Path(__file__).parents[3] / "shared" / "data"
MOS2 = get_material("MoS2")


def make_image(matrix, *, shape=(256, 256), angle=0.0, lattice=3.16, parts=(1.0, 0.35), width=0.45):
    """Gaussian columns of a honeycomb, from the Fourier sum: exact at any sub-pixel position."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    real = lattice * np.array([[0, 1], [np.sqrt(0.75), 0.5]]) @ turn.T
    reciprocal = np.linalg.inv(real).T
    y, x = (side - (n - 1) / 2 for side, n in zip(np.indices(shape), shape, strict=True))
    values = np.zeros(shape)
    for i in range(-4, 5):
        for j in range(-4, 5):
            wave = i * reciprocal[0] + j * reciprocal[1]
            factor = parts[0] + parts[1] * np.exp(-2j * np.pi * (i + j) / 3)
            factor *= np.exp(-2 * np.pi**2 * width**2 * wave @ wave)
            if abs(factor) > 1e-4:
                ky, kx = wave @ matrix
                values += (factor * np.exp(2j * np.pi * (ky * y + kx * x))).real
    return values


def as_image(values, pixel_size=None, **attrs):
    image = xr.DataArray(values, dims=("y", "x"), attrs={"source": "a.tif", **attrs})
    if pixel_size is None:
        return image
    coords = {n: pixel_size * np.arange(image.sizes[n]) for n in ("y", "x")}
    return image.assign_coords(coords)


def shear_matrix(size_y, size_x, shear_deg):
    shear = np.radians(shear_deg)
    return np.array([[size_y * np.cos(shear), 0], [-size_y * np.sin(shear), size_x]])


@settings(max_examples=15, deadline=None)
@given(
    angle=st.floats(0, np.pi / 3),
    size=st.floats(0.12, 0.25),
    ratio=st.floats(0.88, 1.14),
    shear_deg=st.floats(-5, 5),
)
def test_finds_axes_and_shear(angle, size, ratio, shear_deg):
    matrix = shear_matrix(size, size * ratio, shear_deg)
    calibration = calibrate_image(as_image(make_image(matrix, angle=angle)), material="MoS2")
    np.testing.assert_allclose(calibration.pixel_size, (size, size * ratio), rtol=2e-3)
    assert calibration.shear_deg == pytest.approx(shear_deg, abs=0.15)
    assert calibration.source == "lattice"


def test_errors_are_those_of_the_noise():
    rng = np.random.default_rng(1)
    matrix = shear_matrix(0.2, 0.2, 0)
    pulls = []
    for dose in np.repeat([2, 20], 20):
        mean = make_image(matrix, angle=rng.uniform(0, 1), shape=(128, 128))
        counts = rng.poisson(dose * (mean - mean.min()) / np.ptp(mean))
        found = calibrate_image(as_image(counts), material=MOS2)
        pulls.append((np.array(found.pixel_size) - 0.2) / found.pixel_size_err)
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.3


@pytest.mark.parametrize("parts", [(1.0, 0.0), (1.0, 0.35), (1.0, 0.8), (1.0, 1.0)])
@pytest.mark.parametrize("width", [0.3, 0.7])
def test_knows_the_cell_of_a_honeycomb(parts, width):
    values = make_image(shear_matrix(0.2, 0.2, 0), angle=0.3, parts=parts, width=width)
    lengths = np.linalg.norm(find_lattice(values).vectors, axis=1)
    np.testing.assert_allclose(lengths, 3.16 / 0.2, rtol=2e-3)


def test_vectors_are_sixty_degrees_apart_and_the_matrix_makes_them_hexagonal():
    lattice = find_lattice(make_image(shear_matrix(0.2, 0.22, 3), angle=1.0))
    real = lattice.vectors @ fit_matrix(lattice, MOS2).T
    np.testing.assert_allclose(np.linalg.norm(real, axis=1), 3.16)
    assert real[0] @ real[1] == pytest.approx(3.16**2 / 2)


def test_strong_contamination_and_a_bright_cluster():
    y, x = np.indices((256, 256))
    values = make_image(shear_matrix(0.2, 0.2, 0), angle=0.2)
    cloud = 20 * np.exp(-((y - 60) ** 2 + (x - 90) ** 2) / 2 / 50**2)
    cluster = 30 * np.exp(-((y - 150) ** 2 + (x - 120) ** 2) / 2 / 4**2)
    lattice = find_lattice(values + cloud + cluster)
    np.testing.assert_allclose(np.linalg.norm(lattice.vectors, axis=1), 15.8, rtol=5e-3)


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_lattice(seed):
    values = np.random.default_rng(seed).normal(size=(256, 256))
    with pytest.raises(CalibrationError, match=r"a\.tif: no lattice is to be seen"):
        calibrate_image(as_image(values), material="MoS2")


def test_constant_image_has_no_lattice():
    with pytest.raises(CalibrationError, match="no lattice"):
        find_lattice(np.ones((64, 64)))


def test_header_that_agrees_is_kept():
    values = make_image(shear_matrix(0.2, 0.2, 0))
    found = calibrate_image(as_image(values, 0.202), material="MoS2")
    assert found.source == "header"
    assert found.pixel_size == pytest.approx((0.202, 0.202))
    assert not found.warnings
    assert calibrate_image(as_image(values, 0.2)).material.name == "MoS2"


def test_header_that_disagrees():
    image = as_image(make_image(shear_matrix(0.2, 0.2, 0)), 0.22)
    named = calibrate_image(image, material="MoS2")
    assert named.source == "lattice"
    assert named.pixel_size == pytest.approx((0.2, 0.2), rel=2e-3)
    assert "disagree" in named.warnings[0]
    option = calibrate_image(image.assign_attrs(pixel_size_source="option"), material="MoS2")
    assert option.source == "option"
    assert option.pixel_size == pytest.approx((0.22, 0.22))
    assert "disagree" in option.warnings[0]


def test_header_that_cannot_be_checked_is_kept_and_said():
    noise = np.random.default_rng(0).normal(size=(128, 128))
    found = calibrate_image(as_image(noise, 0.2), material="MoS2")
    assert found.source == "header"
    assert "could not be checked" in found.warnings[0]


def test_a_perovskite_is_not_taken_for_a_stretched_sheet():
    y, x = np.indices((256, 256)) * 0.12
    turned, period = np.deg2rad(12), 4.0
    across, along = y * np.cos(turned) - x * np.sin(turned), y * np.sin(turned) + x * np.cos(turned)
    values = np.random.default_rng(0).normal(size=y.shape) * 0.3
    for m, n, part in ((1, 0, 0.3), (0, 1, 0.3), (1, 1, 1), (1, -1, 1), (2, 0, 0.5), (0, 2, 0.5)):
        values += part * np.cos(2 * np.pi * (m * across + n * along) / period)
    found = calibrate_image(as_image(values, 0.12))
    assert found.material is None
    assert found.pixel_size == pytest.approx((0.12, 0.12))
    assert "fits no material" in found.warnings[0]


def test_nothing_known():
    values = make_image(shear_matrix(0.2, 0.2, 0))
    with pytest.raises(CalibrationError, match=r"a\.tif.*--material.*--pixel-size"):
        calibrate_image(as_image(values))
    with pytest.raises(ConfigError, match="material"):
        calibrate_image(as_image(values), material="MoS3")


def test_lattice_of_a_large_image_is_that_of_its_middle(monkeypatch):
    """Bare support around it, as around a small flake."""
    values = np.zeros((600, 500))
    values[172:428, 122:378] = make_image(np.eye(2) * 0.2)
    monkeypatch.setattr(calibrate, "LARGEST_FIELD", 256)
    found = calibrate_image(as_image(values), material="MoS2")
    assert found.pixel_size == pytest.approx((0.2, 0.2), rel=2e-3)
    assert found.image.shape == (600, 500)


def test_first_frame_of_a_movie():
    movie = np.stack([make_image(shear_matrix(0.2, 0.2, 0)), np.zeros((256, 256))])
    image = xr.DataArray(movie, dims=("frame", "y", "x"))
    found = calibrate_image(image, material="MoS2")
    assert found.image.dims == ("frame", "y", "x")
    assert float(found.image.x[1]) == pytest.approx(0.2, rel=2e-3)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images in ../shared/data")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mos2_labelled/2.jpg", (0.0906, 0.0916)),
        ("mos2_labelled/19.jpg", (0.0971, 0.0915)),
        ("mos2_labelled/54.jpg", (0.0891, 0.0914)),
        ("vendor/se_implanted_mos2.dm3", (0.1336, 0.1344)),
    ],
)
def test_real_images(name, expected):
    from adatom.images.read import read_image

    image = read_image(REAL / name)
    found = calibrate_image(image, material="MoS2")
    assert found.source == "lattice"
    np.testing.assert_allclose(found.pixel_size, expected, rtol=0.015)
