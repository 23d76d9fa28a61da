"""Coordination, and the table of amplitudes."""

import numpy as np
import pytest
from ase import Atoms

from adatom.core.errors import ConfigError
from adatom.core.materials import MATERIALS, get_material
from adatom.structures.sheets import make_sheet
from adatom.structures.vibrations import assign_amplitudes, count_neighbors, load_amplitudes

MOS2 = get_material("MoS2")


@pytest.fixture
def ribbon():
    """Zigzag edges along x: metals of coordination 4 below, chalcogens of coordination 2 above."""
    lattice = MOS2.lattice
    sheet = make_sheet(MOS2, (4 * 3**0.5 * lattice, 5 * lattice), offset=(0.1, 0.1))
    sheet.pbc = (True, False, False)
    return sheet


@pytest.mark.parametrize("name", MATERIALS)
def test_sheets_have_their_coordination(name):
    material = get_material(name)
    lattice = material.lattice
    sheet = make_sheet(material, (3 * 3**0.5 * lattice, 5 * lattice), offset=(0.1, 0.1))
    sheet.pbc = (True, True, False)
    expected = {"M": 6, "X": 3, "A": 3, "B": 3}
    sites = sheet.arrays["site"]
    np.testing.assert_array_equal(count_neighbors(sheet), [expected[site] for site in sites])


def test_edges_vacancies_and_dopants(ribbon):
    is_metal = ribbon.symbols == "Mo"
    coordination = count_neighbors(ribbon)
    assert np.unique(coordination[is_metal], return_counts=True)[1].tolist() == [5, 35]
    assert set(coordination[is_metal]) == {4, 6}
    assert set(coordination[~is_metal]) == {2, 3}
    ribbon.pbc = (True, True, False)
    ribbon.numbers[np.flatnonzero(is_metal)[:3]] = 74
    del ribbon[int(np.flatnonzero(ribbon.symbols == "S")[0])]
    kinds, counts = np.unique(count_neighbors(ribbon), return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {3: 79, 5: 3, 6: 37}


def test_the_open_count_is_that_of_ase(ribbon):
    ribbon.positions += np.random.default_rng(0).normal(0, 0.1, ribbon.positions.shape)
    ribbon.numbers[:4] = 6
    ribbon.pbc = False
    ribbon.cell = (100, 100, 100)
    far = ribbon.copy()
    far.pbc = True  # of a cell so large that nothing meets
    np.testing.assert_array_equal(count_neighbors(ribbon), count_neighbors(far))


def test_atoms_without_bonds():
    assert count_neighbors(Atoms()).tolist() == []
    assert count_neighbors(Atoms("Mo2", [(0, 0, 0), (2.5, 0, 0)])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("material", "rows"),
    [
        ("MoS2", {("Mo", 6), ("Mo", 5), ("Mo", 4), ("S", 3), ("S", 2)}),
        ("graphene", {("C", 3), ("C", 2)}),
    ],
)
def test_the_table_is_linear_in_temperature_and_nearly_proportional(material, rows):
    cold, warm, hot = (load_amplitudes(material, kelvin) for kelvin in (300, 500, 773))
    assert set(cold) == rows
    share = 200 / 473
    for key in rows:
        for axis in range(2):
            mean = (1 - share) * cold[key][axis] + share * hot[key][axis]
            assert warm[key][axis] == pytest.approx(mean)
        # Zero-point motion makes it less than the ratio of the temperatures, softening more.
        assert 1.3 < hot[key][0] / cold[key][0] < 1.4 * 773 / 300


def test_fewer_neighbors_vibrate_more():
    for temperature in (300, 773):
        table = load_amplitudes("mos2", temperature)
        assert table["Mo", 6][0] < table["Mo", 5][0] < table["Mo", 4][0]
        assert table["S", 3][0] < table["S", 2][0]
        table = load_amplitudes("graphene", temperature)
        assert table["C", 3][0] < table["C", 2][0]


def test_every_atom_gets_the_amplitude_of_its_coordination(ribbon):
    table = load_amplitudes("MoS2", 300)
    alike = assign_amplitudes(ribbon, "MoS2", 300, by_coordination=False)
    for element, whole in (("Mo", 6), ("S", 3)):
        assert (
            alike[ribbon.symbols == element] == load_amplitudes("MoS2", 300)[element, whole]
        ).all()
    found = assign_amplitudes(ribbon, "MoS2", 300)
    kinds = zip(ribbon.symbols, count_neighbors(ribbon).tolist(), strict=True)
    np.testing.assert_array_equal(found, [table[kind] for kind in kinds])
    alone = ribbon[np.flatnonzero(ribbon.symbols == "Mo")]
    assert (assign_amplitudes(alone, "MoS2", 300) == table["Mo", 4]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("WS2", 300), r"material: vibrations are known of MoS2, graphene \(got 'WS2'\)"),
        (("MoS2", 100), r"temperature: must be from 300 to 773 K \(got 100\)"),
    ],
)
def test_what_the_table_does_not_hold(arguments, message):
    with pytest.raises(ConfigError, match=message):
        load_amplitudes(*arguments)


def test_an_element_that_the_table_does_not_hold():
    with pytest.raises(ConfigError, match=r"known of Mo, S \(got Se\)"):
        assign_amplitudes(Atoms("MoSe", [(0, 0, 0), (2.5, 0, 0)]), "MoS2", 300)
