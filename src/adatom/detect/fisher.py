"""Joint Fisher matrix of all columns and the background of an image."""

import numpy as np
from scipy import sparse, spatial
from scipy.sparse import linalg as sparse_linalg

from adatom.detect.columns import Background, PatchGrid, Placement

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


def couple_columns(
    grid: PatchGrid, placement: Placement, pairs: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fisher matrix of each column by itself, and between the columns of each pair.

    The parameters of a column are its intensity times its position (y, x), and its intensity: so
    the matrix does not depend on the intensities but through the weights.

    Parameters
    ----------
    grid : PatchGrid
        Where the patches lie.
    placement : Placement
        The N columns.
    pairs : (M, 2) int array
        Columns that overlap.
    weights : (H, W) array
        Inverse variance of each pixel.

    Returns
    -------
    (N, 3, 3) array, (M, 3, 3) array
        Blocks and couplings.
    """
    return grid.square(placement, weights), grid.couple(placement, pairs, weights)


def guard_blocks(blocks: np.ndarray, guard: float) -> np.ndarray:
    """What to add to the diagonals of blocks (N, 3, 3), (N,): a share of the usual information.

    It keeps columns without information (outside, or on top of each other) solvable, and their
    steps short.
    """
    trace = np.trace(blocks, axis1=1, axis2=2)
    return guard * (0.1 * trace + np.median(trace)) + 1e-30


def guard_nodes(matrix: np.ndarray, guard: float) -> np.ndarray:
    """What to add to the diagonal of the Fisher matrix of the nodes (K, K), (K,)."""
    size = np.diag(matrix)
    return guard * (size + 1e-3 * size.mean()) + 1e-30


def solve_exactly(  # noqa: PLR0917
    grid: PatchGrid,
    placement: Placement,
    pairs: np.ndarray,
    background: Background,
    weights: np.ndarray,
    guard: float,
    right: np.ndarray,
) -> np.ndarray:
    """Solve the joint Fisher matrix of columns and background for many right sides.

    Parameters
    ----------
    grid, placement, pairs, weights
        As of `couple_columns`.
    background : Background
        Nodes of the background.
    guard : float
        Share of the usual information that is added to the diagonal.
    right : (3 N + K L, R) array
        Columns and nodes one after the other.

    Returns
    -------
    (3 N + K L, R) array
        Solutions. The cost grows faster than the number of columns.
    """
    blocks, couplings = couple_columns(grid, placement, pairs, weights)
    guarded = blocks + guard_blocks(blocks, guard)[:, None, None] * np.eye(3)
    dense = background.fisher(weights)
    nodes = sparse.csr_matrix(dense + np.diag(guard_nodes(dense, guard)))
    cross = grid.couple_background(placement, background, weights)
    columns = _assemble(guarded, pairs, couplings)
    whole = sparse.vstack([sparse.hstack([columns, cross]), sparse.hstack([cross.T, nodes])])
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
