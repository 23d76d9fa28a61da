"""CEOS coefficients: each against abTEM's probe, and against the printed aberration function."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatom.core.errors import ConfigError
from adatom.optics.aberrations import aberration_phase
from adatom.optics.ceos import TERMS, from_krivanek, read_polar, to_krivanek, write_polar
from adatom.optics.microscope import Lens, Microscope, electron_wavelength
from adatom.optics.probe import make_probe

ENERGY, ANGLE, N, PIXEL = 80e3, 25, 256, 0.15
# Size (Å) that spreads the probe well, and the azimuth (degrees); Krivanek's name and his size in
# units of this one.
ROWS = {
    "C1": (80, 0, "C10", 1),
    "A1": (60, 25, "C12", 1),
    "B2": (1300, 40, "C21", 3),
    "A2": (4000, 30, "C23", 1),
    "C3": (2e5, 0, "C30", 1),
    "S3": (4e4, 25, "C32", 4),
    "A3": (2e5, 17, "C34", 1),
    "B4": (1.8e6, 40, "C41", 5),
    "D4": (1.8e6, 30, "C43", 5),
    "A4": (9e6, 12, "C45", 1),
    "C5": (4e8, 0, "C50", 1),
    "S5": (1e8, 23, "C52", 6),
    "R5": (7e7, 17, "C54", 6),
    "A5": (4e8, 12, "C56", 1),
}


def _abtem_probe(name: str, size: float, azimuth: float) -> np.ndarray:
    import abtem

    aberrations = {name: size}
    if not name.endswith("0"):
        aberrations[f"phi{name[1:]}"] = np.deg2rad(azimuth)
    probe = abtem.Probe(
        energy=ENERGY, semiangle_cutoff=ANGLE, extent=N * PIXEL, gpts=N, soft=True, **aberrations
    )
    intensity = np.abs(probe.build(lazy=False).array.T) ** 2  # abTEM's arrays are [x, y]
    return intensity / intensity.sum()


def _our_probe(name: str, value: complex) -> np.ndarray:
    scope = Microscope(energy_eV=ENERGY, semi_angle=ANGLE, source_size=0)
    return make_probe(scope.model_copy(update=to_krivanek({name: value})), N, PIXEL)


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


@pytest.mark.parametrize("name", TERMS)
def test_each_row_is_abtems_probe_in_amplitude_and_azimuth(name):
    size, azimuth, krivanek, factor = ROWS[name]
    theirs = _abtem_probe(krivanek, factor * size, azimuth)
    assert _distance(_our_probe(name, read_polar(name, size, azimuth)), theirs) < 0.03
    assert _distance(_our_probe(name, read_polar(name, 1.2 * size, azimuth)), theirs) > 0.06
    if azimuth:
        assert _distance(_our_probe(name, read_polar(name, size, azimuth + 10)), theirs) > 0.06


@pytest.mark.parametrize("name", TERMS)
def test_each_row_is_the_printed_aberration_function(name):
    """Re of each term as printed in the conjugate form, and in the plain one."""
    terms = {
        "C1": lambda w, v, c: w * v * c / 2,
        "A1": lambda w, v, c: v**2 * c / 2,
        "B2": lambda w, v, c: v**2 * w * c,
        "A2": lambda w, v, c: v**3 * c / 3,
        "C3": lambda w, v, c: (w * v) ** 2 * c / 4,
        "S3": lambda w, v, c: v**3 * w * c,
        "A3": lambda w, v, c: v**4 * c / 4,
        "B4": lambda w, v, c: v**3 * w**2 * c,
        "D4": lambda w, v, c: v**4 * w * c,
        "A4": lambda w, v, c: v**5 * c / 5,
        "C5": lambda w, v, c: (w * v) ** 3 * c / 6,
        "S5": lambda w, v, c: v**4 * w**2 * c,
        "R5": lambda w, v, c: v**5 * w * c,
        "A5": lambda w, v, c: v**6 * c / 6,
    }
    size, azimuth, _, _ = ROWS[name]
    wavelength = electron_wavelength(ENERGY)
    kx, ky = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 50))
    w = wavelength * (kx + 1j * ky)
    is_mixed = name[0] in "BSDR"
    for form, v, u in (("conjugate", w.conj(), w), ("plain", w, w.conj())):
        argument = 37.0 if azimuth else 0.0
        printed = size * np.exp(1j * np.deg2rad(argument))
        # Pure terms are w*^n A in either form.
        v_used, u_used = (v, u) if is_mixed else (w.conj(), w)
        path = terms[name](u_used, v_used, printed).real
        value = read_polar(name, size, argument, azimuth="argument", form=form)
        lens = Lens(energy_eV=ENERGY, **to_krivanek({name: value}))
        ours = aberration_phase(kx, ky, lens) * wavelength / (2 * np.pi)
        np.testing.assert_allclose(ours, path, atol=1e-12 * np.abs(path).max())


@given(
    st.sampled_from(list(TERMS)),
    st.floats(1e-3, 1e8),
    st.floats(-179, 179),
    st.sampled_from(["spatial", "argument"]),
    st.sampled_from(["conjugate", "plain"]),
)
def test_what_is_written_is_read_again(name, size, angle, azimuth, form):
    value = read_polar(name, size, angle, azimuth="argument")
    again = read_polar(
        name, *write_polar(name, value, azimuth=azimuth, form=form), azimuth=azimuth, form=form
    )
    assert again == pytest.approx(value, rel=1e-9)
    assert from_krivanek(Lens(**to_krivanek({name: value})))[name] == pytest.approx(value, rel=1e-9)


def test_an_azimuth_beyond_its_sector_must_be_an_argument():
    with pytest.raises(ConfigError, match=r"azimuth of A2.*±60°.*argument.*100"):
        read_polar("A2", 140.0, 100.0)
    with pytest.raises(ConfigError, match="coefficient: must be one of C1"):
        read_polar("B3", 140.0, 100.0)


def test_coma_at_30_degrees_shows_its_tail_to_the_lower_right():
    """In arrays [y, x], drawn with y down, azimuths turn clockwise from the right."""
    probe = _our_probe("B2", read_polar("B2", 1300, 30))
    y, x = np.indices(probe.shape) - N // 2  # the bright tip lies near the optical axis
    tail_x, tail_y = (probe * x).sum(), (probe * y).sum()
    assert tail_x > 0
    assert tail_y > 0  # downwards
    assert np.rad2deg(np.arctan2(tail_y, tail_x)) == pytest.approx(30, abs=3)
