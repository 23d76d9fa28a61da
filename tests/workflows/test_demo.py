import pytest

import adatom.detect.atoms
import adatom.networks.model
from adatom.core.tables import make_atoms
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import load_recipe
from adatom.workflows.demo import DEFAULT, run_demo


@pytest.fixture
def truth():
    return simulate_example(load_recipe(DEFAULT.recipe), DEFAULT.seed).truth


def test_demo_scores_against_the_truth(truth, fake_model, monkeypatch, tmp_path):
    is_inner = truth[["x", "y"]].gt(5).all(axis=1) & truth[["x", "y"]].lt(70).all(axis=1)
    inner = truth[is_inner]
    found = inner.iloc[1:].assign(x=inner["x"] + 0.2)  # one is missed, all are shifted
    columns = {name: found[name].to_numpy() for name in ("x", "y", "label", "intensity")}
    columns |= dict.fromkeys(("x_err", "y_err", "intensity_err"), 0 * columns["x"] + 0.04)
    columns |= dict.fromkeys(("score", "score_none"), 0 * columns["x"] + 0.25)
    columns |= {f"score_{label}": columns["score"] for label in fake_model.card.labels}
    atoms = make_atoms(columns, fake_model.card.labels)
    find = lambda frame, model, config, done, view: iter([atoms])  # noqa: E731
    monkeypatch.setattr(adatom.detect.atoms, "find_atoms_by_part", find)
    monkeypatch.setattr(adatom.networks.model, "load_model", lambda name: fake_model)
    text = run_demo(tmp_path)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line[:2] == "  "}
    n_found, n_true = len(found), int(rows["sites"][0])
    assert rows["sites"][1:3] == [str(n_found), "1.000"]
    assert float(rows["sites"][3]) == pytest.approx(n_found / n_true, abs=6e-4)
    assert n_true > len(inner)
    assert "x 0.0 pm, y 0.0 pm" in text
    assert "x 4.0 pm, y 4.0 pm" in text
    assert (tmp_path / "mos2_simulated.adatom" / "report.html").exists()
    assert (tmp_path / "truth.csv").exists()
