"""Bonds by the rules of chemistry, and rings of a flat graph."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from adatom.analyze.graph import build_graph, find_rings
from adatom.core.chemistry import Chemistry, make_chemistry
from adatom.core.materials import get_material

GRAPHENE = make_chemistry(get_material("graphene"))


def test_a_honeycomb_has_three_bonds_an_atom_and_rings_of_six(make_honeycomb):
    places, labels = make_honeycomb(40, noise=0.05)
    graph = build_graph(places, labels, GRAPHENE)
    inner = (np.abs(places) < 17).all(axis=1)
    assert (graph.n_neighbors[inner] == 3).all()
    assert set(graph.rings.sizes) == {6}
    np.testing.assert_allclose(graph.rings.areas.mean(), 2.461**2 * 0.75**0.5, rtol=0.01)
    for ring in range(0, len(graph.rings), 7):
        members = graph.rings[ring]
        assert all(
            b in graph.neighbors[a] for a, b in zip(members, np.roll(members, 1), strict=True)
        )


@pytest.mark.parametrize(("n_missing", "size"), [(1, 12), (2, 14)])
def test_missing_atoms_leave_a_larger_ring(make_honeycomb, n_missing, size):
    places, labels = make_honeycomb(30)
    nearest = np.argsort(np.hypot(*places.T))
    graph = build_graph(places, labels, GRAPHENE)
    one = nearest[0]
    gone = [one, graph.neighbors[one][0]][:n_missing]
    kept = np.delete(np.arange(len(places)), gone)
    sizes = build_graph(places[kept], labels[kept], GRAPHENE).rings.sizes
    assert sorted(sizes)[-2:] == [6, size]


def test_too_many_neighbors_lose_the_longest_bonds():
    places = np.array([(0, 0), (0, 1.4), (1.45, 0), (0, -1.5), (-1.55, 0)], float)
    graph = build_graph(places, np.full(5, "C"), GRAPHENE)
    np.testing.assert_array_equal(graph.neighbors[0], [1, 2, 3])
    silicon = build_graph(places, np.array(["Si", *"CCCC"]), GRAPHENE)
    assert silicon.n_neighbors[0] == 4


@pytest.mark.parametrize(("labels", "length", "is_bond"), [
    ("C C", 1.74, True), ("C Si", 2.09, True), ("C Si", 2.11, False), ("Si Si", 2.49, True),
    ("Si Si", 2.51, False), ("C C", 2.09, True), ("C C", 2.11, False), ("C Au", 1.74, True),
    ("C Au", 1.76, False),
])  # fmt: skip
def test_the_longest_bond_is_that_of_the_pair(labels, length, is_bond):
    places = np.array([(0.0, 0.0), (length, 0.0)])
    graph = build_graph(places, np.array(labels.split()), GRAPHENE)
    assert len(graph.bonds) == is_bond
    np.testing.assert_allclose(graph.lengths, [length] * is_bond)


def test_atoms_that_lack_a_neighbor_are_bonded_farther_but_not_across_a_ring(make_honeycomb):
    places, labels = make_honeycomb(30)
    graph = build_graph(places, labels, GRAPHENE)
    gone = np.argsort(np.hypot(*places.T))[0]
    dangling = graph.neighbors[gone]
    moved = places.copy()
    middle = places[dangling[:2]].mean(axis=0)
    moved[dangling[:2]] += 0.2 * (middle - places[dangling[:2]])  # 2.46 to 1.97 Å
    kept = np.delete(np.arange(len(places)), gone)
    sizes = build_graph(moved[kept], labels[kept], GRAPHENE).rings.sizes
    assert sorted(sizes[sizes != 6]) == [5, 9]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(3, 60), share=st.floats(0.4, 1))
def test_rings_obey_euler_and_cover_what_they_enclose(seed, n, share):
    """Bonds of a triangulation: faces = bonds - atoms + parts of the graph, of what is in rings."""
    rng = np.random.default_rng(seed)
    places = rng.random((n, 2)) * 10
    triangles = Delaunay(places).simplices
    bonds = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    bonds = bonds[rng.random(len(bonds)) < share]
    rings = find_rings(places, bonds)
    graph = nx.Graph(bonds.tolist())
    graph.remove_edges_from(list(nx.bridges(graph)))
    n_faces = (
        graph.number_of_edges() - graph.number_of_nodes() + nx.number_connected_components(graph)
    )
    if nx.number_connected_components(graph) == 1:
        assert len(rings) == n_faces
    assert n_faces / 2 <= len(rings) <= n_faces  # a part inside another one's ring has its own
    assert (rings.areas > 0).all()
    if share == 1:
        np.testing.assert_allclose(
            rings.areas.sum(),
            sum(
                abs(np.cross(places[b] - places[a], places[c] - places[a])) / 2
                for a, b, c in triangles
            ),
        )


def test_rings_do_not_depend_on_the_order_of_atoms_or_the_turn(make_honeycomb):
    places, labels = make_honeycomb(25, noise=0.1)
    order = np.random.default_rng(1).permutation(len(places))[5:]
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    graphs = [
        build_graph(points[order], labels[order], GRAPHENE) for points in (places, places @ turn)
    ]
    rings = [
        {frozenset(order[graph.rings[r]]) for r in range(len(graph.rings))} for graph in graphs
    ]
    assert rings[0] == rings[1]


def test_networkx_gets_places_labels_and_lengths():
    places = np.array([(0.0, 0.0), (0.0, 1.5)])
    graph = build_graph(places, np.array(["C", "Si"]), GRAPHENE).to_networkx()
    assert graph.nodes[1] == {"y": 0.0, "x": 1.5, "label": "Si"}
    assert graph.edges[0, 1]["length"] == 1.5


def test_nothing_and_single_atoms_have_no_bonds():
    rules = Chemistry(hosts=("A",), use_formulas=False, bonds={"A-A": 2.0}, neighbors={"A": 3})
    for n in (0, 1):
        graph = build_graph(np.zeros((n, 2)), np.full(n, "A"), rules)
        assert len(graph.bonds) == len(graph.rings) == 0
        assert len(graph.neighbors) == n
