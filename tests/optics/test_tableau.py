"""The equations of a tableau on measurements whose truth and errors are known."""

from dataclasses import replace

import numpy as np
import pytest

from adatom.core.errors import ConfigError, ImageError
from adatom.optics.aberration_table import name_parts
from adatom.optics.ceos import find_symmetry
from adatom.optics.tableau import (
    TYPICAL,
    Point,
    TableauConfig,
    fit_aberrations,
    format_tableau,
)
from adatom.optics.tilt import PARTS, TiltMeasurement, pack_parts, shift_coefficients

RINGS = {9: 6, 18: 12, 34: 18}
ERROR = np.diag([4.0, 5.0, 5.0]) ** 2


def make_tilts(largest: float) -> np.ndarray:
    tilts = [0j]
    for angle, n in RINGS.items():
        if angle <= largest:
            tilts += list(1e-3 * angle * np.exp(2j * np.pi * np.arange(n) / n))
    return np.random.default_rng(0).permutation(np.array(tilts))


def draw_lens(rng: np.random.Generator) -> np.ndarray:
    values = {}
    for name, size in TYPICAL.items():
        x, y = rng.normal(0, size / 2**0.5, 2)
        values[name] = complex(x, y) if find_symmetry(name) else complex(2**0.5 * x)
    return pack_parts(values)


def measure(parts: np.ndarray, largest: float, rng: np.random.Generator, scale: float = 0.0):
    found, walk = [], 0.0
    for number, tilt in enumerate(make_tilts(largest)):
        walk += rng.normal(0, 2) * (number > 0)
        local = shift_coefficients(tilt * (1 + scale)) @ parts
        values = rng.multivariate_normal(local[:3], ERROR)
        values[0] += walk + 1.5 * number
        found.append(TiltMeasurement(tilt, values, ERROR, np.zeros((3, len(PARTS)))))
    return found


def fit(measured, config: TableauConfig):
    """Made linear around the result once, as the product of scale and coefficients is not."""
    first = fit_aberrations(measured, config=config)
    point = Point(first.parts, first.tilt_scale)
    return fit_aberrations(measured, config=config, point=point)


@pytest.mark.parametrize(("largest", "order"), [(9, 2), (18, 4), (34, 5)])
def test_errors_cover_the_truth_and_chi_square_is_that_of_the_noise(largest, order):
    config = TableauConfig(order=order)
    pulls, ratios, scales = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        parts, scale = draw_lens(rng), rng.normal(0, 0.01)
        result = fit(measure(parts, largest, rng, scale), config)
        places = [PARTS.index(part) for part in name_parts(config.asked)]
        errors = np.sqrt(np.diag(result.table.covariance))
        pulls.append((result.parts[places] - parts[places]) / errors)
        ratios.append(result.chi_square / result.n_free)
        scales.append((result.tilt_scale - scale) / result.tilt_scale_err)
    size = np.abs(np.array(pulls))
    assert 0.60 < np.mean(size < 1) < 0.76
    assert np.mean(size > 3) <= 0.01
    assert 0.9 < np.mean(ratios) < 1.1
    assert 0.55 < np.mean(np.abs(scales) < 1) < 0.85


def test_leaving_out_c5_is_detected_and_would_leak_into_c3():
    rng = np.random.default_rng(1)
    parts = draw_lens(rng)
    parts[PARTS.index("C5")] = 3e7
    measured = measure(parts, 34, rng)
    config = TableauConfig()
    right = fit(measured, config)
    wrong = fit(measured, TableauConfig(without=("C5",)))
    assert not any("χ²" in note for note in right.warnings)
    assert any("χ²" in note and "left out" in note for note in wrong.warnings)
    off = wrong.table.values["C3"].real - parts[PARTS.index("C3")]
    assert abs(off) > 5 * wrong.table.errors["C3"]
    assert "C5" not in wrong.table.values


def test_tilts_that_cannot_see_an_order_are_named():
    rng = np.random.default_rng(2)
    result = fit(measure(draw_lens(rng), 9, rng), TableauConfig(order=3))
    unseen = {note.split(" do not see ")[1][:2] for note in result.warnings if "see" in note}
    assert {"C3", "S3", "A3"} <= unseen
    far = fit(measure(draw_lens(rng), 34, rng), TableauConfig(order=3))
    assert not any(f"see {name}" in note for note in far.warnings for name in ("B2", "S3", "A3"))
    assert result.conditioning["C3"] > 1.3
    text = format_tableau(result)
    assert "π/4 angle" in text
    assert "C3" in text


@pytest.mark.parametrize(
    ("n_tilts", "order", "n_free"),
    [(1, 1, 0), (2, 1, 2), (3, 2, 1), (4, 3, 0), (5, 3, 2), (7, 2, 13)],
)
def test_degrees_of_freedom_are_equations_less_unknowns_and_drift(n_tilts, order, n_free):
    """One tilt tells no drift; four tell third order and drift together, but not both."""
    rng = np.random.default_rng(4)
    measured = measure(draw_lens(rng), 9, rng)[:n_tilts]
    result = fit_aberrations(measured, config=TableauConfig(order=order))
    assert result.n_free == n_free
    if n_free == 0:
        assert result.chi_square < 0.1
        assert not any("χ²" in note for note in result.warnings)
    text = format_tableau(result)
    assert ("π/4" in text) == (order > 1)
    assert ("drifts" in text) == (n_tilts > 1)


def test_numbers_are_rounded_as_their_errors_are():
    measured = [
        TiltMeasurement(0j, np.array([-1000.34, 0, 20]), ERROR / 64, np.zeros((3, len(PARTS))))
    ]
    text = format_tableau(fit_aberrations(measured, config=TableauConfig(order=1)))
    assert "C1   -100.034 nm ±    0.050 nm" in text


def test_the_tilt_that_disagrees_is_named():
    rng = np.random.default_rng(5)
    measured = measure(draw_lens(rng), 18, rng)
    moved = measured[7].values + np.array([0, 300, 0])
    measured[7] = replace(measured[7], values=moved)
    (note,) = [note for note in fit(measured, TableauConfig(order=2)).warnings if "χ²" in note]
    assert "tilt 8 least of all" in note


@pytest.mark.parametrize("turn", [0.4, np.pi / 2, np.pi])
def test_a_turned_tableau_has_turned_coefficients(turn):
    """A coefficient of symmetry m turns its argument by m times the angle."""
    rng = np.random.default_rng(6)
    measured = measure(draw_lens(rng), 34, rng)
    spin = np.exp(1j * turn)
    turned = []
    for seen in measured:
        astigmatism = spin**2 * complex(*seen.values[1:])
        values = np.array([seen.values[0], astigmatism.real, astigmatism.imag])
        turned.append(replace(seen, tilt=seen.tilt * spin, values=values))
    first, second = (fit(found, TableauConfig()) for found in (measured, turned))
    assert second.chi_square == pytest.approx(first.chi_square)
    for name, value in first.table.values.items():
        expected = value * spin ** find_symmetry(name)
        assert abs(second.table.values[name] - expected) < 1e-3 * first.table.errors[name]


def test_wrong_requests_are_refused():
    with pytest.raises(ConfigError, match=r"without: must be of C1.*not Q1"):
        TableauConfig.from_mapping({"without": ["Q1"]}, source="tableau.toml")
    rng = np.random.default_rng(3)
    with pytest.raises(ConfigError, match=r"order: must leave at most 3 unknowns for 1 tilts"):
        fit_aberrations(measure(draw_lens(rng), 9, rng)[:1], config=TableauConfig(order=3))
    broken = [*measure(draw_lens(rng), 9, rng)]
    broken[2] = replace(broken[2], covariance=-ERROR)
    with pytest.raises(ImageError, match=r"the covariance of tilt 3 must be positive definite"):
        fit_aberrations(broken, config=TableauConfig(order=2))
