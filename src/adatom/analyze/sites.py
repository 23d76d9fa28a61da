"""All sites of the grains of an image: those with an atom, and those without."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from adatom.analyze.cells import Indexed

FAR = 0.6  # usual distances: a displaced atom, where no other takes the site
REACH = 1.3  # usual distances: sites beside each other
N_AROUND = 6  # atoms whose displacement an empty site has
BORDER = 0.7  # usual distances: sites nearer to the border of the image are not asked for
RIM = 4  # cells around those with an atom that are looked at
OUTSIDE = 4.0  # usual distances: from the next atom of the grain
RING = 2.2  # usual distances: around a group of empty sites
WIDEST = 150.0  # degrees between neighboring atoms around it
MOST_EMPTY = 40  # sites of a vacancy or hole: more are no part of the grain
KINDS = {
    **dict.fromkeys(("grain", "i", "j", "site"), "int64"),
    "label": "str",
    **dict.fromkeys(("x", "y", "x_ref", "y_ref"), "float64"),
    "atom": "int64",
}


@dataclass(frozen=True)
class _Sites:
    """Sites of a grain: their cells, numbers in the cell, and places [y, x], Å."""

    cells: np.ndarray
    site: np.ndarray
    at: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> "_Sites":
        return _Sites(self.cells[chosen], self.site[chosen], self.at[chosen])


def list_sites(
    grains: Sequence[Indexed], places: np.ndarray, spacing: float, area: np.ndarray
) -> pd.DataFrame:
    """List the sites of all grains.

    Parameters
    ----------
    grains : sequence of Indexed
        Of `index_grain`.
    places : (N, 2) array
        [y, x] of all atoms, Å.
    spacing : float
        Usual distance of neighbors, Å.
    area : (2, 2) array
        First and last [y, x] of the image, Å.

    Returns
    -------
    DataFrame
        `grain`, `i`, `j`, `site`, `label`, `x`, `y` (in the lattice as it is bent there), `x_ref`,
        `y_ref` (in the perfect one; Å), `atom` (its row, -1 where the site is empty).

    Notes
    -----
    An empty site is one inside a grain, with atoms on all sides: groups of empty sites that reach
    its outside, another grain or the border of the image are where the grain ends.
    """
    owner = np.full(len(places), -1)
    for number, part in enumerate(grains):
        owner[part.atoms] = number
    tables = [pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in KINDS.items()})]
    for number, part in enumerate(grains):
        taken = _Sites(part.cells, part.site, _bend(part, part.cells, part.site))
        tables.append(_tell_sites(taken, part.atoms, number, part))
        empty = _list_empty(part, spacing, area)
        if len(empty.at) == 0:
            continue
        atom = _fill(empty.at, places, np.flatnonzero(owner < 0), spacing)
        owner[atom[atom >= 0]] = number
        strangers = places[owner != number]
        chosen = _is_inside(empty.at, places[part.atoms], strangers, spacing) | (atom >= 0)
        tables.append(_tell_sites(empty[chosen], atom[chosen], number, part))
    return pd.concat(tables, ignore_index=True)


def _tell_sites(sites: _Sites, atom: np.ndarray, number: int, part: Indexed) -> pd.DataFrame:
    perfect = part.place(sites.cells, sites.site)
    values = {
        "grain": np.full(len(atom), number),
        "i": sites.cells[:, 0],
        "j": sites.cells[:, 1],
        "site": sites.site,
        "label": np.array(part.grain.labels, dtype=object)[sites.site],
        "x": sites.at[:, 1],
        "y": sites.at[:, 0],
        "x_ref": perfect[:, 1],
        "y_ref": perfect[:, 0],
        "atom": atom,
    }
    return pd.DataFrame({name: pd.Series(values[name], dtype=kind) for name, kind in KINDS.items()})


def _bend(part: Indexed, cells: np.ndarray, site: np.ndarray) -> np.ndarray:
    """Where sites are in the lattice as it is bent: with the usual displacement around them."""
    at = part.place(cells, site)
    if len(at) == 0:
        return at
    tree = cKDTree(part.place(part.cells, part.site))
    away, near = tree.query(at, k=min(N_AROUND + 1, len(part.cells)))
    is_other = away > 1e-6  # not the atom of the site itself
    moved = np.where(is_other[..., None], part.moved[near], np.nan)
    return np.asarray(at + np.nanmedian(moved, axis=1))


def _list_empty(part: Indexed, spacing: float, area: np.ndarray) -> _Sites:
    """Sites without an atom inside the image, in and around the cells with one."""
    n_sites = len(part.grain.basis)
    low = part.cells.min(axis=0) - RIM
    is_free = np.ones((*(part.cells.max(axis=0) + RIM + 1 - low), n_sites), bool)
    is_free[*(part.cells - low).T, part.site] = False
    is_near = ndimage.binary_dilation(~is_free.all(axis=2), iterations=RIM)
    i, j, site = np.nonzero(is_free & is_near[..., None])
    cells = np.column_stack([i, j]) + low
    empty = _Sites(cells, site, _bend(part, cells, site))
    first, last = area + BORDER * spacing * np.array([[1.0], [-1.0]])
    return empty[((empty.at >= first) & (empty.at <= last)).all(axis=1)]


def _fill(at: np.ndarray, places: np.ndarray, loose: np.ndarray, spacing: float) -> np.ndarray:
    """Atom on no site that is nearest to each empty one, or -1."""
    atom = np.full(len(at), -1)
    if len(loose) == 0:
        return atom
    away, nearest = cKDTree(at).query(places[loose], distance_upper_bound=FAR * spacing)
    order = np.argsort(away, kind="stable")
    order = order[np.isfinite(away[order])]
    _, first = np.unique(nearest[order], return_index=True)
    atom[nearest[order[first]]] = loose[order[first]]
    return atom


def _is_inside(
    at: np.ndarray, own: np.ndarray, strangers: np.ndarray, spacing: float
) -> np.ndarray:
    """Which empty sites are vacancies or small holes of a grain, not its outside, (M,) bool."""
    n, tree = len(at), cKDTree(own)
    pairs = cKDTree(at).query_pairs(REACH * spacing, output_type="ndarray")
    _, group = connected_components(coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), (n, n)))
    is_out = tree.query(at)[0] > OUTSIDE * spacing
    if len(strangers):
        is_out |= cKDTree(strangers).query(at)[0] < FAR * spacing
    size = np.bincount(group)
    is_outside = (np.bincount(group, is_out) > 0) | (size > MOST_EMPTY)
    order = np.argsort(group, kind="stable")
    members = np.split(at[order], np.cumsum(size)[:-1])
    for number in np.flatnonzero(~is_outside):
        is_outside[number] = not _is_surrounded(members[number], own, tree, spacing)
    return np.asarray(~is_outside[group])


def _is_surrounded(members: np.ndarray, own: np.ndarray, tree: cKDTree, spacing: float) -> bool:
    """Whether atoms lie on all sides of a group of empty sites."""
    middle = members.mean(axis=0)
    radius = np.linalg.norm(members - middle, axis=1).max()
    around = own[tree.query_ball_point(middle, radius + RING * spacing)] - middle
    if len(around) < 3:
        return False
    turn = np.sort(np.degrees(np.arctan2(around[:, 0], around[:, 1])))
    return bool(np.diff(np.append(turn, turn[0] + 360)).max() < WIDEST)
