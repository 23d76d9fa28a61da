"""Atoms tables of focal series."""

import numpy as np
import pytest

from adatom.detect.focal import SeriesMaps
from adatom.detect.series import pick_atoms, predict_error, propose_map_columns, weigh_raw
from adatom.images.normalize import FOCAL_NORMALIZATION
from adatom.learn.targets import make_maps
from adatom.networks.model import Calibration, ModelCard

PRIOR = (0.5, 0.4, 0.1)
CARD = ModelCard(
    name="tiny",
    labels=("Mo", "S2", "S1"),
    network={"kind": "msdnet", "depth": 3},
    focal_series=(-30.0, 20.0, 70.0),
    pixel_size=0.12,
    pixel_size_range=(0.06, 0.15),
    normalization=FOCAL_NORMALIZATION,
    calibration=Calibration(
        weights=tuple(map(tuple, np.eye(3))),
        offsets=(0, 0, 0),
        prior=PRIOR,
        position=(np.log(0.05), -0.5),
    ),
)
PLACES = np.array([[20.3, 31.6], [35.2, 31.9], [50.4, 12.5], [12.0, 12.0]])


def make_shared():
    """Of four columns the last is S2 or S1: no map alone is above 0.6 there."""
    values = make_maps(PLACES, np.array([0, 1, 2, 1]), (3, 70, 60), 2.5)
    values[1, :20, :20] *= 0.55
    values[2, :20, :20] = 0.6 * values[1, :20, :20]
    return SeriesMaps(values, np.array([0.12, 0.12]), np.array([3.0, 5.0]))


def test_shared_columns_are_found_with_the_score_that_they_have():
    atoms = pick_atoms(make_shared(), CARD, threshold=0.5).sort_values("y")
    expected = np.array([3.0, 5.0]) + 0.12 * PLACES[np.argsort(PLACES[:, 0])]
    np.testing.assert_allclose(atoms[["y", "x"]], expected, atol=0.01)
    assert atoms["label"].tolist() == ["S2", "Mo", "S2", "S1"]
    shared = atoms.iloc[0]
    assert 0.4 < shared["score_S2"] < 0.7
    assert shared["score_S1"] > 0.2
    assert atoms.iloc[1]["score"] > 0.95
    assert atoms["intensity"].isna().all()


def test_errors_follow_the_raw_score():
    peaks = propose_map_columns(make_shared(), CARD)
    atoms = pick_atoms(make_shared(), CARD, threshold=0.5)
    raw = np.clip(peaks.column, 0.02, 0.995)
    np.testing.assert_allclose(atoms["x_err"], 0.05 * ((1 - raw) / raw) ** 0.5, rtol=1e-5)
    assert atoms["x_err"].max() > 2 * atoms["x_err"].min()
    assert predict_error(np.array([0.5]), (np.log(0.05), -0.5)) == pytest.approx(0.05)
    assert np.isfinite(weigh_raw(np.array([0.0, 1.0]))).all()


def test_no_columns_make_an_empty_table():
    nothing = SeriesMaps(np.zeros((3, 40, 40)), np.array([0.12, 0.12]), np.zeros(2))
    atoms = pick_atoms(nothing, CARD, threshold=0.5)
    assert len(atoms) == 0
    assert "score_S1" in atoms.columns
