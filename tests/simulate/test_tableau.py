"""Images of a tableau against abTEM's scanned probe, and in limits that are known."""

import numpy as np
import pytest

from adatom.optics.ceos import to_krivanek
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.optics.tilt import pack_parts, shift_coefficients, unpack_parts
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.tableau import simulate_film, simulate_particles, simulate_probe_image

N, PIXEL = 96, 0.3
LENS = {"C1": 60, "A1": 30j, "B2": 900 + 500j, "A2": 1500 - 800j, "C3": 5e4, "S3": 1e4}
MANY = 1e9  # electrons: next to no noise


def make_scope(values, **fields) -> Microscope:
    lens = to_krivanek({name: complex(value) for name, value in values.items()})
    return Microscope(energy_eV=80e3, semi_angle=25, **({"source_size": 0} | fields), **lens)


def make_point() -> np.ndarray:
    point = np.zeros((N, N))
    point[N // 2, N // 2] = 1
    return point


def take_image(scope: Microscope, tilt=(0.0, 0.0), **fields) -> np.ndarray:
    given = {"counts": MANY, "rng": 0} | fields
    return simulate_probe_image(make_point(), scope, N, PIXEL, tilt=tilt, **given) / MANY


def test_the_image_of_a_point_is_what_a_scan_with_abtems_probe_shows():
    """It is the probe turned by half a turn, as coma and three-fold astigmatism tell."""
    import abtem

    scope = make_scope(LENS)
    aberrations = {
        name: np.deg2rad(value) if name.startswith("phi") else value
        for name, value in to_krivanek({k: complex(v) for k, v in LENS.items()}).items()
        if name != "defocus"
    }
    probe = abtem.Probe(
        energy=80e3, semiangle_cutoff=25, extent=N * PIXEL, gpts=N, soft=True,
        C10=LENS["C1"], **aberrations,
    )  # fmt: skip
    line = PIXEL * np.arange(N // 2 - 12, N // 2 + 13)
    places = np.array([[x, y] for y in line for x in line])
    waves = probe.build(scan=abtem.CustomScan(places), lazy=False).array
    seen = np.abs(waves[:, N // 2, N // 2].reshape(25, 25)) ** 2  # at the point, by place
    cut = slice(N // 2 - 12, N // 2 + 13)
    ours = take_image(scope)[cut, cut]
    seen, ours = seen / seen.sum(), ours / ours.sum()
    assert np.linalg.norm(ours - seen) < 0.03 * np.linalg.norm(seen)
    assert np.linalg.norm(ours[::-1, ::-1] - seen) > 0.3 * np.linalg.norm(seen)


def test_a_tilted_probe_is_that_of_the_coefficients_around_the_tilt():
    tilt = 12e-3 - 7e-3j
    local = unpack_parts(shift_coefficients(tilt) @ pack_parts(LENS))
    tilted = take_image(make_scope(LENS), tilt=(12, -7))
    straight = take_image(make_scope(local))
    assert np.abs(tilted - straight).max() < 1e-3 * straight.max()
    assert np.abs(tilted - take_image(make_scope(LENS))).max() > 0.05 * straight.max()


def test_shift_source_and_electrons_of_a_probe_image():
    sharp = take_image(make_scope({}))
    moved = take_image(make_scope({}), shift=(3 * PIXEL, -5 * PIXEL))
    np.testing.assert_allclose(moved, np.roll(sharp, (-5, 3), (0, 1)), atol=1e-3 * sharp.max())
    y, x = PIXEL * (np.indices(sharp.shape) - N // 2)
    blurred = take_image(make_scope({}, source_size=2.0))
    widths = [np.sqrt((image * x**2)[abs(y) < 12].sum()) for image in (sharp, blurred)]
    sigma = 2.0 / np.sqrt(8 * np.log(2))
    assert np.sqrt(widths[1] ** 2 - widths[0] ** 2) == pytest.approx(sigma, rel=0.05)
    even = simulate_probe_image(
        np.ones((N, N)), make_scope(LENS), 64, PIXEL, tilt=(9, 0), counts=40, rng=1
    )
    assert even.shape == (64, 64)
    assert even.mean() == pytest.approx(40, rel=0.01)
    assert even.var() == pytest.approx(40, rel=0.1)


def film_power(drift=(0.0, 0.0), **fields) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies along x, and the mean power of a film on some rows around them."""
    scope = ImagingMicroscope(energy_eV=200e3, **fields)
    image = simulate_film(scope, 512, 0.5, dose=MANY, drift=drift, phase=0.01, rng=3)
    line = np.hanning(512)
    power = np.abs(np.fft.fft2((image - image.mean()) * np.outer(line, line))) ** 2
    return np.fft.fftfreq(512, 0.5)[:256], power[:3, :256].mean(axis=0)


def test_rings_of_a_film_are_dark_where_its_phase_is_a_multiple_of_pi():
    kx, power = film_power(defocus=1000)
    wavelength = electron_wavelength(200e3)

    def near(order: float) -> float:
        ring = np.sqrt(order / (wavelength * 1000))
        return float(power[np.abs(kx - ring) < 0.005].mean())

    for order in (1, 2, 3):
        assert near(order) < 0.1 * min(near(order - 0.5), near(order + 0.5))


def test_drift_and_focal_spread_damp_the_rings_of_a_film():
    kx, power = film_power(defocus=1000)
    _, drifted = film_power(drift=(2.5, 0.0), defocus=1000)
    ratio = drifted / power
    assert np.median(ratio[np.abs(kx - 0.4) < 0.01]) < 0.02  # sinc(kx d) ends here
    assert np.median(ratio[np.abs(kx - 0.2) < 0.01]) == pytest.approx(np.sinc(0.5) ** 2, rel=0.2)
    _, spread = film_power(focal_spread=60, defocus=1000)
    at = np.abs(kx - 0.55) < 0.02
    expected = np.exp(-2 * (np.pi * electron_wavelength(200e3) * 60 / 2 * kx[at] ** 2) ** 2)
    np.testing.assert_allclose(np.median(spread[at] / power[at] / expected), 1, rtol=0.1)


def test_film_and_particles_have_the_mean_that_they_say():
    scope = ImagingMicroscope(energy_eV=200e3, defocus=800)
    image = simulate_film(scope, 128, 0.4, dose=500, rng=1)
    assert image.shape == (128, 128)
    assert image.mean() == pytest.approx(500 * 0.4**2, rel=0.02)
    particles = simulate_particles(128, 0.4, density=0.05, rng=1)
    assert particles.mean() == pytest.approx(1, rel=1e-6)
    assert particles.min() >= 0.2 / 1.2
    np.testing.assert_array_equal(particles, simulate_particles(128, 0.4, density=0.05, rng=1))
