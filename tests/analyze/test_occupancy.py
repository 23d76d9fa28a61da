"""Occupancies of columns that are whole, half and not there."""

import numpy as np
import pandas as pd
import pytest

from adatom.analyze.microscope import MicroscopeFit
from adatom.analyze.occupancy import Occupancies, fit_occupancies, weigh_labels
from adatom.core.materials import get_material
from adatom.core.tables import make_atoms
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.hrtem import Camera

LABELS, PARTS = ("Mo", "S2", "S1"), (("Mo",), ("S2", "S1"))
MOS2 = get_material("MoS2")
VECTORS = 3.16 * np.array([[0.0, 1.0], [0.75**0.5, 0.5]])  # [y, x]


@pytest.fixture(scope="module")
def truth(monolayer):
    series, _ = monolayer
    drawn = series.attrs["microscope"] | {"focal_series": tuple(series.attrs["defoci"])}
    return MicroscopeFit(
        lens=ImagingMicroscope(**drawn),
        camera=Camera(**series.attrs["camera"]),
        shifts=np.array(series.attrs["shifts"]),
        tilt=0.0,
        contrast=1.0,
        vectors=VECTORS,
        metal=np.zeros(2),
        others=np.zeros(2),
        chi_square=1.0,
        n_data=1,
        chi_square_flat=1.0,
    )


def find_inner(series, table):
    """Columns far from the edges: what lies beyond is in the images, not in the table."""
    ends = [(float(series[axis][0]), float(series[axis][-1])) for axis in ("x", "y")]
    return np.all(
        [table[a].between(e[0] + 6, e[1] - 6) for a, e in zip("xy", ends, strict=True)], 0
    )


def test_whole_columns_are_one_within_their_errors(monolayer, truth):
    series, table = monolayer
    found = fit_occupancies(series, table, MOS2, truth)
    occupancy, error = found.values, found.errors
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
    found = fit_occupancies(series, wrong, MOS2, truth)
    occupancy, error = found.values, found.errors
    assert occupancy[half] == pytest.approx(1, abs=4 * error[half] + 0.03)
    assert occupancy[-1] == pytest.approx(0, abs=4 * error[-1] + 0.05)


def make_table(labels, score=0.6, none=0.1):
    n = len(labels)
    rest = (1 - score - none) / 2
    columns = {name: np.zeros(n) for name in ("x", "y", "x_err", "y_err")}
    columns |= {"intensity": np.full(n, np.nan), "intensity_err": np.full(n, np.nan)}
    columns |= {"label": np.array(labels), "score": np.full(n, score)}
    for label in LABELS:
        columns[f"score_{label}"] = np.where(np.array(labels) == label, score, rest)
    return make_atoms(columns | {"score_none": np.full(n, none)}, LABELS, frame=7)


def test_labels_follow_the_occupancy_and_nothing_is_left_out():
    labels = ["Mo"] * 20 + ["S2"] * 20 + ["S1", "S2", "S2", "Mo"]
    occupancy = np.array([1.1] * 20 + [0.9] * 20 + [0.9, 0.45, 0.02, 0.03])
    known = Occupancies(occupancy, np.full(len(labels), 0.05), (0.5, 0.5))
    found = weigh_labels(make_table(labels), known, PARTS, threshold=0.5)
    assert found["label"].tolist() == [*labels[:40], "S2", "S1"]
    assert found["intensity"].iloc[0] == pytest.approx(1)
    assert found["intensity"].iloc[-1] == pytest.approx(0.5)
    assert set(found["frame"]) == {7}
    total = found[[f"score_{label}" for label in (*LABELS, "none")]].sum(axis=1)
    np.testing.assert_allclose(total, 1)
    assert found["score_S1"].iloc[-1] > 0.7
    every = weigh_labels(make_table(labels), known, PARTS, threshold=0.0)
    assert len(every) == len(labels)


def test_what_the_images_do_not_decide_stays_as_frequent_as_it_was():
    labels = ["Mo"] * 20 + ["S2"] * 18 + ["S1"] * 2
    occupancy = np.array([1.0] * 20 + [1.0] * 18 + [0.75] * 2)
    known = Occupancies(occupancy, np.full(40, 5.0), (0.5, 0.5))
    found = weigh_labels(make_table(labels), known, PARTS, threshold=0.0)
    odds = found["score_S1"] / found["score_S2"]
    np.testing.assert_allclose(odds[20:], 0.1 / 0.9, rtol=0.05)
