"""The part of a large image on which the shape of a column is estimated."""

import numpy as np

WINDOWS = (80.0, 160.0)  # Å: side of the part; the larger if the smaller holds few columns
FEWEST_IN_WINDOW = 200
LEAST_SAVING = 0.7  # of the area; else the whole image is taken


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
