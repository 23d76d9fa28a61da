import json

import ase.io
import numpy as np
import pandas as pd
import pytest

import adatom.theory.dynamics
from adatom.core.errors import ConfigError, FileError
from adatom.core.materials import get_material
from adatom.core.runs import find_checksum
from adatom.structures.sheets import make_sheet
from adatom.workflows.vibrations import VibrationsConfig, find_vibrations

CONFIG = VibrationsConfig(temperature=300, time=10, seed=7)


@pytest.fixture
def path(tmp_path):
    lattice = get_material("MoS2").lattice
    size = (2 * 3**0.5 * lattice, 4 * lattice)
    sheet = make_sheet(get_material("MoS2"), size, offset=(0.1, 0.1))
    sheet.pbc = (True, True, False)
    ase.io.write(tmp_path / "sheet.extxyz", sheet)
    return tmp_path / "sheet.extxyz"


@pytest.fixture
def hops(monkeypatch):
    """Dynamics that shake every atom by 0.1 Å per axis; one leaves if it is asked to."""
    hops = []

    def run_dynamics(structure, temperature, *, config, rng, report):
        assert (temperature, config.time, rng) == (300, 10, 7)
        noise = np.random.default_rng(0).normal(0, 0.1, (100, len(structure), 3))
        positions = structure.positions + noise
        for atom in hops:
            positions[80:, atom, 2] -= 4
        return positions, structure

    monkeypatch.setattr(adatom.theory.dynamics, "run_dynamics", run_dynamics)
    return hops


def test_run_folder_holds_table_structure_and_record(path, hops, tmp_path):
    result = find_vibrations(path, tmp_path / "out", config=CONFIG)
    assert result.folder == tmp_path / "out" / "sheet.adatom"
    assert result.warnings == ()
    table = pd.read_csv(result.folder / "amplitudes.csv")
    assert list(table.columns[:4]) == [
        "element",
        "coordination",
        "n_atoms",
        "u2_in_plane (angstrom^2)",
    ]
    np.testing.assert_allclose(table["u2_in_plane (angstrom^2)"], 0.01, rtol=0.1)
    assert len(ase.io.read(result.folder / "structure.extxyz")) == 48
    record = json.loads((result.folder / "run.json").read_text())
    assert record["task"] == "vibrations"
    assert "<td>Mo</td>" in (result.folder / "report.html").read_text()
    assert record["seed"] == 7
    assert record["config"]["temperature"] == 300
    assert record["config"]["dynamics"]["time"] == 10
    assert record["input"]["sha256"] == find_checksum(path)
    assert record["model"]["potential"] == "Stillinger-Weber"
    assert {"adatom", "ase", "numpy"} <= set(record["versions"])
    assert len(record["summary"]["amplitudes"]) == 2


def test_atoms_that_hop_are_reported(path, hops, tmp_path):
    hops.append(40)
    result = find_vibrations(path, tmp_path, config=CONFIG)
    assert any("bonds of 4 atoms changed" in warning for warning in result.warnings)
    assert any("S with 3 neighbors is uncertain" in warning for warning in result.warnings)


def test_bad_files_and_elements_are_refused(path, tmp_path):
    with pytest.raises(FileError, match=r"no\.xyz: does not exist"):
        find_vibrations(tmp_path / "no.xyz", tmp_path, config=CONFIG)
    (tmp_path / "bad.xyz").write_text("nonsense")
    with pytest.raises(FileError, match=r"bad\.xyz: ASE reads no structure"):
        find_vibrations(tmp_path / "bad.xyz", tmp_path, config=CONFIG)
    (tmp_path / "radon.xyz").write_text("1\n\nRn 0 0 0\n")
    with pytest.raises(ConfigError, match=r"got Rn"):
        find_vibrations(tmp_path / "radon.xyz", tmp_path, config=CONFIG)
    assert not list(tmp_path.glob("*.adatom"))
