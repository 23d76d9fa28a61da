"""What breaks the lattice or its graph: foreign atoms, empty sites, wrong rings, edges."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from adatom.analyze.graph import Graph
from adatom.analyze.lattice import Lattices
from adatom.analyze.waves import find_spacing
from adatom.core.chemistry import Chemistry

LACKING = "X1"  # a column of the lattice without one of its atoms
MOST_RING = 9  # members of a ring of reconstructed defects; larger ones are around holes
LARGEST_RING = 24  # members: what is larger is a hole or the outside
RIM = 1.35  # usual distances of neighbors: atoms around an empty site
JOINED = 1.25  # shortest lattice vectors: vacancies of one defect
NEAR_BORDER = 1.2  # longest bonds: an atom there may lack neighbors that the image does not show


@dataclass(frozen=True)
class Mark:
    """One thing that is not as in the perfect lattice.

    Attributes
    ----------
    kind : {"foreign", "vacancy", "antisite", "contrast", "extra", "ring", "edge"}
        What it is.
    what : str
        Label of the foreign or extra atom or of what lacks, "M_X2" of an antisite, "faint" or
        "bright", size of a ring.
    place : (2,) array
        [y, x], Å.
    atoms : (n,) int array
        Atoms that it is made of; none for an empty site.
    around : (m,) int array
        Atoms that it touches beside these.
    ring : int
        Number of the ring, -1 for what is none.
    """

    kind: str
    what: str
    place: np.ndarray
    atoms: np.ndarray
    around: np.ndarray
    ring: int = -1


@dataclass(frozen=True)
class Cluster:
    """Marks that make up one defect.

    Attributes
    ----------
    marks : tuple of Mark
        What it consists of.
    """

    marks: tuple[Mark, ...]

    @property
    def atoms(self) -> np.ndarray:
        """Its atoms, sorted; those of the ring that a vacancy leaves are not its own."""
        is_hole = any(mark.kind == "vacancy" for mark in self.marks)
        parts = [
            mark.atoms
            for mark in self.marks
            if not (is_hole and mark.kind == "ring" and int(mark.what) > MOST_RING)
        ]
        return np.unique(np.concatenate([np.empty(0, int), *parts]))

    @property
    def shell(self) -> np.ndarray:
        """Atoms around these, sorted."""
        around = np.concatenate([mark.around for mark in self.marks])
        return np.setdiff1d(around, self.atoms)

    @property
    def place(self) -> np.ndarray:
        """[y, x] of its middle, Å."""
        return np.asarray(np.mean([mark.place for mark in self.marks], axis=0))

    def list(self, kind: str) -> list[str]:
        """What the marks of a kind are, sorted."""
        found = [mark.what for mark in self.marks if mark.kind == kind]
        return sorted(found, key=int) if kind == "ring" else sorted(found)


def find_border_atoms(graph: Graph, area: np.ndarray, chemistry: Chemistry) -> np.ndarray:
    """Which atoms may have neighbors that the image does not show, (N,) bool."""
    low, high = area + NEAR_BORDER * chemistry.longest * np.array([[1.0], [-1.0]])
    return np.asarray(((graph.places < low) | (graph.places > high)).any(axis=1))


def find_clusters(
    graph: Graph,
    lattices: Lattices,
    chemistry: Chemistry,
    at_border: np.ndarray,
    contrast: np.ndarray,
) -> list[Cluster]:
    """Group whatever is not as in the perfect lattice into defects.

    Parameters
    ----------
    graph : Graph
        Atoms and bonds.
    lattices : Lattices
        Of the same atoms.
    chemistry : Chemistry
        Hosts, and the ring of the perfect lattice.
    at_border : (N,) bool array
        Atoms whose neighbors may be outside the image: they are not judged by them.
    contrast : (N,) array of str
        "faint" or "bright", "" for usual atoms.

    Returns
    -------
    list of Cluster
        Foreign atoms that are bonded to each other are one defect, and own the wrong rings (where
        they are named by formula, also the vacancies) beside them. Of what remains, marks that
        share atoms are one, and vacancies of neighboring sites.
    """
    if len(graph.places) < 2:
        return []
    spacing = find_spacing(graph.places)
    foreign = _mark_foreign(graph, chemistry)
    owned = np.zeros(len(graph.places), bool)
    for cluster in foreign:
        owned[cluster.atoms] = True
    if not chemistry.use_formulas:
        foreign = [_tell_site(cluster, lattices) for cluster in foreign]
    marks = _mark_vacancies(graph, lattices, spacing)
    marks += _mark_antisites(graph, lattices, owned)
    marks += _mark_contrast(graph, contrast, owned)
    marks += _mark_rings(graph, chemistry, at_border)
    explained = owned | at_border
    for mark in [*marks, *(mark for cluster in foreign for mark in cluster.marks)]:
        explained[mark.atoms] = explained[mark.around] = True
    marks += _mark_loose(graph, lattices, chemistry, explained)
    # By formulas, foreign atoms own what is beside them; by sites, only what they do to rings.
    may_own = {mark.kind for mark in marks} if chemistry.use_formulas else {"ring", "edge"}
    free = [
        mark
        for mark in marks
        if mark.kind not in may_own or not owned[np.append(mark.atoms, mark.around)].any()
    ]
    return foreign + _join(free, lattices)


def _mark_foreign(graph: Graph, chemistry: Chemistry) -> list[Cluster]:
    """Bonded groups of foreign atoms with formulas; else each by itself."""
    is_foreign = ~np.isin(graph.labels, chemistry.hosts)
    bonds = graph.bonds[is_foreign[graph.bonds].all(axis=1)]
    if not chemistry.use_formulas:
        bonds = bonds[:0]
    n = len(graph.places)
    _, group = connected_components(coo_matrix((np.ones(len(bonds)), tuple(bonds.T)), (n, n)))
    atoms = np.flatnonzero(is_foreign)
    clusters = []
    atoms = atoms[np.argsort(group[atoms], kind="stable")]
    for mine in np.split(atoms, np.flatnonzero(np.diff(group[atoms])) + 1) if len(atoms) else ():
        marks = tuple(
            Mark(
                "foreign",
                str(graph.labels[atom]),
                graph.places[atom],
                np.array([atom]),
                graph.neighbors[atom],
            )
            for atom in mine
        )
        clusters.append(Cluster(marks))
    return clusters


def _tell_site(cluster: Cluster, lattices: Lattices) -> Cluster:
    """Foreign atom with the site that it takes in its name."""
    (mark,) = cluster.marks
    row = lattices.of_atom[mark.atoms[0]]
    site = str(lattices.sites["label"].iloc[row]) if row >= 0 else "i"
    told = f"{mark.what}_{site}"
    return Cluster((Mark(mark.kind, told, mark.place, mark.atoms, mark.around),))


def _mark_vacancies(graph: Graph, lattices: Lattices, spacing: float) -> list[Mark]:
    """Empty sites, and columns that lack an atom."""
    sites = lattices.sites
    empty = sites[sites["atom"] < 0]
    places = empty[["y", "x"]].to_numpy()
    near = cKDTree(graph.places).query_ball_point(places, RIM * spacing) if len(empty) else []
    marks = [
        Mark("vacancy", str(label), place, np.empty(0, int), np.array(sorted(around), int))
        for label, place, around in zip(empty["label"], places, near, strict=True)
    ]
    for atom in np.flatnonzero(graph.labels == LACKING):
        row = lattices.of_atom[atom]
        is_host = row >= 0 and sites["label"].iloc[row][:1] == LACKING[:1]
        if is_host or not lattices.grains:
            here, around = np.array([atom]), graph.neighbors[atom]
            marks.append(Mark("vacancy", "X", graph.places[atom], here, around))
    return marks


def _mark_antisites(graph: Graph, lattices: Lattices, owned: np.ndarray) -> list[Mark]:
    """Atoms of the lattice on sites of other atoms of it."""
    if lattices.sites.empty:
        return []
    labels = np.array(lattices.sites["label"].tolist(), str)
    on_site = np.flatnonzero((lattices.of_atom >= 0) & ~owned)
    own, site = graph.labels[on_site], labels[lattices.of_atom[on_site]]
    is_wrong = _name_sublattices(own) != _name_sublattices(site)
    return [
        Mark(
            "antisite",
            f"{graph.labels[atom]}_{at}",
            graph.places[atom],
            np.array([atom]),
            graph.neighbors[atom],
        )
        for atom, at in zip(on_site[is_wrong], site[is_wrong], strict=True)
    ]


def _mark_contrast(graph: Graph, contrast: np.ndarray, owned: np.ndarray) -> list[Mark]:
    """Columns that are fainter or brighter than those of their kind."""
    return [
        Mark(
            "contrast",
            str(contrast[atom]),
            graph.places[atom],
            np.array([atom]),
            graph.neighbors[atom],
        )
        for atom in np.flatnonzero((contrast != "") & ~owned)
    ]


def _name_sublattices(labels: np.ndarray) -> np.ndarray:
    return np.where(np.isin(labels, ("X1", "X2")), "X", labels)


def _mark_rings(graph: Graph, chemistry: Chemistry, at_border: np.ndarray) -> list[Mark]:
    """Rings of another size than the lattice has, holes left out."""
    if chemistry.ring is None:
        return []
    rings = graph.rings
    sizes = rings.sizes
    marks = []
    for ring in np.flatnonzero((sizes != chemistry.ring) & (sizes <= LARGEST_RING)):
        members = np.unique(rings[ring])
        if not at_border[members].any():
            nobody = np.empty(0, int)
            told = str(sizes[ring])
            marks.append(Mark("ring", told, rings.centers[ring], members, nobody, int(ring)))
    return marks


def _mark_loose(
    graph: Graph, lattices: Lattices, chemistry: Chemistry, explained: np.ndarray
) -> list[Mark]:
    """Atoms at an edge of the sheet, and atoms on no site, that nothing else explains."""
    usual = np.array([chemistry.neighbors.get(label, 0) for label in graph.labels], int)
    is_part = (lattices.of_atom >= 0) | (graph.n_neighbors > 0)
    return [
        Mark(
            "edge" if is_part[atom] else "extra",
            str(graph.labels[atom]),
            graph.places[atom],
            np.array([atom]),
            graph.neighbors[atom],
        )
        for atom in np.flatnonzero(~explained & (graph.n_neighbors < usual))
    ]


def _join(marks: list[Mark], lattices: Lattices) -> list[Cluster]:
    """Clusters of marks that share an atom, and of vacancies on neighboring sites."""
    if not marks:
        return []
    n = len(marks)
    touched = [np.union1d(mark.atoms, mark.around) for mark in marks]
    owner = np.repeat(np.arange(n), [len(each) for each in touched])
    atom = np.concatenate(touched).astype(int)
    is_vacancy = np.array([mark.kind in {"vacancy", "antisite", "contrast"} for mark in marks])
    # Rings, edges and empty sites are joined by the atoms they share, columns by their distance.
    empty_or_not = np.array(
        [mark.kind in {"ring", "edge"} or not len(mark.atoms) for mark in marks]
    )
    keep = empty_or_not[owner]
    n_atoms = int(atom.max()) + 1 if len(atom) else 1
    shared = coo_matrix((np.ones(keep.sum()), (owner[keep], atom[keep])), (n, n_atoms)).tocsr()
    links = shared @ shared.T
    chosen = np.flatnonzero(is_vacancy)
    if len(chosen) > 1 and lattices.grains:
        reach = JOINED * min(lattices.grains[0].lengths)
        places = np.array([marks[mark].place for mark in chosen])
        pairs = chosen[cKDTree(places).query_pairs(reach, output_type="ndarray")]
        links = links + coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), (n, n)).tocsr()
    _, group = connected_components(links, directed=False)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [Cluster(tuple(marks[mark] for mark in part)) for part in parts]
