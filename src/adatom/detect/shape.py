"""Estimate the shape of a column from all columns of an image together."""

import numpy as np
from scipy import ndimage

from adatom.core.threads import share_out
from adatom.detect.columns import PatchGrid
from adatom.detect.fit import JointFit
from adatom.detect.kernels import add_products, sum_products
from adatom.detect.profile import (
    Profile,
    core_covariance,
    make_gaussian_profile,
    tabulate_profile,
)

ORDER = 8  # of the highest shapelet: 6 leaves 0.3 pm on an aberrated probe, 10 gains nothing
REACH_WIDTHS = 4.8  # of the shapelets, in widths of the Gaussian
FIRST_MISFIT, LEAST_MISFIT, MOST_MISFIT = 0.03, 0.0003, 0.3  # heights, in peaks of the Gaussian
N_SHRINKS = 15
LEAST_EIGENVALUE = 1e-6  # single precision leaves no more
SMALLEST_WIDTH, LARGEST_WIDTH = 0.12, 1.2  # Å
CURVES = ((2, 0), (1, 1), (0, 2))


def improve_width(fit: JointFit) -> None:
    """Give the columns a Gaussian that describes them better: one step of its covariance.

    Parameters
    ----------
    fit : JointFit
        Columns fitted with a Gaussian; changed in place.
    """
    covariance = fit.profile.covariance
    table = tabulate_profile(fit.profile, fit.pixel_sizes, fit.profile.radius, CURVES)
    grid = PatchGrid(fit.values.shape, table)
    placement = grid.place(fit.positions)
    columns = fit.grid.render(fit.placement, fit.intensity)
    curved = [grid.spread(placement, np.outer(fit.intensity, unit)) for unit in np.eye(3)]
    explained = np.stack([np.ones_like(columns), columns, *curved]).reshape(5, -1)
    weighted = explained * (fit.weights * fit.inside_rim()).ravel()
    normal = (weighted @ explained.T).astype(float)
    normal += np.diag(1e-9 * np.diag(normal) + 1e-30)
    solution = np.linalg.solve(normal, weighted @ (fit.values - fit.model()).ravel())
    size_y, size_x = fit.pixel_sizes
    curves = solution[2:] * np.array([size_y**2, size_y * size_x, size_x**2])
    change = np.array([[2 * curves[0], curves[1]], [curves[1], 2 * curves[2]]])
    widths, directions = np.linalg.eigh(covariance)
    # The step is limited along the axes of the present ellipse.
    relative = directions.T @ change @ directions / np.sqrt(np.outer(widths, widths))
    relative /= max(1.0, 2 * np.abs(np.linalg.eigvalsh(relative)).max())
    scaled = directions * np.sqrt(widths)
    widths, directions = np.linalg.eigh(scaled @ (np.eye(2) + relative) @ scaled.T)
    widths = np.clip(widths, SMALLEST_WIDTH**2, LARGEST_WIDTH**2)
    profile = make_gaussian_profile((directions * widths) @ directions.T)
    scale = float(np.clip(1 + solution[1], 0.5, 2))
    fit.change_profile(profile, scale=scale, offset=float(solution[0]))


class ShapeFit:
    """A Gaussian and shapelets (Gauss-Hermite functions) that all columns of a fit share.

    All positions, intensities and the background are eliminated: a wrong shape and wrong positions
    of one sublattice can stand for each other. The shapelets are pulled towards zero: where the
    image says little the Gaussian stays.

    Parameters
    ----------
    fit : JointFit
        Columns fitted with a Gaussian; changed in place.

    Notes
    -----
    Shapelets: A. Refregier, Mon. Not. R. Astron. Soc. 338 (2003) 35.
    """

    def __init__(self, fit: JointFit) -> None:
        self.fit = fit
        self.gaussian = fit.profile
        self.integral = 1.0
        # Orders 0 and 1 would change what intensities and positions change already.
        orders = [(y, x) for y in range(ORDER + 1) for x in range(ORDER + 1 - y) if y + x > 1]
        self.orders = np.array(orders)
        self.heights = np.zeros(len(self.orders))
        self._usable = fit.inside_rim()
        sizes = np.array(fit.pixel_sizes)
        self._reach = np.ceil(REACH_WIDTHS * self.gaussian.sigma / sizes).astype(int)

    def improve(self, inflation: float = 1.0) -> float:
        """Change the shape by what the fit leaves.

        Parameters
        ----------
        inflation : float
            Factor by which the errors exceed those of white noise: the image tells that much less.

        Returns
        -------
        float
            Root mean square change of the profile's core, relative to its peak.
        """
        fit, before = self.fit, self.heights
        normal, explained = self._eliminate_columns()
        peak = float(self.gaussian.evaluate(np.zeros(1), np.zeros(1))[0])
        residual = (fit.values - fit.model()) * fit.weights * self._usable
        corners, along_y, along_x = self._factorize()
        total = np.zeros((len(corners), ORDER + 1, ORDER + 1), np.float32)
        sum_products(self._pad(residual), corners, along_y, along_x, total)
        right = total.sum(axis=0)[tuple(self.orders.T)].astype(float)
        right -= explained.T @ self._project(residual)
        told = inflation**-2
        self.heights = self._shrink(told * normal, told * (normal @ before + right), peak)
        profile, integral = self._make_profile()
        fit.change_profile(profile, scale=integral / self.integral)
        self.integral = integral
        return float(np.sqrt(np.sum((self.heights - before) ** 2) / np.pi)) / peak

    def _eliminate_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Fisher matrix of the shapelets, (K, K), and what columns and nodes make of each."""
        fit = self.fit
        corners, along_y, along_x = self._factorize()
        weights = fit.weights * self._usable
        root = self._pad(np.sqrt(weights))
        images = np.zeros((len(self.orders), *root.shape), np.float32)

        reach_y, reach_x = 2 * self._reach
        inner = (slice(reach_y, -reach_y), slice(reach_x, -reach_x))
        cross = np.empty((len(images), 3 * len(fit.positions) + fit.nodes.size))

        def work(first: int, end: int) -> None:
            add_products(images[first:end], corners, along_y, along_x, self.orders[first:end])
            for index in range(first, end):
                images[index] *= root
                cross[index] = self._project((images[index] * root)[inner])

        share_out(work, len(images), fewest=1)
        flat = images.reshape(len(images), -1)
        full = (flat @ flat.T).astype(float)
        # A guard of more than rounding would hold the sublattices in place.
        explained = fit.solve_exactly(weights, cross.T)
        return _make_definite(full - cross @ explained, np.diag(full)), explained

    def _project(self, image: np.ndarray) -> np.ndarray:
        """Gradient of columns and nodes, one after the other, for a weighted image (H, W)."""
        fit = self.fit
        columns = fit.grid.project(fit.placement, image)
        return np.concatenate([columns.ravel(), fit.background.gather(image).ravel()])

    def _factorize(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First pixels of patches around the columns, and the functions of y and of x there."""
        fit, sizes = self.fit, np.array(self.fit.pixel_sizes)
        limit = np.array(fit.values.shape) - 1 + self._reach
        centers = np.clip(np.rint(fit.positions), -self._reach, limit).astype(np.intp)
        functions = []
        for axis, reach in enumerate(self._reach.tolist()):
            steps = np.arange(-reach, reach + 1)
            apart = (centers[:, axis] - fit.positions[:, axis])[:, None] + steps
            along = _hermite((apart * sizes[axis] / self.gaussian.sigma).astype(np.float32))
            functions.append(along.transpose(1, 0, 2))
        weight = (fit.intensity * sizes.prod()).astype(np.float32)
        along_y = np.ascontiguousarray(functions[0] * weight[:, None, None])
        return centers + self._reach, along_y, np.ascontiguousarray(functions[1])

    def _pad(self, image: np.ndarray) -> np.ndarray:
        """Copy of an image, zero outside, that holds every patch."""
        return np.pad(image.astype(np.float32), [(2 * r, 2 * r) for r in self._reach.tolist()])

    def _shrink(self, normal: np.ndarray, right: np.ndarray, peak: float) -> np.ndarray:
        """Solve with a pull towards zero whose strength the solution itself tells.

        The heights of the shapelets of one order are taken as drawn from a Gaussian whose width is
        the most likely one (expectation maximization).
        """
        order = self.orders.sum(axis=1)
        width = np.full(ORDER + 1, FIRST_MISFIT * peak)
        for _ in range(N_SHRINKS):
            covariance = np.linalg.inv(normal + np.diag(1 / width[order] ** 2))
            solution = covariance @ right
            squares = np.bincount(order, solution**2 + np.diag(covariance), ORDER + 1)
            mean_square = squares / np.maximum(np.bincount(order, minlength=ORDER + 1), 1)
            width = np.clip(mean_square**0.5, LEAST_MISFIT * peak, MOST_MISFIT * peak)
        return solution

    def _make_profile(self) -> tuple[Profile, float]:
        """Gaussian plus shapelets, of unit integral and centered as it; and their integral."""
        gaussian = self.gaussian
        step = 0.3 * gaussian.sigma
        half = int(np.ceil(REACH_WIDTHS / 0.3))
        axis = np.arange(-half, half + 1) * step
        functions = _hermite(axis / gaussian.sigma)
        heights = np.zeros((ORDER + 1, ORDER + 1))
        heights[tuple(self.orders.T)] = self.heights
        added = functions.T @ heights @ functions
        for orders in ((1, 0), (0, 1)):
            slope = gaussian.evaluate_grid(axis, axis, orders=orders)
            added = added - slope * (slope * added).sum() / (slope**2).sum()
        total = gaussian.evaluate_grid(axis, axis) + added
        integral = float(total.sum() * step**2)
        coefficients = ndimage.spline_filter(total / integral, order=3, mode="mirror")
        covariance = core_covariance(total / integral, step)
        return Profile(coefficients, step, covariance, "estimated"), integral


def _make_definite(matrix: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Matrix whose eigenvalues, in units of `size`, are no smaller than rounding leaves them."""
    scale = np.sqrt(np.maximum(size, 1e-30))
    values, vectors = np.linalg.eigh(matrix / np.outer(scale, scale))
    scaled = (vectors * np.maximum(values, LEAST_EIGENVALUE)) @ vectors.T
    return scaled * np.outer(scale, scale)


def _hermite(offset: np.ndarray) -> np.ndarray:
    """Hermite functions of order 0 to ORDER, the first of height 1, (ORDER + 1, ...)."""
    functions = [np.exp(-(offset**2) / 2)]
    functions.append(2**0.5 * offset * functions[0])
    for order in range(2, ORDER + 1):
        last, before = functions[-1], functions[-2]
        functions.append(offset * (2 / order) ** 0.5 * last - ((order - 1) / order) ** 0.5 * before)
    return np.stack(functions)
