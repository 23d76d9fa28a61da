"""Maximum likelihood fit of all columns of an image at once."""

import numpy as np
from scipy import ndimage

from adatom.detect.columns import Background, Fisher, Overlap, PatchGrid, Placement
from adatom.detect.profile import Profile, tabulate_profile

CORE_WIDTHS = 3.2
STEP_WIDTHS = 0.3


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
        self.set_profile(profile)
        smooth = ndimage.gaussian_filter(values, 1.0)
        self._guess(smooth)
        self.weights = self._weights_of(smooth)

    def set_profile(self, profile: Profile) -> None:
        """Change the shape of the columns; what lies outside the core stays as it is now."""
        self.profile = profile
        radius = min(CORE_WIDTHS * profile.sigma, profile.radius)
        self.grid = PatchGrid(
            self.values.shape, tabulate_profile(profile, self.pixel_sizes, radius)
        )
        self.overlap = Overlap(profile, self.pixel_sizes)
        self.pairs = self.overlap.find_pairs(self.positions)
        self.placement = self.grid.place(self.positions)
        self.tail = 0.0
        if profile.radius > 1.05 * radius and self.intensity.any():
            table = tabulate_profile(profile, self.pixel_sizes, profile.radius)
            wide = PatchGrid(self.values.shape, table)
            far = np.hypot(*(table.offsets * self.pixel_sizes).T) > radius
            table.basis[:, :, ~far] = 0
            self.tail = wide.render(wide.place(self.positions, only_value=True), self.intensity)

    def model(self) -> np.ndarray:
        """Expected image, (H, W)."""
        columns = self.grid.render(self.placement, self.intensity)
        return columns + self.tail + self.background.field(self.nodes)

    def covered(self, placement: Placement) -> np.ndarray:
        """Pixels near enough to a column to tell something, (H, W) bool."""
        seen = np.zeros(self.grid.padded_shape, bool)
        seen.ravel()[placement.index] = True
        pad_y, pad_x = self.grid.pad
        return seen[pad_y : pad_y + self.values.shape[0], pad_x : pad_x + self.values.shape[1]]

    def iterate(self, n_steps: int, *, only_intensity: bool = False) -> None:
        """Take steps of Fisher scoring."""
        for _ in range(n_steps):
            model = self.model()
            self.weights = self._weights_of(model)
            weighted = (self.values - model) * self.weights
            if self.fisher is None:
                self.fisher = self.make_fisher()
            gradient = self.grid.project(self.placement, weighted)
            step, node_step = self.fisher.solve(gradient, self.background.gather(weighted).ravel())
            self._move(step, node_step, self.fisher.blocks, only_intensity)

    def make_fisher(self) -> Fisher:
        """Joint Fisher matrix at the present state."""
        blocks = self.grid.fisher_blocks(self.placement, self.weights)
        first, second = self.pairs.T
        middle = (self.positions[first] + self.positions[second]) / 2
        couplings = self.overlap.couplings(self.positions[second] - self.positions[first])
        couplings *= self._smooth_weights(middle)[:, None, None]
        # The guard keeps columns without information (outside, or on top of each other) solvable.
        trace = np.trace(blocks, axis1=1, axis2=2)
        guard = 1e-3 * trace + 1e-3 * np.median(trace) + 1e-30
        return Fisher(
            blocks=blocks + guard[:, None, None] * np.eye(3) / 3,
            pairs=self.pairs,
            couplings=couplings,
            coupling_to_background=self.grid.project(self.placement, self.weights),
            node_weights=self.background.weights_at(self.positions),
            nodes=self._node_fisher(),
        )

    def _node_fisher(self) -> np.ndarray:
        matrix = self.background.fisher(self.weights)
        size = np.diag(matrix)
        return matrix + np.diag(1e-3 * size + 1e-6 * size.max() + 1e-30)

    def _smooth_weights(self, positions: np.ndarray) -> np.ndarray:
        """Weights averaged over the overlap of two columns around positions (M, 2)."""
        width = [0.6 * self.profile.sigma / size for size in self.pixel_sizes]
        smooth = ndimage.gaussian_filter(self.weights, width, truncate=2.5)
        limit = np.array(self.values.shape) - 1
        y, x = np.clip(np.rint(positions), 0, limit).astype(np.intp).T
        return smooth[y, x]

    def _weights_of(self, model: np.ndarray) -> np.ndarray:
        constant, slope = self.noise
        floor = 0.02 * np.abs(model).mean() if slope > 0 else 0.0
        variance = constant + slope * np.maximum(model, floor)
        variance = np.maximum(variance, 1e-12 * (1 + np.abs(model).max()))
        return (self.covered(self.placement) / variance).astype(np.float32)

    def _move(
        self, step: np.ndarray, node_step: np.ndarray, blocks: np.ndarray, only_intensity: bool
    ) -> None:
        spread = 1 / blocks[:, 2, 2] ** 0.5
        if not only_intensity:
            # A column fainter than its own noise does not move far.
            moved = step[:, :2] * (self.intensity / (self.intensity**2 + spread**2))[:, None]
            limit = STEP_WIDTHS * self.profile.sigma / np.array(self.pixel_sizes)
            self.positions = self.positions + np.clip(moved, -limit, limit)
            self.placement = self.grid.place(self.positions)
        self.intensity = np.maximum(self.intensity + step[:, 2], 0.02 * spread)
        self.nodes = self.nodes + node_step.reshape(self.nodes.shape)

    def _guess(self, smooth: np.ndarray) -> None:
        level = np.percentile(smooth, 5)
        limit = np.array(self.values.shape) - 1
        y, x = np.clip(np.rint(self.positions), 0, limit).astype(np.intp).T
        peak = self.grid.table.basis[:, 2].max()
        self.nodes[:] = level
        self.intensity = np.maximum(smooth[y, x] - level, 0) / peak
