"""The lattice that atoms are on: grains, the site of every atom, and the sites that are empty."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from adatom.analyze.cells import FEWEST, Grain, index_grain
from adatom.analyze.sites import list_sites
from adatom.analyze.waves import Order, find_point_waves, find_spacing, follow_waves
from adatom.core.errors import ImageError

MOST_GRAINS = 12
LEAST_ORDER = 0.4  # of a grain's atoms, over those of its best places


@dataclass(frozen=True)
class Lattices:
    """Grains of an image, and their sites.

    Attributes
    ----------
    grains : tuple of Grain
        By their numbers of atoms, the largest first.
    sites : DataFrame
        One row per site: `grain`, `i`, `j` (cell), `site` (of the cell), `label` (of the site),
        `x`, `y` (Å, of the lattice as it is bent there), `x_ref`, `y_ref` (Å, of the perfect
        lattice of the grain), `atom` (row of the atom there, -1 where it is empty).
    of_atom : (N,) int array
        Row of `sites` for each atom, -1 for an atom on none.
    """

    grains: tuple[Grain, ...]
    sites: pd.DataFrame
    of_atom: np.ndarray

    @property
    def grain_of_atom(self) -> np.ndarray:
        """Grain of each atom, (N,), -1 for an atom on no site."""
        if self.sites.empty:
            return np.full(len(self.of_atom), -1)
        return np.where(self.of_atom >= 0, self.sites["grain"].to_numpy()[self.of_atom], -1)


def find_lattices(
    places: np.ndarray,
    labels: np.ndarray,
    area: np.ndarray | None = None,
) -> Lattices:
    """Find the grains that atoms make up, and their sites.

    Parameters
    ----------
    places : (N, 2) array
        [y, x], Å.
    labels : (N,) array of str
        Roles or elements; of a cell, sites differ by the labels of most atoms there.
    area : (2, 2) array, optional
        First and last [y, x] of the image, Å; that of the atoms if left out.

    Returns
    -------
    Lattices
        Without grains where there is no order, or fewer than 24 atoms.

    Raises
    ------
    ImageError
        If most atoms lie on another one.

    Notes
    -----
    Waves are found in the spectrum of the points, grain after grain; phases averaged over a few
    cells follow bending and slow strain, and tell where a grain ends. Sites of the cell are where
    atoms gather in it: nothing is assumed of symmetry or basis.
    """
    places = np.asarray(places, float).reshape(-1, 2)
    labels = np.asarray(labels, str)
    if len(places) < FEWEST:
        return Lattices((), list_sites((), places, 1.0, np.zeros((2, 2))), np.full(len(places), -1))
    spacing, weights = find_spacing(places), _weigh(labels)
    if spacing == 0:
        raise ImageError("places: must differ (most atoms lie on another)")
    orders = _find_grains(places, weights, spacing)
    of_grain = _choose_grain(orders, places)
    found = []
    for number, order in enumerate(orders):
        mine = np.flatnonzero(of_grain == number)
        part = index_grain(places, labels, mine, order, spacing)
        found += [part] if part is not None else []
    found.sort(key=lambda part: -len(part.atoms))
    if area is None:
        area = np.stack([places.min(axis=0), places.max(axis=0)])
    sites = list_sites(found, places, spacing, np.asarray(area, float))
    of_atom, taken = np.full(len(places), -1), sites["atom"].to_numpy()
    of_atom[taken[taken >= 0]] = np.flatnonzero(taken >= 0)
    return Lattices(tuple(part.grain for part in found), sites, of_atom)


def _choose_grain(orders: list[Order], places: np.ndarray) -> np.ndarray:
    """Grain whose waves each atom follows best, -1 for none, (N,)."""
    if not orders:
        return np.full(len(places), -1)
    strength = np.stack([order.strength(places) for order in orders])
    return np.where(strength.max(axis=0) >= LEAST_ORDER, strength.argmax(axis=0), -1)


def _weigh(labels: np.ndarray) -> np.ndarray:
    """Weights of the atoms by label, so that the spectrum tells sublattices apart."""
    kinds, kind, count = np.unique(
        [label[:1] if label in {"X1", "X2"} else label for label in labels],
        return_inverse=True,
        return_counts=True,
    )
    rank = np.empty(len(kinds), int)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(kinds))
    return (1.0 / (1 + np.minimum(rank, 2)))[kind]


def _find_grains(places: np.ndarray, weights: np.ndarray, spacing: float) -> list[Order]:
    """Waves of one grain after the other, from the atoms that no grain before explains."""
    left = np.ones(len(places), bool)
    found: list[Order] = []
    while len(found) < MOST_GRAINS and left.sum() >= FEWEST:
        waves = find_point_waves(places[left], weights[left], spacing)
        if waves is None:
            break
        order = follow_waves(places, weights, waves, spacing)
        mine = left & (order.strength(places) >= LEAST_ORDER)
        if mine.sum() < FEWEST:
            break
        found.append(order)
        left &= ~mine
    return found
