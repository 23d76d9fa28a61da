"""Class maps that a network learns to draw, and what each class counts."""

import numpy as np
import torch

MOST_WEIGHT = 3.0  # of a rare label in the loss


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


def weigh_classes(pairs: list[tuple[torch.Tensor, torch.Tensor]], n_classes: int) -> torch.Tensor:
    """Weights of the classes in the loss: rare labels count more, so that they are learned too.

    Parameters
    ----------
    pairs : list of (images, targets)
        Examples that show how often each class occurs; 0 is background.
    n_classes : int
        Classes, background included.

    Returns
    -------
    (n_classes,) tensor
        The root of how much rarer a label is than the most common one, at most 3; 1 for the
        background. Calibration undoes the shift of the scores that this brings.
    """
    counts = torch.stack(
        [torch.bincount(targets.flatten(), minlength=n_classes) for _, targets in pairs]
    )
    labels = counts.sum(dim=0)[1:].float()
    weights = (labels.max() / labels.clamp(min=1)).sqrt().clamp(max=MOST_WEIGHT)
    return torch.cat([torch.ones(1), weights])
