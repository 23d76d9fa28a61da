"""Turn class maps into candidate columns."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from adatom.core.threads import share_out

_SMOOTHING = 0.2  # Å; the target discs are flat inside


@dataclass(frozen=True)
class Peaks:
    """Candidate columns, from the maps of a network.

    Attributes
    ----------
    positions : (N, 2) array
        Centers [y, x], pixels of the map.
    column : (N,) array
        How likely any column is there, as the network says it.
    shares : (N, n_labels) array
        How that is shared between the labels; rows sum to 1.
    """

    positions: np.ndarray
    column: np.ndarray
    shares: np.ndarray


def find_peaks(
    probabilities: np.ndarray, pixel_size: float, *, threshold: float, min_distance: float
) -> Peaks:
    """Find columns as local maxima of the probability of any label.

    Parameters
    ----------
    probabilities : (1 + n_labels, H, W) array
        Class maps; class 0 is the background.
    pixel_size : float
        Å per pixel.
    threshold : float
        Lowest score kept.
    min_distance : float
        Of two candidates nearer than this only the likelier stays, Å.

    Returns
    -------
    Peaks
        The candidates.
    """
    column = 1 - probabilities[0]
    smooth = np.empty_like(column)
    is_peak = np.empty(column.shape, bool)
    width = _SMOOTHING / pixel_size
    reach = int(3 * width + 0.5) + 1

    def mark(first: int, end: int) -> None:
        top = max(first - reach, 0)
        part = column[top : end + reach]
        blurred = ndimage.gaussian_filter(part, width, truncate=3, mode="nearest")
        highest = ndimage.maximum_filter(blurred, size=3, mode="nearest")
        rows = slice(first - top, end - top)
        smooth[first:end] = blurred[rows]
        is_peak[first:end] = (blurred == highest)[rows] & (blurred > 0.3 * threshold)[rows]

    share_out(mark, len(column))
    y, x = np.nonzero(is_peak)
    order = np.argsort(-smooth[y, x], kind="stable")
    y, x = y[order], x[order]
    kept = drop_close(np.column_stack([y, x]), min_distance / pixel_size)
    y, x = y[kept], x[kept]
    y_near = np.clip(y[:, None] + np.repeat([-1, 0, 1], 3), 0, column.shape[0] - 1)
    x_near = np.clip(x[:, None] + np.tile([-1, 0, 1], 3), 0, column.shape[1] - 1)
    score = column[y_near, x_near].max(axis=1)
    shares = probabilities[1:, y_near, x_near].sum(axis=2).T
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    is_column = score >= threshold
    positions = np.column_stack([find_vertex(smooth, y, x, axis) for axis in (0, 1)])
    return Peaks(positions[is_column], score[is_column], shares[is_column])


def drop_close(points: np.ndarray, min_distance: float) -> np.ndarray:
    """Find the points that stay when, of two close ones, the later one goes.

    Parameters
    ----------
    points : (N, 2) array
        From the most to the least important.
    min_distance : float
        In their units.

    Returns
    -------
    (M,) int array
        Rows that stay.
    """
    keep = np.ones(len(points), bool)
    if len(points):
        pairs = cKDTree(points).query_pairs(min_distance, output_type="ndarray")
        for first, second in np.sort(pairs, axis=1)[np.argsort(pairs.min(axis=1), kind="stable")]:
            if keep[first]:
                keep[second] = False
    return np.flatnonzero(keep)


def find_vertex(values: np.ndarray, y: np.ndarray, x: np.ndarray, axis: int) -> np.ndarray:
    """Find a maximum to a part of a pixel: the vertex of the parabola through three pixels.

    Parameters
    ----------
    values : (H, W) array
        Image.
    y, x : (N,) int arrays
        Its highest pixels.
    axis : int
        0 for y, 1 for x.

    Returns
    -------
    (N,) array
        Coordinate along the axis, pixels.
    """
    size = values.shape[axis]
    at = (y, x)[axis]

    def neighbor(step: int) -> np.ndarray:
        moved = np.clip(at + step, 0, size - 1)
        return values[moved, x] if axis == 0 else values[y, moved]

    before, here, after = neighbor(-1), neighbor(0), neighbor(1)
    curvature = before - 2 * here + after
    shift = np.where(curvature < 0, (before - after) / np.where(curvature < 0, 2 * curvature, 1), 0)
    return at + np.clip(shift, -0.5, 0.5)
