"""Columns that are fainter or brighter than those of their kind around them."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import ndtri

from adatom.analyze.lattice import Lattices

WEIGHT = 0.2  # distances of neighbors, of the Gaussian that weighs the pixels of a column
N_AROUND = 18  # of its kind, that a column is compared with
LEAST_DEVIATION = 2.0  # standard deviations of the usual columns
FALSE_SHARE = 0.05  # of what is called faint or bright
N_FALSE = 0.05  # in an image of usual columns alone


def measure_brightness(
    image: np.ndarray, corner: np.ndarray, pixel_size: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Mean of the image at columns, weighted by a Gaussian.

    Parameters
    ----------
    image : (H, W) array
        The image.
    corner : (2,) array
        [y, x] of its first pixel, Å.
    pixel_size : (2,) array
        Å along y and x.
    places : (N, 2) array
        [y, x] of the columns, Å.

    Returns
    -------
    (N,) array
        Unlike a fitted intensity also where columns overlap and a filter has changed their shape.
    """
    if len(places) < 2:
        return np.full(len(places), np.nan)
    spread = WEIGHT * float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))
    reach = np.ceil(2 * spread / pixel_size).astype(int)
    sides = [np.arange(-n, n + 1) for n in reach]
    offsets = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    middle = np.rint((places - corner) / pixel_size).astype(int)
    pixels = middle[:, None] + offsets  # (N, K, 2)
    away = pixels * pixel_size + corner - places[:, None]
    weights = np.exp(-(away**2).sum(axis=-1) / (2 * spread**2))
    weights[((pixels < 0) | (pixels >= image.shape)).any(axis=-1)] = 0
    y, x = np.moveaxis(np.clip(pixels, 0, np.array(image.shape) - 1), -1, 0)
    return np.asarray((weights * image[y, x]).sum(axis=1) / weights.sum(axis=1))


def find_outliers(brightness: np.ndarray, lattices: Lattices) -> np.ndarray:
    """Tell faint and bright columns from usual ones.

    Parameters
    ----------
    brightness : (N,) array
        Of each column, in any units.
    lattices : Lattices
        Of the same columns: each is compared with those on the same site of the cell around it.

    Returns
    -------
    (N,) array of str
        "faint", "bright", or "" for usual ones and for what is on no site.

    Notes
    -----
    Noise is taken to be as often above as below. So as many usual columns seem faint as columns
    seem bright by as much, and the threshold is where they are 5 % (Barber and Candès, Ann. Stat.
    43 (2015) 2055, with the signs of the deviations). Few outliers, for which there is no such
    count, are found beyond what 0.05 of N Gaussian deviations exceed.
    """
    deviation = _find_deviations(brightness, lattices)
    names = np.full(len(brightness), "", "<U6")
    names[-deviation >= _find_threshold(-deviation)] = "faint"
    names[deviation >= _find_threshold(deviation)] = "bright"
    return names


def _find_deviations(brightness: np.ndarray, lattices: Lattices) -> np.ndarray:
    """Deviations from the columns around, over their usual size; NaN off the sites."""
    sites = lattices.sites
    taken = sites.loc[sites["atom"] >= 0, ["grain", "site", "atom", "y", "x"]]
    deviation = np.full(len(brightness), np.nan)
    for _, kind in taken.groupby(["grain", "site"]):
        atoms, places = kind["atom"].to_numpy(), kind[["y", "x"]].to_numpy()
        if len(atoms) <= N_AROUND:
            continue
        _, near = cKDTree(places).query(places, k=N_AROUND + 1)
        values = brightness[atoms]
        away = values - np.median(values[near[:, 1:]], axis=1)
        usual = 1.4826 * np.median(np.abs(away))
        deviation[atoms] = away / usual if usual > 0 else np.nan
    return deviation


def _find_threshold(deviation: np.ndarray) -> float:
    """Deviation from which on columns are outliers; those below zero tell how often by chance."""
    known = deviation[np.isfinite(deviation)]
    if len(known) == 0:
        return np.inf
    sure = float(-ndtri(N_FALSE / len(known)))
    above, below = np.sort(known[known > 0]), np.sort(-known[known < 0])
    n_above = len(above) - np.arange(len(above))
    n_chance = 1 + len(below) - np.searchsorted(below, above)
    is_enough = (n_chance <= FALSE_SHARE * n_above) & (above >= LEAST_DEVIATION)
    least = float(above[is_enough].min()) if is_enough.any() else np.inf
    return min(least, sure)
