"""Atoms that scatter nothing."""

import numpy as np
import pytest

from adatom.analyze.defects import find_defects
from adatom.analyze.lattice import find_lattices
from adatom.analyze.phantoms import find_phantoms
from adatom.core.chemistry import make_chemistry
from adatom.core.materials import get_material


@pytest.fixture
def seen(make_honeycomb, tabulate):
    """A sheet whose brightness varies by 10 %, and doubles from left to right."""
    places, labels = make_honeycomb(50, 3.16, labels=("M", "X2"))
    rng = np.random.default_rng(0)
    slope = 1.5 + places[:, 1] / 50
    bright = np.where(labels == "M", 1000, 300) * slope * rng.normal(1, 0.1, len(places))
    atoms = tabulate(places, labels, intensity=bright, intensity_err=30.0, score_none=0.02)
    middle = np.argsort(np.hypot(*places.T))
    return atoms, middle[labels[middle] == "X2"]


def look(atoms):
    lattices = find_lattices(atoms[["y", "x"]].to_numpy(), atoms["label"].to_numpy(str))
    return np.flatnonzero(find_phantoms(atoms, lattices))


def test_an_atom_that_scatters_nothing_is_none_and_its_site_a_vacancy(seen):
    atoms, chosen = seen
    assert look(atoms).size == 0
    dark = atoms.copy()
    dark.loc[chosen[0], "intensity"] = 20.0
    np.testing.assert_array_equal(look(dark), [chosen[0]])
    material = get_material("MoS2")
    found = find_defects(dark, make_chemistry(material), material=material)
    assert list(found.table["name"]) == ["V_S2"]
    assert len(found.atoms) == len(atoms) - 1


def test_half_a_column_and_uncertain_ones_stay(seen):
    atoms, chosen = seen
    half = atoms.copy()
    half.loc[chosen[0], ["intensity", "label"]] = [0.42 * 450, "X1"]
    assert look(half).size == 0
    half.loc[chosen[0], "intensity"] = 5.0
    np.testing.assert_array_equal(look(half), [chosen[0]])
    vague = atoms.copy()
    vague.loc[chosen[0], ["intensity", "intensity_err"]] = [20.0, 400.0]
    assert look(vague).size == 0


def test_without_intensities_there_are_no_phantoms(seen):
    atoms, _ = seen
    assert look(atoms.drop(columns="intensity")).size == 0
    assert look(atoms.assign(intensity=np.nan)).size == 0
