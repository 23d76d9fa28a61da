"""Defects from the atoms of an image, by the rules of chemistry alone."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from adatom.analyze.graph import Graph, build_graph
from adatom.analyze.lattice import Lattices, find_lattices
from adatom.analyze.marks import Cluster, find_border_atoms, find_clusters
from adatom.analyze.naming import hash_cluster, name_cluster
from adatom.analyze.phantoms import find_phantoms
from adatom.core.chemistry import Chemistry
from adatom.core.materials import Material, find_role
from adatom.core.tables import check_atoms

CLASS = "class "  # and a number: the name of what has none
UNHASHED = ("edge", "boundary", "disorder")  # kinds of any size and shape
DISTORTED = 15.0  # degrees between the largest and the smallest angle of bonds at a foreign atom


@dataclass(frozen=True)
class Defects:
    """Defects of one image.

    Attributes
    ----------
    table : DataFrame
        One row per defect: `frame`, `defect`, `kind`, `name`, `x`, `y` (Å), `n_atoms` (of its
        own), `rings` (sizes of the rings it touches that are not as in the lattice), `bond`,
        `bond_err` (mean length of the bonds to the atoms around it, Å), `angle_spread`,
        `angle_spread_err` (degrees, of the bonds at its foreign atoms), `is_distorted`,
        `is_cut` (at the border of the image), `score` (that its atoms are what they are called),
        `hash` (of its graph).
    members : DataFrame
        `frame`, `defect`, `atom`, `is_shell` (a neighbor, not a member).
    own : tuple of (n,) int array
        Rows of the atoms of each defect, in `atoms` and the graph.
    atoms : DataFrame
        The atoms table without those that scatter nothing (see `find_phantoms`).
    graph : Graph
        Atoms and bonds.
    lattices : Lattices
        Grains and sites.
    """

    table: pd.DataFrame
    members: pd.DataFrame
    own: tuple[np.ndarray, ...]
    atoms: pd.DataFrame
    graph: Graph
    lattices: Lattices


def find_defects(
    atoms: pd.DataFrame,
    chemistry: Chemistry,
    *,
    material: Material | None = None,
    area: np.ndarray | None = None,
) -> Defects:
    """Name whatever breaks the lattice of an image.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table of one frame.
    chemistry : Chemistry
        Bonds, coordination and hosts.
    material : Material, optional
        Its elements stand in the names.
    area : (2, 2) array, optional
        First and last [y, x] of the image, Å; that of the atoms if left out.

    Returns
    -------
    Defects
        Also those that no network was trained on: a defect without a name gets a number, the same
        for all that are alike.

    Raises
    ------
    ImageError
        If the table is no atoms table.

    Notes
    -----
    After Ziatdinov et al., ACS Nano 11 (2017) 12742: atoms to graph to rules of chemistry.
    """
    check_atoms(atoms)
    if area is None and len(atoms):
        area = np.array([atoms[["y", "x"]].min(), atoms[["y", "x"]].max()])
    lattices = _find_lattices(atoms, area)
    phantom = find_phantoms(atoms, lattices)
    if phantom.any():
        atoms = atoms[~phantom].reset_index(drop=True)
        lattices = _find_lattices(atoms, area)
    places, labels = atoms[["y", "x"]].to_numpy(float), _find_roles(atoms)
    graph = build_graph(places, labels, chemistry)
    at_border = (
        find_border_atoms(graph, np.asarray(area, float), chemistry)
        if area is not None
        else np.zeros(0, bool)
    )
    clusters = find_clusters(graph, lattices, chemistry, at_border)
    known = _Known(
        at_border,
        _column(atoms, "score", 1.0),
        _column(atoms, "score_none", 0.0),
        np.hypot(_column(atoms, "x_err"), _column(atoms, "y_err")) / 2**0.5,
    )
    frame = int(atoms["frame"].iloc[0]) if len(atoms) else 0
    rows, grains = [], lattices.grain_of_atom
    for number, cluster in enumerate(clusters):
        kind, name = name_cluster(cluster, graph, grains, material)
        row = {"frame": frame, "defect": number, "kind": kind, "name": name}
        rows.append(row | _describe(cluster, graph, known))
    hashes = ["" if row["kind"] in UNHASHED else hash_cluster(cluster, graph)
              for row, cluster in zip(rows, clusters, strict=True)]  # fmt: skip
    table = number_classes(_make_table(rows).assign(hash=pd.Series(hashes, dtype="str")))
    members = _list_members(clusters, atoms["atom"].to_numpy(), frame)
    owned = tuple(cluster.atoms for cluster in clusters)
    return Defects(table, members, owned, atoms, graph, lattices)


class _Known(NamedTuple):
    """What is known of each atom."""

    at_border: np.ndarray
    score: np.ndarray
    none: np.ndarray
    error: np.ndarray


def _find_lattices(atoms: pd.DataFrame, area: np.ndarray | None) -> Lattices:
    return find_lattices(atoms[["y", "x"]].to_numpy(float), _find_roles(atoms), area)


def _find_roles(atoms: pd.DataFrame) -> np.ndarray:
    labels = atoms["label"].astype(str)
    return labels.map({label: find_role(label) for label in labels.unique()}).to_numpy(str)


COLUMNS = {
    "frame": "int64",
    "defect": "int64",
    "kind": "str",
    "name": "str",
    "x": "float64",
    "y": "float64",
    "n_atoms": "int64",
    "rings": "str",
    "bond": "float64",
    "bond_err": "float64",
    "angle_spread": "float64",
    "angle_spread_err": "float64",
    "is_distorted": "bool",
    "is_cut": "bool",
    "score": "float64",
}


def _make_table(rows: list[dict]) -> pd.DataFrame:
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in COLUMNS.items()}
    )


def _list_members(clusters: list[Cluster], numbers: np.ndarray, frame: int) -> pd.DataFrame:
    """Atoms of every defect, and those around it."""
    parts = [part for cluster in clusters for part in (cluster.atoms, cluster.shell)]
    sizes = [len(part) for part in parts]
    rows = np.concatenate(parts) if parts else np.empty(0, int)
    part = np.repeat(np.arange(len(parts)), sizes)
    return pd.DataFrame(
        {
            "frame": np.full(len(rows), frame, np.int64),
            "defect": part // 2,
            "atom": numbers[rows].astype(np.int64),
            "is_shell": part % 2 == 1,
        }
    )


def number_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Number what has no name, over all frames of a table: class 1 is the commonest.

    Parameters
    ----------
    table : DataFrame
        Of `find_defects`, or several of them together.

    Returns
    -------
    DataFrame
        With other numbers in `name`; defects of one graph (`hash`) have one.
    """
    unnamed = (table["name"] == "") | table["name"].str.startswith(CLASS)
    counts = table.loc[unnamed, "hash"].value_counts()
    order = sorted(counts.index, key=lambda key: (-counts[key], key))
    names = {key: f"{CLASS}{number}" for number, key in enumerate(order, 1)}
    return table.assign(name=table["name"].where(~unnamed, table["hash"].map(names)))


def _describe(cluster: Cluster, graph: Graph, known: _Known) -> dict[str, object]:
    """Place, size, bonds, and how sure a defect is."""
    own, shell = cluster.atoms, cluster.shell
    (y, x), around = cluster.place, np.union1d(own, shell)
    row: dict[str, object] = {"x": x, "y": y, "n_atoms": len(own)}
    row["rings"] = "-".join(cluster.list("ring"))
    row["is_cut"] = bool(known.at_border[around].any())
    # That all its atoms are there and are what they are called.
    row["score"] = float(np.prod(known.score[own]) * np.prod(1 - known.none[shell]))
    return row | _measure_bonds(cluster, graph, known.error)


def _measure_bonds(cluster: Cluster, graph: Graph, error: np.ndarray) -> dict[str, object]:
    """Mean bond to the atoms around, and how much the angles at foreign atoms differ."""
    own = cluster.atoms
    ends = [(atom, other) for atom in own for other in graph.neighbors[atom] if other not in own]
    nothing = {"bond": np.nan, "bond_err": np.nan}
    bonds: dict[str, object] = dict(nothing)
    if ends:
        pairs = np.array(ends)
        lengths = np.linalg.norm(graph.places[pairs[:, 0]] - graph.places[pairs[:, 1]], axis=1)
        each = np.hypot(error[pairs[:, 0]], error[pairs[:, 1]])
        bonds = {"bond": lengths.mean(), "bond_err": np.sqrt((each**2).sum()) / len(each)}
    spreads = []
    for mark in cluster.marks:
        near = graph.neighbors[mark.atoms[0]] if mark.kind == "foreign" else np.empty(0, int)
        if len(near) < 3:
            continue
        step = graph.places[near] - graph.places[mark.atoms[0]]
        turn = np.sort(np.arctan2(step[:, 0], step[:, 1]))
        angles = np.degrees(np.diff(np.append(turn, turn[0] + 2 * np.pi)))
        length = np.linalg.norm(step, axis=1).mean()
        miss = np.degrees(error[near].mean() / length) * 2  # two angles, each of two bonds
        spreads.append((np.ptp(angles), miss))
    spread, spread_err = max(spreads, default=(np.nan, np.nan))
    told = {"angle_spread": spread, "angle_spread_err": spread_err}
    return bonds | told | {"is_distorted": bool(spread > DISTORTED)}


def _column(atoms: pd.DataFrame, name: str, missing: float = np.nan) -> np.ndarray:
    if name not in atoms:
        return np.full(len(atoms), missing)
    return atoms[name].to_numpy(float)
