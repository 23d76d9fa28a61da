"""Whole tableaus of simulated images, from a lens that is known."""

import numpy as np
import pytest

from adatom.core.errors import ConfigError, ImageError
from adatom.optics.aberration_table import name_parts
from adatom.optics.ceos import to_krivanek
from adatom.optics.microscope import Microscope
from adatom.optics.tableau_images import (
    FilmConfig,
    ProbeConfig,
    fit_film_tableau,
    fit_probe_tableau,
)
from adatom.optics.tilt import PARTS, pack_parts
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.tableau import simulate_film, simulate_particles, simulate_probe_image

VALUES = {"A1": 12 - 9j, "B2": 200 - 150j, "A2": 250 + 100j, "C3": 5e3, "S3": 1e3j, "A3": 3e3}
VALUES = {name: complex(value) for name, value in VALUES.items()}


def make_tilts(n: int, angle: float) -> np.ndarray:
    turn = 2 * np.pi * np.arange(n) / n
    return np.append([[0, 0]], angle * np.array([np.cos(turn), np.sin(turn)]).T, axis=0)


def check(result, truth: dict[str, complex], names: list[str]) -> None:
    places = [PARTS.index(part) for part in name_parts(names)]
    pulls = (result.parts - pack_parts(truth))[places] / result.part_errors[places]
    assert np.abs(pulls).max() < 4
    assert list(result.table.values) == names
    assert result.chi_square / result.n_free < 2.5  # small: this lens has no orders above the third


def test_a_film_tells_coma_and_three_fold_astigmatism():
    rng = np.random.default_rng(1)
    truth, tilts = VALUES | {"C1": -1000 + 0j}, make_tilts(8, 12)
    images = []
    for number, (x, y) in enumerate(1.01 * tilts):
        scope = ImagingMicroscope(
            energy_eV=200e3,
            focal_spread=35,
            beam_tilt=np.hypot(x, y),
            beam_azimuth=np.rad2deg(np.arctan2(y, x)),
            **to_krivanek(truth | {"C1": truth["C1"] + 2 * number}),
        )
        images.append(simulate_film(scope, 320, 0.5, dose=2000, drift=(0.2, 0.2), rng=rng))
    config = FilmConfig(order=2, defocus=1050)
    result = fit_film_tableau(np.array(images), tilts, 0.5, config=config)
    check(result, truth, ["C1", "A1", "B2", "A2"])
    assert result.warnings == ()
    assert result.table.errors["B2"] < 40
    assert len(result.tilts) == 9


def test_probes_tell_coma_and_three_fold_astigmatism():
    rng = np.random.default_rng(2)
    truth, tilts = VALUES | {"C1": 10 + 0j}, make_tilts(4, 12)
    images = []
    for x, y in tilts:
        particles = simulate_particles(320, 0.4, density=0.05, rng=rng)
        for added in (-200, 0, 200):
            lens = to_krivanek(truth | {"C1": truth["C1"] - added})
            scope = Microscope(energy_eV=200e3, semi_angle=25, source_size=0.8, **lens)
            place = tuple(rng.normal(0, 0.5, 2))
            image = simulate_probe_image(
                particles, scope, 288, 0.4, tilt=(x, y), shift=place, counts=40, rng=rng
            )
            images.append(image)
    config = ProbeConfig(order=2, focus_walk=0.5)
    result = fit_probe_tableau(np.array(images).reshape(5, 3, 288, 288), tilts, 0.4, config=config)
    check(result, truth, ["C1", "A1", "B2", "A2"])
    assert result.table.errors["A1"] < 2


@pytest.mark.parametrize(
    ("shape", "tilts", "pixel_size", "error", "message"),
    [
        ((3, 64, 64), 2, 0.5, ImageError, r"images: must be \(N, H, W\) with N tilts"),
        ((2, 64, 64), 2, -1, ImageError, r"pixel_size: must be a number above 0 Å \(got -1\)"),
        ((2, 64, 64), 2, 2.0, ConfigError, r"k_max: must lie between k_min and 0.25 1/Å"),
    ],
)
def test_images_tilts_and_pixels_must_fit_together(shape, tilts, pixel_size, error, message):
    with pytest.raises(error, match=message):
        fit_film_tableau(np.zeros(shape), np.zeros((tilts, 2)), pixel_size, config=FilmConfig())


def test_a_triple_has_three_images_around_focus():
    with pytest.raises(ImageError, match=r"must be three for each tilt \(got 2"):
        fit_probe_tableau(np.zeros((1, 2, 64, 64)), np.zeros((1, 2)), 0.4, config=ProbeConfig())
    with pytest.raises(ConfigError, match="focal_series: must be one focus on either side"):
        ProbeConfig.from_mapping({"focal_series": [100, 0, 200]}, source="a.toml")
