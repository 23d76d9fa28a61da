"""The waves of a lattice in a set of points, and how far these follow them from place to place."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import cKDTree
from skimage.restoration import unwrap_phase

FINEST = 0.25  # of the usual distance of neighbors: bins of points
HIGHEST = 1.3  # wave vector times that distance
N_SPOTS = 40
N_SEEDS = 12  # spots that waves are made of
LEAST_POWER = 7.0  # of a spot, beside the logarithm of their number; without order it is 1
LEAST_SHARE = 0.04  # of a spot in the power of a perfect lattice
EXPLAINED = 0.8  # of the amplitude that the best waves explain, for a smaller cell
LEAST_SINE = 0.34  # between two waves
WIDTH = 3.5  # usual distances of neighbors: over which phases are averaged
FAINT = 0.3  # amplitude over that of the best place where a phase is believed


@dataclass(frozen=True)
class Order:
    """How well points follow two waves, on a grid.

    Attributes
    ----------
    waves : (2, 2) array
        Wave vectors as rows [y, x], 1/Å.
    corner : (2,) array
        [y, x] of the first point of the grid, Å.
    step : float
        Å.
    amplitude : (H, W) array
        Of the fainter wave, 1 for a perfect lattice without basis.
    shift : (2, H, W) array
        By how many periods either wave comes later there; without jumps.
    """

    waves: np.ndarray
    corner: np.ndarray
    step: float
    amplitude: np.ndarray
    shift: np.ndarray

    def look(self, values: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Values of the grid at places, (N,)."""
        at = ((places - self.corner) / self.step).T
        return ndimage.map_coordinates(values, at, order=1, mode="nearest")

    def strength(self, places: np.ndarray) -> np.ndarray:
        """How well places follow the waves, (N,): 1 for the best of the image."""
        whole = np.quantile(self.amplitude[self.amplitude > 0], 0.98)
        return np.asarray(self.look(self.amplitude, places) / whole)


def find_spacing(places: np.ndarray) -> float:
    """Usual distance of nearest neighbors, Å.

    Parameters
    ----------
    places : (N, 2) array
        Two at least.

    Returns
    -------
    float
        The median.
    """
    return float(np.median(cKDTree(places).query(places, k=2)[0][:, 1]))


def find_point_waves(places: np.ndarray, weights: np.ndarray, spacing: float) -> np.ndarray | None:
    """Find two waves whose lattice explains the spectrum of points.

    Parameters
    ----------
    places : (N, 2) array
        [y, x], Å.
    weights : (N,) array
        Of the points.
    spacing : float
        Usual distance of neighbors, Å.

    Returns
    -------
    (2, 2) array or None
        Wave vectors as rows [y, x], 1/Å, of the smallest cell that explains nearly as much as any
        other; None where the points have no order.

    Notes
    -----
    Of all pairs of strong spots, those win whose integer sums meet the other spots. Spots of other
    grains are met by chance only, and are left for another call with the points that remain.
    """
    waves, power, tolerance, whole = _find_spots(places, weights, spacing)
    if len(waves) < 2 or power[1] < LEAST_SHARE * whole:
        return None
    amplitude = np.sqrt(power)
    first, second = np.triu_indices(min(len(waves), N_SEEDS), 1)
    size = np.linalg.norm(waves, axis=1)
    area = waves[first, 0] * waves[second, 1] - waves[first, 1] * waves[second, 0]
    is_open = np.abs(area) > LEAST_SINE * size[first] * size[second]
    pairs = np.stack([waves[first], waves[second]], axis=1)[is_open]
    if len(pairs) == 0:
        return None
    area = np.abs(area[is_open])
    index = waves @ np.linalg.inv(pairs)
    away = np.linalg.norm((index - np.rint(index)) @ pairs, axis=-1)
    chance = np.minimum(np.pi * tolerance**2 / area, 0.9)
    met = (amplitude * (away < tolerance)).sum(axis=1) / amplitude.sum()
    explained = (met - chance) / (1 - chance)
    best = np.flatnonzero(explained >= EXPLAINED * explained.max())
    chosen = pairs[best[area[best].argmax()]]
    return _strengthen(reduce_vectors(chosen) @ chosen, waves, amplitude, tolerance)


def _find_spots(
    places: np.ndarray, weights: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Spots (M, 2) of half the plane, their power, how far two are apart, power of a lattice."""
    low = places.min(axis=0)
    extent = np.maximum(np.ptp(places, axis=0), 4 * spacing)
    step = FINEST * spacing
    window = np.prod(np.cos(np.pi * ((places - low) / extent - 0.5)), axis=1)
    shape = [fft.next_fast_len(int(2 * side / step) + 2, real=True) for side in extent]
    bins = np.floor((places - low) / step).astype(int)
    image = np.zeros(shape)
    np.add.at(image, tuple(bins.T), weights * window)
    noise = float(((weights * window) ** 2).sum())
    power = np.abs(fft.rfft2(image)) ** 2 / noise
    ky, kx = fft.fftfreq(shape[0], step), fft.rfftfreq(shape[1], step)
    length = np.hypot(ky[:, None], kx)
    # Binning blurs: what it takes from high frequencies is given back.
    power /= (np.sinc(ky * step)[:, None] * np.sinc(kx * step)) ** 2
    tolerance = 1.5 / extent.min()
    is_peak = power == ndimage.maximum_filter(power, 5, mode=("wrap", "nearest"))
    is_seen = (length > 2.5 * tolerance) & (length < HIGHEST / spacing)
    row, column = np.nonzero(is_peak & is_seen & (power > LEAST_POWER + np.log(is_seen.sum() / 4)))
    order = np.argsort(-power[row, column])[:N_SPOTS]
    row, column = row[order], column[order]
    waves = np.stack([ky[row], kx[column]], axis=1)
    whole = float((weights * window).sum() ** 2 / noise)
    return waves, power[row, column], tolerance, whole


def reduce_vectors(vectors: np.ndarray) -> np.ndarray:
    """Find the shortest vectors of the same lattice.

    Parameters
    ----------
    vectors : (2, 2) array
        Two of the lattice, as rows.

    Returns
    -------
    (2, 2) int array
        What they must be multiplied with from the left; the first is the shorter.

    Notes
    -----
    Lagrange's reduction.

    Examples
    --------
    >>> vectors = np.array([(1.0, 0.0), (7.0, 2.0)])
    >>> reduce_vectors(vectors) @ vectors
    array([[1., 0.],
           [0., 2.]])
    """
    turn = np.eye(2, dtype=int)
    while True:
        one, other = turn @ vectors
        if one @ one > other @ other:
            turn, one, other = turn[::-1], other, one
        steps = int(np.rint(one @ other / (one @ one)))
        shorter = other - steps * one
        # Where two choices are as long as each other, rounding must not go to and fro.
        if shorter @ shorter >= (1 - 1e-9) * (other @ other):
            return turn
        turn = np.array([turn[0], turn[1] - steps * turn[0]])


def _strengthen(
    pair: np.ndarray, waves: np.ndarray, amplitude: np.ndarray, tolerance: float
) -> np.ndarray:
    """Waves of the same lattice fitted to its spots; of those that make it up, the strongest."""
    for _ in range(3):
        index = np.rint(waves @ np.linalg.inv(pair))
        away = np.linalg.norm(waves - index @ pair, axis=1)
        is_met = (away < tolerance) & index.any(axis=1)
        if np.linalg.matrix_rank(index[is_met]) < 2:
            return pair
        pull = np.sqrt(amplitude[is_met])[:, None]
        pair = np.linalg.lstsq(index[is_met] * pull, waves[is_met] * pull, rcond=None)[0]
    index, amplitude = index[is_met], amplitude[is_met]
    first, second = np.triu_indices(len(index), 1)
    cells = index[first, 0] * index[second, 1] - index[first, 1] * index[second, 0]
    whole = np.flatnonzero(np.abs(cells) == 1)
    if len(whole) == 0:
        return pair
    weaker = np.minimum(amplitude[first[whole]], amplitude[second[whole]])
    best = whole[weaker.argmax()]
    return np.array([index[first[best]], index[second[best]]]) @ pair


def follow_waves(
    places: np.ndarray, weights: np.ndarray, waves: np.ndarray, spacing: float
) -> Order:
    """Follow two waves through points whose lattice may bend and strain slowly.

    Parameters
    ----------
    places : (N, 2) array
        [y, x], Å.
    weights : (N,) array
        Of the points.
    waves : (2, 2) array
        Wave vectors as rows [y, x], 1/Å.
    spacing : float
        Usual distance of neighbors, Å.

    Returns
    -------
    Order
        Amplitudes and phases of the waves, averaged with a Gaussian of 3.5 distances.

    Notes
    -----
    Geometric phase analysis (Hÿtch, Snoeck and Kilaas, Ultramicroscopy 74 (1998) 131), of points
    instead of pixels.
    """
    step, width = spacing, WIDTH
    margin = 3
    corner = places.min(axis=0) - margin * step
    shape = tuple(np.ceil((places.max(axis=0) - corner) / step).astype(int) + margin + 1)
    bins = tuple(np.rint((places - corner) / step).astype(int).T)

    def spread(values: np.ndarray) -> np.ndarray:
        grid = np.zeros(shape)
        np.add.at(grid, bins, values)
        return ndimage.gaussian_filter(grid, width, truncate=3, mode="constant")

    total = np.maximum(spread(np.abs(weights)), 1e-6)
    amplitudes, phases = [], []
    for wave in waves:
        angle = -2 * np.pi * (places @ wave)
        field = spread(weights * np.cos(angle)) + 1j * spread(weights * np.sin(angle))
        amplitudes.append(np.abs(field) / total)
        phases.append(np.angle(field))
    amplitude = np.min(amplitudes, axis=0)
    is_hidden = amplitude < FAINT * np.quantile(amplitude, 0.95)
    shift = [
        np.ma.filled(unwrap_phase(np.ma.array(phase, mask=is_hidden), rng=0), 0.0)
        for phase in phases
    ]
    return Order(waves, corner, step, amplitude, np.stack(shift) / (2 * np.pi))
