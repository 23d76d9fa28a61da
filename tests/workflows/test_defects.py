"""Defects of a run: tables of all frames, names that agree between them, rules of the user."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from adatom.core.chemistry import make_chemistry
from adatom.core.materials import get_material
from adatom.core.table_files import TableWriter
from adatom.workflows import defects
from adatom.workflows.defects import NamedAtoms, find_rules, write_defects

MOS2 = get_material("MoS2")


@pytest.fixture
def run(tmp_path, sheet):
    """A run folder with the atoms of two frames; the second has lost two neighboring columns."""
    image, atoms = sheet
    middle = np.hypot(atoms["x"] - 14, atoms["y"] - 14)
    metal = atoms.index[atoms["label"] == "M"][middle[atoms["label"] == "M"].argmin()]
    away = np.hypot(atoms["x"] - atoms["x"][metal], atoms["y"] - atoms["y"][metal])
    lost = [metal, away.drop(metal).idxmin()]
    second = atoms.drop(index=lost).assign(frame=7, atom=np.arange(len(atoms) - 2))
    with TableWriter(tmp_path, "atoms") as writer:
        writer.append(atoms)
        writer.append(second)
    movie = xr.concat([image, image], dim="frame").assign_coords(frame=[0, 7])
    return tmp_path, movie, atoms, second


def test_tables_hold_all_frames_and_the_names_agree(run):
    folder, movie, atoms, second = run
    found = write_defects(folder, movie, 7, make_chemistry(MOS2), MOS2)
    table = pd.read_parquet(folder / "defects.parquet")
    assert set(table["frame"]) == {0, 7}
    n_single = (atoms["label"] == "X1").sum()
    assert (table[table["frame"] == 0]["name"].str.startswith("V_S")).all()
    assert table[table["frame"] == 0]["n_atoms"].sum() == n_single
    assert "V_MoS2" in set(table[table["frame"] == 7]["name"])
    assert found.shown.table["frame"].eq(7).all()
    rows = {row["name"]: row["count"] for row in found.summary["defects"]}
    assert rows == table["name"].value_counts().to_dict()
    (grain,) = found.summary["grains"]
    assert grain["lengths"] == pytest.approx((3.16, 3.16), abs=0.01)
    json.dumps(found.summary)
    sites = pd.read_parquet(folder / "sites.parquet")
    empty = sites[(sites["frame"] == 7) & (sites["atom"] < 0)]
    assert sorted(empty["label"]) == ["M", "X2"]
    assert empty["strain_xx"].isna().all()
    taken = sites[(sites["frame"] == 7) & (sites["atom"] >= 0)].set_index("atom")
    atom_x = second.set_index("atom")["x"].loc[taken.index]
    np.testing.assert_allclose(atom_x - taken["x_ref"], taken["dx"], atol=1e-9)
    header = (folder / "defects.csv").read_text().splitlines()[0]
    assert '"x (angstrom)"' in header


def test_atoms_are_told_the_defect_they_belong_to(run):
    folder, movie, atoms, _ = run
    found = write_defects(folder, movie, 0, make_chemistry(MOS2), MOS2)
    columns = ("frame", "atom", "label")
    parts = list(NamedAtoms(folder, columns, found.absent))
    assert [len(part) for part in parts] == [len(atoms), len(atoms) - 2]
    is_lacking = parts[0]["label"] == "X1"
    assert parts[0].loc[is_lacking, "defect"].str.startswith("V_S").all()
    assert (parts[0].loc[~is_lacking, "defect"] == "-").all()


def test_frames_of_too_many_atoms_are_left_out_and_said(run, monkeypatch):
    folder, movie, _, second = run
    monkeypatch.setattr(defects, "MOST_ATOMS", len(second))
    found = write_defects(folder, movie, 0, make_chemistry(MOS2), MOS2)
    assert found.notes == (
        f"defects were not looked for in 1 frames of more than {len(second)} atoms",
    )
    assert set(pd.read_parquet(folder / "defects.parquet")["frame"]) == {7}
    assert found.summary["grains"] == []


def test_rules_are_those_of_the_material_if_the_labels_are_its_own(run, tmp_path):
    folder, *_ = run
    table = folder / "atoms.parquet"
    assert find_rules(MOS2, ("Mo", "S2", "S1"), table) == (make_chemistry(MOS2), MOS2)
    for material, labels in ((None, ("M", "X2", "X1")), (MOS2, ("column",))):
        plain, named = find_rules(material, labels, table)
        assert named is None
        assert plain.hosts == labels
        limit = plain.bond_limit(labels[0], labels[-1])
        assert limit == pytest.approx(1.35 * 3.16 / 3**0.5, rel=1e-3)
        assert plain.ring is None
    with TableWriter(tmp_path, "none") as writer:
        writer.append(pd.read_parquet(table).iloc[:0])
    assert find_rules(None, ("M",), tmp_path / "none.parquet") is None


def test_columns_that_scatter_nothing_are_said_and_left_out(run):
    folder, movie, atoms, _ = run
    middle = np.hypot(atoms["x"] - 14, atoms["y"] - 14).where(atoms["label"] == "X2").idxmin()
    dark = atoms.copy()
    dark.loc[middle, "intensity"] = 0.0
    with TableWriter(folder, "atoms") as writer:
        writer.append(dark)
    found = write_defects(folder, movie.isel(frame=0), 0, make_chemistry(MOS2), MOS2)
    assert found.notes == ("1 columns of the atoms table scatter nothing, and count as vacancies",)
    assert "V_S2" in {row["name"] for row in found.summary["defects"]}
    (part,) = NamedAtoms(folder, ("frame", "atom", "label"), found.absent)
    assert set(atoms["atom"]) - set(part["atom"]) == {atoms["atom"][middle]}


def test_an_empty_image_has_empty_tables(tmp_path, sheet):
    image, atoms = sheet
    with TableWriter(tmp_path, "atoms") as writer:
        writer.append(atoms.iloc[:0])
    found = write_defects(tmp_path, image, 0, make_chemistry(MOS2), MOS2)
    assert found.summary["defects"] == found.summary["grains"] == []
    assert pd.read_parquet(tmp_path / "defects.parquet").empty
    assert pd.read_parquet(tmp_path / "sites.parquet").empty
