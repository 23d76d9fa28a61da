import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from adatom.core.errors import ImageError
from adatom.report.summary import find_neighbor_distances, find_wilson_interval, summarize_atoms

LABELS = ("M", "X2", "X1", "dopant")


@pytest.mark.parametrize(("successes", "total"), [(0, 20), (3, 40), (20, 20), (801, 2412)])
def test_wilson_is_that_of_scipy(successes, total):
    known = binomtest(successes, total).proportion_ci(method="wilson")
    assert find_wilson_interval(successes, total) == pytest.approx(tuple(known), abs=1e-7)


def test_counts_densities_and_fractions(sheet):
    _, atoms = sheet
    summary = summarize_atoms([atoms[:9], atoms[9:]], LABELS, 28.0**2, np.array([1.8, 2.0]))
    rows = {row["label"]: row for row in summary["labels"]}
    n = atoms["label"].value_counts()
    assert [rows[name]["count"] for name in LABELS] == [n["M"], n["X2"], n["X1"], 0]
    assert rows["X1"]["fraction"] == n["X1"] / (n["X1"] + n["X2"])
    assert rows["M"]["fraction"] == n["M"] / len(atoms)
    # One M per cell of a² √3 / 2.
    assert rows["M"]["density"] == pytest.approx(100 / (3.16**2 * 0.75**0.5), rel=0.05)
    assert rows["M"]["error"] == pytest.approx(5.0)
    part = f"{n['X1']} X1 ({100 * rows['X1']['fraction']:.1f} % of the X sites), 0 dopants."
    assert summary["sentence"].endswith(part)
    assert summary["neighbor_distance"]["median"] == pytest.approx(1.9)


def test_neighbor_distances_are_unbiased_by_noise(sheet):
    _, atoms = sheet
    noise = np.random.default_rng(0).normal(0, 0.05, (len(atoms), 2))
    moved = atoms.assign(x=atoms["x"] + noise[:, 0], y=atoms["y"] + noise[:, 1])
    two = pd.concat([moved, moved.assign(frame=1)])
    distances = find_neighbor_distances([two])
    assert np.median(distances) == pytest.approx(3.16 / 3**0.5, abs=0.02)
    stray = moved.iloc[:2].assign(x=[500.0, 560.0])  # in an empty part
    assert len(find_neighbor_distances([moved, moved, stray])) == len(distances)
    assert len(distances) == 2 * len(find_neighbor_distances([atoms]))


def test_nothing_found(sheet):
    summary = summarize_atoms([sheet[1].iloc[:0]], LABELS, 100.0, np.empty(0))
    assert summary["sentence"] == "No columns were found."
    assert np.isnan(summary["labels"][0]["fraction"])
    assert summary["neighbor_distance"]["median"] is None


def test_other_tables_are_refused():
    with pytest.raises(ImageError, match="frame, atom, label"):
        summarize_atoms([pd.DataFrame({"x": [], "y": []})], LABELS, 1.0, np.empty(0))


def test_sites_of_labels_that_name_their_atoms(sheet):
    names = {"M": "Mo", "X2": "S2", "X1": "S1"}
    atoms = sheet[1]
    other = atoms.assign(label=atoms["label"].map(names))
    distances = find_neighbor_distances([atoms])
    first = summarize_atoms([atoms], ("M", "X2", "X1"), 784.0, distances)
    second = summarize_atoms([other], ("Mo", "S2", "S1"), 784.0, distances)
    for one, two in zip(first["labels"], second["labels"], strict=True):
        assert two == one | {"label": names[one["label"]]}
    assert "% of the X sites" in second["sentence"]
