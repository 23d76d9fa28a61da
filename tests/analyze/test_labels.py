"""Labels that follow the occupancy of columns."""

import numpy as np
import pytest

from adatom.analyze.columns import ColumnFit
from adatom.analyze.labels import weigh_labels
from adatom.core.tables import make_atoms

LABELS, PARTS = ("Mo", "S2", "S1"), (("Mo",), ("S2", "S1"))


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
    known = ColumnFit(occupancy, np.full(len(labels), 0.05), (0.5, 0.5))
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
    known = ColumnFit(occupancy, np.full(40, 5.0), (0.5, 0.5))
    found = weigh_labels(make_table(labels), known, PARTS, threshold=0.0)
    odds = found["score_S1"] / found["score_S2"]
    np.testing.assert_allclose(odds[20:], 0.1 / 0.9, rtol=0.05)


def test_places_that_were_fitted_are_taken():
    moved, error = np.array([[0.02, -0.03], [0.0, 0.01]]), np.full((2, 2), 0.015)
    known = ColumnFit(np.ones(2), np.full(2, 0.1), (0.5, 0.5), moved, error)
    found = weigh_labels(make_table(["Mo", "S2"]), known, PARTS, threshold=0.0)
    np.testing.assert_allclose(found[["y", "x"]], moved)
    np.testing.assert_allclose(found[["y_err", "x_err"]], error)
