"""The linear image model against its formula."""

import numpy as np
import pytest

from adatom.optics.microscope import Microscope
from adatom.simulate.linear import gaussian_transfer, simulate_linear
from adatom.simulate.scattering import probe_transfer

SIZE, PIXEL = (20.0, 24.0), 0.2


def _grid() -> tuple[np.ndarray, np.ndarray]:
    return np.arange(100) * PIXEL, np.arange(120) * PIXEL


def test_gaussian_columns_are_gaussians_wherever_they_lie():
    rng = np.random.default_rng(0)
    positions = rng.uniform(1, 19, (12, 2))
    strengths = rng.uniform(0.5, 2, 12)
    covariance = np.array([[0.20, 0.03], [0.03, 0.16]])
    y, x = _grid()
    transfer = gaussian_transfer(SIZE, [(1.0, covariance, (0.0, 0.0))])
    image = simulate_linear(positions, strengths, transfer, (y, np.zeros_like(y)), x)
    inverse, scale = np.linalg.inv(covariance), 1 / (2 * np.pi * np.linalg.det(covariance) ** 0.5)
    offset = np.stack(np.meshgrid(y, x, indexing="ij"), -1)[:, :, None] - positions
    expected = (
        strengths * scale * np.exp(-0.5 * np.einsum("...i,ij,...j", offset, inverse, offset))
    ).sum(-1)
    np.testing.assert_allclose(image, expected, atol=2e-4 * expected.max())


def test_shifted_lines_see_the_column_shifted():
    y, x = _grid()
    transfer = gaussian_transfer(SIZE, [(1.0, 0.2 * np.eye(2), (0.0, 0.0))])
    shift = np.where(np.arange(100) == 50, 0.37, 0.0)
    image = simulate_linear(np.array([[10.0, 12.0]]), np.ones(1), transfer, (y, shift), x)
    straight = simulate_linear(np.array([[10.0, 11.63]]), np.ones(1), transfer, (y, 0 * y), x)
    np.testing.assert_allclose(image[50], straight[50], atol=1e-5)


def test_real_probe_keeps_the_intensity_and_the_place():
    scope = Microscope(energy_eV=60e3, semi_angle=30, C21=500.0, phi21=30.0, C23=300.0, C12=20.0)
    y, x = _grid()
    image = simulate_linear(
        np.array([[10.0, 12.0]]), np.ones(1), probe_transfer(scope, SIZE), (y, 0 * y), x
    )
    assert image.sum() * PIXEL**2 == pytest.approx(1, abs=0.01)
    near = image[30:71, 40:81]
    center = (near.sum(1) @ y[30:71] / near.sum(), near.sum(0) @ x[40:81] / near.sum())
    np.testing.assert_allclose(center, (10.0, 12.0), atol=0.05)
