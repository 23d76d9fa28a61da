"""Rings of simulated films, whose defocus and astigmatism are known, by another way of images."""

import numpy as np

from adatom.optics.ceos import to_krivanek
from adatom.optics.diffractograms import fit_rings, prepare_rings, start_rings
from adatom.optics.microscope import electron_wavelength
from adatom.optics.spectra import measure_spectra
from adatom.optics.tilt import PARTS, pack_parts, shift_coefficients
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.tableau import simulate_film

ENERGY, PIXEL = 200e3, 0.5
VALUES = {"C1": -1500, "A1": 20 - 30j, "B2": 60j, "A2": 100, "C3": 5e3, "S3": 1e3, "A4": 2e5}
VALUES |= {"C5": 2e7}


def _measure(tilt: complex, seed: int):
    scope = ImagingMicroscope(
        energy_eV=ENERGY,
        focal_spread=35,
        beam_tilt=abs(tilt),
        beam_azimuth=np.rad2deg(np.angle(tilt)),
        **to_krivanek({name: complex(value) for name, value in VALUES.items()}),
    )
    image = simulate_film(scope, 420, PIXEL, dose=2000, drift=(0.3, -0.2), rng=seed)
    wavelength = electron_wavelength(ENERGY)
    spectra = measure_spectra(image[None], PIXEL, 160.0, (0.08, 0.6))
    return spectra, prepare_rings(spectra, wavelength, 40.0)


def test_errors_cover_the_truth_at_every_tilt():
    pulls = []
    for seed in range(16):
        tilt = (0, 18, 34)[seed % 3] * np.exp(1j * seed)
        spectra, rings = _measure(tilt, seed)
        local = shift_coefficients(1e-3 * tilt) @ pack_parts(VALUES)
        start, strength = start_rings(spectra, rings, 1400.0)
        assert strength > 10
        assert np.abs(start[:3] - local[:3]).max() < 80
        found, _, is_converged = fit_rings(spectra, rings, 1e-3 * tilt, local, start)
        assert is_converged
        errors = np.sqrt(np.diag(found.covariance))
        assert errors.max() < 5
        pulls.append((found.values - local[:3]) / errors)
    assert np.abs(pulls).max() < 4
    assert 0.6 < np.mean(np.square(pulls)) < 1.6


def test_slopes_say_how_held_coefficients_move_what_is_measured():
    tilt = 0.02j
    spectra, rings = _measure(1e3 * tilt, 3)
    local = shift_coefficients(tilt) @ pack_parts(VALUES)
    start, _ = start_rings(spectra, rings, 1400.0)
    found, values, _ = fit_rings(spectra, rings, tilt, local, start)
    step = np.zeros(25)
    for name, size in {"C3": 4e4, "S3.x": 2e4, "A3.y": 3e4}.items():
        step[PARTS.index(name)] = size
    moved, _, _ = fit_rings(spectra, rings, tilt, local + step, values)
    np.testing.assert_allclose(moved.values - found.values, found.slopes @ step, rtol=0.3, atol=0.3)
    assert np.abs(found.slopes @ step).max() > 2


def test_where_there_are_no_rings_nothing_stands_out():
    wavelength = electron_wavelength(ENERGY)
    for seed in range(4):
        image = np.random.default_rng(seed).poisson(100, (1, 320, 300)).astype(float)
        spectra = measure_spectra(image, PIXEL, 160.0, (0.08, 0.6))
        _, strength = start_rings(spectra, prepare_rings(spectra, wavelength, 35.0), 1400.0)
        assert strength < 4.5
