"""The probe against abTEM's, in amplitude and azimuth, and against its limits."""

import numpy as np
import pytest

from adatom.optics.microscope import Microscope, electron_wavelength, haadf_cross_section
from adatom.optics.probe import make_probe, make_probe_image

N, PIXEL = 256, 0.15


def _abtem_probe(**aberrations: float) -> np.ndarray:
    import abtem

    probe = abtem.Probe(
        energy=80e3, semiangle_cutoff=25, extent=N * PIXEL, gpts=N, soft=True, **aberrations
    )
    intensity = np.abs(probe.build(lazy=False).array.T) ** 2  # abTEM's arrays are [x, y]
    return intensity / intensity.sum()


def _our_probe(turn: float = 0.0, **aberrations: float) -> np.ndarray:
    fields = {
        name: np.rad2deg(value) + turn if name.startswith("phi") else value
        for name, value in aberrations.items()
    }
    fields["defocus"] = -fields.pop("C10", 0.0)
    return make_probe(Microscope(energy_eV=80e3, semi_angle=25, source_size=0, **fields), N, PIXEL)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


@pytest.mark.parametrize(
    "aberrations",
    [
        {"C10": 80.0},
        {"C12": 60.0, "phi12": 0.4},
        {"C21": 4000.0, "phi21": 0.7},
        {"C23": 4000.0, "phi23": 0.5},
        {"C30": 2e5},
        {"C32": 1.5e5, "phi32": 0.4},
        {"C34": 2e5, "phi34": 0.3},
        {"C41": 9e6, "phi41": 0.7},
        {"C43": 9e6, "phi43": 0.5},
        {"C45": 9e6, "phi45": 0.2},
        {"C50": 4e8},
        {"C52": 6e8, "phi52": 0.4},
        {"C54": 4e8, "phi54": 0.3},
        {"C56": 4e8, "phi56": 0.2},
    ],
)
def test_each_aberration_is_abtems_in_amplitude_and_azimuth(aberrations: dict[str, float]):
    theirs = _abtem_probe(**aberrations)
    assert _distance(_our_probe(**aberrations), theirs) < 0.03
    stronger = {k: v if k.startswith("phi") else 1.2 * v for k, v in aberrations.items()}
    assert _distance(_our_probe(**stronger), theirs) > 0.06
    if len(aberrations) == 2:
        assert _distance(_our_probe(turn=10, **aberrations), theirs) > 0.06


def test_probe_is_normalized_positive_and_symmetric_without_aberrations():
    probe = make_probe(Microscope(energy_eV=60e3, semi_angle=30), N, PIXEL)
    assert probe.sum() == pytest.approx(1)
    assert probe.min() > -1e-6 * probe.max()
    np.testing.assert_allclose(probe[1:, 1:], probe[:0:-1, :0:-1], atol=1e-9)


def test_ideal_probe_is_an_airy_disc():
    """First zero at 0.61 λ/α."""
    scope = Microscope(energy_eV=60e3, semi_angle=30, source_size=0)
    profile = make_probe(scope, 512, 0.05)[256, 256:]
    first_zero = np.argmax(np.diff(profile) > 0) * 0.05
    assert first_zero == pytest.approx(0.61 * electron_wavelength(60e3) / 30e-3, abs=0.05)


def test_cross_section_follows_its_exponent_and_falls_with_energy():
    low, high = Microscope(energy_eV=60e3), Microscope(energy_eV=200e3)
    sulfur, molybdenum = haadf_cross_section(np.array([16, 42]), low, 1.7)
    assert molybdenum / sulfur == pytest.approx((42 / 16) ** 1.7)
    assert 0.01 < molybdenum < 0.2  # Å²
    assert haadf_cross_section(np.array([42]), high, 1.7)[0] < molybdenum / 3


def test_focal_spread_is_the_mean_over_many_foci():
    """Gaussian of the defocus, whose standard deviation is the 1/e half-width over √2."""
    fields = {"energy_eV": 60e3, "semi_angle": 30, "C30": 2e4, "source_size": 0}
    foci = np.linspace(-4, 4, 161) * 60 / 2**0.5
    weights = np.exp(-((foci / 60) ** 2))
    probes = [make_probe(Microscope(defocus=20 + d, **fields), 128, 0.2) for d in foci]
    known = np.average(probes, axis=0, weights=weights)
    ours = make_probe(Microscope(defocus=20, focal_spread=60, **fields), 128, 0.2)
    np.testing.assert_allclose(ours, known, atol=1e-4 * known.max())
    assert ours.max() < 0.8 * probes[80].max()


def test_the_image_of_a_probe_is_in_angstrom_from_the_axis():
    scope = Microscope(energy_eV=60e3)
    image = make_probe_image(scope, 64, 0.2)
    assert image.dims == ("y", "x")
    assert image.x.attrs["units"] == "angstrom"
    assert (image.x[0], image.y[33]) == pytest.approx((-6.4, 0.2))
    assert float(image.sum()) == pytest.approx(1)
    assert float(image.sel(y=0, x=0)) == image.max()
