"""Spectra of noise whose spectrum is known, and the errors of what is fitted to them."""

import numpy as np
import pytest

from adatom.core.errors import ConfigError, ImageError
from adatom.optics.spectra import (
    find_information,
    fit_spectra,
    measure_spectra,
    radial_basis,
)

LIMITS = (0.05, 0.45)


def test_white_noise_has_power_one_and_as_many_draws_as_are_counted():
    rng = np.random.default_rng(1)
    sums = []
    for _ in range(300):
        spectra = measure_spectra(rng.standard_normal((1, 96, 80)), 1.0, 40.0, LIMITS)
        sums.append(spectra.values[:, 0, 0].real.mean())
    assert np.mean(sums) == pytest.approx(1, abs=0.01)
    count = len(spectra.kx) * spectra.n_effective
    assert np.var(sums) * count == pytest.approx(1, abs=0.3)


def test_cross_spectra_tell_a_shift_and_the_noise_of_each_image():
    rng = np.random.default_rng(2)
    wide = rng.standard_normal((160, 160))
    images = np.array([wide[2:130, 1:129], wide[:128, :128]])
    images[1] += 2 * rng.standard_normal((128, 128))
    spectra = measure_spectra(images, 0.5, 32.0, (0.1, 0.5))
    power = np.einsum("nii->in", spectra.values).real.mean(axis=1)
    np.testing.assert_allclose(power, [1, 5], rtol=0.1)
    # The first image is the second moved by (-0.5, -1) Å along x and y.
    ramp = np.exp(-2j * np.pi * (spectra.kx * -0.5 + spectra.ky * -1.0))
    assert np.mean(spectra.values[:, 0, 1] / ramp).real == pytest.approx(1, abs=0.1)


def test_a_spectrum_looks_through_the_window_as_it_is_measured():
    rng = np.random.default_rng(3)
    k = np.fft.fftfreq(512, 1.0)
    square = k[:, None] ** 2 + k**2

    def spectrum(kx, ky):
        return 1.2 + np.cos(2 * np.pi * 30 * (kx**2 + ky**2))

    noise = np.fft.fft2(rng.standard_normal((512, 512)))
    image = np.fft.ifft2(noise * np.sqrt(1.2 + np.cos(2 * np.pi * 30 * square))).real
    spectra = measure_spectra(image[None], 1.0, 80.0, LIMITS)
    seen = spectra.look(spectrum(*spectra.make_box())[None, None])[:, 0, 0]
    ratio = spectra.values[:, 0, 0].real / seen
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    blunt = spectra.values[:, 0, 0].real / spectrum(spectra.kx, spectra.ky)
    assert ratio.var() < 0.5 * blunt.var()


def test_errors_of_fitted_rings_are_those_of_many_draws():
    """Narrow rings are the hard case: through the window, neighbors share their noise."""
    rng = np.random.default_rng(4)
    side, rate = 96, 25.0
    k = np.fft.fftfreq(2 * side, 1.0)
    square = k[:, None] ** 2 + k**2
    root = np.sqrt(1.3 + np.cos(2 * np.pi * rate * square))
    pulls = []
    for _ in range(80):
        noise = np.fft.fft2(rng.standard_normal((2 * side, 2 * side)))
        image = np.fft.ifft2(noise * root).real[:side, :side]
        spectra = measure_spectra(image[None], 1.0, 96.0, LIMITS)
        kx, ky = spectra.make_box()
        forms = 2 * np.pi * np.array([kx**2 + ky**2, kx**2 - ky**2, 2 * kx * ky])

        def model(values, forms=forms):
            phase = np.tensordot(values[:3], forms, 1)
            slopes = np.concatenate([-np.sin(phase) * forms, np.ones((1, *phase.shape))])
            return (values[3] + np.cos(phase))[None, None], slopes[:, None, None]

        fit = fit_spectra(spectra, model, np.array([rate, 0.1, 0, 1.3]), np.zeros((4, 4)))
        assert fit.is_converged
        pulls.append((fit.values[:3] - [rate, 0, 0]) / np.sqrt(np.diag(fit.covariance)))
    assert np.mean(np.square(pulls)) == pytest.approx(1, abs=0.3)


def test_radial_basis_is_whole():
    kx, ky = np.random.default_rng(5).uniform(-0.4, 0.4, (2, 60))
    basis = radial_basis(kx, ky, np.linspace(0.1, 0.5, 6))
    np.testing.assert_allclose(basis[:6].sum(axis=0), 1)
    assert basis.shape == (8, 60)


def test_a_fit_that_is_stuck_has_not_converged():
    """Derivatives of the wrong sign: every step makes it worse, and the damping grows."""
    rng = np.random.default_rng(6)
    spectra = measure_spectra(3 * rng.standard_normal((1, 96, 96)), 1.0, 48.0, LIMITS)
    shape = spectra.make_box()[0].shape

    def model(values):
        return np.full((1, 1, *shape), np.exp(values[0])), np.full((3, 1, 1, *shape), -1.0)

    prior = np.diag([0.0, 1.0, 1.0])
    assert not fit_spectra(spectra, model, np.zeros(3), prior).is_converged


def test_information_is_the_inverse_of_the_error_of_a_power():
    rng = np.random.default_rng(7)
    spectra = measure_spectra(rng.standard_normal((2, 96, 96)), 1.0, 48.0, LIMITS)
    shape = spectra.make_box()[0].shape
    box = np.zeros((2, 2, *shape), complex)
    slopes = np.zeros((2, 2, 2, *shape))
    for image in range(2):
        box[image, image] = slopes[image, image, image] = 1
    expected = len(spectra.kx) * spectra.n_effective * np.eye(2)
    np.testing.assert_allclose(find_information(spectra, box, slopes), expected, rtol=1e-9)


def test_small_images_holes_and_blank_images_are_refused():
    with pytest.raises(ImageError, match=r"images: must be at least 32 pixels.*\(31, 64\)"):
        measure_spectra(np.zeros((1, 31, 64)), 1.0, 20.0, LIMITS)
    with pytest.raises(ImageError, match="must be finite"):
        measure_spectra(np.full((1, 64, 64), np.nan), 1.0, 20.0, LIMITS)
    with pytest.raises(ImageError, match=r"not the same everywhere \(got values from 7 to 7\)"):
        measure_spectra(np.full((1, 64, 64), 7.0), 1.0, 20.0, LIMITS)
    noise = np.random.default_rng(0).standard_normal((1, 64, 64))
    with pytest.raises(ConfigError, match=r"k_min, k_max: must leave 50 frequencies .*from 0.3 to"):
        measure_spectra(noise, 1.0, 20.0, (0.3, 0.301))
