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
    steps = np.ceil((np.array(shape) - side) / (side / 2)).astype(int)
    windows = [
        (slice(y, y + int(side[0])), slice(x, x + int(side[1])))
        for y in np.linspace(0, shape[0] - side[0], steps[0] + 1).astype(int).tolist()
        for x in np.linspace(0, shape[1] - side[1], steps[1] + 1).astype(int).tolist()
    ]
    return max(windows, key=lambda window: lies_in(positions, window, shape).sum())


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
    pixels = np.clip(np.rint(positions), 0, np.array(shape) - 1)
    low, high = ([getattr(part, end) for part in window] for end in ("start", "stop"))
    return np.all((pixels >= np.array(low)) & (pixels < np.array(high)), axis=1)
