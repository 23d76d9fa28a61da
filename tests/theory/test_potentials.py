import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene, mx2

from adatom.core.errors import ConfigError
from adatom.core.materials import MATERIALS
from adatom.theory.potentials import VACUUM, choose_potential, find_box


def test_every_material_of_the_table_has_a_potential():
    names = {
        name: choose_potential(Atoms([element for _, element in material.elements])).name
        for name, material in MATERIALS.items()
    }
    assert names.pop("graphene") == names.pop("h-BN") == "Tersoff"
    networks = {name for name, potential in names.items() if potential == "CHGNet"}
    assert networks == {"NbS2", "TaS2", "NbSe2", "TaSe2"}
    assert {names[name] for name in set(names) - networks} == {"Stillinger-Weber"}


def test_what_no_potential_knows_is_refused():
    with pytest.raises(ConfigError, match=r"no potential knows .* \(got Rn\)"):
        choose_potential(Atoms("CRn", [(0, 0, 0), (2, 0, 0)]))
    with pytest.raises(ConfigError, match="must have atoms"):
        choose_potential(Atoms())


def test_the_box_has_vacuum_where_nothing_is_periodic():
    boxed = find_box(graphene(size=(3, 3, 1), vacuum=None))
    assert boxed.cell.lengths()[2] == pytest.approx(2 * VACUUM)
    flake = find_box(Atoms("C2", [(0, 0, 0), (1.4, 0, 0)]))
    np.testing.assert_allclose(flake.cell.lengths(), [2 * VACUUM + 1.4, 2 * VACUUM, 2 * VACUUM])


def test_a_turned_cell_is_turned_back_and_keeps_its_distances():
    sheet = mx2("MoS2", size=(3, 3, 1), vacuum=5)
    sheet.pbc = (True, True, False)
    distances = sheet.get_all_distances(mic=True)
    sheet.rotate(25, "z", rotate_cell=True)
    boxed = find_box(sheet)
    np.testing.assert_allclose(boxed.cell.array[np.triu_indices(3, 1)], 0, atol=1e-9)
    np.testing.assert_allclose(boxed.get_all_distances(mic=True), distances, atol=1e-9)
    np.testing.assert_allclose(np.ptp(boxed.positions[:, 2]), np.ptp(sheet.positions[:, 2]))


def test_a_sheet_that_is_not_normal_to_z_is_refused():
    sheet = mx2("MoS2", size=(3, 3, 1), vacuum=5)
    sheet.rotate(90, "x", rotate_cell=True)
    with pytest.raises(ConfigError, match="plane of x and y"):
        find_box(sheet)
    with pytest.raises(ConfigError, match="needs a cell"):
        find_box(Atoms("C", pbc=(True, True, False)))


def test_a_cell_that_is_periodic_in_all_directions_stays():
    crystal = mx2("MoS2", size=(3, 3, 1), vacuum=5)
    crystal.pbc = True
    np.testing.assert_allclose(find_box(crystal).cell.lengths(), crystal.cell.lengths())
