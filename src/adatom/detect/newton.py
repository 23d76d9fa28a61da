"""Newton steps of all columns and the background of an image, without their joint matrix."""

from collections.abc import Callable

import numpy as np
from scipy import linalg

from adatom.detect.columns import Background, PatchGrid, Placement
from adatom.detect.fisher import guard_blocks, guard_nodes

MOST_PRODUCTS = 30


class Newton:
    """Steps of columns and background by conjugate gradients.

    The Fisher matrix times a vector is the projection of the weighted image of that vector. Columns
    by themselves and the nodes by themselves are the preconditioner, which may be of a state some
    steps ago. The patches may be smaller than those of the model: where the gradient is none, so is
    the step.

    Parameters
    ----------
    grid : PatchGrid
        Where the patches lie.
    placement : Placement
        The columns.
    background : Background
        Nodes of the background.
    weights : (H, W) array
        Inverse variance of each pixel.
    guard : float
        Share of the usual information that is added to the diagonal.
    """

    def __init__(
        self,
        grid: PatchGrid,
        placement: Placement,
        background: Background,
        weights: np.ndarray,
        guard: float,
    ) -> None:
        self.grid = grid
        self.background = background
        self.blocks = grid.square(placement, weights)
        self._added = guard_blocks(self.blocks, guard)[:, None]
        self._inverses = np.linalg.inv(self.blocks + self._added[:, :, None] * np.eye(3))
        nodes = background.fisher(weights)
        self._added_nodes = guard_nodes(nodes, guard)
        self._factor = linalg.cho_factor(nodes + np.diag(self._added_nodes))

    def solve(
        self,
        placement: Placement,
        weights: np.ndarray,
        gradient: np.ndarray,
        node_gradient: np.ndarray,
        tolerance: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Step for a gradient.

        Parameters
        ----------
        placement : Placement
            The columns now.
        weights : (H, W) array
            Inverse variance of each pixel now.
        gradient, node_gradient : (N, 3) and (K, L) arrays
            Of the logarithm of the likelihood, by columns and nodes.
        tolerance : float
            Relative, of the error of the step in its own Fisher norm.

        Returns
        -------
        (N, 3) array, (K, L) array
            Intensity times shift (y, x) and change of intensity of each column, in pixels; change
            of the nodes.
        """
        added = np.concatenate([np.repeat(self._added, 3), self._added_nodes])
        n = gradient.size

        def split(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return vector[:n].reshape(-1, 3), vector[n:].reshape(node_gradient.shape)

        def multiply(vector: np.ndarray) -> np.ndarray:
            columns, nodes = split(vector)
            image = self.grid.spread(placement, columns) + self.background.field(nodes)
            image *= weights
            down, level = self.grid.project(placement, image), self.background.gather(image)
            return np.concatenate([down.ravel(), level.ravel()]) + added * vector

        def precondition(vector: np.ndarray) -> np.ndarray:
            columns, _ = split(vector)
            solved = np.matmul(self._inverses, columns[:, :, None])
            return np.concatenate([solved.ravel(), linalg.cho_solve(self._factor, vector[n:])])

        right = np.concatenate([gradient.ravel(), node_gradient.ravel()])
        return split(_conjugate_gradients(multiply, precondition, right, tolerance))


def _conjugate_gradients(
    multiply: Callable[[np.ndarray], np.ndarray],
    precondition: Callable[[np.ndarray], np.ndarray],
    right: np.ndarray,
    tolerance: float,
) -> np.ndarray:
    """Solve a symmetric system."""
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = preconditioned = precondition(residual)
    power = start = residual @ preconditioned
    for _ in range(MOST_PRODUCTS):
        if power <= tolerance**2 * start or power <= 0:
            break
        image = multiply(direction)
        curvature = direction @ image
        if curvature <= 0:
            break
        length = power / curvature
        solution += length * direction
        residual -= length * image
        preconditioned = precondition(residual)
        last, power = power, residual @ preconditioned
        direction = preconditioned + power / last * direction
    return solution
