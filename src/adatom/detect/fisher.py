"""Joint Fisher matrix of all columns and the background of an image."""

import numpy as np
from scipy import linalg, sparse, spatial
from scipy.sparse import linalg as sparse_linalg

from adatom.detect.columns import Background, PatchGrid, Placement

MOST_STEPS = 30
LEAST_SHARE = 0.05


def find_pairs(positions: np.ndarray, reach: float) -> np.ndarray:
    """Pairs of columns that overlap.

    Parameters
    ----------
    positions : (N, 2) array, Å
        Columns.
    reach : float
        Distance up to which columns overlap, Å.

    Returns
    -------
    (M, 2) int array
        Each pair once.
    """
    tree = spatial.cKDTree(positions)
    return tree.query_pairs(reach, output_type="ndarray").astype(np.intp)


class Fisher:
    """Joint Fisher matrix of columns and background.

    The parameters of a column are its intensity times its position (y, x), and its intensity: so
    the matrix does not depend on the intensities but through the weights.

    Parameters
    ----------
    grid : PatchGrid
        Where the patches lie.
    placement : Placement
        The columns.
    pairs : (M, 2) int array
        Columns that overlap.
    background : Background
        Nodes of the background.
    weights : (H, W) array
        Inverse variance of each pixel.
    guard : float
        Share of the usual information that is added to the diagonal: it keeps columns without
        information (outside, or on top of each other) solvable, and their steps short.
    """

    def __init__(  # noqa: PLR0917
        self,
        grid: PatchGrid,
        placement: Placement,
        pairs: np.ndarray,
        background: Background,
        weights: np.ndarray,
        guard: float,
    ) -> None:
        n = len(placement.corners)
        own = np.repeat(np.arange(n)[:, None], 2, axis=1)
        coupled = grid.couple(placement, np.concatenate([own, pairs]), weights)
        self.pairs = pairs
        self.blocks, self.couplings = coupled[:n], coupled[n:]
        trace = np.trace(self.blocks, axis1=1, axis2=2)
        added = guard * (0.1 * trace + np.median(trace)) + 1e-30
        guarded = self.blocks + added[:, None, None] * np.eye(3)
        self._inverses = np.linalg.inv(guarded)
        self._matrix = _assemble(guarded, pairs, self.couplings)
        nodes = background.fisher(weights)
        size = np.diag(nodes)
        self._nodes = nodes + np.diag(guard * (size + 1e-3 * size.mean()) + 1e-30)
        self._factor = linalg.cho_factor(self._nodes)
        self._cross = grid.couple_background(placement, background, weights)

    def solve(
        self, gradient: np.ndarray, node_gradient: np.ndarray, *, tolerance: float = 0.03
    ) -> tuple[np.ndarray, np.ndarray]:
        """Newton step of the columns, (N, 3), and of the nodes, (K, L), by conjugate gradients."""
        n = gradient.size

        def split(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return vector[:n].reshape(-1, 3), vector[n:]

        def multiply(vector: np.ndarray) -> np.ndarray:
            columns, nodes = vector[:n], vector[n:]
            level, down = self._cross @ nodes, columns @ self._cross
            return np.concatenate([self._matrix @ columns + level, self._nodes @ nodes + down])

        def precondition(vector: np.ndarray) -> np.ndarray:
            columns, nodes = split(vector)
            solved = np.matmul(self._inverses, columns[:, :, None])
            return np.concatenate([solved.ravel(), linalg.cho_solve(self._factor, nodes)])

        right = np.concatenate([gradient.ravel(), node_gradient.ravel()])
        columns, nodes = split(_conjugate_gradients(multiply, precondition, right, tolerance))
        return columns, nodes.reshape(node_gradient.shape)

    def solve_exactly(self, right: np.ndarray) -> np.ndarray:
        """Solution, (3 N + K L, R); right sides hold columns and nodes one after the other.

        Its cost grows faster than the number of columns.
        """
        nodes = sparse.csr_matrix(self._nodes)
        whole = sparse.bmat([[self._matrix, self._cross], [self._cross.T, nodes]])
        factors = sparse_linalg.splu(
            sparse.csc_matrix(whole),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        return factors.solve(right)


def _assemble(blocks: np.ndarray, pairs: np.ndarray, couplings: np.ndarray) -> sparse.bsr_matrix:
    """Sparse matrix of blocks on the diagonal, and couplings above and below it."""
    n = len(blocks)
    first, second = pairs.T
    rows = np.concatenate([np.arange(n), first, second])
    columns = np.concatenate([np.arange(n), second, first])
    values = np.concatenate([blocks, couplings, couplings.transpose(0, 2, 1)])
    order = np.argsort(rows, kind="stable")
    pointer = np.searchsorted(rows[order], np.arange(n + 1))
    return sparse.bsr_matrix((values[order], columns[order], pointer), shape=(3 * n, 3 * n))


def invert_neighborhoods(
    blocks: np.ndarray, pairs: np.ndarray, couplings: np.ndarray
) -> np.ndarray:
    """Covariance of each column, its neighbors being unknown too.

    Exact where the neighbors of a column do not overlap with each other.

    Parameters
    ----------
    blocks : (N, 3, 3) array
        Fisher matrix of each column by itself.
    pairs : (M, 2) int array
        Neighbors that overlap.
    couplings : (M, 3, 3) array
        Fisher matrix between the two columns of each pair.

    Returns
    -------
    (N, 3, 3) array
        Covariances.
    """
    inverses = np.linalg.inv(blocks)
    first, second = pairs.T
    backward = couplings.transpose(0, 2, 1)
    lost = np.zeros_like(blocks)
    np.add.at(lost, first, couplings @ inverses[second] @ backward)
    np.add.at(lost, second, backward @ inverses[first] @ couplings)
    reduced = blocks - lost
    # Two columns nearly on top of each other: the star of neighbors is no good approximation.
    scale = np.sqrt(np.diagonal(blocks, axis1=1, axis2=2))
    scales = scale[:, :, None] * scale[:, None]
    values, vectors = np.linalg.eigh(reduced / scales)
    inverse = (vectors / np.maximum(values, LEAST_SHARE)[:, None]) @ vectors.transpose(0, 2, 1)
    return inverse / scales


def _conjugate_gradients(multiply, precondition, right, tolerance):
    """Solve a symmetric system."""
    solution = np.zeros_like(right)
    residual = right.copy()
    direction = preconditioned = precondition(residual)
    power = start = residual @ preconditioned
    for _ in range(MOST_STEPS):
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
