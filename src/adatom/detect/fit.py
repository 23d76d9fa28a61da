"""Maximum likelihood fit of all columns of an image at once."""

import numpy as np
from scipy import ndimage, special

from adatom.detect.columns import Background, Fisher, Overlap, PatchGrid, invert_neighborhoods
from adatom.detect.profile import PatchTable, Profile, tabulate_profile

CORE_WIDTHS = 3.2
STEP_WIDTHS = 0.3
USED_REACH = 2.0
LONGEST_WAY = 1.0
WHOLE = 0.9


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
    noise : (float, float)
        Constant and slope of the variance as a function of the model.
    """

    def __init__(  # noqa: PLR0917
        self,
        values: np.ndarray,
        positions: np.ndarray,
        pixel_sizes: tuple[float, float],
        background: Background,
        profile: Profile,
        noise: tuple[float, float],
    ) -> None:
        self.values = values
        self.start = positions
        self.positions = positions.copy()
        self.pixel_sizes = pixel_sizes
        self.background = background
        self.noise = noise
        self.intensity = np.zeros(len(positions))
        self.nodes = np.zeros((background.along_y.shape[1], background.along_x.shape[1]))
        self.tail: np.ndarray | float = 0.0
        self.fisher: Fisher | None = None
        self.gaussian = profile
        self.change: np.ndarray | None = None
        self.integral = 1.0
        self.covered = self._cover()
        self.change_profile(profile)
        smooth = ndimage.gaussian_filter(values, 1.0)
        self._guess(smooth)
        self.weights = self._weights_of(smooth)

    def change_profile(self, profile: Profile, *, scale: float = 1.0, offset: float = 0.0) -> None:
        """Change the shape of the columns, all intensities by a factor, the background by a sum."""
        self.profile = profile
        self.intensity = self.intensity * scale
        self.nodes = self.nodes + offset
        radius = min(CORE_WIDTHS * profile.sigma, profile.radius)
        self.grid = PatchGrid(
            self.values.shape, tabulate_profile(profile, self.pixel_sizes, radius)
        )
        self.overlap = Overlap(profile, self.pixel_sizes)
        self.pairs = self.overlap.find_pairs(self.positions)
        self.placement = self.grid.place(self.positions)
        self.fisher = None
        self.tail = self._render_tail(radius)

    def add_columns(self, positions: np.ndarray) -> None:
        """Fit further columns at positions (M, 2) too."""
        self.start = np.concatenate([self.start, positions])
        self.positions = np.concatenate([self.positions, positions])
        self.intensity = np.concatenate([self.intensity, np.zeros(len(positions))])
        self.covered = self._cover()
        self.change_profile(self.profile)

    def _cover(self) -> np.ndarray:
        """Pixels near enough to a column to tell something of it or its background, (H, W)."""
        marks = np.zeros(self.values.shape, np.uint8)
        limit = np.array(self.values.shape) - 1
        marks[tuple(np.clip(np.rint(self.positions), 0, limit).astype(np.intp).T)] = 1
        size = [2 * round(USED_REACH / step) + 1 for step in self.pixel_sizes]
        return ndimage.maximum_filter(marks, size).astype(np.float32)

    def _render_tail(self, radius: float) -> np.ndarray | float:
        """Image of what lies outside the core of each column; it hardly changes with a step."""
        if self.profile.radius <= radius or not self.intensity.any():
            return 0.0
        table = tabulate_profile(self.profile, self.pixel_sizes, self.profile.radius)
        near = np.hypot(*(table.offsets * self.pixel_sizes).T) <= radius
        if near.all():
            return 0.0
        far = PatchTable(table.offsets[~near], np.ascontiguousarray(table.basis[:, :, ~near]))
        wide = PatchGrid(self.values.shape, far)
        return wide.render(wide.place(self.positions, only_value=True), self.intensity)

    def model(self) -> np.ndarray:
        """Expected image, (H, W)."""
        columns = self.grid.render(self.placement, self.intensity)
        return columns + self.tail + self.background.field(self.nodes)

    def iterate(self, n_steps: int, *, tolerance: float = 0.03) -> None:
        """Take steps of Fisher scoring, each solved to a relative tolerance."""
        for _ in range(n_steps):
            model = self.model()
            self.weights = self._weights_of(model)
            weighted = (self.values - model) * self.weights
            if self.fisher is None:
                self.fisher = self.make_fisher()
            gradient = self.grid.project(self.placement, weighted)
            node_gradient = self.background.gather(weighted)
            step, node_step = self.fisher.solve(gradient, node_gradient, tolerance=tolerance)
            self._move(step, node_step, self.fisher.blocks)

    def make_fisher(self) -> Fisher:
        """Joint Fisher matrix at the present state."""
        return Fisher(self.grid, self.placement, self.background, self.weights)

    def project_out(self, image: np.ndarray) -> np.ndarray:
        """What a fit would leave of an image (H, W), to first order."""
        fisher = self.fisher or self.make_fisher()
        weighted = image * self.weights
        gradient = self.grid.project(self.placement, weighted)
        step, node_step = fisher.solve(gradient, self.background.gather(weighted))
        patches = np.einsum("nip,ni->np", self.placement.basis, step.astype(np.float32))
        explained = self.grid.scatter(self.placement.index, patches)
        return image - explained - self.background.field(node_step)

    def covariance(self) -> np.ndarray:
        """Covariance of intensity times position (y, x) and of the intensity, (N, 3, 3)."""
        self.weights = self._weights_of(self.model())
        fisher = self.make_fisher()
        trace = np.trace(fisher.blocks, axis1=1, axis2=2)
        blocks = fisher.blocks + (1e-6 * np.median(trace) + 1e-30) * np.eye(3)
        first, second = self.pairs.T
        middle = (self.positions[first] + self.positions[second]) / 2
        couplings = self.overlap.couplings(self.positions[second] - self.positions[first])
        visible = self._visible_share()
        # Half a column overlaps less than a whole one, and too much makes the matrix indefinite.
        whole = np.minimum(visible[first], visible[second]) > WHOLE
        couplings *= (self._smooth_weights(middle) * whole)[:, None, None]
        return invert_neighborhoods(blocks, self.pairs, couplings)

    def _visible_share(self) -> np.ndarray:
        """Share of each column's information that lies inside the image, (N,)."""
        widths = self.profile.sigma / np.array(self.pixel_sizes)
        low = special.erf((self.positions + 0.5) / widths)
        high = special.erf((np.array(self.values.shape) - 0.5 - self.positions) / widths)
        return np.clip((low + high) / 2, 0, 1).prod(axis=1)

    def _smooth_weights(self, positions: np.ndarray) -> np.ndarray:
        """Weights averaged over the overlap of two columns around positions (M, 2)."""
        width = [0.7 * self.profile.sigma / size for size in self.pixel_sizes]
        smooth = ndimage.gaussian_filter(self.weights, width, truncate=2.5)
        limit = np.array(self.values.shape) - 1
        y, x = np.clip(np.rint(positions), 0, limit).astype(np.intp).T
        return smooth[y, x]

    def _weights_of(self, model: np.ndarray) -> np.ndarray:
        constant, slope = self.noise
        floor = 0.02 * np.abs(model).mean() if slope > 0 else 0.0
        variance = constant + slope * np.maximum(model, floor)
        variance = np.maximum(variance, 1e-12 * (1 + np.abs(model).max()))
        return (self.covered / variance).astype(np.float32)

    def _move(self, step: np.ndarray, node_step: np.ndarray, blocks: np.ndarray) -> None:
        information = blocks[:, 2, 2]
        spread = 1 / np.sqrt(np.maximum(information, 1e-6 * information.max() + 1e-30))
        # A column fainter than its own noise does not move far.
        moved = step[:, :2] * (self.intensity / (self.intensity**2 + spread**2))[:, None]
        limit = STEP_WIDTHS * self.profile.sigma / np.array(self.pixel_sizes)
        furthest = LONGEST_WAY / np.array(self.pixel_sizes)
        way = self.positions + np.clip(moved, -limit, limit) - self.start
        self.positions = self.start + np.clip(way, -furthest, furthest)
        self.placement = self.grid.place(self.positions)
        self.intensity = np.maximum(self.intensity + step[:, 2], 0.02 * spread)
        self.nodes = self.nodes + node_step

    def _guess(self, smooth: np.ndarray) -> None:
        level = np.percentile(smooth, 5)
        limit = np.array(self.values.shape) - 1
        y, x = np.clip(np.rint(self.positions), 0, limit).astype(np.intp).T
        peak = self.grid.table.basis[:, 2].max()
        self.nodes[:] = level
        self.intensity = np.maximum(smooth[y, x] - level, 0) / peak
