"""Atoms and the bonds between them as a graph, and the rings it is made of."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from adatom.core.chemistry import Chemistry

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True)
class Graph:
    """Atoms of one image and their bonds.

    Attributes
    ----------
    places : (N, 2) array
        [y, x] of the atoms, Å.
    labels : (N,) array of str
        Their labels.
    bonds : (B, 2) int array
        Two atoms each, the smaller number first.
    lengths : (B,) array
        Å.
    """

    places: np.ndarray
    labels: np.ndarray
    bonds: np.ndarray
    lengths: np.ndarray

    @cached_property
    def n_neighbors(self) -> np.ndarray:
        """Bonds of each atom, (N,)."""
        return np.bincount(self.bonds.ravel(), minlength=len(self.places))

    @cached_property
    def neighbors(self) -> tuple[np.ndarray, ...]:
        """Atoms bonded to each atom."""
        both = np.concatenate([self.bonds, self.bonds[:, ::-1]])
        both = both[np.lexsort(both.T[::-1])]
        ends = np.cumsum(np.bincount(both[:, 0], minlength=len(self.places)))
        return tuple(np.split(both[:, 1], ends[:-1])) if len(self.places) else ()

    @cached_property
    def rings(self) -> "Rings":
        """All rings."""
        return find_rings(self.places, self.bonds)

    def to_networkx(self) -> "nx.Graph":
        """The graph for networkx: nodes with `y`, `x`, `label`, edges with `length`."""
        import networkx as nx

        graph = nx.Graph()
        for atom, ((y, x), label) in enumerate(zip(self.places, self.labels, strict=True)):
            graph.add_node(atom, y=float(y), x=float(x), label=str(label))
        for (one, other), length in zip(self.bonds.tolist(), self.lengths, strict=True):
            graph.add_edge(one, other, length=float(length))
        return graph


@dataclass(frozen=True)
class Rings:
    """Faces of a planar graph.

    Attributes
    ----------
    members : (E,) int array
        Atoms, ring after ring, in order around each.
    starts : (R + 1,) int array
        Ring r holds `members[starts[r] : starts[r + 1]]`.
    areas : (R,) array
        Å².
    centers : (R, 2) array
        Mean place of the members, [y, x], Å.
    """

    members: np.ndarray
    starts: np.ndarray
    areas: np.ndarray
    centers: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    def __getitem__(self, ring: int | np.integer) -> np.ndarray:
        return self.members[self.starts[ring] : self.starts[ring + 1]]

    @property
    def sizes(self) -> np.ndarray:
        """Members of each ring, (R,)."""
        return np.diff(self.starts)

    @property
    def of_member(self) -> np.ndarray:
        """Ring of each entry of `members`, (E,)."""
        return np.repeat(np.arange(len(self)), self.sizes)


def build_graph(places: np.ndarray, labels: np.ndarray, chemistry: Chemistry) -> Graph:
    """Connect atoms that can be bonded.

    Parameters
    ----------
    places : (N, 2) array
        [y, x], Å.
    labels : (N,) array of str
        Elements or roles.
    chemistry : Chemistry
        Longest bonds, and most neighbors. Labels it does not know have bonds as hosts. Two atoms of
        the lattice that still lack a neighbor may be farther apart, by its `stretch`.

    Returns
    -------
    Graph
        An atom that would have too many neighbors keeps those that are nearest.

    Notes
    -----
    Rules and the case of silicon in graphene: Ziatdinov et al., ACS Nano 11 (2017) 12742.
    """
    places = np.asarray(places, float).reshape(-1, 2)
    labels = np.asarray(labels, str)
    kinds, kind = np.unique(labels, return_inverse=True)
    limits = np.zeros((len(kinds), len(kinds)))
    for one, other in np.ndindex(limits.shape):
        limits[one, other] = chemistry.bond_limit(str(kinds[one]), str(kinds[other]))
    most = np.array([chemistry.neighbors.get(label, len(labels)) for label in kinds], int)[kind]
    pairs = np.empty((0, 2), int)
    if len(places) > 1:
        reach = chemistry.longest * chemistry.stretch
        pairs = cKDTree(places).query_pairs(reach, output_type="ndarray")
    lengths = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    limit = limits[kind[pairs[:, 0]], kind[pairs[:, 1]]]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], lengths))
    pairs, lengths, limit = np.sort(pairs, axis=1)[order], lengths[order], limit[order]
    is_bond = lengths <= limit
    bonds, sizes = _drop_longest(pairs[is_bond], lengths[is_bond], most)
    lacking = np.bincount(bonds.ravel(), minlength=len(places)) < most
    lacking &= np.isin(labels, chemistry.hosts)
    may = ~is_bond & (lengths <= chemistry.stretch * limit) & lacking[pairs].all(axis=1)
    may[may] = ~_share_neighbor(pairs[may], bonds, len(places))
    bonds, sizes = np.concatenate([bonds, pairs[may]]), np.concatenate([sizes, lengths[may]])
    order = np.argsort(sizes, kind="stable")
    bonds, sizes = _drop_longest(bonds[order], sizes[order], most)
    order = np.lexsort(bonds.T[::-1])
    return Graph(places, labels, bonds[order], sizes[order])


def _drop_longest(
    pairs: np.ndarray, lengths: np.ndarray, most: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Drop the longest bonds of atoms with too many; bonds come by their length."""
    while len(pairs):
        is_kept = (_count_shorter(pairs) < most[pairs]).all(axis=1)
        if is_kept.all():
            break
        # Of those that must go at one end at least, those first that are the longest at both.
        wrong = np.flatnonzero(~is_kept)
        dropped = wrong[_is_last(pairs[wrong])]
        pairs, lengths = np.delete(pairs, dropped, axis=0), np.delete(lengths, dropped)
    return pairs, lengths


def _share_neighbor(pairs: np.ndarray, bonds: np.ndarray, n_atoms: int) -> np.ndarray:
    """Which pairs have a neighbor in common, (P,): they are second neighbors."""
    matrix = coo_matrix((np.ones(len(bonds), int), tuple(bonds.T)), (n_atoms, n_atoms)).tocsr()
    matrix = matrix + matrix.T
    return np.asarray(matrix[pairs[:, 0]].multiply(matrix[pairs[:, 1]]).sum(axis=1)).ravel() > 0


def _count_shorter(pairs: np.ndarray) -> np.ndarray:
    """How many shorter bonds each end of each bond has, (B, 2); bonds come by their length."""
    ends = pairs.ravel()
    order = np.argsort(ends, kind="stable")
    first = np.searchsorted(ends[order], ends[order])
    count = np.empty(len(ends), int)
    count[order] = np.arange(len(ends)) - first
    return count.reshape(-1, 2)


def _is_last(pairs: np.ndarray) -> np.ndarray:
    """Which bonds are the longest of these at both ends, (B,); bonds come by their length."""
    last = np.zeros(pairs.max() + 1, int)
    np.maximum.at(last, pairs.ravel(), np.repeat(np.arange(len(pairs)), 2))
    return (last[pairs] == np.arange(len(pairs))[:, None]).all(axis=1)


def find_rings(places: np.ndarray, bonds: np.ndarray) -> Rings:
    """Find the rings of a flat graph: the faces that its bonds enclose.

    Parameters
    ----------
    places : (N, 2) array
        [y, x], Å.
    bonds : (B, 2) int array
        No two of them should cross.

    Returns
    -------
    Rings
        Without the outside. Chains with a free end, and bonds that are in no ring, are left out.

    Notes
    -----
    Each bond is walked once in either direction, and at each atom goes on along the next bond
    clockwise; the walks that close are the faces (rotation systems, as in Mohar and Thomassen,
    Graphs on Surfaces, 2001). The time grows with the number of bonds.

    Examples
    --------
    >>> square = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
    >>> find_rings(square, np.array([(0, 1), (1, 2), (2, 3), (0, 3)])).areas
    array([1.])
    """
    bonds = _leave_chains_out(np.asarray(bonds, int).reshape(-1, 2), len(places))
    if len(bonds) == 0:
        nothing = np.empty(0, int)
        return Rings(nothing, np.zeros(1, int), np.empty(0), np.empty((0, 2)))
    start, end = np.concatenate([bonds, bonds[:, ::-1]]).T
    step = places[end] - places[start]
    order = np.lexsort((np.arctan2(step[:, 0], step[:, 1]), start))
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    first = np.searchsorted(start[order], start)  # of the bonds at the same atom
    count = np.bincount(start, minlength=len(places))[start]
    back = np.roll(np.arange(len(start)), len(bonds))  # the same bond the other way
    following = order[first[back] + (rank[back] - first[back] - 1) % count[back]]
    return _collect(places, start, following)


def _leave_chains_out(bonds: np.ndarray, n_atoms: int) -> np.ndarray:
    """Bonds without those that end at an atom with no other."""
    while len(bonds):
        is_free = (np.bincount(bonds.ravel(), minlength=n_atoms) == 1)[bonds].any(axis=1)
        if not is_free.any():
            break
        bonds = bonds[~is_free]
    return bonds


def _collect(places: np.ndarray, start: np.ndarray, following: np.ndarray) -> Rings:
    """Closed walks around an area, from which bond follows which."""
    n = len(start)
    _, face = connected_components(coo_matrix((np.ones(n), (np.arange(n), following)), (n, n)))
    here, there = places[start], places[start[following]]
    cross = here[:, 1] * there[:, 0] - there[:, 1] * here[:, 0]  # x y' - x' y
    areas = np.bincount(face, cross) / 2
    # A bond with the same face at both sides is in no ring: its two ways are in one walk.
    is_bridge = face == np.roll(face, n // 2)
    is_ring = (areas > 0) & (np.bincount(face, is_bridge) == 0)
    number = np.cumsum(is_ring) - 1
    inside = np.flatnonzero(is_ring[face])
    place_in_walk = _number_walks(face, following)[inside]
    order = inside[np.lexsort((place_in_walk, number[face[inside]]))]
    sizes = np.bincount(number[face[inside]], minlength=is_ring.sum())
    starts = np.concatenate([[0], np.cumsum(sizes)])
    members = start[order]
    centers = (
        np.add.reduceat(places[members], starts[:-1]) / sizes[:, None]
        if len(sizes)
        else (np.empty((0, 2)))
    )
    return Rings(members, starts, areas[is_ring], centers)


def _number_walks(face: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Place of each bond in its closed walk, counted from the walk's bond of lowest number."""
    n = len(face)
    # Distance to the end of the walk, by jumps that double: about log2 of the longest walk.
    first = np.full(face.max() + 1, n)
    np.minimum.at(first, face, np.arange(n))
    is_end = np.isin(following, first)
    jump = np.where(is_end, np.arange(n), following)
    left = np.where(is_end, 0, 1)
    while True:
        further = left[jump]
        if not further.any():
            break
        left, jump = left + further, jump[jump]
    return np.bincount(face)[face] - 1 - left
