"""Fit of a probe and of all columns of a scene together."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, linalg, ndimage, optimize

from adatom.restore.probe_scene import Scene
from adatom.restore.probe_shape import LARGEST_PHASE, ProbeShape

UNKNOWN, LOOSE = 10.0, 0.5  # how well columns are known before: strength, in itself; position, Å
N_DRAWS, SMOOTH = 8, 3.0  # of white noise; of spectra, frequencies
_GUARD = 1e-6  # share of its own information added to each linear number: single precision
_SETTLED = 1e-5  # relative change of chi-square, or of the numbers, that ends the steps


@dataclass(frozen=True)
class Eliminated:
    """Takes out of images what columns and background can explain, to first order.

    Attributes
    ----------
    drawn : (L, M) float32 array
        What each linear number of `Scene.draw` changes, in standard deviations of the noise.
    factor : tuple
        Cholesky factor of their Fisher matrix and of what is known before.
    rigid : (L,) array
        Inverse standard deviation of what is known before.
    """

    drawn: np.ndarray
    factor: tuple[np.ndarray, bool]
    rigid: np.ndarray

    def solve(self, images: np.ndarray) -> np.ndarray:
        """Linear numbers (L, ...) that explain weighted images (M, ...) best."""
        return linalg.cho_solve(self.factor, self.drawn @ images.astype(np.float32))

    def leave(self, images: np.ndarray) -> np.ndarray:
        """What is left of weighted images (M, ...) and of what is known before, (M + L, ...)."""
        found = self.solve(images)
        left = images - self.drawn.T @ found.astype(np.float32)
        return np.concatenate([left, (self.rigid * found.T).T])

    def variances(self) -> np.ndarray:
        """Variance of each linear number, (L,)."""
        inverse = linalg.solve_triangular(self.factor[0], np.eye(len(self.rigid)), lower=True)
        return np.sum(inverse**2, axis=0)


def eliminate(scene: Scene, transfer: np.ndarray, scale: np.ndarray, *, moves: bool) -> Eliminated:
    """Prepare the elimination of the columns of a scene.

    Parameters
    ----------
    scene : Scene
        Its strengths and positions now.
    transfer : (n, n // 2 + 1) array
        Of a column.
    scale : (H, W) array
        Inverse standard deviation of each block.
    moves : bool
        Whether positions are eliminated too.

    Returns
    -------
    Eliminated
        At this state of the scene.
    """
    n_kinds = 3 if moves else 1
    drawn = scene.draw(transfer, n_kinds) * scale.ravel().astype(np.float32)
    size = scene.sizes()
    spread = np.concatenate([UNKNOWN * size, np.tile(LOOSE * size, n_kinds - 1)])
    rigid = np.concatenate([1 / spread, np.zeros(len(scene.background))])
    fisher = (drawn @ drawn.T).astype(float)
    fisher += np.diag(rigid**2 + _GUARD * np.diag(fisher))
    return Eliminated(drawn, linalg.cho_factor(fisher, lower=True, overwrite_a=True), rigid)


class JointProbe:
    """The probe of a scene, all linear numbers solved at every step (variable projection).

    Where positions are fitted too, the images of the columns that are eliminated stay those of the
    first step: rounds of fits with the positions of the last one lead to the joint optimum.

    Parameters
    ----------
    scene : Scene
        Where the columns are about.
    shape : ProbeShape
        What is free.
    scale : (H, W) array
        Inverse standard deviation of each block.
    moves : bool
        Whether positions are fitted too, to first order.
    """

    def __init__(self, scene: Scene, shape: ProbeShape, scale: np.ndarray, *, moves: bool) -> None:
        self.scene, self.shape, self.scale, self.moves = scene, shape, scale, moves
        self._seen: np.ndarray | None = None

    def improve(self, vector: np.ndarray, most_steps: int) -> tuple[np.ndarray, float, float]:
        """Fit the probe from a start (P,).

        Its numbers, chi-square (with what was known before), and how far it moved, in errors.
        """
        found = optimize.least_squares(
            self.residual,
            vector,
            self.slopes,
            bounds=self.shape.bounds,
            x_scale=self.shape.scales,
            max_nfev=most_steps,
            ftol=_SETTLED,
            xtol=_SETTLED,
        )
        self._look(found.x)
        moved = float(np.linalg.norm(found.jac @ (found.x - vector)))
        return found.x, 2 * float(found.cost), moved

    def residual(self, vector: np.ndarray) -> np.ndarray:
        """What is left of the image, then of what was known before, (M + L,)."""
        self._look(vector)
        return self._residual

    def slopes(self, vector: np.ndarray) -> np.ndarray:
        """Derivatives of `residual` by the free numbers, (M + L, P)."""
        self._look(vector)
        # Without the change of the projection: L. Kaufman, BIT 15 (1975) 49.
        scene = self.scene if self.moves else self.take()
        slopes = self.shape.slopes(vector, scene.n_grid, scene.pixel_size)
        images = [(scene.see(slope) * self.scale).ravel() for slope in slopes]
        return -self._eliminated.leave(np.array(images).T)

    def take(self) -> Scene:
        """The scene with the linear numbers of the last step."""
        return self.scene.take(self._solution)

    def model(self) -> np.ndarray:
        """What the image should be at the last step, (H, W)."""
        left = self._residual[: self.scale.size].reshape(self.scale.shape)
        return self.scene.values - left / self.scale

    def reduced_chi_square(self) -> float:
        """Chi-square over the degrees of freedom at the last step."""
        left = self._residual[: self.scale.size]
        rigid = self._eliminated.rigid
        n_fitted = len(rigid) - float(rigid**2 @ self._eliminated.variances())
        free = left.size - n_fitted - len(self.shape.names)
        return float(left @ left) / max(free, 1.0)

    def scatter(self) -> float:
        """Variance of the positions along one axis, Å², of columns by how much they tell."""
        scene = self.take()
        n, sizes = len(scene.positions), scene.sizes()
        variances = self._eliminated.variances()[n : 3 * n].reshape(2, n).mean(axis=0)
        told = sizes**2 / variances
        return float(1 / told[scene.is_inside].mean())

    def covariance(self, vector: np.ndarray) -> np.ndarray:
        """Covariance (P, P) of the free numbers, derivatives taken at a vector (P,).

        The fit weighs all blocks as independent. How far the noise, or a wrong model, is not, tells
        the spectrum of the residual over that of white noise from which the same fit was taken.
        """
        n = self.scale.size
        scene = self.take()
        slopes = self.shape.slopes(vector, scene.n_grid, scene.pixel_size)
        images = np.array([(scene.see(slope) * self.scale).ravel() for slope in slopes])
        left = self._eliminated.leave(images.T)
        inverse = np.linalg.inv(left.T @ left + np.diag((LARGEST_PHASE * self.shape.scales) ** -2))
        spectra = fft.fft2(left[:n].T.reshape(-1, *self.scale.shape)).reshape(len(left.T), -1)
        excess = self._find_excess().ravel()
        middle = ((spectra.conj() * excess) @ spectra.T).real / n
        return inverse @ middle @ inverse

    def _find_excess(self) -> np.ndarray:
        """Power of the residual over that of white noise at each frequency, (H, W)."""
        shape = self.scale.shape
        noise = np.random.default_rng(0).standard_normal((self.scale.size, N_DRAWS))
        white = self._eliminated.leave(noise)[: self.scale.size].T
        left = self._residual[: self.scale.size]

        def power(images: np.ndarray) -> np.ndarray:
            spectra = np.abs(fft.fft2(images.reshape(-1, *shape))) ** 2
            return ndimage.gaussian_filter(spectra.mean(axis=0), SMOOTH, mode="wrap")

        return power(left) / power(white)

    def _look(self, vector: np.ndarray) -> None:
        if self._seen is not None and np.array_equal(self._seen, vector):
            return
        scene = self.scene
        transfer = self.shape.transfer(vector, scene.n_grid, scene.pixel_size)
        if self._seen is None or not self.moves:
            self._eliminated = eliminate(scene, transfer, self.scale, moves=self.moves)
        left = ((scene.values - scene.see(transfer)) * self.scale).ravel()
        self._residual = self._eliminated.leave(left)
        self._solution = self._eliminated.solve(left)
        self._solution[: len(scene.strengths)] += scene.strengths
        self._seen = vector.copy()
