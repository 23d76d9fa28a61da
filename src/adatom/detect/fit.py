"""Maximum likelihood fit of all columns of an image at once."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adatom.detect.columns import Background, PatchGrid
from adatom.detect.fisher import (
    couple_columns,
    find_pairs,
    invert_neighborhoods,
    solve_exactly,
)
from adatom.detect.newton import Newton
from adatom.detect.profile import Profile, crop_table, tabulate_profile

# In widths of a column (its sigma): up to where two overlap so much that their errors, or the exact
# matrix, must know; as far as steps look; how near to the edge an unknown column outside may reach;
# the longest step.
PAIR_WIDTHS, EXACT_WIDTHS = 5.5, 7.0
STEP_REACH_WIDTHS = 3.0
RIM_WIDTHS = 4.0
STEP_WIDTHS = 0.3
# In Å: the wings of a profile are cut here; pixels farther from every column are not used; the
# longest way from the start, a little more than `max_shift` so that runaways are seen.
LONGEST_RADIUS = 4.0
USED_REACH = 2.0
LONGEST_WAY = 0.6
SMALL_STEP = 0.15  # of the error: the one that ends the steps
MOST_GROWTH = 1.5  # of an intensity in one step
GUARD, EXACT_GUARD = 1e-3, 1e-6  # share of the usual information added to the diagonal


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel: constant + slope * its expected value, at least that of the darkest."""

    constant: float
    slope: float
    darkest: float = 0.0

    def variance(self, expected: np.ndarray) -> np.ndarray:
        """Variance of pixels of the given expected values."""
        # Where nothing is expected, a single electron must not outweigh all the others.
        least = max(self.darkest, 0.02 * float(np.abs(expected).mean()) if self.slope > 0 else 0.0)
        variance = self.constant + self.slope * np.maximum(expected, least)
        return np.maximum(variance, 1e-12 * (1 + np.abs(expected).max()))


class JointFit:
    """Columns and background of one image, and the steps that make them more likely.

    Parameters
    ----------
    values : (H, W) array
        The image.
    positions : (N, 2) array, px
        Where the columns are about, [y, x].
    pixel_sizes : (float, float)
        Å per pixel along y and x.
    background : Background
        Nodes of the background.
    profile : Profile
        Shape of a column.
    noise : Noise
        Variance of a pixel.
    """

    def __init__(  # noqa: PLR0917
        self,
        values: np.ndarray,
        positions: np.ndarray,
        pixel_sizes: tuple[float, float],
        background: Background,
        profile: Profile,
        noise: Noise,
    ) -> None:
        self.values = values.astype(np.float32)
        self.start = positions
        self.positions = positions.copy()
        self.pixel_sizes = pixel_sizes
        self.background = background
        self.noise = noise
        self.intensity = np.zeros(len(positions))
        self.nodes = np.zeros((background.along_y.shape[1], background.along_x.shape[1]))
        self._newton: Newton | None = None
        self.covered = self._cover()
        self.change_profile(profile)
        smooth = ndimage.gaussian_filter(values, 1.0)
        self._guess(smooth)
        self.weights = self._weigh(smooth)

    def change_noise(self, noise: Noise) -> None:
        """Change the variance of the pixels."""
        self.noise = noise
        self.weights = self._weigh(self.model())
        self._newton = None

    def change_profile(self, profile: Profile, *, scale: float = 1.0, offset: float = 0.0) -> None:
        """Change the shape of the columns, all intensities by a factor, the background by a sum."""
        self.profile = profile
        self.intensity = self.intensity * scale
        self.nodes = self.nodes + offset
        table = tabulate_profile(profile, self.pixel_sizes, self._radius())
        self.grid = PatchGrid(self.values.shape, table)
        widest = np.linalg.eigvalsh(profile.covariance)[-1] ** 0.5
        half_y, half_x = np.ceil(STEP_REACH_WIDTHS * widest / np.array(self.pixel_sizes))
        near = crop_table(table, (int(half_y), int(half_x)))
        self._near = PatchGrid(self.values.shape, near)
        self.placement = self.grid.place(self.positions)
        self._newton = None

    def add_columns(self, positions: np.ndarray, intensity: np.ndarray) -> bool:
        """Fit further columns at positions (M, 2) too, from intensities (M,); whether any."""
        if len(positions):
            self.start = np.concatenate([self.start, positions])
            self.positions = np.concatenate([self.positions, positions])
            self.intensity = np.concatenate([self.intensity, intensity])
            self.covered = self._cover()
            self.placement = self.grid.place(self.positions)
            self._newton = None
        return len(positions) > 0

    def _cover(self) -> np.ndarray:
        """Pixels near enough to a column to tell something of it or its background, (H, W)."""
        marks = np.zeros(self.values.shape, np.uint8)
        limit = np.array(self.values.shape) - 1
        marks[tuple(np.clip(np.rint(self.positions), 0, limit).astype(np.intp).T)] = 1
        size = [2 * round(USED_REACH / step) + 1 for step in self.pixel_sizes]
        return ndimage.maximum_filter(marks, size).astype(np.float32)

    def model(self) -> np.ndarray:
        """Expected image, (H, W)."""
        columns = self.grid.render(self.placement, self.intensity)
        return columns + self.background.field(self.nodes)

    def iterate(self, n_steps: int, *, tolerance: float = 0.03) -> None:
        """Take steps of Fisher scoring, each solved to a tolerance, until they are small."""
        for _ in range(n_steps):
            model = self.model()
            self.weights = self._weigh(model)
            step, node_step, information = self._explain(self.values - model, tolerance)
            if self._move(step, node_step, information) < SMALL_STEP:
                break

    def solve_exactly(self, weights: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Solve the joint Fisher matrix for weights (H, W), overlaps included down to 5e-6."""
        pairs = find_pairs(self.positions * self.pixel_sizes, EXACT_WIDTHS * self.profile.sigma)
        patches = (self.grid, self.placement, pairs)
        return solve_exactly(*patches, self.background, weights, EXACT_GUARD, right)

    def inside_rim(self) -> np.ndarray:
        """1 where no column outside the image can reach that nobody knows of, (H, W)."""
        shape = np.array(self.values.shape)
        rim = np.ceil(RIM_WIDTHS * self.profile.sigma / np.array(self.pixel_sizes)).astype(int)
        rim = np.where(shape > 4 * rim, rim, 0)
        inside = np.zeros(self.values.shape, np.float32)
        inside[rim[0] : shape[0] - rim[0], rim[1] : shape[1] - rim[1]] = 1
        return inside

    def _radius(self) -> float:
        return min(self.profile.radius, LONGEST_RADIUS)

    def project_out(self, image: np.ndarray) -> np.ndarray:
        """What a fit would leave of an image (H, W), to first order."""
        step, node_step, _ = self._explain(image, 0.03)
        return image - self.grid.spread(self.placement, step) - self.background.field(node_step)

    def covariance(self) -> np.ndarray:
        """Covariance of intensity times position (y, x) and of the intensity, (N, 3, 3)."""
        self.weights = self._weigh(self.model())
        pairs = find_pairs(self.positions * self.pixel_sizes, PAIR_WIDTHS * self.profile.sigma)
        blocks, couplings = couple_columns(self.grid, self.placement, pairs, self.weights)
        trace = np.trace(blocks, axis1=1, axis2=2)
        blocks = blocks + (1e-6 * np.median(trace) + 1e-30) * np.eye(3)
        return invert_neighborhoods(blocks, pairs, couplings)

    def _explain(
        self, residual: np.ndarray, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Step of columns and nodes that explains a residual (H, W) best; information, (N, 3)."""
        weighted = residual * self.weights
        gradient = self.grid.project(self.placement, weighted)
        node_gradient = self.background.gather(weighted)
        placement = self._near.place(self.positions)
        if self._newton is None:
            self._newton = Newton(self._near, placement, self.background, self.weights, GUARD)
        gradients = (gradient, node_gradient)
        step, node_step = self._newton.solve(placement, self.weights, *gradients, tolerance)
        return step, node_step, np.diagonal(self._newton.blocks, axis1=1, axis2=2)

    def _weigh(self, model: np.ndarray) -> np.ndarray:
        return (self.covered / self.noise.variance(model)).astype(np.float32)

    def _move(self, step: np.ndarray, node_step: np.ndarray, information: np.ndarray) -> float:
        """Take a step; what all but a twentieth of the columns would at most move, in errors."""
        of_intensity = information[:, 2]
        spread = 1 / np.sqrt(np.maximum(of_intensity, 1e-6 * of_intensity.max() + 1e-30))
        # A column fainter than its own noise does not move far.
        moved = step[:, :2] * (self.intensity / (self.intensity**2 + spread**2))[:, None]
        size = np.abs(step[:, :2]) * np.sqrt(information[:, :2])
        limit = STEP_WIDTHS * self.profile.sigma / np.array(self.pixel_sizes)
        furthest = LONGEST_WAY / np.array(self.pixel_sizes)
        way = self.positions + np.clip(moved, -limit, limit) - self.start
        self.positions = self.start + np.clip(way, -furthest, furthest)
        self.placement = self.grid.place(self.positions)
        # Columns at the rim would swing between far and bright, near and dim.
        most = MOST_GROWTH * self.intensity + 3 * spread
        intensity = np.clip(self.intensity + step[:, 2], self.intensity / MOST_GROWTH, most)
        self.intensity = np.maximum(intensity, 0.02 * spread)
        self.nodes = self.nodes + node_step
        return float(np.quantile(size, 0.95))

    def _guess(self, smooth: np.ndarray) -> None:
        level = np.percentile(smooth[::3, ::3], 5)
        limit = np.array(self.values.shape) - 1
        y, x = np.clip(np.rint(self.positions), 0, limit).astype(np.intp).T
        peak = self.grid.table.basis[:, -1].max()
        self.nodes[:] = level
        self.intensity = np.maximum(smooth[y, x] - level, 0) / peak
