"""The part of an image that tells its probe: pixels, columns, background, and their model."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, spatial

from adatom.core.errors import ImageError
from adatom.detect.columns import make_background
from adatom.detect.refine import bin_image

MARGIN = 3.0  # Å around the pixels, of columns that are fitted too
PAD = 9.0  # Å between a scene and its repetition
NODE_SPACING = 8.0  # Å, of the background
FEWEST_COLUMNS = 20
FURTHEST = 0.15  # Å that a column moves in one step
_FINENESS = 0.8  # of the largest pixel that the aperture allows: what pixels are summed up to
_BATCH = 64  # columns whose images are made at once
_FIRST_PEAK = 0.8  # 1/Å², of a column, about


@dataclass(frozen=True)
class Scene:
    """Pixels and columns, and what each column scatters.

    Attributes
    ----------
    values : (H, W) array
        Mean of each block of pixels.
    pixel_size : float
        Å per block.
    n_summed : int
        Pixels of the image along one side of a block.
    positions : (N, 2) array
        Columns [y, x], Å from the middle of values[0, 0]; some stand beyond the pixels.
    strengths : (N,) array
        Integral of each column, in units of a value times a block.
    is_inside : (N,) bool array
        Whether a column stands on the pixels.
    background : (K, H W) array
        Weight of each node of the background in each block.
    """

    values: np.ndarray
    pixel_size: float
    n_summed: int
    positions: np.ndarray
    strengths: np.ndarray
    is_inside: np.ndarray
    background: np.ndarray

    @property
    def n_grid(self) -> int:
        """Side of the periodic grid on which columns are drawn, blocks."""
        longest = max(self.values.shape) + int(np.ceil(PAD / self.pixel_size))
        return int(fft.next_fast_len(longest + longest % 2, real=True))

    def see(self, transfer: np.ndarray) -> np.ndarray:
        """Image (H, W) of all columns of a transfer (n, n // 2 + 1)."""
        down, right = self._turn()
        sums = (down * self.strengths[:, None]).T @ right
        return self._show(sums * transfer * self._sum())

    def draw(self, transfer: np.ndarray, n_kinds: int = 3) -> np.ndarray:
        """What each linear number changes, (3 N + K, H W).

        First the images of the columns of strength 1, then their derivatives by y and by x (1/Å),
        then the nodes of the background.
        """
        n, (down, right) = len(self.positions), (a.astype(np.complex64) for a in self._turn())
        k = fft.fftfreq(self.n_grid, self.pixel_size)
        slopes = -2j * np.pi * k[:, None], -2j * np.pi * np.abs(k[: right.shape[1]])
        kinds = [transfer * self._sum() * factor for factor in (1.0, *slopes)]
        drawn = np.empty((n_kinds * n + len(self.background), self.values.size), np.float32)
        drawn[n_kinds * n :] = self.background
        for number, kind in enumerate(np.array(kinds[:n_kinds], np.complex64)):
            for part in _cut(n):
                images = self._show(kind * down[part, :, None] * right[part, None])
                first = number * n + part.start
                drawn[first : first + len(images)] = images.reshape(len(images), -1)
        return drawn

    def take(self, solution: np.ndarray) -> "Scene":
        """The scene with linear numbers (3 N + K,) found by a fit."""
        n = len(self.positions)
        strengths = solution[:n]
        if len(solution) < 3 * n:
            return replace(self, strengths=strengths)
        moved = replace(self, strengths=strengths)
        moves = np.clip(solution[n : 3 * n].reshape(2, n) / moved.sizes(), -FURTHEST, FURTHEST)
        return replace(moved, positions=self.positions + moves.T)

    def sizes(self) -> np.ndarray:
        """Strength of each column, at least a tenth of the usual, (N,)."""
        strengths = np.abs(self.strengths)
        return np.maximum(strengths, 0.1 * float(np.median(strengths)))

    def _turn(self) -> tuple[np.ndarray, np.ndarray]:
        k = fft.fftfreq(self.n_grid, self.pixel_size)
        down = np.exp(-2j * np.pi * np.outer(self.positions[:, 0], k))
        half = np.abs(k[: self.n_grid // 2 + 1])
        return down, np.exp(-2j * np.pi * np.outer(self.positions[:, 1], half))

    def _sum(self) -> np.ndarray:
        """Transfer of the sum over a block, (n, n // 2 + 1)."""
        k = fft.fftfreq(self.n_grid, self.pixel_size)
        offsets = (np.arange(self.n_summed) - (self.n_summed - 1) / 2) / self.n_summed
        along = np.cos(2 * np.pi * np.outer(k * self.pixel_size, offsets)).mean(axis=1)
        return np.outer(along, along[: self.n_grid // 2 + 1])

    def _show(self, spectrum: np.ndarray) -> np.ndarray:
        height, width = self.values.shape
        image = fft.irfft2(spectrum, (self.n_grid, self.n_grid))
        return image[..., :height, :width]


def _cut(n: int) -> Iterator[slice]:
    for first in range(0, n, _BATCH):
        yield slice(first, min(first + _BATCH, n))


def make_scene(
    image: np.ndarray,
    pixel_size: float,
    positions: np.ndarray,
    cutoff: float,
    most_columns: int,
) -> Scene:
    """Choose the part of an image that tells the probe.

    Parameters
    ----------
    image : (H, W) array
        The image.
    pixel_size : float
        Å per pixel.
    positions : (N, 2) array
        Columns [y, x], Å from the middle of pixel [0, 0].
    cutoff : float
        Radius of the aperture, 1/Å.
    most_columns : int
        Columns that the part holds at most.

    Returns
    -------
    Scene
        The square with most columns, its blocks as coarse as the aperture allows.

    Raises
    ------
    ImageError
        If it holds too few columns.
    """
    shape = np.array(image.shape)
    low, high = _choose_square(shape, pixel_size, positions, most_columns)
    n_summed = max(1, int(_FINENESS / (4 * cutoff) / pixel_size))
    # Unknown columns may stand beyond the rim of the image.
    first = np.maximum(np.ceil((low + MARGIN) / pixel_size - 0.5), 0).astype(int)
    n_blocks = (((high - low - 2 * MARGIN) / pixel_size) // n_summed).astype(int)
    mine = positions[np.all((positions >= low) & (positions <= high), axis=1)]
    block = n_summed * pixel_size
    corner = (first + (n_summed - 1) / 2) * pixel_size
    local = mine - corner
    is_inside = np.all((local > 0) & (local < (n_blocks - 1) * block), axis=1)
    if (n_blocks < 1).any() or is_inside.sum() < FEWEST_COLUMNS:
        raise ImageError(
            f"positions: must hold at least {FEWEST_COLUMNS} columns that stand {MARGIN:g} Å "
            f"inside the image (got {int(is_inside.sum())})"
        )
    window = tuple(slice(a, a + n * n_summed) for a, n in zip(first, n_blocks, strict=True))
    values = bin_image(np.asarray(image[window], float), (n_summed, n_summed)) / n_summed**2
    nodes = make_background(values.shape, (NODE_SPACING / block,) * 2)
    background = np.einsum("yk,xl->klyx", nodes.along_y, nodes.along_x).reshape(-1, values.size)
    typical = (np.percentile(values, 90) - np.percentile(values, 5)) / (_FIRST_PEAK * block**2)
    return Scene(
        values, block, n_summed, local, np.full(len(local), typical), is_inside, background
    )


def _choose_square(
    shape: np.ndarray, pixel_size: float, positions: np.ndarray, most_columns: int
) -> tuple[np.ndarray, np.ndarray]:
    """Corners [y, x] (Å) of the square, of a size for so many columns, that holds most."""
    edge = shape * pixel_size
    side = edge.copy()
    middle = (edge - pixel_size) / 2
    while True:
        low, high = middle - side / 2, middle + side / 2
        n = int(np.all((positions >= low) & (positions <= high), axis=1).sum())
        if n <= most_columns:
            return low, high
        wanted = float(side.prod()) ** 0.5 * min(0.98, (most_columns / n) ** 0.5)
        side = np.minimum(edge, wanted)
        ends = [np.linspace(s / 2, e - s / 2, 9) for s, e in zip(side, edge, strict=True)]
        middles = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 2)
        middles -= pixel_size / 2
        # In units of the side, of which that of a narrow image differs along y and x.
        tree = spatial.cKDTree(positions / side)
        counts = tree.query_ball_point(middles / side, 0.5, p=np.inf, return_length=True)
        middle = middles[int(np.argmax(counts))]
