"""Sheets and their edits."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from adatom.core.materials import get_material
from adatom.structures.edits import (
    add_adatoms,
    cut_holes,
    join_grains,
    remove_atoms,
    remove_chalcogens,
    strain_sheet,
    substitute,
)
from adatom.structures.projection import label_columns, project_columns
from adatom.structures.sheets import make_sheet

MOS2 = get_material("MoS2")


@pytest.fixture(scope="module")
def sheet():
    return make_sheet(MOS2, (60, 50), angle=17)


def test_every_inner_metal_has_six_chalcogens_at_the_bond_length(sheet):
    inner = ((sheet.positions[:, :2] > 4) & (sheet.positions[:, :2] < (46, 56))).all(1)
    metals = sheet.positions[inner & (sheet.arrays["site"] == "M")]
    chalcogens = sheet.positions[sheet.arrays["site"] == "X"]
    distance, _ = cKDTree(chalcogens).query(metals, k=7)
    bond = np.hypot(MOS2.lattice / 3**0.5, MOS2.thickness / 2)
    np.testing.assert_allclose(distance[:, :6], bond, rtol=1e-6)
    assert bond == pytest.approx(2.41, abs=0.02)  # Mo-S in bulk MoS2
    assert (distance[:, 6] > 1.3 * bond).all()


def test_columns_are_labelled_by_what_they_hold(sheet):
    rng = np.random.default_rng(0)
    broken = remove_chalcogens(sheet, 0.2, rng, both=0.25)
    broken = substitute(remove_atoms(broken, 0.1, rng, site="M"), "M", ("W",), 0.1, rng)
    columns, column = project_columns(broken)
    labels = label_columns(broken, column, MOS2)
    n_whole = len(project_columns(sheet)[0])
    n_metal = int((sheet.arrays["site"] == "M").sum())
    assert np.all(columns["n_atoms"][labels == "X2"] == 2)
    assert np.all(columns["n_atoms"][labels == "X1"] == 1)
    expected = 0.2 * 0.75 * (n_whole - n_metal)
    assert abs((labels == "X1").sum() - expected) < 4 * expected**0.5 + len(labels) * 0.03
    assert (labels == "dopant").sum() == (broken.symbols == "W").sum() > 0


def test_adatoms_lie_on_columns_or_well_between_them(sheet):
    covered = add_adatoms(sheet, ("Au", "W"), 20, np.random.default_rng(3))
    n_added = len(covered) - len(sheet)
    assert abs(n_added - 60) < 4 * 60**0.5  # on 3000 Å²
    added = covered[len(sheet) :]
    distance, _ = cKDTree(sheet.positions[:, :2]).query(added.positions[:, :2])
    assert ((distance < 1e-9) | (distance > 1.25)).all()
    assert 0.3 < (distance < 1e-9).mean() < 0.7
    assert added.positions[:, 2].min() > sheet.positions[:, 2].max()
    _, column = project_columns(covered)
    labels = label_columns(covered, column, MOS2)
    assert set(labels[column[len(sheet) :]]) == {"dopant"}
    assert (labels == "dopant").sum() == len(set(column[len(sheet) :]))


def test_boundary_keeps_columns_apart_and_joins_two_orientations(sheet):
    other = make_sheet(MOS2, (60, 50), angle=47)
    joined = join_grains(sheet, other, (30, 25), 30.0)
    columns, _ = project_columns(joined)
    nearest = cKDTree(columns[["x", "y"]]).query(columns[["x", "y"]], k=2)[0][:, 1]
    assert nearest.min() > 1.25
    assert abs(len(joined) / len(sheet) - 1) < 0.1


def test_holes_are_empty_and_strain_is_what_was_asked(sheet):
    holed = cut_holes(sheet, [(30.0, 25.0, 8.0)])
    assert np.hypot(holed.positions[:, 0] - 25, holed.positions[:, 1] - 30).min() > 8
    strain = np.array([[0.02, 0.01], [0.0, -0.01]])
    moved = strain_sheet(sheet, strain).positions[:, :2] - sheet.positions[:, :2]
    fit = np.linalg.lstsq(sheet.positions[:, :2] - (25, 30), moved, rcond=None)[0].T
    np.testing.assert_allclose(fit, strain, atol=1e-9)
