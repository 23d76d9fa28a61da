"""Defects from the atoms of an image, by the rules of chemistry alone."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from adatom.analyze.contrast import find_outliers
from adatom.analyze.graph import Graph, build_graph
from adatom.analyze.lattice import Lattices, find_lattices
from adatom.analyze.marks import Cluster, find_border_atoms, find_clusters
from adatom.analyze.naming import hash_cluster, name_cluster
from adatom.analyze.phantoms import find_phantoms
from adatom.core.chemistry import Chemistry
from adatom.core.errors import ImageError
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
    rings : (R,) int array
        Rings of the graph that belong to defects.
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
    rings: np.ndarray
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
        Atoms table of one frame. With a column `brightness` (of `measure_brightness`), faint and
        bright columns are defects too: for labels that do not tell what a column is.
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
        If the table is no atoms table, holds several frames, or places that are not finite.

    Notes
    -----
    After Ziatdinov et al., ACS Nano 11 (2017) 12742: atoms to graph to rules of chemistry.
    """
    _check_frame(atoms)
    if area is None and len(atoms):
        area = np.array([atoms[["y", "x"]].min(), atoms[["y", "x"]].max()])
    area = None if area is None else np.sort(np.asarray(area, float), axis=0)
    lattices = _find_lattices(atoms, area)
    is_told = "brightness" in atoms
    phantom = np.zeros(len(atoms), bool) if is_told else find_phantoms(atoms, lattices)
    if phantom.any():
        atoms = atoms[~phantom].reset_index(drop=True)
        lattices = _find_lattices(atoms, area)
    places, labels = atoms[["y", "x"]].to_numpy(float), _find_roles(atoms)
    graph = build_graph(places, labels, chemistry)
    at_border = find_border_atoms(graph, area, chemistry) if area is not None else np.zeros(0, bool)
    contrast = np.full(len(atoms), "")
    if is_told:
        contrast = find_outliers(atoms["brightness"].to_numpy(float), lattices)
    clusters = find_clusters(graph, lattices, chemistry, at_border, contrast)
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
    hashes = [
        "" if row["kind"] in UNHASHED else hash_cluster(cluster, graph, str(row["kind"]))
        for row, cluster in zip(rows, clusters, strict=True)
    ]
    table = number_classes(_make_table(rows).assign(hash=pd.Series(hashes, dtype="str")))
    members = _list_members(clusters, atoms["atom"].to_numpy(), frame)
    owned = tuple(cluster.atoms for cluster in clusters)
    rings = [mark.ring for cluster in clusters for mark in cluster.marks if mark.ring >= 0]
    return Defects(table, members, owned, np.array(rings, int), atoms, graph, lattices)


def _check_frame(atoms: pd.DataFrame) -> None:
    check_atoms(atoms)
    if atoms["frame"].nunique() > 1:
        frames = ", ".join(map(str, atoms["frame"].unique()[:5]))
        raise ImageError(f"atoms table: must be that of one frame (got frames {frames})")
    if not np.isfinite(atoms[["y", "x"]].to_numpy(float)).all():
        raise ImageError("atoms table: x and y must be finite (got NaN or infinite values)")


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
    own = set(cluster.atoms.tolist())
    ends = [(atom, int(other)) for atom in own for other in graph.neighbors[atom]]
    pairs = np.array([pair for pair in ends if pair[1] not in own], int).reshape(-1, 2)
    row: dict[str, object] = {"bond": np.nan, "bond_err": np.nan}
    if len(pairs):
        step = graph.places[pairs[:, 1]] - graph.places[pairs[:, 0]]
        length = np.linalg.norm(step, axis=1)
        pull = step / length[:, None] / len(pairs)
        row["bond"] = length.mean()
        row["bond_err"] = _propagate(pairs.T.ravel(), np.concatenate([-pull, pull]), error)
    spreads = [
        _spread_angles(graph, int(mark.atoms[0]), error)
        for mark in cluster.marks
        if mark.kind == "foreign" and graph.n_neighbors[mark.atoms[0]] >= 3
    ]
    spread, spread_err = max(spreads, default=(np.nan, np.nan))
    row |= {"angle_spread": spread, "angle_spread_err": spread_err}
    return row | {"is_distorted": bool(spread > DISTORTED)}


def _spread_angles(graph: Graph, atom: int, error: np.ndarray) -> tuple[float, float]:
    """Largest less smallest angle between neighboring bonds of an atom, and its error, degrees."""
    near = graph.neighbors[atom]
    step = graph.places[near] - graph.places[atom]
    turn = np.arctan2(step[:, 0], step[:, 1])
    order = np.argsort(turn)
    angles = np.diff(np.append(turn[order], turn[order[0]] + 2 * np.pi))
    count = np.zeros(len(near))  # how often the direction of each bond enters
    for angle, sign in ((angles.argmax(), 1), (angles.argmin(), -1)):
        count[order[(angle + 1) % len(near)]] += sign
        count[order[angle]] -= sign
    across = np.stack([step[:, 1], -step[:, 0]], axis=1) / (step**2).sum(axis=1)[:, None]
    pull = count[:, None] * across
    atoms = np.append(near, np.full(len(near), atom))
    spread_err = _propagate(atoms, np.concatenate([pull, -pull]), error)
    return float(np.degrees(np.ptp(angles))), float(np.degrees(spread_err))


def _propagate(atoms: np.ndarray, gradient: np.ndarray, error: np.ndarray) -> float:
    """Error of a number from its gradient by the places of atoms, which may come twice."""
    names, number = np.unique(atoms, return_inverse=True)
    whole = np.zeros((len(names), 2))
    np.add.at(whole, number, gradient)
    return float(np.sqrt(((whole * error[names, None]) ** 2).sum()))


def _column(atoms: pd.DataFrame, name: str, missing: float = np.nan) -> np.ndarray:
    if name not in atoms:
        return np.full(len(atoms), missing)
    return atoms[name].to_numpy(float)
