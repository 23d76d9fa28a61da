"""Atoms that a network expects on a site of the lattice, but that scatter nothing."""

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.special import logit

from adatom.analyze.lattice import Lattices
from adatom.core.materials import find_role

N_AROUND = 24  # atoms of the same site of the cell that say how bright one is here
FEWEST = 8
DIM = 0.35  # of the usual brightness: brighter ones are atoms, perhaps of another kind
LEAST_SPREAD = 0.05  # of the usual brightness
LEAST_ODDS = 1e-3  # that a network gives to there being no atom: it saw the same pixels


def find_phantoms(atoms: pd.DataFrame, lattices: Lattices) -> np.ndarray:
    """Find atoms whose fitted intensity says that there is none.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table of one frame; with `intensity`, `intensity_err` and `score_none`, without which
        there are no phantoms.
    lattices : Lattices
        Of these atoms.

    Returns
    -------
    (N,) bool array
        Atoms on sites, less than 0.35 as bright as those around on the same site of the cell, that
        are less likely there than not.

    Notes
    -----
    Networks that learned from nearly perfect lattices fill small vacancies. The odds are those
    of the network times the ratio of the likelihoods of the intensity: of nothing with the stated
    error, and of an atom, whose spread is that of the atoms around.
    """
    phantom = np.zeros(len(atoms), bool)
    if not {"intensity", "intensity_err", "score_none"} <= set(atoms) or lattices.sites.empty:
        return phantom
    places = atoms[["y", "x"]].to_numpy()
    values, errors = atoms["intensity"].to_numpy(), atoms["intensity_err"].to_numpy()
    # A column that lacks one of its two atoms is half as bright.
    whole = np.where([find_role(str(label)) == "X1" for label in atoms["label"]], 0.5, 1.0)
    row = lattices.of_atom
    kind = lattices.sites[["grain", "site"]].to_numpy()[row]
    kind[row < 0] = -1
    for grain, site in np.unique(kind[row >= 0], axis=0):
        mine = np.flatnonzero((kind == (grain, site)).all(axis=1) & np.isfinite(values + errors))
        if len(mine) < FEWEST:
            continue
        _, near = cKDTree(places[mine]).query(places[mine], k=min(N_AROUND + 1, len(mine)))
        around = (values / whole)[mine][near[:, 1:]]
        usual = np.median(around, axis=1) * whole[mine]
        spread = 1.48 * np.median(np.abs(around * whole[mine, None] - usual[:, None]), axis=1)
        spread = np.hypot(np.maximum(spread, LEAST_SPREAD * np.abs(usual)), errors[mine])
        here, error = values[mine], np.maximum(errors[mine], LEAST_SPREAD * np.abs(usual))
        for_none = -0.5 * (here / error) ** 2 - np.log(error)
        for_atom = -0.5 * ((here - usual) / spread) ** 2 - np.log(spread)
        none = np.clip(atoms["score_none"].to_numpy()[mine], LEAST_ODDS, 1 - LEAST_ODDS)
        is_absent = logit(none) + for_none - for_atom > 0
        phantom[mine] = is_absent & (here < DIM * usual)
    return phantom
