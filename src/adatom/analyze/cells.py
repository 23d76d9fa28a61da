"""Cell and site of every atom of a grain, and the perfect lattice that fits them best."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adatom.analyze.waves import Order, reduce_vectors

ALIKE, ALIKE_ANGLE = 0.08, 5.0  # lengths and angle (degrees) of a hexagonal or square lattice
FEWEST = 24  # atoms of a grain
N_BINS = 40  # of a cell along either vector, where its sites are looked for
BLUR = 0.09  # usual distances of neighbors
LEAST_SITE = 0.3  # atoms at a site of the cell, over those at the fullest
NEAR = 0.4  # usual distances: an atom on its site


@dataclass(frozen=True)
class Grain:
    """A region of one lattice.

    Attributes
    ----------
    vectors : (2, 2) array
        Lattice vectors as rows [y, x], Å: the shortest, 60° to 120° apart.
    vectors_err : (2, 2) array
        Their standard errors.
    origin : (2,) array
        [y, x] of cell (0, 0), Å.
    basis : (B, 2) array
        [y, x] of the sites of a cell from its origin, Å.
    labels : tuple of str
        What most atoms at each site of the cell are called.
    n_atoms : int
        Atoms on its sites.
    """

    vectors: np.ndarray
    vectors_err: np.ndarray
    origin: np.ndarray
    basis: np.ndarray
    labels: tuple[str, ...]
    n_atoms: int

    @property
    def angle(self) -> float:
        """Direction of the lattice from x towards y, degrees: 0 to 60, 90 or 180 by symmetry."""
        one, other = self.lengths
        between = float(np.degrees(np.arccos(self.vectors[0] @ self.vectors[1] / (one * other))))
        is_even = abs(one - other) < ALIKE * one
        for symmetry, turn in ((60, 60.0), (120, 60.0), (90, 90.0)):
            if is_even and abs(between - symmetry) < ALIKE_ANGLE:
                return float(np.degrees(np.arctan2(*self.vectors[0])) % turn)
        return float(np.degrees(np.arctan2(*self.vectors[0])) % 180)

    @property
    def lengths(self) -> tuple[float, float]:
        """Lattice constants, Å."""
        one, other = np.linalg.norm(self.vectors, axis=1)
        return float(one), float(other)


@dataclass(frozen=True)
class Indexed:
    """Atoms of a grain and their cells.

    Attributes
    ----------
    grain : Grain
        The perfect lattice.
    atoms : (n,) int array
        Those on its sites.
    cells : (n, 2) int array
        Cell of each.
    site : (n,) int array
        Site of the cell.
    moved : (n, 2) array
        Displacement from the perfect lattice, Å.
    """

    grain: Grain
    atoms: np.ndarray
    cells: np.ndarray
    site: np.ndarray
    moved: np.ndarray

    def place(self, cells: np.ndarray, site: np.ndarray) -> np.ndarray:
        """Places of sites in the perfect lattice, (M, 2), Å."""
        return self.grain.origin + cells @ self.grain.vectors + self.grain.basis[site]


def index_grain(
    places: np.ndarray, labels: np.ndarray, mine: np.ndarray, order: Order, spacing: float
) -> Indexed | None:
    """Find cell and site of every atom of a grain.

    Parameters
    ----------
    places : (N, 2) array
        [y, x] of all atoms, Å.
    labels : (N,) array of str
        Their labels.
    mine : (n,) int array
        Those of the grain.
    order : Order
        Its waves, and how they are bent.
    spacing : float
        Usual distance of neighbors, Å.

    Returns
    -------
    Indexed or None
        None if fewer than 24 atoms lie on sites, or all in one row.
    """
    if len(mine) < FEWEST:
        return None
    here = places[mine]
    shift = np.stack([order.look(part, here) for part in order.shift], axis=1)
    within = here @ order.waves.T + shift  # periods along either wave
    sites = _find_sites(within, order.waves, spacing)
    vectors = np.linalg.inv(order.waves).T
    off = within[:, None] - sites
    off -= np.rint(off)
    away = np.linalg.norm(off @ vectors, axis=-1)
    site = away.argmin(axis=1)
    is_near = away.min(axis=1) < NEAR * spacing
    cells = np.rint(within - sites[site]).astype(int)
    keep = np.flatnonzero(is_near)
    keep = keep[np.argsort(away[keep, site[keep]], kind="stable")]
    _, first = np.unique(np.column_stack([cells[keep], site[keep]]), axis=0, return_index=True)
    keep = np.sort(keep[first])
    if len(keep) < FEWEST:
        return None
    mine, site, cells = mine[keep], site[keep], cells[keep]
    grain, cells, moved = _fit_grain(places[mine], labels[mine], cells, site, vectors)
    return None if grain is None else Indexed(grain, mine, cells, site, moved)


def _find_sites(within: np.ndarray, waves: np.ndarray, spacing: float) -> np.ndarray:
    """Sites of the cell, (B, 2), in periods: where atoms gather."""
    vectors = np.linalg.inv(waves).T
    bins = np.floor(within % 1.0 * N_BINS).astype(int) % N_BINS
    density = np.zeros((N_BINS, N_BINS))
    np.add.at(density, tuple(bins.T), 1.0)
    # A Gaussian that is round in space, whatever the cell: as a product in its spectrum.
    k_order = np.fft.fftfreq(N_BINS, 1 / N_BINS)
    k = k_order[:, None, None] * waves[0] + k_order[:, None] * waves[1]
    round_ = np.exp(-2 * (np.pi * BLUR * spacing) ** 2 * (k**2).sum(axis=-1))
    density = np.fft.ifft2(np.fft.fft2(density) * round_).real
    is_peak = density == ndimage.maximum_filter(density, 5, mode="wrap")
    row, column = np.nonzero(is_peak & (density > LEAST_SITE * density.max()))
    order = np.argsort(-density[row, column], kind="stable")
    peaks = (np.stack([row, column], axis=1)[order] + 0.5) / N_BINS
    kept: list[np.ndarray] = []
    for peak in peaks:
        off = np.array([peak - other for other in kept]).reshape(-1, 2)
        if (np.linalg.norm((off - np.rint(off)) @ vectors, axis=1) > NEAR * spacing).all():
            kept.append(peak)
    sites = np.array(kept)
    for _ in range(3):
        off = within[:, None] - sites
        off -= np.rint(off)
        away = np.linalg.norm(off @ vectors, axis=-1)
        nearest = away.argmin(axis=1)
        is_near = away.min(axis=1) < NEAR * spacing
        for number in range(len(sites)):
            atoms = is_near & (nearest == number)
            sites[number] += np.median(off[atoms, number], axis=0) if atoms.any() else 0.0
    return sites


def _fit_grain(
    here: np.ndarray, labels: np.ndarray, cells: np.ndarray, site: np.ndarray, vectors: np.ndarray
) -> tuple[Grain | None, np.ndarray, np.ndarray]:
    """The perfect lattice, cells by its shortest vectors, and displacements from it."""
    turn = _orient(vectors)
    cells = cells @ np.linalg.inv(turn).round().astype(int)
    n_sites = int(site.max()) + 1
    design = np.zeros((len(here), 2 + n_sites))
    design[:, :2] = cells
    design[np.arange(len(here)), 2 + site] = 1
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return None, cells, here
    weight = np.ones(len(here))
    for _ in range(8):
        normal = (design * weight[:, None]).T @ design
        fitted = np.linalg.solve(normal, (design * weight[:, None]).T @ here)
        moved = here - design @ fitted
        away = np.linalg.norm(moved, axis=1)
        spread = 1.48 * np.median(away) + 1e-9
        weight = 1 / (1 + (away / (2 * spread)) ** 2)
    variance = (weight[:, None] * moved**2).sum(axis=0) / max(weight.sum() - design.shape[1], 1)
    error = np.sqrt(np.diag(np.linalg.inv(normal))[:2, None] * variance)
    places = fitted[2:]
    kinds = []
    for number in range(n_sites):
        names, counts = np.unique(labels[site == number], return_counts=True)
        kinds.append(str(names[counts.argmax()]) if len(names) else "")
    origin = places[0]
    grain = Grain(fitted[:2], error, origin, places - origin, tuple(kinds), len(here))
    return grain, cells, moved


def _orient(vectors: np.ndarray) -> np.ndarray:
    """Integers that make the shortest vectors, 60° to 120° apart, of any: (2, 2)."""
    turn = reduce_vectors(vectors)
    one, other = turn @ vectors
    # The first to the right, the second a turn from x towards y from it.
    turn = turn * (1 if one[1] > 0 else -1)
    one, other = turn @ vectors
    return turn if one[1] * other[0] - one[0] * other[1] > 0 else turn * [[1], [-1]]
