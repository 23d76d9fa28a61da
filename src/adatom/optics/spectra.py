"""Spectra of images of random objects, and the fit of a model to them with honest errors."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from adatom.core.errors import ConfigError, ImageError

_FEWEST_PIXELS = 32
_FEWEST_FREQUENCIES = 50  # some for each of about 15 parameters
_MOST_STEPS = 60
_TAPS_OF_HANN = {-1: -0.25, 0: 0.5, 1: -0.25}  # transform of the window
_POWER_OF_HANN = {-1: 1 / 6, 0: 2 / 3, 1: 1 / 6}
_ONE_TILE = (18 / 35) ** 2  # independent draws of one tile
TOLERANCE = 1e-3

# Parameters to the spectra before the window, (C, C, H, W) over the box, and their derivatives.
Model = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def blur_spectrum(box: np.ndarray) -> np.ndarray:
    """Spectrum as it looks through a Hann window: the mean over neighboring frequencies.

    Right within 2 % where correlations reach no farther than a quarter of the tile.

    Parameters
    ----------
    box : (..., H, W) array
        Spectrum at the frequencies of the transform of a tile.

    Returns
    -------
    (..., H - 4, W - 4) array
        Without two rows and columns at each edge.
    """
    height, width = box.shape[-2:]
    rows = np.zeros((*box.shape[:-2], height - 4, width), box.dtype)
    for m, tap in _POWER_OF_HANN.items():
        rows += tap * box[..., 2 + m : height - 2 + m, :]
    seen = np.zeros((*box.shape[:-2], height - 4, width - 4), box.dtype)
    for m, tap in _POWER_OF_HANN.items():
        seen += tap * rows[..., 2 + m : width - 2 + m]
    return seen


@dataclass(frozen=True)
class Spectra:
    """Power and cross spectra of images of one place, the mean over overlapping tiles.

    Attributes
    ----------
    values : (N, C, C) complex array
        Cross spectra of C images at N frequencies, one of each pair ±k; 1 is the power of white
        noise of variance 1.
    kx, ky : (N,) array
        Frequencies, 1/Å.
    n_effective : float
        Independent draws that the mean at a frequency counts for, in a smooth sum over many.
    tile_px : int
        Pixels along a tile.
    pixel_size : float
        Å per pixel.
    reach : int
        Rows and columns of the box of a model around zero frequency.
    """

    values: np.ndarray
    kx: np.ndarray
    ky: np.ndarray
    n_effective: float
    tile_px: int
    pixel_size: float
    reach: int

    def narrow(self, highest: float) -> "Spectra":
        """The same up to some frequency, 1/Å; its box stays as it is."""
        kept = np.hypot(self.kx, self.ky) <= highest
        return replace(self, values=self.values[kept], kx=self.kx[kept], ky=self.ky[kept])

    def make_box(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies kx, ky (1/Å) that a model is needed at: two more around those measured."""
        length = self.tile_px * self.pixel_size
        line = np.arange(-self.reach - 2, self.reach + 3) / length
        ky, kx = np.meshgrid(line, line[self.reach :], indexing="ij")
        return kx, ky

    def look(self, box: np.ndarray) -> np.ndarray:
        """Spectrum of a model, given over the box, as the windows of the tiles show it.

        Parameters
        ----------
        box : (..., C, C, H, W) array
            At the frequencies of `make_box`.

        Returns
        -------
        (..., N, C, C) array
            At `kx`, `ky`.
        """
        rows, columns = self.find_cells()
        return np.moveaxis(blur_spectrum(box)[..., rows - 2, columns - 2], -1, -3)

    def find_cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the box at which the frequencies lie."""
        length = self.tile_px * self.pixel_size
        rows, columns = (np.rint(k * length).astype(int) for k in (self.ky, self.kx))
        return rows + self.reach + 2, columns + 2


def measure_spectra(
    images: np.ndarray, pixel_size: float, length: float, limits: tuple[float, float]
) -> Spectra:
    """Mean cross spectra of images over tiles that overlap by half.

    Parameters
    ----------
    images : (C, H, W) array
        Images of one place, indexed [y, x].
    pixel_size : float
        Å per pixel.
    length : float
        Shortest side of a tile, Å; an image that is smaller is one tile.
    limits : (float, float)
        Lowest and highest frequency, 1/Å.

    Returns
    -------
    Spectra
        With Hann windows.

    Raises
    ------
    ImageError
        If an image is too small, holds values that are not finite, or is the same everywhere.
    ConfigError
        If a tile has too few frequencies between the limits.

    Notes
    -----
    P. D. Welch, IEEE Trans. Audio Electroacoust. 15 (1967) 70. In a smooth weighted sum over
    frequencies, two tiles a distance d apart have the covariance N Σ h(x)² h(x - d)² / (Σh²)² of
    that of independent values: 35/18 for a tile with itself.
    """
    shape = images.shape[-2:]
    if min(shape) < _FEWEST_PIXELS:
        raise ImageError(
            f"images: must be at least {_FEWEST_PIXELS} pixels along each side (got {shape})"
        )
    for image in images:
        if not np.isfinite(image).all() or np.ptp(image) == 0:
            raise ImageError(
                "images: must be finite and not the same everywhere (got values from "
                f"{image.min():g} to {image.max():g})"
            )
    tile_px = min(2 * int(np.ceil(length / pixel_size / 2)), 2 * (min(shape) // 2))
    starts = [_place_tiles(side, tile_px) for side in shape]
    line = np.hanning(tile_px + 1)[:-1]
    window = np.outer(line, line) / np.sum(line**2)
    k = np.fft.fftfreq(tile_px, pixel_size)
    ky, kx = np.meshgrid(k, k, indexing="ij")
    radius = np.hypot(kx, ky)
    is_half = (kx > 0) | ((kx == 0) & (ky > 0))
    kept = is_half & (radius >= limits[0]) & (radius <= limits[1])
    if kept.sum() < _FEWEST_FREQUENCIES:
        raise ConfigError(
            f"k_min, k_max: must leave {_FEWEST_FREQUENCIES} frequencies of a tile of {tile_px} "
            f"pixels (got {kept.sum()} from {limits[0]:g} to {limits[1]:g} 1/Å)"
        )
    total = np.zeros((kept.sum(), len(images), len(images)), complex)
    for top in starts[0]:
        for left in starts[1]:
            tiles = images[:, top : top + tile_px, left : left + tile_px]
            tiles = tiles - tiles.mean(axis=(1, 2), keepdims=True)
            found = np.fft.fft2(tiles * window)[:, kept]
            total += np.einsum("in,jn->nij", found, found.conj())
    effective = float(np.prod([_count_effective(places, line) for places in starts]))
    mean = total / (len(starts[0]) * len(starts[1]))
    reach = int(np.rint(radius[kept].max() * tile_px * pixel_size))
    return Spectra(mean, kx[kept], ky[kept], effective, tile_px, pixel_size, reach)


def _place_tiles(side: int, tile_px: int) -> np.ndarray:
    """First pixels of tiles that overlap by half or a little more."""
    n = 1 + int(np.ceil((side - tile_px) / (tile_px // 2)))
    return np.rint(np.linspace(0, side - tile_px, n)).astype(int)


def _count_effective(places: np.ndarray, line: np.ndarray) -> float:
    """Independent values that the mean over tiles along an axis counts for."""
    square = line**2
    shared = np.correlate(square, square, "full")[len(line) - 1 :] * len(line) / square.sum() ** 2
    distance = np.abs(places[:, None] - places)
    return float(1 / np.mean(np.append(shared, 0)[np.minimum(distance, len(line))]))


def radial_basis(kx: np.ndarray, ky: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Functions whose sum is the logarithm of a smooth, slightly elliptic spectrum.

    Parameters
    ----------
    kx, ky : array
        Frequencies, 1/Å.
    nodes : (M,) array
        Evenly spaced |k|, 1/Å, between which the radial part is linear.

    Returns
    -------
    (M + 2, …) array
        Hats over |k|, then kx² - ky² and 2 kx ky over the highest |k|².
    """
    radius = np.clip(np.hypot(kx, ky), nodes[0], nodes[-1])
    step = nodes[1] - nodes[0]
    hats = [np.maximum(0, 1 - np.abs(radius - node) / step) for node in nodes]
    return np.array([*hats, (kx**2 - ky**2) / nodes[-1] ** 2, 2 * kx * ky / nodes[-1] ** 2])


def exp_bounded(values: np.ndarray) -> np.ndarray:
    """Exponential that a step much too far does not take beyond what numbers hold."""
    return np.exp(np.clip(values, -50, 50))


@dataclass(frozen=True)
class SpectrumFit:
    """Parameters of a model of spectra.

    Attributes
    ----------
    values : (P,) array
        Most likely parameters.
    covariance : (3, 3) array
        Of the first three parameters.
    gain : (P, P) array
        How the parameters follow the gradient of the logarithm of the likelihood.
    is_converged : bool
        Whether no further step would help.
    """

    values: np.ndarray
    covariance: np.ndarray
    gain: np.ndarray
    is_converged: bool


def fit_spectra(
    spectra: Spectra,
    model: Model,
    start: np.ndarray,
    prior: np.ndarray,
    *,
    tolerance: float = TOLERANCE,
    first: np.ndarray | None = None,
) -> SpectrumFit:
    """Fit a model by maximum likelihood.

    Parameters
    ----------
    spectra : Spectra
        What was measured.
    model : callable
        Takes (P,) parameters; returns the (C, C, H, W) spectra of the object's images over the box
        of `Spectra.make_box`, and their (P, C, C, H, W) derivatives.
    start : (P,) array
        What is expected.
    prior : (P, P) array
        Information of a Gaussian prior around `start`; 0 for none.
    tolerance : float
        Logarithm of the likelihood that one more step may promise.
    first : (P,) array, optional
        Where to begin, if not at `start`.

    Returns
    -------
    SpectrumFit
        Of Fisher scoring with damping.

    Notes
    -----
    The transform of an image of a random object is Gaussian at every frequency (P. Whittle, Ark.
    Mat. 2 (1953) 423), which holds for several images at once: -log L = Σ log det S + tr(P/S).
    """
    values, damping, promise = (start if first is None else first).copy(), 1e-3, np.inf
    gradient, information, deviance = _weigh(spectra, *model(values))
    for _ in range(_MOST_STEPS):
        pull = gradient - prior @ (values - start)
        full = information + prior
        promise = pull @ np.linalg.solve(full, pull)
        if promise < tolerance:
            break
        trial = values + np.linalg.solve(full + damping * np.diag(np.diag(full)), pull)
        new = _weigh(spectra, *model(trial))
        before, after = (off @ prior @ off for off in (values - start, trial - start))
        if new[2] + after < deviance + before:
            values, (gradient, information, deviance) = trial, new
            damping = max(damping / 10, 1e-9)
        else:
            damping *= 10
    gain = np.linalg.inv(information + prior)
    covariance = _find_covariance(spectra, *model(values), gain[:3])
    covariance += gain[:3] @ prior @ gain[:3].T
    is_converged = bool(promise < tolerance and np.isfinite(deviance))
    return SpectrumFit(values, covariance, gain, is_converged)


def find_information(spectra: Spectra, box: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Fisher information of parameters of a model.

    Parameters
    ----------
    spectra : Spectra
        What was measured; only its frequencies and draws are looked at.
    box : (C, C, H, W) array
        Spectra of the model over the box.
    slopes : (P, C, C, H, W) array
        Their derivatives.

    Returns
    -------
    (P, P) array
        n Σ tr(S⁻¹ ∂S S⁻¹ ∂S).
    """
    shares = _multiply(np.linalg.inv(spectra.look(box)), spectra.look(slopes))
    return _pair_shares(shares, spectra.n_effective)


def _pair_shares(shares: np.ndarray, n_effective: float) -> np.ndarray:
    turned = shares.transpose(0, 1, 3, 2).reshape(len(shares), -1)
    return n_effective * (shares.reshape(len(shares), -1) @ turned.T).real


def _weigh(
    spectra: Spectra, box: np.ndarray, slopes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Gradient and information of the log-likelihood, and the deviance."""
    n, expected = spectra.n_effective, spectra.look(box)
    sign, volume = np.linalg.slogdet(expected)
    if not (sign.real > 0).all():
        return np.zeros(len(slopes)), np.eye(len(slopes)), np.inf
    inverse = np.linalg.inv(expected)
    ratio = _multiply(inverse, spectra.values)
    shares = _multiply(inverse, spectra.look(slopes))
    excess = (ratio - np.eye(expected.shape[-1])).transpose(0, 2, 1).reshape(-1)
    gradient = n * (shares.reshape(len(slopes), -1) @ excess).real
    information = _pair_shares(shares, n)
    deviance = 2 * n * float(np.sum(volume + np.trace(ratio, axis1=1, axis2=2).real))
    return gradient, information, deviance


def _find_covariance(
    spectra: Spectra, box: np.ndarray, slopes: np.ndarray, gain: np.ndarray
) -> np.ndarray:
    """Covariance of parameters, as the window makes the noise of neighboring frequencies alike.

    Two transforms through the window, at k and k + m, have the covariance Σ S(q) H(k - q)
    H(k + m - q), from which that of their powers follows (Isserlis' theorem).
    """
    inverse = np.linalg.inv(spectra.look(box))
    seen = np.tensordot(gain, spectra.look(slopes), 1)
    weights = _multiply(_multiply(inverse, seen), inverse)
    rows, columns = spectra.find_cells()
    full = np.zeros((len(gain), *box.shape[2:], *inverse.shape[1:]), weights.dtype)
    full[:, rows, columns] = weights
    # The transform of a real image is its own conjugate at -k.
    near = columns <= 4
    full[:, box.shape[2] - 1 - rows[near], 4 - columns[near]] = weights[:, near].conj()
    spectrum = np.moveaxis(box, (0, 1), (-2, -1))
    total = np.zeros((len(gain), len(gain)))
    for m_y in range(-2, 3):
        for m_x in range(-2, 3):
            shared = np.zeros(inverse.shape, complex)
            for (y, tap_y), (x, tap_x) in product(_pair_taps(m_y), _pair_taps(m_x)):
                shared += tap_y * tap_x * spectrum[rows + y, columns + x]
            beside = full[:, rows + m_y, columns + m_x]
            right = _multiply(_multiply(shared, beside), shared.conj().transpose(0, 2, 1))
            total += np.einsum("anij,bnji->ab", weights, right, optimize=True).real
    return total * spectra.n_effective * _ONE_TILE


def _multiply(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Product of matrices, many times as fast where these are numbers."""
    return first * second if first.shape[-1] == 1 else first @ second


def _pair_taps(distance: int) -> list[tuple[int, float]]:
    """Products of the transforms of two windows some places apart, their sum of squares 1."""
    taps = _TAPS_OF_HANN
    return [(q, taps[q] * taps[q - distance] / 0.375) for q in taps if q - distance in taps]
