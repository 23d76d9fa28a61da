"""Large images in parts, so that memory does not grow with them."""

import itertools
import math
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

    def is_at_seam(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Whether each place of the core is so near to its edge that a neighbor may hold it too."""
        near = np.zeros(len(y), bool)
        for places, low, high in zip((y, x), self.low, self.high, strict=True):
            near |= (places < low + SEAM + SAME) | (places >= high - SEAM - SAME)
        return near


def is_cut(image: xr.DataArray) -> bool:
    """Whether an image is so large that it is cut."""
    return max(image.shape) > LARGEST_WHOLE


def count_parts(image: xr.DataArray) -> int:
    """How many parts an image is cut into."""
    return math.prod(len(list(_cut_axis(image[name].to_numpy()))) for name in ("y", "x"))


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


class Seams:
    """Atoms at the seams of the parts: one that two parts found is kept once."""

    def __init__(self) -> None:
        self._kept = np.empty((0, 2))

    def drop_repeated(self, part: Part, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Leave out the atoms that an earlier part holds already.

        Parameters
        ----------
        part : Part
            The part.
        columns : dict of (N,) array
            Columns of its atoms table by name.

        Returns
        -------
        dict of array
            The same columns of the atoms that are new.
        """
        at_seam = part.is_at_seam(columns["y"], columns["x"])
        new = np.ones(len(at_seam), bool)
        if at_seam.any() and len(self._kept):
            points = np.column_stack([columns["y"], columns["x"]])[at_seam]
            new[at_seam] = cKDTree(self._kept).query(points)[0] >= SAME
        kept = {name: values[new] for name, values in columns.items()}
        self.note(part, kept["y"], kept["x"])
        return kept

    def note(self, part: Part, y: np.ndarray, x: np.ndarray) -> None:
        """Remember the atoms of a part, (N,) and (N,), Å."""
        at_seam = part.is_at_seam(y, x)
        self._kept = np.concatenate([self._kept, np.column_stack([y, x])[at_seam]])
