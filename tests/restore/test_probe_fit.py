"""Probes that are known, fitted to images that are drawn with them."""

import numpy as np
import pytest

from adatom.core.errors import ConfigError, ImageError
from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_point_image, make_probe, transfer_function
from adatom.restore.probe_fit import ProbeFitConfig, fit_probe
from adatom.restore.probe_shape import ProbeShape

PIXEL, SIDE = 0.2, 32.0  # Å
KNOWN = Microscope(energy_eV=60e3, semi_angle=30)
TRUE = KNOWN.model_copy(update={"defocus": 25, "C12": 10, "phi12": 30, "source_size": 0.7})
VALUES = np.array([0.7, 25, 5, 10 * 0.75**0.5])
COUNTS = ProbeFitConfig(is_counts=True, most_columns=110)


def draw_sheet(microscope, *, side=SIDE, seed=0, thermal=0.0):
    """MoS2 by the linear model on a grid of its own: image of unit columns, and positions."""
    rng = np.random.default_rng(seed)
    steps = np.stack(np.mgrid[-20:21, -20:21], axis=-1).reshape(-1, 2)
    vectors = 3.16 * np.array([[1, 0], [0.5, 3**0.5 / 2]])
    metal = steps @ vectors
    places = np.concatenate([metal, metal + vectors.sum(axis=0) / 3])
    turn = rng.uniform(0, np.pi / 3)
    places = places @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    places += side / 2 + rng.normal(0, 0.02, places.shape)
    strengths = np.repeat([1.0, 0.5], len(metal))
    pad = 50
    n_pixels = round(side / PIXEL)
    n_grid = n_pixels + 2 * pad
    near = np.all((places > -6) & (places < side + 6), axis=1)
    places, strengths = places[near], strengths[near]
    k = np.fft.fftfreq(n_grid, PIXEL)
    down, right = (np.exp(-2j * np.pi * np.outer(k, axis + pad * PIXEL)) for axis in places.T)
    transfer = transfer_function(microscope, n_grid, PIXEL).conj()  # a point's view of the probe
    transfer = transfer * np.exp(-2 * (np.pi * thermal) ** 2 * np.add.outer(k**2, k**2))
    image = np.fft.ifft2((down * strengths) @ right.T * transfer).real
    inside = np.all((places > 0) & (places < side - PIXEL), axis=1)
    return image[pad : pad + n_pixels, pad : pad + n_pixels], places[inside]


@pytest.fixture(scope="module")
def sheet():
    return draw_sheet(TRUE)


@pytest.fixture(scope="module")
def perfect(sheet):
    image, positions = sheet
    return fit_probe(1e4 * (image + 0.002), PIXEL, positions, KNOWN, config=COUNTS)


def test_an_image_without_noise_gives_the_probe_back(perfect):
    assert perfect.names == ("source_size", "defocus", "C12.x", "C12.y")
    assert np.all(np.abs(perfect.values - VALUES) < [0.01, 0.6, 0.3, 0.3])
    assert perfect.reduced_chi_square < 0.01
    assert perfect.microscope.phi12 == pytest.approx(30, abs=2)
    n = len(perfect.probe)
    assert n % 2 == 1
    np.testing.assert_allclose(perfect.probe, make_point_image(TRUE, n, PIXEL), atol=2e-4)


def test_the_sign_of_the_defocus_has_no_meaning_without_other_aberrations(perfect):
    assert perfect.sign_margin == 0
    assert not perfect.is_sign_known
    opposite = TRUE.model_copy(update={"defocus": -25, "phi12": 120, "C21": 600, "C23": 300})
    turned = TRUE.model_copy(update={"C21": 600, "C23": 300})
    np.testing.assert_allclose(
        make_probe(opposite, 33, PIXEL), make_probe(turned, 33, PIXEL), atol=1e-12
    )


def test_spherical_aberration_tells_the_sign_of_the_defocus():
    held = KNOWN.model_copy(update={"C30": 3e4})
    shape = ProbeShape(held, ("source_size", "defocus", "C12"), 0.0)
    assert not shape.is_mirrored
    image, positions = draw_sheet(TRUE.model_copy(update={"C30": 3e4, "defocus": -25}))
    fit = fit_probe(2e4 * (image + 0.002), PIXEL, positions, held, config=COUNTS)
    assert fit.is_sign_known
    assert np.all(np.abs(fit.values - VALUES * [1, -1, 1, 1]) < [0.02, 1, 0.6, 0.6])


@pytest.mark.parametrize(("dose", "seed"), [(2e4, 1), (2e4, 2), (4e3, 3)])
def test_noise_moves_the_probe_by_its_errors(sheet, dose, seed):
    image, positions = sheet
    rng = np.random.default_rng(seed)
    counts = rng.poisson(np.maximum(image + 0.002, 0) * dose).astype(float)
    places = positions + rng.normal(0, 0.02, positions.shape)
    fit = fit_probe(counts, PIXEL, places, KNOWN, config=COUNTS)
    assert 0.9 < fit.reduced_chi_square < 1.1
    assert np.all(np.abs(fit.values - VALUES) < 4 * fit.errors)
    assert np.all(fit.errors < [0.05, 5, 3, 3])


def test_gray_levels_need_no_gain(sheet):
    image, positions = sheet
    rng = np.random.default_rng(4)
    counts = rng.poisson(np.maximum(image + 0.002, 0) * 2e4)
    fit = fit_probe(
        7 + 0.003 * counts, PIXEL, positions, KNOWN, config=ProbeFitConfig(most_columns=110)
    )
    assert np.all(np.abs(fit.values - VALUES) < 4 * fit.errors)
    assert 0.9 < fit.reduced_chi_square < 1.1


def test_known_vibration_leaves_the_source():
    image, positions = draw_sheet(TRUE, thermal=0.1)
    image = 1e4 * (image + 0.002)
    config = COUNTS.model_copy(update={"vibration": 0.1})
    fit = fit_probe(image, PIXEL, positions, KNOWN, config=config)
    assert fit.values[0] == pytest.approx(0.7, abs=0.02)


def test_free_numbers_are_read_and_set():
    shape = ProbeShape(TRUE, ("defocus", "C12", "C23"), 0.0)
    assert shape.names == ("defocus", "C12.x", "C12.y", "C23.x", "C23.y")
    assert dict(shape.set(shape.read())) == pytest.approx(dict(TRUE))
    rim = 2 * np.pi / 0.04866 * shape.scales[0] * 0.03**2 / 2
    assert rim == pytest.approx(1, rel=1e-3)


def test_wrong_inputs_are_refused(sheet):
    image, positions = sheet
    inner = positions[np.argsort(np.hypot(*(positions - SIDE / 2).T))[:9]]
    with pytest.raises(ImageError, match=r"at least 20 columns .* \(got 9\)"):
        fit_probe(image, PIXEL, inner, KNOWN)
    with pytest.raises(ImageError, match=r"pixel_size: must be at most .* 0.406 Å"):
        fit_probe(image, 0.5, positions, KNOWN)
    with pytest.raises(ImageError, match="image: must be finite"):
        fit_probe(np.where(image == image.max(), np.nan, image), PIXEL, positions, KNOWN)
    with pytest.raises(ImageError, match="counts must not be negative"):
        fit_probe(image - 1, PIXEL, positions, KNOWN, config=COUNTS)
    with pytest.raises(ImageError, match="positions: must be finite"):
        fit_probe(image, PIXEL, positions[:, 0], KNOWN)
    with pytest.raises(ConfigError, match="pixel_size: must be a number above 0"):
        fit_probe(image, 0.0, positions, KNOWN)
    ranged = Microscope(energy_eV={"min": 59e3, "max": 61e3})
    with pytest.raises(ConfigError, match=r"ranges for \['energy_eV'\]"):
        fit_probe(image, PIXEL, positions, ranged)
    with pytest.raises(ConfigError, match="each number once"):
        ProbeFitConfig.from_mapping({"free": ("C12", "C12")}, source="test")
