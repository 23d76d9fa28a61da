"""The mean unit cell of each domain of a honeycomb, in all images of a focal series."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from adatom.core.errors import ImageError
from adatom.detect.neighbors import REACH, find_reach
from adatom.images import pixel_size

N_SAMPLES = 16  # along each vector of a cell
FEWEST_CELLS = 8
SAME_TURN = 0.4  # rad, three times the angle between neighboring cells of one domain
MARGIN = 2  # pixels at the border that are not sampled


@dataclass(frozen=True)
class UnitCell:
    """The mean cell of a domain.

    Attributes
    ----------
    vectors : (2, 2) array
        Lattice vectors [y, x], Å, 60° apart. The first sublattice is at the origin, the second at
        a third of their sum.
    values : (F, N, N) complex array
        Fourier coefficients of each image, in the order of `numpy.fft.fft2`, over the mean.
    errors : (F, N, N) array
        Standard error of their real or imaginary part.
    members : (M,) int array
        Rows of the columns that belong to the domain.
    n_cells : int
        Cells of the mean.
    """

    vectors: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    members: np.ndarray
    n_cells: int


def average_cells(
    series: xr.DataArray, atoms: pd.DataFrame, first: Collection[str], partial: Collection[str] = ()
) -> list[UnitCell]:
    """Find the domains of a honeycomb, and the mean cell of each.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x).
    atoms : DataFrame
        Columns x, y (Å), label.
    first : collection of str
        Labels of the first sublattice; all others are of the second.
    partial : collection of str
        Labels of columns that lack an atom: cells with them are left out of the mean.

    Returns
    -------
    list of UnitCell
        The largest first; domains of fewer than 8 whole cells are left out, and all if an image
        has no positive mean to compare with. Where labels of the
        sublattices are exchanged in a part of a crystal, that part is a domain of its own.

    Raises
    ------
    ImageError
        If an image is not finite.
    """
    places = atoms[["y", "x"]].to_numpy()
    is_first, is_whole = atoms["label"].isin(first), ~atoms["label"].isin(partial)
    if not np.isfinite(series).all():
        raise ImageError("series: must be finite (it holds NaN or infinite values)")
    if not (series.mean(("y", "x")) > 0).all():
        return []
    centers, around = _find_trios(places, is_first.to_numpy())
    if len(centers) < FEWEST_CELLS:
        return []
    away = places[around] - places[centers][:, None]
    turns = np.exp(3j * np.arctan2(away[..., 0], away[..., 1])).mean(axis=1)
    usual = np.median(np.linalg.norm(away, axis=2))
    pairs = cKDTree(places[centers]).query_pairs(REACH * 3**0.5 * usual, output_type="ndarray")
    alike = np.abs(np.angle(turns[pairs[:, 0]] * turns[pairs[:, 1]].conj())) < SAME_TURN
    links = coo_matrix((np.ones(alike.sum()), tuple(pairs[alike].T)), shape=(len(centers),) * 2)
    domain = connected_components(links, directed=False)[1]
    splines = [ndimage.spline_filter(np.asarray(image, float)) for image in series.values]
    corner = np.array([float(series.y[0]), float(series.x[0])])
    cells = []
    for number in range(domain.max() + 1):
        mine = np.flatnonzero(domain == number)
        whole = is_whole.to_numpy()[around[mine]].all(axis=1) & is_whole.to_numpy()[centers[mine]]
        vectors = _find_vectors(away[mine], turns[mine])
        origins = (places[centers[mine]] + places[around[mine]].sum(axis=1)) / 4
        sampled = _sample(splines, origins[whole], vectors, corner, np.array(pixel_size(series)))
        if len(sampled) < FEWEST_CELLS:
            continue
        members = np.union1d(centers[mine], around[mine].ravel())
        cells.append(_summarize(sampled, vectors, members))
    return sorted(cells, key=lambda cell: -len(cell.members))


def _find_trios(places: np.ndarray, is_first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns with three neighbors of the other sublattice around them, (M,), and these, (M, 3)."""
    second = np.flatnonzero(~is_first)
    if len(second) < 3 or not is_first.any():
        return np.empty(0, int), np.empty((0, 3), int)
    near = cKDTree(places[second]).query_ball_point(places[is_first], find_reach(places))
    has_three = np.array([len(found) == 3 for found in near])
    around = np.array([found for found in near if len(found) == 3], int).reshape(-1, 3)
    away = places[second[around]] - places[is_first][has_three][:, None]
    # On a third of a turn each, within a sixth: else two of them may be one column found twice.
    turns = np.abs(np.exp(3j * np.arctan2(away[..., 0], away[..., 1])).mean(axis=1))
    spread = np.abs(np.exp(1j * np.arctan2(away[..., 0], away[..., 1])).mean(axis=1))
    is_trio = (turns > 0.5) & (spread < 0.3)
    return np.flatnonzero(is_first)[has_three][is_trio], second[around[is_trio]]


def _find_vectors(away: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Lattice vectors from where neighbors are, (M, 3, 2), and three times their angles."""
    start = np.angle(turns.mean()) / 3
    angle = np.arctan2(away[..., 0], away[..., 1]) - start
    direction = np.mod(np.rint(angle / (2 * np.pi / 3)), 3)
    bonds = np.array([away[direction == number].mean(axis=0) for number in range(3)])
    return bonds[0] - bonds[1:]  # trios have one neighbor in each direction


def _sample(
    splines: list[np.ndarray],
    origins: np.ndarray,
    vectors: np.ndarray,
    corner: np.ndarray,
    size: np.ndarray,
) -> np.ndarray:
    """Fourier coefficients of the cells that lie in the image, (n, F, N, N)."""
    steps = np.arange(N_SAMPLES) / N_SAMPLES - 0.5
    grid = steps[:, None, None] * vectors[0] + steps[:, None] * vectors[1]
    pixels = (origins[:, None, None] + grid - corner) / size
    last = np.array(splines[0].shape) - 1 - MARGIN
    pixels = pixels[((pixels >= MARGIN) & (pixels <= last)).all(axis=(1, 2, 3))]
    values = [
        ndimage.map_coordinates(spline, np.moveaxis(pixels, -1, 0), order=3, prefilter=False)
        for spline in splines
    ]
    order = np.fft.fftfreq(N_SAMPLES, 1 / N_SAMPLES)
    to_origin = np.where((order[:, None] + order) % 2, -1, 1)
    return np.fft.fft2(np.stack(values, axis=1), norm="forward") * to_origin


def _summarize(sampled: np.ndarray, vectors: np.ndarray, members: np.ndarray) -> UnitCell:
    mean = sampled.mean(axis=0)
    level = mean[:, :1, :1].real
    spread = np.sqrt((np.abs(sampled - mean) ** 2).sum(axis=0) / (2 * (len(sampled) - 1)))
    return UnitCell(
        vectors, mean / level, spread / level / len(sampled) ** 0.5, members, len(sampled)
    )
