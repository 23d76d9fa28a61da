"""Strain of mean defects against structures that are known."""

import numpy as np
import pytest
from ase.build import mx2

from adatom.analyze.average import average_defects
from adatom.analyze.ideal import strain_from_lattice, strain_from_structure
from adatom.analyze.library import add_cuts, read_library
from adatom.core.errors import ConfigError
from adatom.core.materials import get_material
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect

GRAPHENE = get_material("graphene")


@pytest.fixture(scope="module")
def mean(tmp_path_factory, plant_defect, source):
    folder, rng = tmp_path_factory.mktemp("library"), np.random.default_rng(8)
    add_cuts(folder, "a", source, plant_defect("Si1C3", 4, noise=0.01, rng=rng))
    return average_defects(read_library(folder), "Si1C3")


@pytest.fixture
def ideal():
    sheet = make_sheet(GRAPHENE, (44, 44), angle=21)
    return insert_defect(sheet, "Si1C3", (20.0, 23.0), np.random.default_rng(0))


def test_the_same_structure_has_no_strain(mean, ideal):
    found = strain_from_structure(mean, ideal, GRAPHENE)
    assert found.bonds["strain"].abs().max() < 5 * 0.01 / 1.42
    assert found.atoms[["dx", "dy"]].abs().max(axis=None) < 0.03
    assert found.bonds["ideal"].notna().all()


def test_strain_has_the_sign_of_the_mean_less_the_ideal(mean, ideal):
    ideal.positions *= 1.02
    found = strain_from_structure(mean, ideal, GRAPHENE)
    assert found.bonds["strain"].mean() == pytest.approx(1 / 1.02 - 1, abs=0.002)


def test_an_ideal_is_averaged_over_the_symmetries_as_the_mean_is(
    tmp_path, plant_defect, pull_silicon, source, ideal
):
    rng = np.random.default_rng(4)
    add_cuts(
        tmp_path, "a", source, plant_defect("Si1C3", 6, noise=0.01, rng=rng, move=pull_silicon)
    )
    pull_silicon(ideal)
    mean = average_defects(read_library(tmp_path), "Si1C3")
    found = strain_from_structure(mean, ideal, GRAPHENE)
    assert found.bonds["strain"].abs().max() < 5 * 0.01 / 1.42
    assert (found.bonds["strain"] / found.bonds["strain_err"]).std() < 2


def test_against_the_lattice_only_bonds_of_hosts_count(mean):
    found = strain_from_lattice(mean, GRAPHENE)
    labels = found.atoms["label"].to_numpy()[found.bonds[["one", "other"]]]
    of_silicon = (labels == "Si").any(axis=1)
    assert found.bonds.loc[of_silicon, "strain"].isna().all()
    far = np.hypot(found.atoms["x"], found.atoms["y"]) > 6
    away = far.to_numpy()[found.bonds[["one", "other"]]].all(axis=1) & ~of_silicon
    assert found.bonds.loc[away, "strain"].mean() == pytest.approx(0, abs=0.01)


def test_a_structure_without_the_defect_is_refused(mean):
    perfect = make_sheet(GRAPHENE, (40, 40), angle=0)
    with pytest.raises(ConfigError, match=r"ideal: must hold a whole Si1C3 \(got no defect\)"):
        strain_from_structure(mean, perfect, GRAPHENE)
    sheet = mx2("MoS2", a=3.16, thickness=3.13, vacuum=3) * (6, 6, 1)
    with pytest.raises(ConfigError, match=r"ideal: must hold a whole Si1C3"):
        strain_from_structure(mean, sheet, get_material("MoS2"))
