"""Shape of a column's image: a cubic spline that stands for a Gaussian, a probe or an estimate."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from adatom.core.errors import ConfigError

PHASES = 16


@dataclass(frozen=True)
class Profile:
    """Image of one column of unit intensity, as a sum of cubic B-splines on a square grid.

    Attributes
    ----------
    coefficients : (K, K) array, Å⁻²
        Spline coefficients indexed [y, x]; K is odd and the column stands at the middle knot.
    step : float
        Distance of knots, Å.
    covariance : (2, 2) array, Å²
        Second moments [y, x] of the Gaussian that describes the core.
    kind : {"gaussian", "estimated", "given"}
        Where the shape comes from.
    """

    coefficients: np.ndarray
    step: float
    covariance: np.ndarray
    kind: Literal["gaussian", "estimated", "given"]

    @property
    def sigma(self) -> float:
        """Mean width of the core, Å."""
        return float(np.linalg.det(self.covariance) ** 0.25)

    @property
    def radius(self) -> float:
        """Distance from the center beyond which the profile vanishes, Å."""
        return (len(self.coefficients) // 2 + 1) * self.step

    def evaluate(
        self, y: np.ndarray, x: np.ndarray, *, orders: tuple[int, int] = (0, 0)
    ) -> np.ndarray:
        """Value, or a derivative, at each offset from the column's center.

        Parameters
        ----------
        y, x : (M,) array
            Offsets, Å.
        orders : (int, int)
            Order of the derivative along y and x, 0 to 2.

        Returns
        -------
        (M,) array
            Å⁻² for the value, divided by Å for every order of the derivative.
        """
        half = len(self.coefficients) // 2
        first_y, weights_y = _weights(y / self.step, orders[0])
        first_x, weights_x = _weights(x / self.step, orders[1])
        padded = np.pad(self.coefficients, 4)
        limit = len(padded) - 4
        rows = np.clip(first_y + half + 4, 0, limit)[:, None] + np.arange(4)
        columns = np.clip(first_x + half + 4, 0, limit)[:, None] + np.arange(4)
        around = padded[rows[:, :, None], columns[:, None, :]]
        values = np.einsum("mi,mij,mj->m", weights_y, around, weights_x)
        return values / self.step ** sum(orders)

    def evaluate_grid(
        self, y: np.ndarray, x: np.ndarray, *, orders: tuple[int, int] = (0, 0)
    ) -> np.ndarray:
        """Value, or a derivative, on the grid that two axes span.

        Parameters
        ----------
        y : (H,) array
            Offsets of the rows, Å.
        x : (W,) array
            Offsets of the columns of pixels, Å.
        orders : (int, int)
            Order of the derivative along y and x, 0 to 2.

        Returns
        -------
        (H, W) array
            Å⁻² for the value, divided by Å for every order of the derivative.
        """
        half = len(self.coefficients) // 2
        knots = np.arange(-half, half + 1)
        along_y = cubic_spline(y[:, None] / self.step - knots, orders[0])
        along_x = cubic_spline(x[:, None] / self.step - knots, orders[1])
        return along_y @ self.coefficients @ along_x.T / self.step ** sum(orders)


def make_gaussian_profile(covariance: np.ndarray | float) -> Profile:
    """Gaussian column.

    Parameters
    ----------
    covariance : (2, 2) array or float, Å²
        Second moments [y, x]; a number is the variance of a round one.

    Returns
    -------
    Profile
        Gaussian of unit integral, cut at four widths.

    Examples
    --------
    >>> profile = make_gaussian_profile(0.25)
    >>> value = profile.evaluate(np.array([0.5]), np.array([0.0]))[0]
    >>> round(float(value * 2 * np.pi * 0.25), 3)
    0.607
    """
    matrix = np.eye(2) * covariance if np.ndim(covariance) == 0 else np.asarray(covariance, float)
    widths = np.linalg.eigvalsh(matrix)
    if widths[0] <= 0:
        raise ConfigError(f"covariance: must be positive definite (got {matrix.tolist()})")
    step = 0.3 * float(widths[0]) ** 0.5
    half = int(np.ceil(4 * widths[1] ** 0.5 / step)) - 1
    axis = np.arange(-half - 6, half + 7) * step
    inverse = np.linalg.inv(matrix)
    y, x = axis[:, None], axis[None]
    exponent = inverse[0, 0] * y**2 + 2 * inverse[0, 1] * y * x + inverse[1, 1] * x**2
    values = np.exp(-exponent / 2) / (2 * np.pi * np.linalg.det(matrix) ** 0.5)
    coefficients = ndimage.spline_filter(values, order=3, mode="mirror")[6:-6, 6:-6]
    return Profile(coefficients, step, matrix, "gaussian")


def make_profile(values: np.ndarray, pixel_size: float) -> Profile:
    """Profile from an array, such as the intensity of a known probe.

    Parameters
    ----------
    values : (K, K) array
        Intensity indexed [y, x], the column's center on the middle pixel (K is odd).
    pixel_size : float
        Å per pixel.

    Returns
    -------
    Profile
        The shape, scaled to unit integral.

    Raises
    ------
    ConfigError
        If the array is not square with an odd side, or its sum is not positive.
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] % 2 == 0:
        raise ConfigError(f"profile: must be square with an odd side (got shape {values.shape})")
    total = values.sum() * pixel_size**2
    if not total > 0:
        raise ConfigError(f"profile: must have a positive sum (got {values.sum():.3g})")
    coefficients = ndimage.spline_filter(np.pad(values / total, 6), order=3, mode="mirror")[
        6:-6, 6:-6
    ]
    return Profile(coefficients, pixel_size, core_covariance(values / total, pixel_size), "given")


def core_covariance(values: np.ndarray, step: float) -> np.ndarray:
    """Second moments of the Gaussian that fits the core of a profile best.

    Parameters
    ----------
    values : (K, K) array
        Profile on a square grid, its center on the middle pixel.
    step : float
        Å per pixel.

    Returns
    -------
    (2, 2) array
        Covariance [y, x], Å², from moments weighted by the Gaussian itself.
    """
    axis = (np.arange(len(values)) - len(values) // 2) * step
    y, x = axis[:, None], axis[None]
    matrix = np.eye(2) * 0.2
    for _ in range(30):
        inverse = np.linalg.inv(matrix)
        exponent = inverse[0, 0] * y**2 + 2 * inverse[0, 1] * y * x + inverse[1, 1] * x**2
        weighted = values * np.exp(-exponent / 2)
        total = weighted.sum()
        moments = [(weighted * product).sum() / total for product in (y * y, y * x, x * x)]
        # The product of two equal Gaussians has half their covariance.
        matrix = 2 * np.array([[moments[0], moments[1]], [moments[1], moments[2]]])
        low, directions = np.linalg.eigh(matrix)
        matrix = (directions * np.clip(low, 0.01, 1.5)) @ directions.T
    return matrix


@dataclass(frozen=True)
class PatchTable:
    """Bases sampled on the pixels around a column, for every sub-pixel phase of its center.

    Attributes
    ----------
    reach : (int, int)
        Pixels [y, x] from the first pixel of a patch to the one nearest to the column.
    basis : (PHASES², 3, h, w) float32 array
        As `tabulate_profile` says; zero outside a disc.
    """

    reach: tuple[int, int]
    basis: np.ndarray


Orders = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
SLOPES_AND_VALUE: Orders = ((1, 0), (0, 1), (0, 0))


def tabulate_profile(
    profile: Profile,
    pixel_sizes: tuple[float, float],
    radius: float,
    orders: Orders = SLOPES_AND_VALUE,
) -> PatchTable:
    """Sample a profile for every sub-pixel phase.

    Parameters
    ----------
    profile : Profile
        Shape of a column.
    pixel_sizes : (float, float)
        Å per pixel along y and x.
    radius : float
        Radius of the patch, Å.
    orders : three (int, int)
        Derivatives by the column's y and x, per pixel.

    Returns
    -------
    PatchTable
        The derivatives for unit intensity: the sum over pixels of the value itself is 1.
    """
    half_y, half_x = (int(np.ceil(radius / size)) for size in pixel_sizes)
    width = _whole_vectors(2 * half_x + 1)
    rows, columns = np.arange(-half_y, half_y + 1), np.arange(-half_x, width - half_x)
    phases = (np.arange(PHASES) + 0.5) / PHASES - 0.5
    y = (rows - phases[:, None]) * pixel_sizes[0]
    x = (columns - phases[:, None]) * pixel_sizes[1]
    area = pixel_sizes[0] * pixel_sizes[1]
    parts = []
    for order_y, order_x in orders:
        scale = area * (-pixel_sizes[0]) ** order_y * (-pixel_sizes[1]) ** order_x
        grid = profile.evaluate_grid(y.ravel(), x.ravel(), orders=(order_y, order_x)) * scale
        grid = grid.reshape(PHASES, len(rows), PHASES, width).transpose(0, 2, 1, 3)
        parts.append(grid.reshape(PHASES**2, len(rows), width))
    basis = np.stack(parts, axis=1).astype(np.float32)
    apart = np.hypot(rows[:, None] * pixel_sizes[0], columns * pixel_sizes[1])
    basis[:, :, apart > radius] = 0
    return PatchTable((half_y, half_x), basis)


def crop_table(table: PatchTable, half_sides: tuple[int, int]) -> PatchTable:
    """Smaller patches around the same columns.

    Parameters
    ----------
    table : PatchTable
        What is cropped.
    half_sides : (int, int)
        Pixels along y and x that are kept on both sides of the column; at most all there are.

    Returns
    -------
    PatchTable
        Rows are whole vectors again.
    """
    reach_y, reach_x = table.reach
    half_y, half_x = (min(half, n) for half, n in zip(half_sides, table.reach, strict=True))
    width = _whole_vectors(2 * half_x + 1)
    top = reach_y - half_y
    left = min(reach_x - half_x, table.basis.shape[3] - width)
    basis = table.basis[:, :, top : reach_y + half_y + 1, left : left + width]
    return PatchTable((half_y, reach_x - left), np.ascontiguousarray(basis))


def _whole_vectors(n_pixels: int) -> int:
    """Length of a row that a compiled loop passes through without a remainder."""
    return -(-n_pixels // 8) * 8


def cubic_spline(offset: np.ndarray, order: int) -> np.ndarray:
    """Cubic B-spline of unit knot distance, or one of its derivatives.

    Parameters
    ----------
    offset : array
        Distance from the middle knot, in knots.
    order : int
        Order of the derivative, 0 to 2.

    Returns
    -------
    array
        Values, of the shape of `offset`.
    """
    far = np.abs(offset)
    outer = np.clip(2 - far, 0, None)
    inner = np.clip(1 - far, 0, None)
    if order == 0:
        return (outer**3 - 4 * inner**3) / 6
    if order == 1:
        return -np.sign(offset) * (outer**2 - 4 * inner**2) / 2
    return outer - 4 * inner


def _weights(position: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """First knot and the weights of the four knots that reach each position."""
    first = np.floor(position).astype(np.intp) - 1
    return first, cubic_spline((position - first)[:, None] - np.arange(4), order)
