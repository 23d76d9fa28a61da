"""Steps from the object function of a network to one that explains the electrons."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from adatom.networks.probe_views import (
    blur_to_spots,
    match_probe,
    project_back,
    reconvolve,
    view_probe,
)
from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_point_image
from adatom.restore.poisson_fit import fit_electrons

PROBE = make_point_image(
    Microscope(energy_eV=60e3, semi_angle=30, source_size=0.8, C12=15, C21=300), 65, 0.2
).astype(np.float32)
N, INNER = 96, np.s_[12:-12, 12:-12]


@pytest.fixture(scope="module")
def views():
    return view_probe(torch.from_numpy(PROBE)[None], (N, N))


@pytest.fixture(scope="module")
def scene(views):
    """Object function of scattered atoms as spots, background, and what the image should be."""
    rng = np.random.default_rng(3)
    points = np.zeros((1, N, N), np.float32)
    points[0, rng.integers(N, size=150), rng.integers(N, size=150)] = 1500.0
    sharp = blur_to_spots(torch.from_numpy(points), views).clamp_min(0)
    smooth = np.full((N, N), 20.0, np.float32)
    expected = reconvolve(sharp, views)[0].numpy() + smooth
    return sharp[0].numpy(), smooth, np.maximum(expected, 0)


def error(found, true):
    return float(((found - true)[INNER] ** 2).mean() / true[INNER].var())


def test_what_explains_the_image_stays(scene):
    sharp, smooth, expected = scene
    image = np.random.default_rng(0).poisson(expected)
    # Of noise that is said to be larger than it is, less than its variance is left.
    found = fit_electrons(1.01 * image, PROBE, (1.01 * sharp, 1.01 * smooth), read_noise=3.0)
    assert found.n_iterations == 0
    assert np.array_equal(found.object_function, np.float32(1.01 * sharp))
    assert np.allclose(found.reconvolved, 1.01 * expected, rtol=1e-3)


def test_a_pale_blurred_start_comes_nearer_and_explains_the_image(scene):
    sharp, smooth, expected = scene
    image = np.random.default_rng(0).poisson(expected).astype(float)
    start = (0.8 * ndimage.gaussian_filter(sharp, 0.6), smooth + 5)
    found = fit_electrons(image, PROBE, start)
    assert 0 < found.n_iterations < 128
    assert error(found.object_function, sharp) < 0.7 * error(start[0], sharp)
    residual = (image - found.reconvolved) / np.sqrt(found.reconvolved)
    assert (residual[INNER] ** 2).mean() == pytest.approx(1, abs=0.08)
    assert found.object_function.min() >= 0
    # What is lacking is given to atoms and background both, and none is lost.
    assert found.reconvolved.sum() == pytest.approx(image.sum(), rel=0.01)


def test_read_noise_is_no_reason_for_steps(scene):
    sharp, smooth, expected = scene
    rng = np.random.default_rng(1)
    image = rng.poisson(expected) + rng.normal(0, 20, expected.shape)
    start = (0.95 * sharp, smooth)
    known, unknown = (
        fit_electrons(image, PROBE, start, read_noise=noise).n_iterations for noise in (20.0, 0.0)
    )
    assert known < unknown


def test_projecting_back_is_the_adjoint(views):
    rng = np.random.default_rng(2)
    one, other = (torch.zeros(1, N, N) for _ in range(2))
    for each in (one, other):  # away from the borders, where reflection breaks it
        each[:, 36:-36, 36:-36] = torch.from_numpy(rng.normal(size=(24, 24))).float()
    left = float((reconvolve(one, views) * other).sum())
    right = float((one * project_back(other, views)).sum())
    assert left == pytest.approx(right, rel=1e-3)


def test_matched_noise_has_the_variance_that_the_area_says(views):
    noise = torch.from_numpy(np.random.default_rng(4).normal(size=(1, N, N))).float()
    matched = match_probe(noise, views)[0].numpy()
    assert matched.var() == pytest.approx(float(1 / views.area), rel=0.15)
