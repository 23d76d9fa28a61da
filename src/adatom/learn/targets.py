"""Class maps that a network learns to draw."""

import numpy as np


def make_target(
    positions_px: np.ndarray, classes: np.ndarray, shape: tuple[int, int], radius_px: float
) -> np.ndarray:
    """Draw a disc of its class at every column.

    Parameters
    ----------
    positions_px : (N, 2) array
        Column centers [y, x], pixels.
    classes : (N,) int array
        Class of each, from 1; 0 is background.
    shape : tuple of int
        Height and width.
    radius_px : float
        Radius of the discs, pixels.

    Returns
    -------
    (H, W) int64 array
        Class of every pixel; where discs meet, the nearer center wins.

    Examples
    --------
    >>> make_target(np.array([[1.0, 1.0]]), np.array([2]), (3, 3), 1.2)
    array([[0, 2, 0],
           [2, 2, 2],
           [0, 2, 0]])
    """
    reach = int(np.ceil(radius_px)) + 1
    steps = np.arange(-reach, reach + 1)
    dy, dx = (grid.ravel() for grid in np.meshgrid(steps, steps, indexing="ij"))
    nearest = np.round(positions_px).astype(int)
    y, x = nearest[:, :1] + dy, nearest[:, 1:] + dx
    distance = np.hypot(y - positions_px[:, :1], x - positions_px[:, 1:])
    is_drawn = (distance <= radius_px) & (y >= 0) & (x >= 0) & (y < shape[0]) & (x < shape[1])
    atom, pixel = np.nonzero(is_drawn)
    order = np.argsort(-distance[atom, pixel], kind="stable")
    atom, pixel = atom[order], pixel[order]
    target = np.zeros(shape, np.int64)
    target[y[atom, pixel], x[atom, pixel]] = classes[atom]
    return target
