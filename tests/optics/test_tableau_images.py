"""Whole tableaus of simulated images, from a lens that is known."""

import numpy as np
import pytest

from adatom.core.errors import ConfigError, ImageError
from adatom.optics.aberration_table import name_parts
from adatom.optics.ceos import find_symmetry, to_krivanek
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


def make_film(tilts: np.ndarray, truth: dict[str, complex], seed: int) -> np.ndarray:
    """Images of a film whose tilts are 1 % larger than told, while the focus drifts."""
    rng, images = np.random.default_rng(seed), []
    for number, (x, y) in enumerate(1.01 * tilts):
        scope = ImagingMicroscope(
            energy_eV=200e3,
            focal_spread=35,
            beam_tilt=np.hypot(x, y),
            beam_azimuth=np.rad2deg(np.arctan2(y, x)),
            **to_krivanek(truth | {"C1": truth["C1"] + 2 * number}),
        )
        images.append(simulate_film(scope, 320, 0.5, dose=2000, drift=(0.2, 0.2), rng=rng))
    return np.array(images)


def test_a_film_tells_coma_and_three_fold_astigmatism():
    truth, tilts = VALUES | {"C1": -1000 + 0j}, make_tilts(8, 12)
    config = FilmConfig(order=2, defocus=1050)
    result = fit_film_tableau(make_film(tilts, truth, 1), tilts, 0.5, config=config)
    check(result, truth, ["C1", "A1", "B2", "A2"])
    assert result.warnings == ()
    assert result.table.errors["B2"] < 40
    assert len(result.tilts) == 9


def test_overfocus_and_images_with_x_and_y_exchanged():
    """A mirror at the diagonal turns a coefficient c of symmetry m into iᵐ c*."""
    truth, tilts = VALUES | {"C1": 1000 + 0j}, make_tilts(4, 12)
    images = make_film(tilts, truth, 3)[:, :301]
    config = FilmConfig(order=2, defocus=-950)
    result = fit_film_tableau(images, tilts, 0.5, config=config)
    check(result, truth, ["C1", "A1", "B2", "A2"])
    mirrored = fit_film_tableau(images.transpose(0, 2, 1), tilts[:, ::-1], 0.5, config=config)
    for name, value in result.table.values.items():
        expected = 1j ** find_symmetry(name) * value.conjugate()
        assert abs(mirrored.table.values[name] - expected) < 0.2 * result.table.errors[name]


def test_images_without_rings_or_too_small_are_named():
    tilts = make_tilts(4, 12)
    images = make_film(tilts, VALUES | {"C1": -1000 + 0j}, 4)
    images[2] = np.random.default_rng(0).poisson(500, images[2].shape)
    config = FilmConfig(order=2, defocus=1000)
    notes = fit_film_tableau(images, tilts, 0.5, config=config).warnings
    (note,) = [note for note in notes if "no rings" in note]
    assert note.startswith("image 3 shows no rings within half of the defocus of 1000 Å")
    small = fit_film_tableau(
        images[:1, :160, :200], tilts[:1], 0.5, config=config.model_copy(update={"order": 1})
    )
    (note,) = small.warnings
    assert "images of 80 Å do not hold the rings up to k_max: they must be 120 Å wide" in note


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


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tilts": np.full((2, 2), np.nan)}, ImageError, r"tilts: must be finite.*got \[\[nan"),
        ({"images": np.zeros((2, 64, 64))}, ImageError, r"tilt 1: images: must be .* not the same"),
        ({"images": np.zeros((0, 64, 64)), "tilts": np.zeros((0, 2))}, ImageError, "N tilts"),
    ],
)
def test_what_no_fit_can_use_is_refused(change, error, message):
    given = {"images": np.ones((2, 64, 64)), "tilts": np.zeros((2, 2)), "pixel_size": 0.5} | change
    with pytest.raises(error, match=message):
        fit_film_tableau(**given, config=FilmConfig())


def test_rings_need_a_defocus():
    with pytest.raises(ConfigError, match=r"defocus: must not be 0"):
        FilmConfig.from_mapping({"defocus": 0}, source="a.toml")


def test_a_triple_has_three_images_around_focus():
    with pytest.raises(ImageError, match=r"must be three for each tilt \(got 2"):
        fit_probe_tableau(np.zeros((1, 2, 64, 64)), np.zeros((1, 2)), 0.4, config=ProbeConfig())
    with pytest.raises(ConfigError, match="focal_series: must be one focus on either side"):
        ProbeConfig.from_mapping({"focal_series": [100, 0, 200]}, source="a.toml")
