"""Specimens in their boxes, and where their columns are seen."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from adatom.simulate.multislice import simulate_exit_wave
from adatom.simulate.specimen import (
    ParticleConfig,
    ThinSpecimenConfig,
    box_side,
    draw_specimen,
)
from adatom.simulate.structure import MX2Config
from adatom.simulate.waves import SliceConfig

SHEET = MX2Config(kind="mx2", angle=17.0, disorder=0.03, vacancies=0.1)
SIZE = 14.0


def draw(config, seed=0, **options):
    rng = np.random.default_rng(seed)
    return draw_specimen((config,), ThinSpecimenConfig(**options), SIZE, rng)


def find_phases(specimen):
    """Where the phase of the wave has its peaks next to the columns, (N, 2) [y, x], Å."""
    wave = simulate_exit_wave(
        specimen.structure,
        80e3,
        displacements=specimen.displacements,
        tilt=specimen.tilt,
        config=SliceConfig(pixel_size=0.1),
    )
    pixel = wave.grid.pixel_size
    phase = gaussian_filter(np.angle(wave.values), 0.2 / pixel[0], mode="wrap")
    y, x = (np.rint(specimen.truth[axis] / pixel[0]).astype(int) for axis in "yx")
    window = np.arange(-4, 5)
    found = []
    for row, column in zip(y, x, strict=True):
        patch = phase.take(row + window, axis=0, mode="wrap")
        patch = patch.take(column + window, axis=1, mode="wrap")
        patch = np.clip(patch - 0.6 * patch.max(), 0, None)
        center = [patch.sum(axis=1 - axis) @ window / patch.sum() for axis in (0, 1)]
        found.append([(row + center[0]) * pixel[0], (column + center[1]) * pixel[1]])
    return np.array(found)


def test_boxes_hold_the_sheet_and_a_seam():
    specimen = draw(SHEET)
    side = box_side(SIZE)
    cell = specimen.structure.cell.lengths()
    assert cell[:2].tolist() == [side, side]
    assert (specimen.structure.positions >= 0).all()
    assert (specimen.structure.positions <= cell).all()
    wrapped = cKDTree(specimen.structure.positions, boxsize=[*cell[:2], 100])
    assert wrapped.query(specimen.structure.positions, 2)[0][:, 1].min() > 1.4
    counts = specimen.truth["label"].value_counts()
    n_sulfur = (specimen.structure.numbers == 16).sum()
    assert counts["Mo"] == (specimen.structure.numbers == 42).sum()
    assert 2 * counts["S2"] + counts["S1"] == n_sulfur


@pytest.mark.parametrize("tilt", [0.0, 9.0])
def test_columns_are_where_the_phase_is_high(tilt):
    """Also those of one sulfur atom, which a tilt moves."""
    specimen = draw(SHEET, tilt=tilt)
    truth = specimen.truth
    inside = truth[["x", "y"]].gt(4).all(axis=1) & truth[["x", "y"]].lt(box_side(SIZE) - 4).all(
        axis=1
    )
    errors = (find_phases(specimen) - truth[["y", "x"]].to_numpy())[inside]
    assert np.abs(errors.mean(axis=0)).max() < 0.01
    assert errors.std() < 0.03
    single = (truth.loc[inside, "label"] == "S1").to_numpy()
    assert single.sum() >= 3
    assert errors[single].std() < 0.04


def test_a_support_lies_below_and_is_not_in_the_truth():
    below = {"support": "graphene", "support_distance": 3.7, "support_angle": 10.0}
    bare, carried = draw(SHEET), draw(SHEET, **below)
    positions, numbers = carried.structure.positions, carried.structure.numbers
    gap = positions[numbers == 16, 2].min() - positions[numbers == 6, 2].max()
    assert gap == pytest.approx(3.7)
    assert len(carried.displacements) == len(carried.structure)
    assert carried.displacements[numbers == 6].max() < carried.displacements[numbers == 42].min()
    assert set(carried.truth["label"]) == set(bare.truth["label"])
    assert len(carried.truth) == pytest.approx(len(bare.truth), rel=0.05)


def test_a_support_is_there_as_often_as_asked_for():
    below = {"support": "graphene", "support_share": 0.25}
    n_supported = sum(6 in draw(SHEET, seed, **below).structure.numbers for seed in range(40))
    assert 3 <= n_supported <= 18  # 10 ± 2.7


def test_particles_lie_on_their_film_inside_the_image():
    config = ParticleConfig(kind="particle", radius=5.0, tilt=2.0, film=10.0)
    specimen = draw(config)
    positions, numbers = specimen.structure.positions, specimen.structure.numbers
    assert positions[numbers == 79, 2].min() - positions[numbers == 6, 2].max() >= 1.9
    assert specimen.truth["n_atoms"].sum() == (numbers == 79).sum()
    truth = specimen.truth[["x", "y"]].to_numpy()
    assert (np.abs(truth - box_side(SIZE) / 2) < SIZE / 2 + 1).all()
    bare = draw(config.model_copy(update={"film_share": 0.0}))
    assert set(bare.structure.numbers) == {79}
