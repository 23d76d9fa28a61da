"""HAADF images by the linear model: object ⊗ probe, sampled where the scan goes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SMALLEST_TRANSFER = 2e-5
_MARGIN = 8.0  # Å that the periodic grid extends beyond the image on either side


@dataclass(frozen=True)
class Transfer:
    """Fourier transform of the column shape on the frequencies where it is not negligible.

    Attributes
    ----------
    values : (n_ky, n_kx) complex array
        Transfer; only kx ≥ 0 (the image is real).
    ky, kx : arrays
        Frequencies, 1/Å.
    length : (float, float)
        Period (y, x) of the grid, Å.
    """

    values: np.ndarray
    ky: np.ndarray
    kx: np.ndarray
    length: tuple[float, float]

    @property
    def whole(self) -> float:
        """Integral of the shape."""
        return float(self.values[len(self.ky) // 2, 0].real)


def grid_length(size: tuple[float, float]) -> tuple[float, float]:
    """Period (y, x) in Å of the grid on which an image of this size is made."""
    return size[0] + 2 * _MARGIN, size[1] + 2 * _MARGIN


def make_frequencies(
    size: tuple[float, float], k_max: float
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Frequencies ky (both signs) and kx ≥ 0 up to `k_max`, 1/Å, for an image of `size`, Å."""
    length = grid_length(size)
    n_y, n_x = int(k_max * length[0]), int(k_max * length[1])
    return np.arange(-n_y, n_y + 1) / length[0], np.arange(n_x + 1) / length[1], length


def finish_transfer(
    values: np.ndarray,
    frequencies: tuple[np.ndarray, np.ndarray, tuple[float, float]],
    center: tuple[float, float],
    variance: float,
    tail: tuple[float, float],
) -> Transfer:
    """Move a column shape to its place and widen it.

    Parameters
    ----------
    values : (n_ky, n_kx) complex array
        Its Fourier transform.
    frequencies : (ky, kx, length)
        Of `make_frequencies`.
    center : (float, float)
        Where [y, x] the center of the probe is, Å: it goes to zero.
    variance : float
        Variance along an axis of a Gaussian that widens it, Å².
    tail : (float, float)
        Share of the intensity in wide Gaussian tails and their standard deviation, Å.

    Returns
    -------
    Transfer
        Of the same integral.
    """
    ky, kx, length = frequencies
    square = ky[:, None] ** 2 + kx**2
    ramp = np.add.outer(ky * center[0], kx * center[1])
    values = values * np.exp(-2 * np.pi**2 * variance * square + 2j * np.pi * ramp)
    whole = values[len(ky) // 2, 0]
    values = (1 - tail[0]) * values + tail[0] * whole * np.exp(-2 * (np.pi * tail[1]) ** 2 * square)
    return Transfer(values.astype(np.complex64), ky, kx, length)


def gaussian_transfer(
    size: tuple[float, float], parts: list[tuple[float, np.ndarray, tuple[float, float]]]
) -> Transfer:
    """Transfer of a column shape that is a sum of Gaussians.

    Parameters
    ----------
    size : tuple of float
        Height and width of the image, Å.
    parts : list of (weight, (2, 2) covariance, (y, x) shift)
        Covariances in Å², indexed [y, x]; weights sum to 1; shifts in Å.

    Returns
    -------
    Transfer
        The transfer up to the frequency where it vanishes.
    """
    narrowest = min(float(np.linalg.eigvalsh(covariance)[0]) for _, covariance, _ in parts)
    k_max = float(np.sqrt(-np.log(_SMALLEST_TRANSFER) / (2 * np.pi**2 * narrowest)))
    ky, kx, length = make_frequencies(size, k_max)
    values = np.zeros((len(ky), len(kx)), np.complex64)
    y, x = ky[:, None], kx[None, :]
    for weight, c, (shift_y, shift_x) in parts:
        square = c[0, 0] * y**2 + 2 * c[0, 1] * y * x + c[1, 1] * x**2
        values += weight * np.exp(-2 * np.pi**2 * square - 2j * np.pi * (y * shift_y + x * shift_x))
    return Transfer(values, ky, kx, length)


def simulate_linear(
    positions: np.ndarray,
    strengths: np.ndarray,
    transfer: Transfer,
    rows: tuple[np.ndarray, np.ndarray],
    columns: np.ndarray,
) -> np.ndarray:
    """Convolve point columns with their shape and sample the result where the scan goes.

    Parameters
    ----------
    positions : (N, 2) array
        Column centers [y, x], Å, inside the margin around the image.
    strengths : (N,) array
        Integrated strength of every column, value·Å².
    transfer : Transfer
        Fourier transform of the column shape.
    rows : ((H,) array, (H,) array)
        Position y of every scan line, and its shift along x, Å.
    columns : (W,) array
        Position x of every pixel on a line, Å.

    Returns
    -------
    (H, W) float32 array
        Values [y, x], exact to the transfer that was cut off: no interpolation anywhere.
    """
    return simulate_shapes([(positions, strengths, transfer)], rows, columns)


def simulate_shapes(
    parts: Sequence[tuple[np.ndarray, np.ndarray, Transfer]],
    rows: tuple[np.ndarray, np.ndarray],
    columns: np.ndarray,
) -> np.ndarray:
    """As `simulate_linear`, of columns of several shapes.

    Parameters
    ----------
    parts : sequence of (positions, strengths, transfer)
        Of each shape; the frequencies of all transfers are the same.
    rows, columns
        As of `simulate_linear`.

    Returns
    -------
    (H, W) float32 array
        Values [y, x].

    Notes
    -----
    The sum over columns is a non-uniform Fourier sum; lines shifted as a whole are a phase ramp
    along kx, so jitter, drift and flyback cost no interpolation.
    """
    first = parts[0][2]
    turn = -2j * np.pi
    spectrum = np.zeros_like(first.values)
    for positions, strengths, transfer in parts:
        from_y = np.exp(turn * np.outer(transfer.ky, positions[:, 0])).astype(np.complex64)
        from_x = np.exp(turn * np.outer(positions[:, 1], transfer.kx)).astype(np.complex64)
        sums = (from_y * strengths.astype(np.float32)) @ from_x
        sums *= transfer.values
        spectrum += sums
    spectrum[:, 1:] *= 2  # the negative half of kx
    to_y = np.exp(-turn * np.outer(rows[0], first.ky)).astype(np.complex64)
    lines = to_y @ spectrum
    lines *= np.exp(-turn * np.outer(rows[1], first.kx))
    to_x = np.exp(-turn * np.outer(first.kx, columns)).astype(np.complex64)
    # Re(a·b) without the imaginary half of the product
    image = lines.real @ to_x.real - lines.imag @ to_x.imag
    return (image / (first.length[0] * first.length[1])).astype(np.float32)
