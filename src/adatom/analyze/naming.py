"""Names of defects: formulas, sites, rings; numbers for what has no name."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from adatom.analyze.graph import Graph
from adatom.analyze.marks import MOST_RING, Cluster
from adatom.core.materials import Material

RING_NAMES = {  # sizes in order: how the literature writes them (Banhart, Kotakoski and
    # Krasheninnikov, ACS Nano 5 (2011) 26)
    (5, 7): "5-7",
    (5, 5, 7, 7): "55-77",
    (5, 9): "5-9",
    (5, 5, 8): "5-8-5",
    (5, 5, 5, 7, 7, 7): "555-777",
    (5, 5, 5, 5, 7, 7, 7, 7): "5555-6-7777",
}
MOST_MARKS = 12  # of a defect with wrong rings and empty sites that has a name
LINE = 3  # vacancies in a row
STRAIGHT = 0.2  # spread across the line, over the distance of neighboring vacancies
N_ROUNDS = 4  # of the hash: how far it sees
CLOSED = ("topological", "dopant")  # kinds whose graph says all


def name_cluster(
    cluster: Cluster, graph: Graph, grains: np.ndarray, material: Material | None
) -> tuple[str, str]:
    """Name a defect.

    Parameters
    ----------
    cluster : Cluster
        Its marks.
    graph : Graph
        Atoms and bonds.
    grains : (N,) int array
        Grain of each atom, -1 for none.
    material : Material or None
        Whose elements stand in the names of sites and vacancies.

    Returns
    -------
    kind : str
        `dopant`, `vacancy`, `antisite`, `contrast`, `topological`, `adatom`, `edge`, `boundary`,
        `disorder` or `complex`.
    name : str
        Such as Si1C3, dopant_Mo, V_S, 2V_S, V_MoS3, Mo_S2, faint, 5-8-5; empty if it has none.
    """
    kind = _find_kind(cluster, grains)
    if kind == "dopant":
        return kind, _name_foreign(cluster, graph, material)
    if kind == "topological":
        rings = tuple(sorted(int(size) for size in cluster.list("ring")))
        return kind, RING_NAMES.get(rings, "")
    if kind == "vacancy":
        return kind, _name_vacancies(cluster, material)
    if kind in {"edge", "boundary", "disorder"}:
        return kind, {"boundary": "grain boundary", "disorder": "disordered region"}.get(kind, kind)
    odd = cluster.list("contrast")
    if kind == "contrast" and len(set(odd)) == 1 and _is_line(cluster, kind):
        return kind, f"{odd[0]} line"
    parts = _count(cluster.list("antisite"), material, "{}")
    parts += _count(odd, material, "{}")
    parts += _count(cluster.list("vacancy"), material, "V_{}")
    parts += _count(cluster.list("extra"), material, "{}_i")
    return kind, "+".join(parts)


def _find_kind(cluster: Cluster, grains: np.ndarray) -> str:
    """The first kind whose rule a cluster meets."""
    kinds = {mark.kind for mark in cluster.marks}
    largest = max((int(size) for size in cluster.list("ring")), default=0)
    of_grains = set(grains[np.union1d(cluster.atoms, cluster.shell)].tolist()) - {-1}
    rules = (
        (kinds == {"foreign"}, "dopant"),
        (len(of_grains) > 1 and kinds <= {"ring", "vacancy", "edge", "extra"}, "boundary"),
        (len(cluster.marks) > MOST_MARKS and {"ring", "vacancy"} <= kinds, "disorder"),
        ("edge" in kinds and "antisite" not in kinds, "edge"),
        (kinds == {"extra"}, "adatom"),
        (kinds == {"ring"}, "topological"),
        (kinds == {"ring", "vacancy"} and largest <= MOST_RING, "topological"),
        (kinds <= {"ring", "vacancy"}, "vacancy"),
        (kinds <= {"ring", "antisite"}, "antisite"),
        (kinds <= {"contrast", "vacancy"}, "contrast"),
    )
    return next((kind for is_met, kind in rules if is_met), "complex")


def _name_foreign(cluster: Cluster, graph: Graph, material: Material | None) -> str:
    """Formula of foreign atoms and their neighbors; or the site of the one there is."""
    names = cluster.list("foreign")
    if "_" in names[0]:
        return _tell(names[0], material)
    inner = Counter(names)
    outer = Counter(str(label) for label in graph.labels[cluster.shell])
    parts = [*sorted(inner.items()), *sorted(outer.items())]
    return "".join(f"{label}{count}" for label, count in parts)


def _name_vacancies(cluster: Cluster, material: Material | None) -> str:
    """One formula for what lacks, or how often, or that it is a line."""
    missing = cluster.list("vacancy")
    if len(set(missing)) == 1 and missing[0] in {"X", "X2"} and _is_line(cluster, "vacancy"):
        return f"V_{_tell(missing[0], material)} line"
    if "M" in missing and len(missing) > 1:
        n_metal = missing.count("M")
        n_other = sum(2 if label == "X2" else 1 for label in missing if label != "M")
        metal, other = _tell("M", material), _tell("X", material)
        formula = f"{metal}{n_metal if n_metal > 1 else ''}{other}{n_other if n_other > 1 else ''}"
        return f"V_{formula}" if n_other else f"{n_metal}V_{metal}"
    return "+".join(_count(missing, material, "V_{}"))


def _is_line(cluster: Cluster, kind: str) -> bool:
    """Whether three vacancies or more, or other marks of one kind, lie in a row."""
    places = np.array([mark.place for mark in cluster.marks if mark.kind == kind])
    if len(places) < LINE:
        return False
    _, sizes, _ = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    apart = np.median(cKDTree(places).query(places, k=2)[0][:, 1])
    return bool(sizes[1] / len(places) ** 0.5 < STRAIGHT * apart)


def _count(labels: Sequence[str], material: Material | None, form: str) -> list[str]:
    """ "V_S" once, "2V_S" twice."""
    counts = sorted(Counter(labels).items())
    return [
        f"{count if count > 1 else ''}{form.format(_tell(label, material))}"
        for label, count in counts
    ]


def _tell(label: str, material: Material | None) -> str:
    """Roles as elements, where they are known: M_X2 is Mo_S2, X is S."""
    if material is None:
        return label
    elements = dict(material.elements)
    told = []
    for part in label.split("_"):
        if part == "X":
            told.append(elements.get("X2", "X"))
        else:
            told.append(material.name_column(part))
    return "_".join(told)


def hash_cluster(cluster: Cluster, graph: Graph, kind: str) -> str:
    """What isomorphic defects share: a hash of the graph of their atoms and neighbors.

    Parameters
    ----------
    cluster : Cluster
        Its marks.
    graph : Graph
        Atoms and bonds.
    kind : str
        Of the defect. Where bonds are closed (topological, dopant) the graph alone counts: which
        sites are empty is then a matter of hundredths of an Å.

    Returns
    -------
    str
        Of the same graph with the same labels, and elsewhere the same empty sites, always the same.

    Notes
    -----
    Weisfeiler and Lehman, Nauchno-Technicheskaya Informatsia 2 (1968) 12, in networkx. Two graphs
    of one hash are all but surely, but not provably, isomorphic.
    """
    import networkx as nx

    inner = np.union1d(cluster.atoms, cluster.shell)
    around = np.unique(np.concatenate([inner, *(graph.neighbors[atom] for atom in inner)]))
    part = nx.Graph()
    atoms = set(cluster.atoms.tolist())
    for atom in around.tolist():
        part.add_node(atom, label=f"{graph.labels[atom]}{'*' if atom in atoms else ''}")
    for atom in around.tolist():
        part.add_edges_from((atom, int(other)) for other in graph.neighbors[atom] if other in part)
    missing = "" if kind in CLOSED else ",".join(cluster.list("vacancy"))
    return missing + nx.weisfeiler_lehman_graph_hash(part, node_attr="label", iterations=N_ROUNDS)
