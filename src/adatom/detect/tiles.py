"""Parts of an image for the fit: one that tells the shape of a column, and tiles."""

import itertools
from dataclasses import dataclass

import numpy as np

WINDOWS = (80.0, 160.0)  # Å: side of the part; the larger if the smaller holds few columns
FEWEST_IN_WINDOW = 200
LEAST_SAVING = 0.7  # of the area; else the whole image is taken
LARGEST_TILE = (512, 1024)  # pixels along y and x: few enough for the caches of a processor
MARGIN = 8.0  # Å that a tile sees beyond its core: two shells of neighbors and their background


@dataclass(frozen=True)
class Tile:
    """A part of an image that is fitted by itself.

    Attributes
    ----------
    core : (slice, slice)
        Pixels whose columns are its own.
    crop : (slice, slice)
        Pixels that it sees.
    """

    core: tuple[slice, slice]
    crop: tuple[slice, slice]


def whole_tile(shape: tuple[int, int]) -> Tile:
    """A tile that is the whole image."""
    whole = (slice(0, shape[0]), slice(0, shape[1]))
    return Tile(whole, whole)


def cut_tiles(shape: tuple[int, int], sizes: tuple[float, float]) -> list[Tile]:
    """Cut an image into tiles of about equal size, whatever the number of threads.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of pixels.
    sizes : (float, float)
        Å per pixel along y and x.

    Returns
    -------
    list of Tile
        Their cores cover the image once.
    """
    cuts = []
    for n, largest, size in zip(shape, LARGEST_TILE, sizes, strict=True):
        edges = np.linspace(0, n, -(-n // largest) + 1).astype(int).tolist()
        margin = int(np.ceil(MARGIN / size))
        cuts.append(
            [
                (slice(low, high), slice(max(low - margin, 0), min(high + margin, n)))
                for low, high in itertools.pairwise(edges)
            ]
        )
    return [Tile((y, x), (wide_y, wide_x)) for y, wide_y in cuts[0] for x, wide_x in cuts[1]]


def choose_window(
    shape: tuple[int, ...], positions: np.ndarray, sizes: tuple[float, float]
) -> tuple[slice, slice] | None:
    """Choose a part of an image that tells the shape of a column as well as the whole.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    positions : (N, 2) array, px
        Columns [y, x].
    sizes : (float, float)
        Å per pixel along y and x.

    Returns
    -------
    (slice, slice) or None
        The part with most columns; None where it would save little.
    """
    for width in WINDOWS:
        side = np.minimum(shape, np.ceil(width / np.array(sizes)).astype(int))
        if np.prod(side) > LEAST_SAVING * np.prod(shape):
            return None
        window = _find_fullest(shape, positions, side)
        if lies_in(positions, window, shape).sum() >= FEWEST_IN_WINDOW:
            break
    return window


def _find_fullest(
    shape: tuple[int, ...], positions: np.ndarray, side: np.ndarray
) -> tuple[slice, slice]:
    """Window of the given side, px, that holds most columns."""
    pixels = _nearest_pixels(positions, shape)
    starts, members = [], []
    for axis, (n, width) in enumerate(zip(shape, side.tolist(), strict=True)):
        n_steps = int(np.ceil((n - width) / (width / 2)))
        first = np.linspace(0, n - width, n_steps + 1).astype(int)
        beyond = pixels[:, axis] - first[:, None]
        starts.append(first)
        members.append(((beyond >= 0) & (beyond < width)).astype(np.float32))
    counts = members[0] @ members[1].T
    y, x = np.unravel_index(counts.argmax(), counts.shape)
    top, left = int(starts[0][y]), int(starts[1][x])
    return slice(top, top + int(side[0])), slice(left, left + int(side[1]))


def lies_in(
    positions: np.ndarray, window: tuple[slice, slice], shape: tuple[int, ...]
) -> np.ndarray:
    """Whether each column stands in a part of an image.

    Parameters
    ----------
    positions : (N, 2) array, px
        Columns [y, x]; those outside the image count where they are nearest.
    window : (slice, slice)
        The part.
    shape : (int, int)
        Rows and columns of the image.

    Returns
    -------
    (N,) bool array
        True inside.
    """
    pixels = _nearest_pixels(positions, shape)
    low, high = ([getattr(part, end) for part in window] for end in ("start", "stop"))
    return np.all((pixels >= np.array(low)) & (pixels < np.array(high)), axis=1)


def _nearest_pixels(positions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pixel of the image nearest to each position, (N, 2)."""
    return np.clip(np.rint(positions), 0, np.array(shape) - 1)
