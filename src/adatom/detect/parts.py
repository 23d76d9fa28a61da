"""Large images in parts, so that memory does not grow with them."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

LARGEST_PART = 1366  # pixels of the core of a part along an axis; the fit holds 0.3 kB a pixel
LARGEST_WHOLE = 2048  # pixels along an axis of an image that is not cut
OVERLAP = 30.0  # Å that a part sees beyond its core: what background and contrast are leveled over
SEAM = 0.2  # Å beyond its core within which a part keeps atoms that a neighbor may place there
SAME = 0.5  # Å within which two parts mean the same atom


@dataclass(frozen=True)
class Part:
    """A part of an image, and the core whose atoms are its own.

    Attributes
    ----------
    image : DataArray
        The part, with its coordinates in Å.
    low, high : tuple of float
        Corners (y, x) of the core, Å; infinite at the edges of the image.
    """

    image: xr.DataArray
    low: tuple[float, float]
    high: tuple[float, float]

    def holds(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Whether each place lies in the core or just beside it, (N,)."""
        inside = np.ones(len(y), bool)
        for places, low, high in zip((y, x), self.low, self.high, strict=True):
            inside &= (places >= low - SEAM) & (places < high + SEAM)
        return inside


def is_cut(image: xr.DataArray) -> bool:
    """Whether an image is so large that it is cut."""
    return max(image.shape) > LARGEST_WHOLE


def split_image(image: xr.DataArray) -> Iterator[Part]:
    """Cut a large image into parts that overlap; a small one is its only part.

    Parameters
    ----------
    image : DataArray
        Dims (y, x) with coordinates in Å; lazy ones are loaded part by part.

    Yields
    ------
    Part
        The parts, row by row.
    """
    for rows, low_y, high_y in _cut_axis(image["y"].to_numpy()):
        for columns, low_x, high_x in _cut_axis(image["x"].to_numpy()):
            part = image.isel(y=rows, x=columns)
            yield Part(part, (low_y, low_x), (high_y, high_x))


def _cut_axis(places: np.ndarray) -> Iterator[tuple[slice, float, float]]:
    """Pixels that a part takes, and the ends of its core, Å."""
    n = len(places)
    n_parts = 1 if n <= LARGEST_WHOLE else -(-n // LARGEST_PART)
    edges = np.linspace(0, n, n_parts + 1).astype(int)
    step = float(places[-1] - places[0]) / max(n - 1, 1)
    margin = int(np.ceil(OVERLAP / abs(step))) if n_parts > 1 else 0
    for first, last in itertools.pairwise(edges):
        low = -np.inf if first == 0 else float(places[0]) + (first - 0.5) * step
        high = np.inf if last == n else float(places[0]) + (last - 0.5) * step
        yield slice(max(first - margin, 0), min(last + margin, n)), low, high


def join_parts(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the columns of the atoms tables of all parts; an atom on a seam is kept once.

    Parameters
    ----------
    parts : list of dict
        Columns of the atoms table by name, one dictionary per part; emptied, to hold them once.

    Returns
    -------
    dict
        Columns of all atoms.
    """
    if len(parts) == 1:
        return parts[0]
    part_of = np.repeat(np.arange(len(parts)), [len(part["x"]) for part in parts])
    joined = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
    points = np.column_stack([joined["y"], joined["x"]])
    pairs = cKDTree(points).query_pairs(SAME, output_type="ndarray")
    twice = pairs[part_of[pairs[:, 0]] != part_of[pairs[:, 1]]]
    kept = np.ones(len(points), bool)
    kept[twice.max(axis=1)] = False
    return {name: joined.pop(name)[kept] for name in list(joined)}
