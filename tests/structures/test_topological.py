"""Defects of graphene with known bonds."""

import networkx as nx
import numpy as np
import pytest
from ase import Atoms
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.core.materials import get_material
from adatom.structures.edits import strain_sheet
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import KINDS, insert_defect

PLACE = (21.0, 24.0)
LIMITS = {("C", "C"): (1.25, 1.6), ("C", "Si"): (1.6, 1.95), ("Si", "Si"): (2.1, 2.3)}
# Atoms that lack; rings that are not of six, by size.
EXPECTED = {
    "V_C": (1, [12]),
    "2V_C": (2, [14]),
    "5-9": (1, [5, 9]),
    "5-8-5": (2, [5, 5, 8]),
    "55-77": (0, [5, 5, 7, 7]),
    "555-777": (2, [5, 5, 5, 7, 7, 7]),
    "5555-6-7777": (2, [5, 5, 5, 5, 7, 7, 7, 7]),
    "Si1C3": (0, []),
    "Si1C4": (1, [5, 5]),
    "Si2C4": (0, []),
    "Si3C6": (1, [3, 5, 5, 5]),
}


@pytest.fixture(scope="module")
def sheet():
    return make_sheet(get_material("graphene"), (46, 42), angle=11)


@pytest.fixture(scope="module")
def defects(sheet):
    return {kind: insert_defect(sheet, kind, PLACE, np.random.default_rng(0)) for kind in KINDS}


def connect(structure, place=PLACE, radius=9.0):
    """Graph of the atoms around a place, bonds by their lengths."""
    points = structure.positions[:, :2]
    symbols = structure.get_chemical_symbols()
    near = np.flatnonzero(np.hypot(*(points - place).T) < radius)
    graph = nx.Graph()
    for atom in near.tolist():
        graph.add_node(atom, symbol=symbols[atom], point=complex(*points[atom]))
    for one, other in near[cKDTree(points[near]).query_pairs(3, output_type="ndarray")].tolist():
        length = np.hypot(*(points[one] - points[other]))
        low, high = LIMITS[tuple(sorted((symbols[one], symbols[other])))]
        assert length > low
        assert length < high or length > 2.15  # nothing between a bond and none
        if length < high:
            graph.add_edge(one, other, length=length)
    return graph


def find_rings(graph):
    """Faces of the drawn graph but for that outside; raises if bonds cross."""
    core = nx.k_core(graph, 2)
    point = core.nodes(data="point")
    around = {
        atom: sorted(core[atom], key=lambda n, atom=atom: np.angle(point[n] - point[atom]))
        for atom in core
    }
    drawing = nx.PlanarEmbedding()
    drawing.set_data(around)
    drawing.check_structure()
    seen = set()
    faces = [drawing.traverse_face(*edge, seen) for edge in drawing.edges if edge not in seen]
    return [set(face) for face in sorted(faces, key=len)[:-1]]


def list_sizes(graph):
    return sorted(size for ring in find_rings(graph) if (size := len(ring)) != 6)


def count_shared(rings, one_size, other_size):
    """Pairs of rings of two sizes with a bond in common."""
    return sum(
        len(rings[i] & rings[j]) == 2
        for i in range(len(rings))
        for j in range(i)
        if sorted((len(rings[i]), len(rings[j]))) == sorted((one_size, other_size))
    )


def test_every_kind_is_tested():
    assert tuple(EXPECTED) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_atoms_rings_and_lengths_are_those_of_the_kind(sheet, defects, kind):
    n_removed, sizes = EXPECTED[kind]
    assert len(sheet) - len(defects[kind]) == n_removed
    assert list_sizes(connect(defects[kind])) == sizes


@pytest.mark.parametrize(
    ("kind", "touching"),
    [
        ("5-9", {(5, 9): 1}),
        ("5-8-5", {(5, 8): 2, (5, 5): 0}),
        ("55-77", {(7, 7): 1, (5, 7): 4, (5, 5): 0}),
        ("555-777", {(7, 7): 3, (5, 7): 6, (5, 5): 0}),
        ("5555-6-7777", {(7, 7): 2, (5, 7): 8, (5, 5): 0}),
        ("Si1C4", {(5, 5): 0}),
        ("Si3C6", {(3, 5): 3, (5, 5): 0}),
    ],
)
def test_rings_touch_as_they_should(defects, kind, touching):
    rings = find_rings(connect(defects[kind]))
    assert {sizes: count_shared(rings, *sizes) for sizes in touching} == touching


@pytest.mark.parametrize(
    ("kind", "around"),
    [
        ("Si1C3", ["CCC"]),
        ("Si1C4", ["CCCC"]),
        ("Si2C4", ["CCSi"] * 2),
        ("Si3C6", ["CCSiSi"] * 3),
    ],
)
def test_silicon_has_the_neighbors_of_its_formula(defects, kind, around):
    graph = connect(defects[kind])
    symbols = dict(graph.nodes(data="symbol"))
    silicon = [atom for atom in graph if symbols[atom] == "Si"]
    assert ["".join(sorted(symbols[n] for n in graph[atom])) for atom in silicon] == around
    carbon = {n for atom in silicon for n in graph[atom]} - set(silicon)
    assert kind == f"Si{len(silicon)}C{len(carbon)}"


@pytest.mark.parametrize("kind", KINDS)
def test_only_atoms_of_vacancies_dangle(defects, kind):
    inner = connect(defects[kind], radius=7)
    degree = connect(defects[kind]).degree
    n_dangling = sum(degree[atom] == 2 for atom in inner)
    assert n_dangling == {"V_C": 3, "2V_C": 4, "5-9": 1}.get(kind, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_atoms_far_away_stay_and_the_others_keep_their_order(sheet, defects, kind):
    distance = np.hypot(*(sheet.positions[:, :2] - PLACE).T)
    far = sheet.positions[distance > 16]
    moved = cKDTree(defects[kind].positions).query(far)[0]
    assert moved.max() == 0
    left = cKDTree(sheet.positions).query(defects[kind].positions)[1]
    if kind not in {"55-77", "555-777", "5555-6-7777"}:  # turned bonds take new places
        assert (np.diff(left) > 0).all()
        np.testing.assert_array_equal(defects[kind].arrays["site"], sheet.arrays["site"][left])


@pytest.mark.parametrize(("kind", "n_atoms"), [("V_C", 1), ("2V_C", 2)])
def test_vacancies_that_are_not_closed_move_nothing(sheet, kind, n_atoms):
    atom = int(np.argmin(np.hypot(*(sheet.positions[:, :2] - PLACE).T)))
    place = sheet.positions[atom, :2]
    left = insert_defect(sheet, kind, tuple(place), np.random.default_rng(1))
    distance, found = cKDTree(sheet.positions).query(left.positions)
    assert distance.max() < 1e-6
    gone = np.setdiff1d(np.arange(len(sheet)), found)
    assert atom in gone
    assert len(gone) == n_atoms


def test_shapes_have_the_symmetry_of_their_bonds(sheet, defects):
    graph = connect(defects["555-777"])
    heptagons = [ring for ring in find_rings(graph) if len(ring) == 7]
    (middle,) = set.intersection(*heptagons)
    star = [graph[middle][n]["length"] for n in graph[middle]]
    assert np.ptp(star) < 0.005
    silicon = connect(defects["Si3C6"])
    lengths = [length for _, _, length in silicon.edges(data="length") if length > 1.6]
    assert np.ptp(sorted(lengths)[:6]) < 0.005
    assert np.ptp(sorted(lengths)[6:]) < 0.005
    turned = connect(defects["55-77"])  # its bond is the one that the heptagons share
    bond = set.intersection(*(ring for ring in find_rings(turned) if len(ring) == 7))
    assert turned.edges[tuple(bond)]["length"] == min(
        turned.edges[e]["length"] for e in turned.edges
    )


@pytest.mark.parametrize("kind", KINDS)
def test_turned_sheets_give_turned_defects(sheet, defects, kind):
    turned = sheet.copy()
    turned.rotate(37, "z", center=(*PLACE, 0))
    turned = insert_defect(turned, kind, PLACE, np.random.default_rng(0))
    turned.rotate(-37, "z", center=(*PLACE, 0))
    np.testing.assert_allclose(turned.positions, defects[kind].positions, atol=2e-3)
    np.testing.assert_array_equal(turned.numbers, defects[kind].numbers)


@pytest.mark.parametrize(("kind", "n_orientations"), [("5-9", 3), ("5-8-5", 3), ("V_C", 1)])
def test_orientations_are_drawn(sheet, kind, n_orientations):
    atom = int(np.argmin(np.hypot(*(sheet.positions[:, :2] - PLACE).T)))
    place = tuple(sheet.positions[atom, :2])
    rng = np.random.default_rng(1)
    different = []
    for _ in range(7):
        points = insert_defect(sheet, kind, place, rng).positions
        if all(np.abs(points - other).max() > 0.1 for other in different):
            different.append(points)
    assert len(different) == n_orientations


@pytest.mark.parametrize("kind", ["555-777", "5555-6-7777"])
def test_bonds_that_turn_are_drawn_and_repeat_with_the_seed(sheet, kind):
    first, again, *others = (
        insert_defect(sheet, kind, PLACE, np.random.default_rng(s)).positions for s in (0, 0, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert max(np.abs(first - other).max() for other in others) > 0.3


@pytest.mark.parametrize("kind", ["5-8-5", "5555-6-7777", "Si3C6"])
def test_a_second_defect_leaves_the_first_as_it_is(sheet, kind):
    rng = np.random.default_rng(2)
    both = insert_defect(sheet, kind, (14.0, 20.0), rng)
    both = insert_defect(both, "555-777", (28.0, 27.0), rng)
    assert list_sizes(connect(both, (14, 20), 7)) == EXPECTED[kind][1]
    assert list_sizes(connect(both, (28, 27), 7.5)) == EXPECTED["555-777"][1]


def test_strained_sheets_keep_their_strain(sheet):
    strained = strain_sheet(sheet, np.array([[0.02, 0.01], [0.01, -0.02]]))
    graph = connect(insert_defect(strained, "5-8-5", PLACE, np.random.default_rng(0)))
    assert list_sizes(graph) == [5, 5, 8]


def test_the_sheet_given_is_not_changed(sheet):
    before = sheet.copy()
    insert_defect(sheet, "Si3C6", PLACE, np.random.default_rng(0))
    assert sheet == before


def test_unknown_kinds_are_refused(sheet):
    with pytest.raises(ConfigError, match=r"kind: must be one of V_C, .* \(got '5-7'\)"):
        insert_defect(sheet, "5-7", PLACE, np.random.default_rng(0))


@pytest.mark.parametrize("place", [(3.0, 20.0), (-30.0, 20.0), (np.nan, 20.0), (25.0, 26.0)])
@pytest.mark.parametrize("kind", ["V_C", "55-77"])
def test_places_without_an_intact_honeycomb_are_refused(defects, kind, place):
    with pytest.raises(ConfigError, match=r"place: must have only six-rings .* \(got"):
        insert_defect(defects["55-77"], kind, place, np.random.default_rng(0))


@pytest.mark.parametrize(
    "other",
    [
        Atoms(),
        make_sheet(get_material("h-BN"), (46, 42)),
        make_sheet(get_material("MoS2"), (46, 42)),
    ],
    ids=["nothing", "h-BN", "MoS2"],
)
@pytest.mark.parametrize("kind", ["V_C", "55-77"])
def test_other_sheets_are_refused(other, kind):
    with pytest.raises(ConfigError, match="carbon"):
        insert_defect(other, kind, PLACE, np.random.default_rng(0))
