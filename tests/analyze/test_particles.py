"""Particles: their area, and columns that are followed while the particle moves and turns."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import ConvexHull

from adatom.analyze.particles import follow_columns, segment_particle
from adatom.core.errors import ConfigError
from adatom.structures.particles import make_particle
from adatom.structures.restructure import move_surface_atoms

SPACING = 2.4  # of Au along [110]: 2.50 and 2.88 Å, about


def see(particle, shift=(0.0, 0.0), turn=0.0):
    column = particle.arrays["column"]
    count = np.bincount(column)
    x, y = (np.bincount(column, particle.positions[:, axis]) / count for axis in (0, 1))
    angle = np.deg2rad(turn)
    turned = (x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle))
    return pd.DataFrame({"x": turned[0] + 20 + shift[0], "y": turned[1] + 20 + shift[1]})


def test_area_is_that_of_the_columns_and_their_rim():
    """Of a convex particle: the hull of its columns, half a spacing around it, less dents."""
    columns = see(make_particle("Au", 10, np.random.default_rng(0)))
    mask = segment_particle(columns, (400, 420), (0.1, 0.1), SPACING)
    hull = ConvexHull(columns[["x", "y"]].to_numpy())
    known = hull.volume + hull.area * SPACING / 2 + np.pi * SPACING**2 / 4
    assert 0.95 * known < mask.sum() * 0.01 < known
    pixels = (columns[["y", "x"]].to_numpy() / 0.1).round().astype(int)
    assert mask[tuple(pixels.T)].all()


def test_columns_far_from_the_particle_do_not_belong_to_it():
    columns = see(make_particle("Au", 8, np.random.default_rng(1)))
    alone = segment_particle(columns, (400, 400), (0.1, 0.1), SPACING)
    stray = pd.concat([columns, pd.DataFrame({"x": [38.0], "y": [38.0]})])
    np.testing.assert_array_equal(segment_particle(stray, (400, 400), (0.1, 0.1), SPACING), alone)
    missing = columns.drop(index=np.argmin(np.hypot(columns["x"] - 20, columns["y"] - 20)))
    closed = segment_particle(missing, (400, 400), (0.1, 0.1), SPACING)
    assert (closed & alone).sum() > 0.97 * alone.sum()


def test_a_particle_at_the_border_goes_on_to_it():
    columns = see(make_particle("Au", 10, np.random.default_rng(0)), shift=(-20.0, 0.0))
    mask = segment_particle(columns, (400, 400), (0.1, 0.1), SPACING)
    assert mask[150:250, 0].all()
    assert not segment_particle(columns.iloc[:0], (50, 50), (0.1, 0.1), SPACING).any()
    with pytest.raises(ConfigError, match="above 0"):
        segment_particle(columns, (50, 50), (0.1, 0.1), 0.0)


def test_movement_of_the_particle_is_told_from_that_of_its_columns():
    particle = make_particle("Au", 11, np.random.default_rng(2))
    first, second = see(particle), see(particle, shift=(0.9, -0.5), turn=2.0)
    second.loc[5, "x"] += 0.4
    tracks, summary = follow_columns([first, second.sample(frac=1, random_state=1)], SPACING)
    assert summary["n_new"].tolist() == [len(first), 0]
    assert summary["n_gone"].tolist() == [0, 0]
    assert summary["turn"][1] == pytest.approx(2.0, abs=0.1)
    moved = tracks[tracks["frame"] == 1].set_index("track").sort_index()
    assert moved.index.tolist() == list(range(len(first)))
    assert moved["move_x"][5] == pytest.approx(0.4, abs=0.02)
    assert moved["move_x"].drop(5).abs().max() < 0.02
    assert moved["move_y"].abs().max() < 0.02


def test_columns_that_come_and_go_are_counted():
    rng = np.random.default_rng(3)
    particle = make_particle("Au", 9, rng)
    frames = [particle]
    for _ in range(5):
        frames.append(move_surface_atoms(frames[-1], 4, rng, eagerness=2.0))
    tables = [see(frame, shift=(0.3 * i, 0.2 * i)) for i, frame in enumerate(frames)]
    tracks, summary = follow_columns(tables, SPACING)
    for i in range(1, 6):
        places = [t[["x", "y"]].to_numpy() - (0.3 * k, 0.2 * k) for k, t in enumerate(tables)]
        near = np.linalg.norm(places[i][:, None] - places[i - 1], axis=2) < 0.9
        assert summary["n_new"][i] == (~near.any(1)).sum()
        assert summary["n_gone"][i] == (~near.any(0)).sum()
        assert summary["shift_x"][i] == pytest.approx(0.3, abs=0.05)
    assert tracks["track"].nunique() == summary["n_new"].sum()


def test_no_frames_and_empty_frames_give_empty_tables():
    empty = pd.DataFrame({"x": [], "y": []})
    tracks, summary = follow_columns([empty, empty], SPACING)
    assert tracks.empty
    assert summary["n_columns"].tolist() == [0, 0]
    tracks, _ = follow_columns([], SPACING)
    assert list(tracks.columns) == ["frame", "track", "x", "y", "move_x", "move_y"]
