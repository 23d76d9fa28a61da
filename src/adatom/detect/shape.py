"""Estimate the shape of a column from all columns of an image together."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, ndimage, sparse

from adatom.detect.columns import PatchGrid
from adatom.detect.fit import JointFit
from adatom.detect.profile import (
    PatchTable,
    Profile,
    core_covariance,
    make_gaussian_profile,
)

ORDER = 8
REACH_WIDTHS = 4.8
FIRST_MISFIT, LEAST_MISFIT, MOST_MISFIT = 0.03, 0.0003, 0.3
DECAY = 0.7
TILE = 24.0
N_TILES = 8
MOST_PIXELS = 8_000
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
    solution = _solve(design, sample)
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


def improve_shape(fit: JointFit) -> float:
    """Give the columns a profile that describes them better, whatever its form.

    What the fit leaves is explained by shapelets (Gauss-Hermite functions) that all columns share,
    together with all positions and intensities, which are eliminated: a wrong shape and wrong
    positions of one sublattice can stand for each other. The shapelets are pulled towards zero:
    where the image says little the Gaussian stays.

    Parameters
    ----------
    fit : JointFit
        Columns fitted with the present profile; changed in place.

    Returns
    -------
    float
        Root mean square change of the profile's core, relative to its peak.

    Notes
    -----
    Shapelets: A. Refregier, Mon. Not. R. Astron. Soc. 338 (2003) 35.
    """
    n_shapes = (ORDER + 1) * (ORDER + 2) // 2
    normal, right = np.zeros((n_shapes, n_shapes)), np.zeros(n_shapes)
    residual = (fit.values - fit.model()).astype(np.float32)
    for tile in _choose_tiles(fit):
        part, part_right = _reduced_normal(fit, tile, residual)
        normal += part
        right += part_right
    before = fit.change if fit.change is not None else np.zeros(n_shapes)
    normal += np.diag(1e-9 * np.diag(normal) + 1e-30)
    peak = fit.gaussian.evaluate(np.zeros(1), np.zeros(1))[0]
    fit.change = _shrink(normal, right + normal @ before, float(peak))
    profile, integral = _add(fit.gaussian, fit.change)
    fit.change_profile(profile, scale=integral / fit.integral)
    fit.integral = integral
    return float(np.sqrt(np.sum((fit.change - before) ** 2) / np.pi)) / float(peak)


def _shrink(normal: np.ndarray, right: np.ndarray, peak: float) -> np.ndarray:
    """Solve with a pull towards zero whose strength the solution itself tells.

    The heights of the shapelets are taken as drawn from a Gaussian, narrower for higher orders;
    its width is the most likely one (expectation maximization).
    """
    falls = np.array([DECAY ** (y + x) for y, x in _orders()]) * peak
    width = FIRST_MISFIT
    for _ in range(15):
        covariance = np.linalg.inv(normal + np.diag(1 / (width * falls) ** 2))
        solution = covariance @ right
        mean_square = float(np.mean((solution**2 + np.diag(covariance)) / falls**2))
        width = float(np.clip(mean_square**0.5, LEAST_MISFIT, MOST_MISFIT))
    return solution


def _choose_tiles(fit: JointFit) -> list[tuple[slice, slice]]:
    """A few parts of the image that hold most columns, away from the rim where that is possible."""
    sizes = np.array(fit.pixel_sizes)
    shape = np.array(fit.values.shape)
    margin = np.ceil(4 * fit.profile.sigma / sizes).astype(int)
    side = np.minimum(shape, np.ceil(TILE / sizes).astype(int))
    margin = np.where(shape >= side + 2 * margin, margin, 0)
    steps = np.maximum(1, (shape - 2 * margin) // side)
    index = np.floor((fit.positions - margin) / side).astype(int)
    inside = ((index >= 0) & (index < steps)).all(axis=1)
    counts = np.bincount(index[inside] @ [steps[1], 1], minlength=int(steps.prod()))
    # Of tiles about as full as the fullest, those in the middle of the list.
    full = np.nonzero(counts >= 0.8 * counts.max())[0]
    chosen = full[np.linspace(0, len(full) - 1, min(N_TILES, len(full)) + 2).astype(int)[1:-1]]
    corners = np.stack(np.divmod(np.unique(chosen), steps[1]), axis=1) * side + margin
    return [(slice(y, y + side[0]), slice(x, x + side[1])) for y, x in corners.tolist()]


def _reduced_normal(
    fit: JointFit, tile: tuple[slice, slice], residual: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations of the shapelets in a tile, the columns and the background eliminated."""
    weight = fit.weights[tile].ravel()
    explained = np.vstack([_shapelet_images(fit, tile), residual[tile].reshape(1, -1)])
    weighted = explained * weight
    columns = _column_images(fit, tile)
    scaled = columns.multiply(weight).tocsr()
    own = (scaled @ columns.T).toarray().astype(float)
    size = np.diag(own)
    usual = max(np.median(size), 0.01 * size.mean())  # most columns may lie outside the tile
    own += np.diag(1e-6 * size + 1e-6 * usual + 1e-30)
    cross = (scaled @ explained.T).astype(float)
    full = (weighted @ explained.T).astype(float)
    reduced = full - cross.T @ linalg.solve(own, cross, assume_a="pos")
    return reduced[:-1, :-1], reduced[:-1, -1]


def _column_images(fit: JointFit, tile: tuple[slice, slice]) -> sparse.csr_matrix:
    """Bases of all columns that reach a tile, and the background, one a row, (3 n + 1, pixels)."""
    grid = fit.grid
    reached = _reaching(fit, tile, fit.profile.sigma * 3.3)
    number = np.full(grid.padded_shape, -1, np.int32)
    shape = tuple(part.stop - part.start for part in tile)
    n_pixels = shape[0] * shape[1]
    number[grid.inner][tile] = np.arange(n_pixels, dtype=np.int32).reshape(shape)
    hits = number.ravel()[fit.placement.index[reached]]
    basis = fit.placement.basis[reached]
    atom, place = np.nonzero(hits >= 0)
    rows = atom[:, None] * 3 + np.arange(3)
    target = np.broadcast_to(hits[atom, place][:, None], rows.shape)
    values = basis[atom, :, place]
    bases = sparse.csr_matrix(
        (values.ravel(), (rows.ravel(), target.ravel())), shape=(3 * len(reached), n_pixels)
    )
    ones = sparse.csr_matrix(np.ones((1, n_pixels), np.float32))
    return sparse.vstack([bases, ones], format="csr")


def _shapelet_images(fit: JointFit, tile: tuple[slice, slice]) -> np.ndarray:
    """Image of every shapelet of all columns together, (K, pixels of the tile)."""
    sigma, sizes = fit.gaussian.sigma, fit.pixel_sizes
    reached = _reaching(fit, tile, REACH_WIDTHS * sigma)
    positions = fit.positions[reached]
    functions = []
    for axis, part in enumerate(tile):
        pixels = np.arange(part.start, part.stop)
        offsets = (pixels[:, None] - positions[:, axis]) * sizes[axis] / sigma
        functions.append(_hermite(offsets.astype(np.float32)))
    along_y, along_x = functions
    along_y *= (fit.intensity[reached] * (sizes[0] * sizes[1])).astype(np.float32)
    # A shapelet is a product of functions of y and of x: its image is a matrix product.
    return np.stack([(along_y[y] @ along_x[x].T).ravel() for y, x in _orders()])


def _reaching(fit: JointFit, tile: tuple[slice, slice], reach: float) -> np.ndarray:
    """Numbers of the columns that are at most `reach` (Å) outside a tile."""
    margin = reach / np.array(fit.pixel_sizes)
    low = np.array([part.start for part in tile]) - margin
    high = np.array([part.stop for part in tile]) + margin
    return np.nonzero(((fit.positions >= low) & (fit.positions <= high)).all(axis=1))[0]


def _orders() -> list[tuple[int, int]]:
    return [(y, x) for y in range(ORDER + 1) for x in range(ORDER + 1 - y)]


def _hermite(offset: np.ndarray) -> np.ndarray:
    """Hermite functions of order 0 to ORDER, the first of height 1, (ORDER + 1, ...)."""
    functions = [np.exp(-(offset**2) / 2)]
    functions.append(2**0.5 * offset * functions[0])
    for order in range(2, ORDER + 1):
        last, before = functions[-1], functions[-2]
        functions.append(offset * (2 / order) ** 0.5 * last - ((order - 1) / order) ** 0.5 * before)
    return np.stack(functions)


def _add(gaussian: Profile, change: np.ndarray) -> tuple[Profile, float]:
    """Gaussian plus shapelets, of unit integral and centered as the Gaussian; and its integral."""
    step = 0.3 * gaussian.sigma
    half = int(np.ceil(REACH_WIDTHS / 0.3))
    axis = np.arange(-half, half + 1) * step
    functions = _hermite(axis / gaussian.sigma)
    added = np.zeros((len(axis), len(axis)))
    for height, (order_y, order_x) in zip(change, _orders(), strict=True):
        added += height * np.outer(functions[order_y], functions[order_x])
    for orders in ((1, 0), (0, 1)):
        slope = gaussian.evaluate_grid(axis, axis, orders=orders)
        added = added - slope * (slope * added).sum() / (slope**2).sum()
    total = gaussian.evaluate_grid(axis, axis) + added
    integral = float(total.sum() * step**2)
    coefficients = ndimage.spline_filter(total / integral, order=3, mode="mirror")
    covariance = core_covariance(total / integral, step)
    return Profile(coefficients, step, covariance, "estimated"), integral


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


def _solve(design: np.ndarray, sample: _Sample) -> np.ndarray:
    """Weighted least squares of the residual."""
    weighted = design * sample.weight[:, None]
    normal = weighted.T @ design
    normal += np.diag(1e-9 * np.diag(normal) + 1e-30)
    return np.linalg.solve(normal, weighted.T @ sample.residual)
