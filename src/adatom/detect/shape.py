"""Estimate the shape of a column from all columns of an image together."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from adatom.detect.columns import PatchGrid
from adatom.detect.fit import JointFit
from adatom.detect.profile import (
    PatchTable,
    Profile,
    core_covariance,
    cubic_spline,
    make_gaussian_profile,
)

CORE_WIDTHS, TAIL_WIDTHS = 3.2, (3.5, 4.3)
MOST_PIXELS = 48_000
CORE_MISFIT, TAIL_MISFIT = 0.05, 0.003
SMALLEST_WIDTH, LARGEST_WIDTH = 0.12, 1.2


@dataclass(frozen=True)
class _Sample:
    """Some pixels of an image, and every column that reaches them.

    Attributes
    ----------
    pixel, column : (M,) int array
        Pixel (counted within the sample) and column of each pair.
    y, x : (M,) array
        Pixel minus column, Å.
    residual, weight : (S,) array
        What the fit leaves of each pixel, and its inverse variance.
    """

    pixel: np.ndarray
    column: np.ndarray
    y: np.ndarray
    x: np.ndarray
    residual: np.ndarray
    weight: np.ndarray

    def total(self, values: np.ndarray) -> np.ndarray:
        """Sum over the columns that reach each pixel of values (M,)."""
        return np.bincount(self.pixel, weights=values, minlength=len(self.residual))


def improve_width(fit: JointFit) -> None:
    """Give the columns a Gaussian that describes them better: one step of its covariance.

    Parameters
    ----------
    fit : JointFit
        Columns fitted with a Gaussian; changed in place.
    """
    covariance = fit.profile.covariance
    sample = _draw_sample(fit, 3.5 * fit.profile.sigma)
    intensity = fit.intensity[sample.column] * float(np.prod(fit.pixel_sizes))
    columns = [np.ones(len(sample.residual))]
    for orders in ((0, 0), (2, 0), (1, 1), (0, 2)):
        values = fit.profile.evaluate(sample.y, sample.x, orders=orders)
        columns.append(sample.total(values * intensity))
    design = np.stack(columns, axis=1)
    solution = _solve(design, sample, np.zeros(5), np.zeros(5))
    change = np.array([[2 * solution[2], solution[3]], [solution[3], 2 * solution[4]]])
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
    fit.gaussian = profile


def improve_shape(fit: JointFit) -> None:
    """Give the columns a profile that describes them better, whatever its form.

    What the fit leaves is explained by a spline that all columns share, pulled towards zero: where
    the image says little the present shape stays.

    Parameters
    ----------
    fit : JointFit
        Columns fitted with the present profile; changed in place.
    """
    base = fit.gaussian
    knots = _lay_knots(base)
    sample = _draw_sample(fit, TAIL_WIDTHS[-1] * base.sigma + 2 * knots.tail_step)
    intensity = fit.intensity[sample.column] * float(np.prod(fit.pixel_sizes))
    design = np.empty((len(sample.residual), knots.size + 1))
    design[:, : knots.n_core] = _core_design(sample, intensity, knots)
    radius = np.hypot(sample.y, sample.x)
    for number, center in enumerate(knots.tail):
        ring = cubic_spline((radius - center) / knots.tail_step, 0)
        design[:, knots.n_core + number] = sample.total(ring * intensity)
    design[:, -1] = 1
    ridge = np.append(1 / _expected_misfit(base, knots.radii()) ** 2, 0)
    before = np.append(fit.change, 0) if fit.change is not None else np.zeros(knots.size + 1)
    solution = _solve(design, sample, ridge, before)
    fit.change = before[:-1] + solution[:-1]
    profile, integral = _add(base, knots, fit.change)
    fit.change_profile(profile, scale=integral / fit.integral, offset=float(solution[-1]))
    fit.integral = integral


@dataclass(frozen=True)
class _Knots:
    """Splines that make up what a profile adds to a Gaussian.

    Attributes
    ----------
    step : float
        Distance of the knots of the core, Å.
    number : (K, K) int array
        Number of each knot of the core, -1 where there is none.
    tail_step : float
        Distance of the rings of the tail, Å.
    tail : (T,) array
        Radii of the rings, Å.
    """

    step: float
    number: np.ndarray
    tail_step: float
    tail: np.ndarray

    @property
    def n_core(self) -> int:
        """Number of knots of the core."""
        return int(self.number.max()) + 1

    @property
    def size(self) -> int:
        """Number of all splines."""
        return self.n_core + len(self.tail)

    def radii(self) -> np.ndarray:
        """Distance of every spline from the center, Å."""
        axis = np.arange(len(self.number)) - len(self.number) // 2
        core = np.hypot(axis[:, None], axis)[self.number >= 0] * self.step
        return np.concatenate([core, self.tail])


def _lay_knots(gaussian: Profile) -> _Knots:
    sigma = gaussian.sigma
    step = 0.7 * sigma
    half = int(CORE_WIDTHS / 0.7) + 6
    axis = np.arange(-half, half + 1)
    inside = np.hypot(axis[:, None], axis) * step <= CORE_WIDTHS * sigma
    number = np.where(inside, np.cumsum(inside).reshape(inside.shape) - 1, -1)
    tail = np.array(TAIL_WIDTHS) * sigma
    return _Knots(step, number, float(tail[1] - tail[0]), tail)


def _expected_misfit(profile: Profile, radius: np.ndarray) -> np.ndarray:
    """How far real columns are from the present profile at a radius, Å⁻²: much less in the tails."""
    peak = profile.evaluate(np.zeros(1), np.zeros(1))[0]
    core = CORE_MISFIT * np.exp(-((radius / (1.5 * profile.sigma)) ** 2) / 2)
    return peak * (core + TAIL_MISFIT)


def _core_design(sample: _Sample, intensity: np.ndarray, knots: _Knots) -> np.ndarray:
    """Image of every knot's spline in every sampled pixel, (S, K)."""
    half = len(knots.number) // 2
    near = np.hypot(sample.y, sample.x) < (CORE_WIDTHS / 0.7 + 2.8) * knots.step
    first, weights = [], []
    for offset in (sample.y[near] / knots.step, sample.x[near] / knots.step):
        low = np.floor(offset).astype(np.intp) - 1
        weights.append(cubic_spline((offset - low)[:, None] - np.arange(4), 0))
        first.append(low + half)
    rows, columns = (low[:, None] + np.arange(4) for low in first)
    number = knots.number[rows[:, :, None], columns[:, None, :]]
    values = (weights[0] * intensity[near][:, None])[:, :, None] * weights[1][:, None, :]
    # Knots that do not exist (-1) fall into a last column, which is cut off.
    width = knots.n_core + 1
    flat = sample.pixel[near][:, None, None] * width + np.where(number < 0, width - 1, number)
    n_pixels = len(sample.residual)
    total = np.bincount(flat.ravel(), weights=values.ravel(), minlength=n_pixels * width)
    return total.reshape(n_pixels, width)[:, :-1]


def _draw_sample(fit: JointFit, reach: float) -> _Sample:
    sizes = np.array(fit.pixel_sizes)
    half = np.ceil(reach / sizes).astype(int)
    grid = np.meshgrid(*(np.arange(-n, n + 1) for n in half), indexing="ij")
    offsets = np.stack([axis.ravel() for axis in grid], axis=1)
    offsets = offsets[np.hypot(*(offsets * sizes).T) <= reach]
    patches = PatchGrid(fit.values.shape, PatchTable(offsets, np.zeros((256, 3, 0), np.float32)))
    chosen = _spread_pixels(fit.weights > 0)
    # Columns outside the image, which nobody knows of, reach the rim.
    margin = np.ceil(fit.profile.sigma * 4 / sizes).astype(int)
    if (np.array(chosen.shape) > 4 * margin).all():
        inner = chosen[margin[0] : -margin[0], margin[1] : -margin[1]].copy()
        chosen[:] = False
        chosen[margin[0] : -margin[0], margin[1] : -margin[1]] = inner
    number = np.full(patches.padded_shape, -1)
    pad_y, pad_x = patches.pad
    inner = number[pad_y : pad_y + chosen.shape[0], pad_x : pad_x + chosen.shape[1]]
    inner[chosen] = np.arange(chosen.sum())
    index = patches.place(fit.positions).index
    hits = number.ravel()[index]
    column, which = np.nonzero(hits >= 0)
    centers = np.clip(np.rint(fit.positions), 0, np.array(fit.values.shape) - 1)
    apart = (offsets[which] + (centers - fit.positions)[column]) * sizes
    residual = (fit.values - fit.model())[chosen]
    pixel = hits[column, which]
    return _Sample(pixel, column, apart[:, 0], apart[:, 1], residual, fit.weights[chosen])


def _spread_pixels(usable: np.ndarray) -> np.ndarray:
    """At most MOST_PIXELS of the usable pixels, evenly spread."""
    share = MOST_PIXELS / max(1, usable.sum())
    if share >= 1:
        return usable
    # Additive recurrence in two dimensions (the plastic number): even, and on no lattice.
    y, x = np.arange(usable.shape[0]), np.arange(usable.shape[1])
    return usable & (np.add.outer(y * 0.7548776662, x * 0.5698402910) % 1 < share)


def _solve(
    design: np.ndarray, sample: _Sample, ridge: np.ndarray, before: np.ndarray
) -> np.ndarray:
    """Weighted least squares of the residual; `before` plus the solution is pulled towards zero."""
    weighted = design * sample.weight[:, None]
    normal = weighted.T @ design + np.diag(ridge)
    normal += np.diag(1e-9 * np.diag(normal) + 1e-30)
    return np.linalg.solve(normal, weighted.T @ sample.residual - ridge * before)


def _add(gaussian: Profile, knots: _Knots, change: np.ndarray) -> tuple[Profile, float]:
    """Gaussian plus a change, of unit integral and centered as the Gaussian; and its integral."""
    step = 0.3 * gaussian.sigma
    half = int(np.ceil((knots.tail[-1] + 2 * knots.tail_step) / step))
    axis = np.arange(-half, half + 1) * step
    core = np.append(change[: knots.n_core], 0)[knots.number]
    added = Profile(core, knots.step, gaussian.covariance, "estimated").evaluate_grid(axis, axis)
    radius = np.hypot(axis[:, None], axis)
    for center, height in zip(knots.tail, change[knots.n_core :], strict=True):
        added += height * cubic_spline((radius - center) / knots.tail_step, 0)
    for orders in ((1, 0), (0, 1)):
        slope = gaussian.evaluate_grid(axis, axis, orders=orders)
        added = added - slope * (slope * added).sum() / (slope**2).sum()
    total = gaussian.evaluate_grid(axis, axis) + added
    integral = float(total.sum() * step**2)
    coefficients = ndimage.spline_filter(total / integral, order=3, mode="mirror")
    covariance = core_covariance(total / integral, step)
    return Profile(coefficients, step, covariance, "estimated"), integral
