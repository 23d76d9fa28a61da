"""The image model of overlapping columns: its values, its gradient and its Fisher matrix."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse, spatial

from adatom.detect.profile import PHASES, PatchTable, Profile, autocorrelate

MOST_NODES = 400


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

    def fisher(self, weights: np.ndarray) -> np.ndarray:
        """Fisher matrix of the nodes, (K L, K L), from the weights of the pixels."""
        n_y, n_x = self.along_y.shape[1], self.along_x.shape[1]
        matrix = np.zeros((n_y, n_x, n_y, n_x))
        for shift_y in (0, 1):
            pairs_y = self.along_y[:, : n_y - shift_y] * self.along_y[:, shift_y:]
            for shift_x in (-1, 0, 1):
                low, high = max(0, -shift_x), n_x - max(0, shift_x)
                pairs_x = (
                    self.along_x[:, low:high] * self.along_x[:, low + shift_x : high + shift_x]
                )
                rows, columns = np.meshgrid(
                    np.arange(n_y - shift_y), np.arange(low, high), indexing="ij"
                )
                block = pairs_y.T @ weights @ pairs_x
                matrix[rows, columns, rows + shift_y, columns + shift_x] = block
                matrix[rows + shift_y, columns + shift_x, rows, columns] = block
        return matrix.reshape(n_y * n_x, n_y * n_x)

    def weights_at(self, positions: np.ndarray) -> sparse.csr_matrix:
        """Weight of every node at positions in pixels, (N, K L) sparse."""
        parts = []
        for axis, along in enumerate((self.along_y, self.along_x)):
            nearest = np.clip(np.rint(positions[:, axis]), 0, len(along) - 1).astype(np.intp)
            parts.append(along[nearest])
        product = parts[0][:, :, None] * parts[1][:, None, :]
        return sparse.csr_matrix(product.reshape(len(positions), -1))


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
        parts.append(np.clip(1 - np.abs(place[:, None] - np.arange(n_gaps + 1)), 0, None))
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
        pad_y, pad_x = self.pad
        padded = np.zeros(self.padded_shape, np.float32)
        padded[pad_y : pad_y + self.shape[0], pad_x : pad_x + self.shape[1]] = values
        return padded.ravel()

    def scatter(self, index: np.ndarray, patches: np.ndarray) -> np.ndarray:
        """Sum patches (N, P) into an image (H, W)."""
        total = np.bincount(
            index.ravel(),
            weights=patches.ravel(),
            minlength=self.padded_shape[0] * self.padded_shape[1],
        )
        pad_y, pad_x = self.pad
        padded = total.reshape(self.padded_shape)
        return padded[pad_y : pad_y + self.shape[0], pad_x : pad_x + self.shape[1]]

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


@dataclass(frozen=True)
class Fisher:
    """Joint Fisher matrix of columns and background.

    The parameters of a column are its intensity times its position (y, x), and its intensity: so
    the matrix does not depend on the intensities but through the weights.

    Attributes
    ----------
    blocks : (N, 3, 3) array
        Each column by itself.
    pairs : (M, 2) int array
        Neighbors that overlap.
    couplings : (M, 3, 3) array
        Blocks between the two columns of each pair.
    coupling_to_background : (N, 3) array
        Sum over pixels of basis times weight.
    node_weights : (N, K) sparse array
        Weight of each node of the background at each column.
    nodes : (K, K) array
        Fisher matrix of the nodes of the background.
    """

    blocks: np.ndarray
    pairs: np.ndarray
    couplings: np.ndarray
    coupling_to_background: np.ndarray
    node_weights: sparse.csr_matrix
    nodes: np.ndarray

    def solve(self, gradient: np.ndarray, node_gradient: np.ndarray, *, tolerance: float = 0.01):
        """Newton step of the columns, (N, 3), and of the nodes, (K,), by conjugate gradients."""
        n = len(self.blocks)
        first, second = self.pairs.T
        indices = np.concatenate([first, second])
        blocks = np.concatenate([self.couplings, self.couplings.transpose(0, 2, 1)])
        others = np.concatenate([second, first])
        order = np.argsort(indices, kind="stable")
        pointer = np.concatenate([[0], np.cumsum(np.bincount(indices, minlength=n))])
        coupling = sparse.bsr_matrix((blocks[order], others[order], pointer), shape=(3 * n, 3 * n))
        inverses = np.linalg.inv(self.blocks)
        node_inverse = np.linalg.pinv(self._reduced_nodes(inverses), hermitian=True)

        def multiply(columns, nodes):
            local = self.node_weights @ nodes
            out = np.einsum("nij,nj->ni", self.blocks, columns)
            out += (coupling @ columns.ravel()).reshape(n, 3) + self.coupling_to_background * local[
                :, None
            ]
            back = self.node_weights.T @ np.einsum("ni,ni->n", self.coupling_to_background, columns)
            return out, self.nodes @ nodes + back

        def precondition(columns, nodes):
            step = np.einsum("nij,nj->ni", inverses, columns)
            back = self.node_weights.T @ np.einsum("ni,ni->n", self.coupling_to_background, step)
            node_step = node_inverse @ (nodes - back)
            local = self.coupling_to_background * (self.node_weights @ node_step)[:, None]
            return step - np.einsum("nij,nj->ni", inverses, local), node_step

        return _conjugate_gradients(multiply, precondition, (gradient, node_gradient), tolerance)

    def covariance(self) -> np.ndarray:
        """Covariance of each column, (N, 3, 3), its neighbors and the background being unknown too.

        Each neighbor is eliminated together with its own neighbors' mean effect, which is exact
        where the neighbors of a column do not overlap with each other.
        """
        inverses = np.linalg.inv(self.blocks)
        first, second = self.pairs.T
        forward, backward = self.couplings, self.couplings.transpose(0, 2, 1)
        lost = np.zeros_like(self.blocks)
        np.add.at(lost, first, forward @ inverses[second] @ backward)
        np.add.at(lost, second, backward @ inverses[first] @ forward)
        reduced = self.blocks - lost
        sound = np.linalg.eigvalsh(reduced)[:, 0] > 0.05 * np.linalg.eigvalsh(self.blocks)[:, 0]
        reduced[~sound] = self.blocks[~sound]
        covariance = np.linalg.inv(reduced)
        node_inverse = np.linalg.pinv(self._reduced_nodes(inverses), hermitian=True)
        local = self.node_weights.multiply(self.node_weights @ node_inverse).sum(axis=1)
        local = np.asarray(local).ravel()
        response = np.einsum("nij,nj->ni", covariance, self.coupling_to_background)
        return covariance + response[:, :, None] * response[:, None] * local[:, None, None]

    def _reduced_nodes(self, inverses: np.ndarray) -> np.ndarray:
        """Fisher matrix of the nodes once the columns, taken as uncoupled, are eliminated."""
        coupling = self.coupling_to_background
        lost = np.einsum("ni,nij,nj->n", coupling, inverses, coupling)
        weights = self.node_weights
        return self.nodes - (weights.T @ weights.multiply(lost[:, None])).toarray()


def _conjugate_gradients(multiply, precondition, right, tolerance):
    """Solve a symmetric system whose vectors come in two parts."""
    solution = [np.zeros_like(part) for part in right]
    residual = [part.copy() for part in right]
    direction = preconditioned = precondition(*residual)
    power = start = sum(np.vdot(a, b) for a, b in zip(residual, preconditioned, strict=True))
    for _ in range(30):
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
    return solution


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
