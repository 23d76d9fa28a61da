"""Displacement gradient around every atom: strain and rotation of the lattice, with errors."""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from adatom.analyze.lattice import Lattices

N_AROUND = 60  # atoms that a gradient is fitted to: 7 Å around in graphene, 9 Å in MoS2
FEWEST = 12
AT_ONCE = 20_000  # atoms
NAMES = (
    "dx",
    "dy",
    "strain_xx",
    "strain_yy",
    "strain_xy",
    "strain_err",
    "rotation",
    "rotation_err",
)
CLIP = 3.0  # spreads beyond which a displacement pulls no more


def measure_strain(lattices: Lattices, places: np.ndarray) -> pd.DataFrame:
    """Fit the gradient of the displacement around each atom.

    Parameters
    ----------
    lattices : Lattices
        Of `find_lattices`.
    places : (N, 2) array
        [y, x] of the same atoms, Å.

    Returns
    -------
    DataFrame
        One row per atom: `dx`, `dy` (displacement from the perfect lattice of its grain, Å);
        `strain_xx`, `strain_yy`, `strain_xy`, `strain_err` (of `xx` and `yy`; that of `xy` is
        smaller by √2), `rotation` and `rotation_err` (degrees, from x towards y), against the
        mean lattice of the grain. NaN for an atom on no site, or with too few around it.

    Notes
    -----
    Straight lines through the displacements of the 60 nearest atoms of the grain, which are taken
    modulo lattice vectors: a dislocation is no strain. Errors follow from how these scatter about
    the lines, over all of the grain.
    """
    places = np.asarray(places, float).reshape(-1, 2)
    values = np.full((len(places), len(NAMES)), np.nan)
    row = lattices.of_atom
    perfect = lattices.sites[["y_ref", "x_ref"]].to_numpy()
    grain_of_atom = lattices.grain_of_atom
    for number, grain in enumerate(lattices.grains):
        mine = np.flatnonzero(grain_of_atom == number)
        reference = perfect[row[mine]]
        moved = places[mine] - reference
        values[mine, :2] = moved[:, ::-1]
        if len(mine) < FEWEST:
            continue
        gradient, slope_err = _fit_gradients(reference, moved, grain.vectors)
        (yy, yx), (xy, xx) = np.moveaxis(gradient, 0, -1)  # d(component) / d(axis)
        turn = np.degrees((yx - xy) / 2)
        turn_err = np.degrees(slope_err / 2**0.5)
        strains = [xx, yy, (xy + yx) / 2, slope_err, turn, turn_err]
        values[mine, 2:] = np.stack(strains, axis=1)
    return pd.DataFrame(values, columns=list(NAMES))


def _fit_gradients(
    reference: np.ndarray, moved: np.ndarray, vectors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of displacements, (n, 2, 2) [component, axis], and their errors, (n,)."""
    n = min(N_AROUND, len(reference))
    tree, to_periods = cKDTree(reference), np.linalg.inv(vectors)
    slopes, spreads, left = [], [], []
    for first in range(0, len(reference), AT_ONCE):
        here = slice(first, first + AT_ONCE)
        _, near = tree.query(reference[here], k=n)
        step = reference[near] - reference[here, None]
        off = moved[near] - moved[here, None]
        off -= np.rint(off @ to_periods) @ vectors
        design = np.concatenate([np.ones((*step.shape[:2], 1)), step], axis=-1)
        weight = np.ones(step.shape[:2])
        for _ in range(3):
            normal = np.einsum("nka,nk,nkb->nab", design, weight, design)
            right = np.einsum("nka,nk,nkc->nac", design, weight, off)
            fitted = np.linalg.solve(normal, right)
            miss = np.linalg.norm(off - design @ fitted, axis=-1)
            spread = 1.2 * np.median(miss, axis=1)[:, None] + 1e-12  # of two axes together
            weight = 1 / (1 + (miss / (CLIP * spread)) ** 2)
        free = n - design.shape[-1]
        left.append((weight * miss**2).sum(axis=1) / (2 * free))
        slopes.append(np.swapaxes(fitted[:, 1:], 1, 2))
        inverse = np.linalg.inv(normal)
        spreads.append(np.sqrt((inverse[:, 1, 1] + inverse[:, 2, 2]) / 2))
    noise = np.sqrt(np.median(np.concatenate(left)))
    return np.concatenate(slopes), noise * np.concatenate(spreads)
