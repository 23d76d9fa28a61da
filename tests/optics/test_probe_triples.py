"""Probes of simulated triples, whose defocus and astigmatism are known."""

import numpy as np

from adatom.optics.ceos import to_krivanek
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.optics.probe_triples import fit_probes, follow_probes, prepare_probes, start_probes
from adatom.optics.spectra import measure_spectra
from adatom.optics.tilt import PARTS, pack_parts, shift_coefficients
from adatom.simulate.tableau import simulate_particles, simulate_probe_image

ENERGY, PIXEL, N = 200e3, 0.4, 320
FOCI = (-200.0, 0.0, 200.0)
VALUES = {"C1": 15, "A1": 20 - 30j, "B2": 60j, "A2": 100, "C3": 5e3, "S3": 1e3, "A4": 2e5}
VALUES |= {"C5": 2e7}


def _measure(tilt: complex, seed: int, foci=FOCI):
    rng = np.random.default_rng(seed)
    particles = simulate_particles(N + 64, PIXEL, density=0.05, rng=rng)
    lens = to_krivanek({name: complex(value) for name, value in VALUES.items()})
    images = []
    for added in foci:
        scope = Microscope(energy_eV=ENERGY, semi_angle=25, source_size=0.8, **lens)
        scope = scope.model_copy(update={"defocus": scope.defocus + added})
        image = simulate_probe_image(
            particles,
            scope,
            N,
            PIXEL,
            tilt=(tilt.real, tilt.imag),
            shift=tuple(rng.normal(0, 0.5, 2)),
            counts=40,
            rng=rng,
        )
        images.append(image)
    spectra = measure_spectra(np.array(images), PIXEL, 40.0, (0.04, 0.8))
    return spectra, prepare_probes(spectra, electron_wavelength(ENERGY), 0.025, foci)


def test_errors_cover_the_truth_at_every_tilt():
    pulls = []
    for seed in range(6):
        tilt = (0, 12, 24)[seed % 3] * np.exp(1j * seed)
        spectra, grid = _measure(tilt, seed)
        local = shift_coefficients(1e-3 * tilt) @ pack_parts(VALUES)
        _, _, start = follow_probes(spectra, grid, local, np.eye(25) * 1e-4)
        found, _, is_converged = fit_probes(spectra, grid, 1e-3 * tilt, local, start)
        assert is_converged
        errors = np.sqrt(np.diag(found.covariance))
        assert errors.max() < 2
        pulls.append((found.values - local[:3]) / errors)
    assert np.abs(pulls).max() < 4
    assert 0.5 < np.mean(np.square(pulls)) < 1.7


def test_slopes_say_how_held_coefficients_move_what_is_measured():
    tilt = 0.012j
    spectra, grid = _measure(1e3 * tilt, 3)
    local = shift_coefficients(tilt) @ pack_parts(VALUES)
    _, _, start = follow_probes(spectra, grid, local, np.eye(25) * 1e-4)
    found, values, _ = fit_probes(spectra, grid, tilt, local, start)
    step = np.zeros(25)
    for name, size in {"B2.x": 60, "A2.y": 90, "C3": 3e3, "S3.x": 1500}.items():
        step[PARTS.index(name)] = size
    moved, _, _ = fit_probes(spectra, grid, tilt, local + step, values)
    np.testing.assert_allclose(
        moved.values - found.values, found.slopes @ step, rtol=0.3, atol=0.15
    )
    assert np.abs(found.slopes @ step).max() > 1


def test_moments_and_one_probe_tell_where_to_begin():
    spectra, grid = _measure(0j, 5)
    truth = pack_parts(VALUES)
    assert np.abs(start_probes(spectra, grid) - truth[:3]).max() < 25
    sizes = np.where(np.arange(25) < 3, 30, np.maximum(3 * np.abs(truth), 50))
    found, covariance, _ = follow_probes(spectra, grid, np.zeros(25), np.diag(sizes**2.0))
    pulls = (found - truth) / np.sqrt(np.diag(covariance))
    assert np.abs(found[:3] - truth[:3]).max() < 3
    assert np.abs(pulls).max() < 5


def test_moments_know_the_order_and_the_middle_of_the_focal_series():
    truth = pack_parts(VALUES)[:3]
    for foci in ((200.0, 0.0, -200.0), (-100.0, 0.0, 250.0)):
        spectra, grid = _measure(0j, 5, foci)
        assert np.abs(start_probes(spectra, grid) - truth).max() < 25
