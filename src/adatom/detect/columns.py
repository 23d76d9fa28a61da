"""The image model of overlapping columns: its values, its gradient and its Fisher matrix."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse, spatial

from adatom.detect.profile import PHASES, PatchTable, Profile, autocorrelate

MOST_NODES = 400
MOST_STEPS = 12
LEAST_SHARE = 0.05


@dataclass(frozen=True)
class Background:
    """Smooth background: values at coarse nodes, linear between them.

    Attributes
    ----------
    along_y : (H, K) array
        Weight of each row of nodes in each row of pixels.
    along_x : (W, L) array
        Weight of each column of nodes in each column of pixels.
    """

    along_y: np.ndarray
    along_x: np.ndarray

    def field(self, nodes: np.ndarray) -> np.ndarray:
        """Background of every pixel, (H, W), from the values of the nodes, (K, L)."""
        return self.along_y @ nodes @ self.along_x.T

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Sum over pixels of values times the weight of each node, (K, L)."""
        return self.along_y.T @ values @ self.along_x


def make_background(shape: tuple[int, int], spacing: tuple[float, float]) -> Background:
    """Lay nodes over an image.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of pixels.
    spacing : (float, float)
        Wanted distance of nodes, px.

    Returns
    -------
    Background
        Weights of the nodes in the pixels.
    """
    counts = np.array([max(1, round(n / step)) for n, step in zip(shape, spacing, strict=True)])
    if (excess := (counts + 1).prod() / MOST_NODES) > 1:
        counts = np.maximum(1, (counts / excess**0.5).astype(int))
    parts = []
    for n_pixels, n_gaps in zip(shape, counts, strict=True):
        place = (np.arange(n_pixels) + 0.5) / n_pixels * n_gaps
        weights = np.clip(1 - np.abs(place[:, None] - np.arange(n_gaps + 1)), 0, None)
        parts.append(weights.astype(np.float32))
    return Background(*parts)


@dataclass(frozen=True)
class Placement:
    """Columns put on the pixel grid.

    Attributes
    ----------
    index : (N, P) int array
        Flat index of every pixel of every patch in the padded image.
    basis : (N, 3, P) float32 array
        Derivatives by y and x and the value, for unit intensity.
    shift : (N, 2) array, px
        What is left between the column and the phase that was tabulated.
    """

    index: np.ndarray
    basis: np.ndarray
    shift: np.ndarray


class PatchGrid:
    """Padded pixel grid on which the patches of one table lie.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    table : PatchTable
        Profile on the pixels around a column.
    """

    def __init__(self, shape: tuple[int, int], table: PatchTable) -> None:
        self.shape = shape
        self.table = table
        reach = np.abs(table.offsets).max(axis=0)
        self.pad = 2 * reach
        self.padded_shape = (shape[0] + 2 * int(self.pad[0]), shape[1] + 2 * int(self.pad[1]))
        self.inner = tuple(slice(int(p), int(p) + n) for p, n in zip(self.pad, shape, strict=True))
        self._flat_offsets = table.offsets @ np.array([self.padded_shape[1], 1])

    def place(self, positions: np.ndarray, *, only_value: bool = False) -> Placement:
        """Put columns at positions (N, 2) in pixels; those far outside are kept near the rim."""
        reach = self.pad // 2
        centers = np.clip(np.rint(positions), -reach, np.array(self.shape) - 1 + reach)
        centers = centers.astype(np.intp)
        rest = np.clip(positions - centers, -0.5, 0.5)
        phase = np.clip(((rest + 0.5) * PHASES).astype(np.intp), 0, PHASES - 1)
        shift = rest - ((phase + 0.5) / PHASES - 0.5)
        flat = (centers + self.pad) @ np.array([self.padded_shape[1], 1])
        rows = phase[:, 0] * PHASES + phase[:, 1]
        table = self.table.basis[:, 2:] if only_value else self.table.basis
        return Placement(flat[:, None] + self._flat_offsets, table[rows], shift)

    def pad_image(self, values: np.ndarray) -> np.ndarray:
        """Flat padded copy of an image, zero outside."""
        padded = np.zeros(self.padded_shape, np.float32)
        padded[self.inner] = values
        return padded.ravel()

    def scatter(self, index: np.ndarray, patches: np.ndarray) -> np.ndarray:
        """Sum patches (N, P) into an image (H, W)."""
        total = np.bincount(
            index.ravel(),
            weights=patches.ravel(),
            minlength=self.padded_shape[0] * self.padded_shape[1],
        )
        return total.reshape(self.padded_shape)[self.inner]

    def render(self, placement: Placement, intensity: np.ndarray) -> np.ndarray:
        """Image (H, W) of placed columns of the given intensities (N,)."""
        basis = placement.basis
        patches = basis[:, -1] * intensity[:, None].astype(np.float32)
        if basis.shape[1] == 3:
            factors = (placement.shift * intensity[:, None]).astype(np.float32)
            patches += factors[:, :1] * basis[:, 0]
            patches += factors[:, 1:] * basis[:, 1]
        return self.scatter(placement.index, patches)

    def project(self, placement: Placement, values: np.ndarray) -> np.ndarray:
        """Sum over each patch of basis times image, (N, 3)."""
        patches = self.pad_image(values)[placement.index]
        return np.matmul(placement.basis, patches[:, :, None])[:, :, 0].astype(float)

    def fisher_blocks(self, placement: Placement, weights: np.ndarray) -> np.ndarray:
        """Fisher matrix of each column by itself, (N, 3, 3), from the weights of the pixels."""
        patches = self.pad_image(weights)[placement.index]
        weighted = placement.basis * patches[:, None]
        return np.matmul(weighted, placement.basis.transpose(0, 2, 1)).astype(float)


class Fisher:
    """Joint Fisher matrix of columns and background, as an operator.

    The parameters of a column are its intensity times its position (y, x), and its intensity: so
    the matrix does not depend on the intensities but through the weights.

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
    """

    def __init__(
        self, grid: PatchGrid, placement: Placement, background: Background, weights: np.ndarray
    ) -> None:
        self._grid = grid
        self._background = background
        self._weights = weights.astype(np.float32)
        n, _, n_patch = placement.basis.shape
        index = np.repeat(placement.index.astype(np.int32), 3, axis=0).ravel()
        pointer = np.arange(3 * n + 1, dtype=np.int32) * n_patch
        shape = (3 * n, int(np.prod(grid.padded_shape)))
        self._basis = sparse.csr_matrix((placement.basis.ravel(), index, pointer), shape=shape)
        self.blocks = grid.fisher_blocks(placement, weights)
        # The guard keeps columns without information (outside, or on top of each other) solvable.
        trace = np.trace(self.blocks, axis1=1, axis2=2)
        self._guard = (1e-4 * trace + 1e-3 * np.median(trace) + 1e-30).astype(np.float32)
        self._node_size = self._weigh_nodes()

    def solve(
        self, gradient: np.ndarray, node_gradient: np.ndarray, *, tolerance: float = 0.03
    ) -> tuple[np.ndarray, np.ndarray]:
        """Newton step of the columns, (N, 3), and of the nodes, (K, L), by conjugate gradients."""
        inverses = np.linalg.inv(self.blocks + self._guard[:, None, None] * np.eye(3))
        inverses = inverses.astype(np.float32)

        def precondition(columns, nodes):
            return np.matmul(inverses, columns[:, :, None])[:, :, 0], nodes / self._node_size

        right = (gradient.astype(np.float32), node_gradient.astype(np.float32))
        step, node_step = _conjugate_gradients(self._multiply, precondition, right, tolerance)
        return step.astype(float), node_step.astype(float)

    def _multiply(self, columns: np.ndarray, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grid = self._grid
        padded = (columns.ravel() @ self._basis).reshape(grid.padded_shape)
        image = (padded[grid.inner] + self._background.field(nodes)) * self._weights
        back = (self._basis @ grid.pad_image(image)).reshape(-1, 3)
        node_back = self._background.gather(image) + 1e-3 * self._node_size * nodes
        return back + self._guard[:, None] * columns, node_back

    def _weigh_nodes(self) -> np.ndarray:
        squares = Background(self._background.along_y**2, self._background.along_x**2)
        size = squares.gather(self._weights)
        return (size + 1e-3 * size.max() + 1e-30).astype(np.float32)


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
    """Solve a symmetric system whose vectors come in two parts."""
    solution = [np.zeros_like(part) for part in right]
    residual = [part.copy() for part in right]
    direction = preconditioned = precondition(*residual)
    power = start = sum(np.vdot(a, b) for a, b in zip(residual, preconditioned, strict=True))
    for _ in range(MOST_STEPS):
        if power <= tolerance**2 * start or power <= 0:
            break
        image = multiply(*direction)
        curvature = sum(np.vdot(a, b) for a, b in zip(direction, image, strict=True))
        if curvature <= 0:
            break
        length = power / curvature
        solution = [s + length * d for s, d in zip(solution, direction, strict=True)]
        residual = [r - length * i for r, i in zip(residual, image, strict=True)]
        preconditioned = precondition(*residual)
        last, power = (
            power,
            sum(np.vdot(a, b) for a, b in zip(residual, preconditioned, strict=True)),
        )
        direction = [p + power / last * d for p, d in zip(preconditioned, direction, strict=True)]
    return solution[0], solution[1]


class Overlap:
    """Overlap integrals of neighboring columns.

    Parameters
    ----------
    profile : Profile
        Shape of a column.
    pixel_sizes : (float, float)
        Å per pixel along y and x.
    """

    def __init__(self, profile: Profile, pixel_sizes: tuple[float, float]) -> None:
        self._profile = autocorrelate(profile)
        self._sizes = np.asarray(pixel_sizes)
        self.reach = 5.5 * profile.sigma

    def find_pairs(self, positions: np.ndarray) -> np.ndarray:
        """Pairs (M, 2) of columns at positions (N, 2) in pixels that overlap."""
        tree = spatial.cKDTree(positions * self._sizes)
        return tree.query_pairs(self.reach, output_type="ndarray").astype(np.intp)

    def couplings(self, offsets: np.ndarray) -> np.ndarray:
        """Sum over pixels of products of the bases of two columns.

        Parameters
        ----------
        offsets : (M, 2) array, px
            Position of the second column minus that of the first.

        Returns
        -------
        (M, 3, 3) array
            Basis of the first column (y, x, value) by that of the second.
        """
        y, x = (offsets * self._sizes).T
        area = float(self._sizes.prod())
        out = np.empty((len(offsets), 3, 3))
        size_y, size_x = self._sizes

        def value(order_y, order_x):
            scale = area * size_y**order_y * size_x**order_x
            return self._profile.evaluate(y, x, orders=(order_y, order_x)) * scale

        out[:, 2, 2] = value(0, 0)
        out[:, 2, 0] = value(1, 0)
        out[:, 2, 1] = value(0, 1)
        out[:, 0, 2], out[:, 1, 2] = -out[:, 2, 0], -out[:, 2, 1]
        out[:, 0, 0] = -value(2, 0)
        out[:, 1, 1] = -value(0, 2)
        out[:, 0, 1] = out[:, 1, 0] = -value(1, 1)
        return out
