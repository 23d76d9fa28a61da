"""Silicon in graphene or h-BN: clusters of dopants, with the bonds around them relaxed."""

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

SILICON = 14
HEAVIEST_HOST = 9  # B, C and N are hosts; all that is heavier counts as silicon
# Bonds with silicon, by the number of its atoms in them: rest length seen along the beam, and the
# longest distance before it relaxes, at which next neighbors (2.46 Å) are none; Å. Zhou et al.,
# Phys. Rev. Lett. 109 (2012) 206803 (three-fold silicon stands out of the plane, four-fold lies in
# it); Ziatdinov et al., ACS Nano 11 (2017) 12742. Those of the host keep the length they have.
BONDS = ((1.42, 1.85), (1.73, 2.35), (2.24, 2.35))
FOURFOLD = 1.90  # Å, bonds of silicon with four neighbors
NEXT_NEIGHBORS = 2.3  # Å, they only repel each other, below this
FURTHEST = 2.75  # Å, next neighbors before they relax
STIFFNESS, REPULSION = 0.25, 0.05
N_RELAX = 30
LARGEST_CLUSTER = 4


def dope_with_silicon(
    sheet: Atoms,
    density: float,
    fourfold: float,
    rng: np.random.Generator,
    *,
    element: int = SILICON,
) -> Atoms:
    """Put silicon into graphene: single atoms with three or four neighbors, and small clusters.

    Parameters
    ----------
    sheet : Atoms
        Graphene or h-BN.
    density : float
        Clusters per 1000 atoms.
    fourfold : float
        Share of the single atoms that take the place of two of the host and so have four neighbors;
        also the chance that a cluster lacks one of its atoms.
    rng : Generator
        Chooses places and kinds.
    element : int
        Atomic number of the dopant.

    Returns
    -------
    Atoms
        The doped sheet, its bonds relaxed in the plane.
    """
    doped = sheet.copy()
    n_clusters = rng.poisson(density * len(sheet) / 1000)
    if not n_clusters:
        return doped
    points = doped.positions[:, :2]
    neighbors = cKDTree(points).query_ball_point(points, 1.6)
    removed: set[int] = set()
    for seed in rng.choice(len(doped), min(n_clusters, len(doped)), replace=False):
        if seed in removed:
            continue
        size = 1 + int(rng.choice(LARGEST_CLUSTER, p=(0.55, 0.2, 0.15, 0.1)))
        members = _grow(int(seed), size, neighbors, removed, rng)
        is_open = rng.random() < fourfold
        if size == 1 and is_open:
            partners = [
                n
                for n in neighbors[seed]
                if n != seed and n not in removed and doped.numbers[n] <= HEAVIEST_HOST
            ]
            if partners:
                gone = int(rng.choice(partners))
                doped.positions[seed, :2] = (points[seed] + points[gone]) / 2
                removed.add(gone)
        elif is_open and len(members) > 1:
            removed.add(members.pop(int(rng.integers(len(members)))))
        doped.numbers[members] = element
    doped = doped[np.setdiff1d(np.arange(len(doped)), list(removed))]
    return relax_bonds(doped)


def _grow(
    seed: int, size: int, neighbors: np.ndarray, removed: set[int], rng: np.random.Generator
) -> list[int]:
    """Members of a connected cluster."""
    members = [seed]
    for _ in range(size - 1):
        around = {n for member in members for n in neighbors[member]}
        free = sorted(around - set(members) - removed)
        if not free:
            break
        members.append(int(rng.choice(free)))
    return members


def relax_bonds(sheet: Atoms) -> Atoms:
    """Relax the bonds of a flat sheet of light atoms and silicon in its plane.

    Parameters
    ----------
    sheet : Atoms
        B, C, N and other elements; these count as silicon.

    Returns
    -------
    Atoms
        The sheet with bonds near their rest lengths.

    Notes
    -----
    Springs between neighbors, and between next neighbors where they come too near to each other,
    moved downhill: the shape of a defect, not its energy.
    """
    relaxed = sheet.copy()
    points = relaxed.positions[:, :2].copy()
    pairs = cKDTree(points).query_pairs(FURTHEST, output_type="ndarray")
    if not len(pairs):
        return relaxed
    n_silicon = (relaxed.numbers > HEAVIEST_HOST).astype(int)[pairs].sum(axis=1)
    rest, longest = np.array(BONDS)[n_silicon].T
    distance = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    is_bond = distance < longest
    is_host = is_bond & (n_silicon == 0)
    if is_host.any():
        rest[is_host] = np.median(distance[is_host])
    n_bonds = np.bincount(pairs[is_bond].ravel(), minlength=len(points))
    rest[(n_silicon == 1) & (n_bonds[pairs].max(axis=1) > 3)] = FOURFOLD
    rest[~is_bond] = NEXT_NEIGHBORS
    stiffness = np.where(is_bond, STIFFNESS, REPULSION)
    first, second = pairs.T
    for _ in range(N_RELAX):
        step = points[first] - points[second]
        length = np.maximum(np.hypot(*step.T), 0.1)
        push = stiffness * (rest - length) / length
        push = np.where(is_bond, push, np.maximum(push, 0))[:, None] * step
        for axis in (0, 1):
            points[:, axis] += np.bincount(first, push[:, axis], len(points))
            points[:, axis] -= np.bincount(second, push[:, axis], len(points))
    relaxed.positions[:, :2] = points
    return relaxed
