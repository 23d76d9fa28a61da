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


def make_maps(
    positions_px: np.ndarray, classes: np.ndarray, shape: tuple[int, int, int], width_px: float
) -> np.ndarray:
    """Draw a Gaussian of height 1 at every column, on the map of its class.

    Parameters
    ----------
    positions_px : (N, 2) array
        Column centers [y, x], pixels.
    classes : (N,) int array
        Class of each, from 0.
    shape : tuple of int
        Classes, height and width.
    width_px : float
        Standard deviation, pixels; cut at four of them.

    Returns
    -------
    (C, H, W) float32 array
        Where Gaussians meet, the higher one counts.

    Examples
    --------
    >>> maps = make_maps(np.array([[1.0, 2.0]]), np.array([1]), (2, 3, 4), 1.0)
    >>> np.round(maps[:, 1].astype(float), 2).tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.14, 0.61, 1.0, 0.61]]
    """
    reach = int(np.ceil(4 * width_px))
    maps = np.zeros(shape, np.float32)
    for (y, x), kind in zip(positions_px, classes, strict=True):
        rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 2, shape[1]))
        columns = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 2, shape[2]))
        if not len(rows) or not len(columns):
            continue
        square = (rows[:, None] - y) ** 2 + (columns - x) ** 2
        disc = np.where(square < (4 * width_px) ** 2, np.exp(-square / (2 * width_px**2)), 0)
        part = maps[kind, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.maximum(part, disc, out=part)
    return maps


def weigh_maps(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Weights of whole maps in the loss, so that rare labels are learned too.

    Parameters
    ----------
    pairs : list of (images, maps)
        Examples; maps of `make_maps`.

    Returns
    -------
    (C, 1, 1) tensor
        The root of how much rarer a label is than the most common one, at most 3; for what is
        missed and for what is invented alike.
    """
    sums = torch.stack([maps.sum((0, 2, 3)) for _, maps in pairs]).sum(0)
    weights = (sums.max() / sums.clamp(min=1)).sqrt().clamp(max=MOST_WEIGHT)
    return weights[:, None, None]


def measure_loss(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Weighted cross-entropy between what a network says and what is true.

    Parameters
    ----------
    logits : (B, C, H, W) tensor
        Of the network.
    targets : (B, H, W) int or (B, C, H, W) float tensor
        Classes of `make_target`, or maps of `make_maps`, which may overlap.
    weights : tensor
        Of `weigh_classes`, or of `weigh_maps`.

    Returns
    -------
    scalar tensor
        Mean over pixels.
    """
    if targets.is_floating_point():
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weight=weights)
    return torch.nn.functional.cross_entropy(logits, targets, weights)


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
