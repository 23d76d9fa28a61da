"""The image model of overlapping columns: patches on the pixel grid, and a smooth background."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from adatom.core.threads import share_out
from adatom.detect.kernels import (
    add_patches,
    couple_nodes,
    couple_patches,
    square_patches,
    sum_patches,
)
from adatom.detect.profile import PHASES, PatchTable

MOST_NODES = 400  # of the background: their matrix is dense


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
        return self.along_y @ nodes.astype(np.float32) @ self.along_x.T

    def gather(self, values: np.ndarray) -> np.ndarray:
        """Sum over pixels of values times the weight of each node, (K, L)."""
        return self.along_y.T @ values @ self.along_x

    def fisher(self, weights: np.ndarray) -> np.ndarray:
        """Fisher matrix of the nodes, (K L, K L), from the weights of the pixels, (H, W)."""
        n_y, n_x = self.along_y.shape[1], self.along_x.shape[1]
        matrix = np.zeros((n_y, n_x, n_y, n_x))
        # Only neighboring nodes share pixels.
        for step_y in (-1, 0, 1):
            first_y, second_y = _neighbors(n_y, step_y)
            shared_y = self.along_y[:, first_y] * self.along_y[:, second_y]
            rows = shared_y.T @ weights
            for step_x in (-1, 0, 1):
                first_x, second_x = _neighbors(n_x, step_x)
                shared = rows @ (self.along_x[:, first_x] * self.along_x[:, second_x])
                matrix[first_y[:, None], first_x[None], second_y[:, None], second_x[None]] = shared
        return matrix.reshape(n_y * n_x, n_y * n_x)


def _neighbors(n: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of all nodes in a line of n that have a neighbor `step` on, and of these."""
    first = np.arange(max(0, -step), n - max(0, step))
    return first, first + step


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
    corners : (N, 2) int array
        First pixel [y, x] of each patch in the padded image.
    phases : (N,) int array
        Row of the table: the sub-pixel phase of the center.
    shift : (N, 2) array, px
        What is left between the column and the phase that was tabulated.
    """

    corners: np.ndarray
    phases: np.ndarray
    shift: np.ndarray


class PatchGrid:
    """Padded pixel grid on which the patches of one table lie.

    The compiled loops do not check bounds: `place` and the padding keep every patch inside.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    table : PatchTable
        Bases on the pixels around a column.
    """

    def __init__(self, shape: tuple[int, int], table: PatchTable) -> None:
        self.shape = shape
        self.table = table
        self._reach = np.array(table.reach)
        pad = 2 * self._reach
        size = np.array(table.basis.shape[2:])
        self.padded_shape = tuple((np.array(shape) + pad + size).tolist())
        self.inner = tuple(slice(int(p), int(p) + n) for p, n in zip(pad, shape, strict=True))

    def place(self, positions: np.ndarray) -> Placement:
        """Put columns at positions (N, 2) in pixels; those far outside are kept near the rim."""
        centers = np.clip(np.rint(positions), -self._reach, np.array(self.shape) - 1 + self._reach)
        centers = centers.astype(np.intp)
        rest = np.clip(positions - centers, -0.5, 0.5)
        phase = np.clip(((rest + 0.5) * PHASES).astype(np.intp), 0, PHASES - 1)
        shift = rest - ((phase + 0.5) / PHASES - 0.5)
        return Placement(centers + self._reach, phase[:, 0] * PHASES + phase[:, 1], shift)

    def pad_image(self, values: np.ndarray) -> np.ndarray:
        """Padded copy of an image, zero outside."""
        padded = np.zeros(self.padded_shape, np.float32)
        padded[self.inner] = values
        return padded

    def spread(self, placement: Placement, factors: np.ndarray) -> np.ndarray:
        """Image (H, W) of the bases of each column times their factors, (N, 3)."""
        padded = np.zeros(self.padded_shape, np.float32)
        factors = np.ascontiguousarray(factors, np.float32)
        patches = (placement.corners, placement.phases, factors, self.table.basis)
        share_out(lambda first, end: add_patches(padded, *patches, first, end), len(padded))
        return padded[self.inner]

    def render(self, placement: Placement, intensity: np.ndarray) -> np.ndarray:
        """Image (H, W) of columns of the given intensities (N,)."""
        factors = np.column_stack([placement.shift, np.ones(len(intensity))])
        return self.spread(placement, factors * intensity[:, None])

    def project(self, placement: Placement, values: np.ndarray) -> np.ndarray:
        """Sum over each patch of basis times image, (N, 3)."""
        padded = self.pad_image(values)
        corners, phases, basis = placement.corners, placement.phases, self.table.basis
        sums = np.empty((len(corners), 3), np.float32)

        def work(first: int, end: int) -> None:
            part = slice(first, end)
            sum_patches(padded, corners[part], phases[part], basis, sums[part])

        share_out(work, len(corners))
        return sums.astype(float)

    def square(self, placement: Placement, weights: np.ndarray) -> np.ndarray:
        """Fisher matrix of each column by itself, (N, 3, 3), weights (H, W)."""
        padded = self.pad_image(weights)
        corners, phases, basis = placement.corners, placement.phases, self.table.basis
        out = np.empty((len(corners), 3, 3), np.float32)

        def work(first: int, end: int) -> None:
            part = slice(first, end)
            square_patches(padded, corners[part], phases[part], basis, out[part])

        share_out(work, len(corners))
        return out.astype(float)

    def couple(self, placement: Placement, pairs: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Fisher matrix between the columns of each pair (M, 2), (M, 3, 3), weights (H, W)."""
        padded = self.pad_image(weights)
        patches = (placement.corners, placement.phases, self.table.basis)
        out = np.empty((len(pairs), 3, 3), np.float32)

        def work(first: int, end: int) -> None:
            couple_patches(padded, *patches, pairs[first:end], out[first:end])

        share_out(work, len(pairs))
        return out.astype(float)

    def couple_background(
        self, placement: Placement, background: Background, weights: np.ndarray
    ) -> sparse.csr_matrix:
        """Fisher matrix between columns and nodes, (3 N, K L)."""
        padded = self.pad_image(weights)
        spans, firsts, alongs = [], [], []
        for axis, along in enumerate((background.along_y, background.along_x)):
            n_pixels, n_nodes = along.shape
            size = self.table.basis.shape[2 + axis]
            spans.append(min(n_nodes, int(np.ceil(size / n_pixels * (n_nodes - 1))) + 2))
            start = np.clip(placement.corners[:, axis] - 2 * self._reach[axis], 0, n_pixels - 1)
            firsts.append(np.minimum((along[start] > 0).argmax(axis=1), n_nodes - spans[axis]))
            inside = np.zeros((n_nodes, self.padded_shape[axis]), np.float32)
            inside[:, self.inner[axis]] = along.T
            alongs.append(inside)
        first = np.stack(firsts, axis=1)
        corners, phases, basis = placement.corners, placement.phases, self.table.basis
        n = len(corners)
        sums = np.zeros((n, 3, *spans), np.float32)

        def work(start: int, end: int) -> None:
            part = slice(start, end)
            shares = (alongs[0], alongs[1], first[part])
            couple_nodes(padded, corners[part], phases[part], basis, *shares, sums[part])

        share_out(work, n)
        rows = first[:, :1] + np.arange(spans[0])
        columns = first[:, 1:] + np.arange(spans[1])
        n_x = background.along_x.shape[1]
        node = (rows[:, :, None] * n_x + columns[:, None]).reshape(n, 1, -1)
        index = np.broadcast_to(node, (n, 3, node.shape[2])).ravel()
        pointer = np.arange(3 * n + 1) * node.shape[2]
        shape = (3 * n, background.along_y.shape[1] * n_x)
        return sparse.csr_matrix((sums.ravel().astype(float), index, pointer), shape=shape)
