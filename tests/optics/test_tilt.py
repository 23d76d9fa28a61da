import numpy as np
import pytest

from adatom.optics.aberrations import aberration_phase
from adatom.optics.ceos import TERMS, to_krivanek
from adatom.optics.microscope import Lens, electron_wavelength
from adatom.optics.tilt import (
    find_quarter_angle,
    pack_parts,
    phase_basis,
    shift_coefficients,
    unpack_parts,
)

WAVELENGTH = electron_wavelength(200e3)


def _draw(seed: int = 3) -> dict[str, complex]:
    parts = np.random.default_rng(seed).normal(size=25)
    orders = [sum(TERMS[name][:2]) for name in TERMS for _ in range(1 + (name[0] != "C"))]
    return unpack_parts(parts * 10.0 ** np.array(orders))


def test_defocus_and_astigmatism_of_a_tilted_beam_are_the_published_ones():
    c = _draw()
    t = 0.03 * np.exp(0.7j)
    u, s = np.conj(t), abs(t) ** 2
    b, f = c["B4"], c["S5"]
    defocus = (
        c["C1"]
        + (4 * c["B2"] * u + 6 * c["S3"] * u**2 + 12 * b * u**2 * t + 8 * c["D4"] * u**3).real
        + (16 * f * u**3 * t + 10 * c["R5"] * u**4).real
        + 2 * c["C3"] * s
        + 3 * c["C5"] * s**2
    )
    astigmatism = (
        c["A1"] + 2 * c["B2"] * t + 2 * c["A2"] * u + c["C3"] * t**2 + 6 * c["S3"] * s
        + 3 * c["A3"] * u**2 + 6 * b * u * t**2 + 2 * b.conjugate() * t**3 + 12 * c["D4"] * u**2 * t
        + 4 * c["A4"] * u**3 + 2 * c["C5"] * s * t**2 + 12 * f * s**2 + 2 * f.conjugate() * t**4
        + 20 * c["R5"] * u**3 * t + 5 * c["A5"] * u**4
    )  # fmt: skip
    seen = unpack_parts(shift_coefficients(t) @ pack_parts(c))
    assert seen["C1"] == pytest.approx(defocus)
    assert seen["A1"] == pytest.approx(astigmatism)


def test_the_phase_around_a_tilt_is_that_of_the_lens_but_for_constant_and_slope():
    c = _draw(4)
    lens = Lens(energy_eV=200e3, **to_krivanek(c))
    tilt = np.array([0.021, -0.013])
    k = np.random.default_rng(0).uniform(-0.7, 0.7, (2, 40))
    there = aberration_phase(*(k + tilt[:, None] / WAVELENGTH), lens)
    local = shift_coefficients(complex(*tilt)) @ pack_parts(c)
    rest = there - local @ phase_basis(*k, WAVELENGTH)
    plane = np.stack([np.ones(40), *k], axis=1)
    left = rest - plane @ np.linalg.lstsq(plane, rest, rcond=None)[0]
    assert np.abs(left).max() < 1e-9 * np.abs(there).max()
    np.testing.assert_allclose(
        pack_parts(c) @ phase_basis(*k, WAVELENGTH), aberration_phase(*k, lens), rtol=1e-9
    )


def test_quarter_angle_of_a_single_coefficient():
    """|B2| θ³ 2π/λ = π/4, whatever C1 and A1 are."""
    angle = find_quarter_angle({"C1": 1e4, "A1": 1e4j, "B2": 70 * np.exp(1j)}, WAVELENGTH)
    assert angle == pytest.approx(1e3 * (WAVELENGTH / 8 / 70) ** (1 / 3), rel=1e-3)
    assert find_quarter_angle({"C3": 1e6}, WAVELENGTH) == pytest.approx(
        1e3 * (WAVELENGTH / 2 / 1e6) ** (1 / 4), rel=1e-2
    )
    assert find_quarter_angle({"C1": 1e4}, WAVELENGTH) == pytest.approx(100)
