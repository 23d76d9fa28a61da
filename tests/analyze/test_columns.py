"""Occupancies of columns that are whole, half and not there."""

import numpy as np
import pandas as pd
import pytest

from adatom.analyze.columns import fit_columns
from adatom.core.materials import get_material

MOS2 = get_material("MoS2")


def find_inner(series, table):
    """Columns far from the edges: what lies beyond is in the images, not in the table."""
    ends = [(float(series[axis][0]), float(series[axis][-1])) for axis in ("x", "y")]
    return np.all(
        [table[a].between(e[0] + 6, e[1] - 6) for a, e in zip("xy", ends, strict=True)], 0
    )


def test_whole_columns_are_one_within_their_errors(monolayer, truth):
    series, table = monolayer
    found = fit_columns(series, table, MOS2, truth)
    occupancy, error = found.occupancy, found.occupancy_err
    assert sum(found.halves) == pytest.approx(1)
    inner = find_inner(series, table)
    assert occupancy[inner].mean() == pytest.approx(1, abs=0.05)
    assert 0.6 < (occupancy[inner].std() / error[inner].mean()) < 1.6
    assert 0.01 < error[inner].mean() < 0.1


def test_a_wrong_label_and_a_column_that_is_not_there_are_seen(monolayer, truth):
    series, table = monolayer
    inner = np.flatnonzero(find_inner(series, table) & (table["label"] == "S2"))
    away = table.loc[inner, ["x", "y"]] - [float(series[a].mean()) for a in "xy"]
    half = inner[(away**2).sum(axis=1).to_numpy().argmin()]
    metal = table[table["label"] == "Mo"]
    bonds = table.loc[half, ["x", "y"]].astype(float) - metal[["x", "y"]]
    nearest = bonds.loc[(bonds**2).sum(axis=1).idxmin()]
    metal = metal.loc[nearest.name]
    hollow = metal[["x", "y"]].astype(float) - nearest  # opposite of a neighbor
    wrong = table.assign(label=table["label"].where(table.index != half, "S1"))
    extra = pd.DataFrame([{"x": hollow["x"], "y": hollow["y"], "label": "S2"}])
    wrong = pd.concat([wrong, extra], ignore_index=True)
    found = fit_columns(series, wrong, MOS2, truth)
    occupancy, error = found.occupancy, found.occupancy_err
    assert occupancy[half] == pytest.approx(1, abs=4 * error[half] + 0.03)
    assert occupancy[-1] == pytest.approx(0, abs=4 * error[-1] + 0.05)


def test_places_are_found_as_well_as_their_errors_say(monolayer, truth):
    series, table = monolayer
    away = np.random.default_rng(3).normal(0, 0.03, (len(table), 2))
    off = table.assign(y=table["y"] + away[:, 0], x=table["x"] + away[:, 1])
    found = fit_columns(series, off, MOS2, truth, with_places=True)
    inner = find_inner(series, table)
    left = (away + found.moved)[inner]
    assert left.std() < 0.7 * away.std()
    assert 0.7 < (left / found.moved_err[inner]).std() < 1.4
    assert found.moved_err[inner].mean() < 0.03
    assert found.occupancy[inner].mean() == pytest.approx(1, abs=0.05)
