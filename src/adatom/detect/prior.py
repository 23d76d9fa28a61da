"""Where a column should stand by its neighbors, and how far real columns stand from there."""

from dataclasses import dataclass

import numpy as np
from scipy import spatial

LONGEST_VECTOR = 3.9
TOLERANCE, MOST_BEND = 1.0, 0.33
MOST_NEIGHBORS = 12
FEWEST_COLUMNS = 30
# The prediction is used where it takes off at least 40 % of a column's error; for less it would
# only pull real displacements back.
GATE = 1.35
FIRST_NARROW, FIRST_BROAD = 0.03, 0.12
LEAST_NARROW, MOST_NARROW, MOST_BROAD = 0.02, 0.1, 0.3
LEAST_RATIO = 3.0


@dataclass(frozen=True)
class Prediction:
    """Position of each column by inversion pairs of its neighbors.

    Attributes
    ----------
    positions : (N, 2) array
        Mean of the middles of the pairs; nan without a pair.
    variances : (N, 2) array
        Variance that the errors of the neighbors give it.
    n_pairs : (N,) int array
        Pairs that were used.
    """

    positions: np.ndarray
    variances: np.ndarray
    n_pairs: np.ndarray


@dataclass(frozen=True)
class Displacements:
    """Static displacements from the predicted positions: most small, a few large.

    Attributes
    ----------
    narrow, broad : float
        Standard deviations per axis of the two parts, Å.
    share : float
        Share of the broad part.
    """

    narrow: float
    broad: float
    share: float


def predict_positions(
    positions: np.ndarray, variances: np.ndarray, is_usable: np.ndarray, sites: np.ndarray
) -> Prediction:
    """Predict each column from pairs of neighbors that stand opposite to each other.

    Parameters
    ----------
    positions : (N, 2) array, Å
        Columns [y, x].
    variances : (N, 2) array, Å²
        Variance of each coordinate.
    is_usable : (N,) bool array
        Columns that may serve as neighbors.
    sites : (N, 2) array, Å
        About where the columns are: tells only who is whose neighbor.

    Returns
    -------
    Prediction
        Exact under any affine distortion of a lattice whose sites are centers of inversion of
        their own sublattice; no material is assumed, and no pixel of the column itself used.
    """
    n = len(positions)
    tree = spatial.cKDTree(sites)
    distance, index = tree.query(sites, k=MOST_NEIGHBORS + 1, distance_upper_bound=LONGEST_VECTOR)
    distance = np.reshape(distance, (n, -1))[:, 1:]
    index = np.reshape(index, (n, -1))[:, 1:]
    known = np.isfinite(distance)
    index = np.where(known, index, 0)
    known &= is_usable[index]
    # Vectors to none point so far that no two of them meet.
    vectors = np.where(known[:, :, None], sites[index] - sites[:, None], 1e3)
    y, x = np.moveaxis(vectors, 2, 0)
    mismatch = (y[:, :, None] + y[:, None]) ** 2 + (x[:, :, None] + x[:, None]) ** 2
    best = mismatch.argmin(axis=2)
    gap = np.take_along_axis(mismatch, best[:, :, None], axis=2)[:, :, 0] ** 0.5
    own = np.arange(best.shape[1])
    partner = np.take_along_axis(index, best, axis=1)
    length = np.hypot(y, x)
    tolerance = np.minimum(TOLERANCE, MOST_BEND * np.where(known, length, 0.0))
    # Each is the best partner of the other; the pair is counted once.
    mutual = (np.take_along_axis(best, best, axis=1) == own) & (gap < tolerance) & (own < best)
    middles = (positions[index] + positions[partner]) / 2
    pair_variances = (variances[index] + variances[partner]) / 4
    weights = np.where(mutual[:, :, None], 1 / np.maximum(pair_variances, 1e-12), 0.0)
    # Pairs share their static displacements' weight: none may count for more than three others.
    weights = np.minimum(weights, 3 * _median_positive(weights)[:, None])
    total = weights.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)
    predicted = np.where(total > 0, (weights * middles).sum(axis=1) / safe, np.nan)
    variance = (weights**2 * pair_variances).sum(axis=1) / safe**2
    return Prediction(predicted, variance, mutual.sum(axis=1))


def fit_displacements(
    innovations: np.ndarray, variances: np.ndarray, n_pairs: np.ndarray
) -> Displacements | None:
    """Width of the static displacements, from positions minus predictions.

    Parameters
    ----------
    innovations : (M, 2) array, Å
        Position minus prediction.
    variances : (M, 2) array, Å²
        Variance that the errors of the column and of its neighbors give the innovation.
    n_pairs : (M,) array
        Pairs behind each prediction, whose columns are displaced too.

    Returns
    -------
    Displacements or None
        Mixture of two Gaussians by expectation maximization; None with too few columns.
    """
    if len(innovations) < FEWEST_COLUMNS:
        return None
    factor = 1 + 0.5 / n_pairs
    squares = (innovations**2).sum(axis=1)
    own = variances.mean(axis=1)
    narrow, broad, share = FIRST_NARROW**2, FIRST_BROAD**2, 0.05
    for _ in range(30):
        parts = []
        for width, weight in ((narrow, 1 - share), (broad, share)):
            variance = own + width * factor
            parts.append(weight / variance * np.exp(-squares / (2 * variance)))
        is_broad = parts[1] / np.maximum(parts[0] + parts[1], 1e-300)
        share = float(np.clip(is_broad.mean(), 0.01, 0.2))
        narrow = _match_width(squares, own, factor, narrow, 1 - is_broad)
        narrow = float(np.clip(narrow, LEAST_NARROW**2, MOST_NARROW**2))
        broad = _match_width(squares, own, factor, broad, is_broad)
        broad = float(np.clip(broad, LEAST_RATIO**2 * narrow, MOST_BROAD**2))
    return Displacements(narrow**0.5, broad**0.5, share)


def combine_prediction(
    positions: np.ndarray,
    variances: np.ndarray,
    prediction: Prediction,
    displacements: Displacements,
) -> tuple[np.ndarray, np.ndarray]:
    """Position and variance of each column, its own fit and its prediction taken together.

    Parameters
    ----------
    positions : (N, 2) array, Å
        Own fit.
    variances : (N, 2) array, Å²
        Its variance.
    prediction : Prediction
        By the neighbors.
    displacements : Displacements
        How far columns really stand from their prediction.

    Returns
    -------
    (N, 2) array, (N, 2) array
        Positions, Å, and variances, Å². The prediction is left out where the own fit is more
        certain than a share of the static displacements: it would hide real ones.
    """
    known = np.isfinite(prediction.positions)
    innovation = np.where(known, prediction.positions - positions, 0.0)
    factor = (1 + 0.5 / np.maximum(prediction.n_pairs, 1))[:, None]
    widths = (displacements.narrow**2, displacements.broad**2)
    prior = [prediction.variances + width * factor for width in widths]
    squares = innovation**2
    logs = [
        (-0.5 * squares / (variances + own) - 0.5 * np.log(variances + own)).sum(axis=1)
        for own in prior
    ]
    odds = np.log(displacements.share / (1 - displacements.share)) + logs[1] - logs[0]
    is_broad = (1 / (1 + np.exp(-np.clip(odds, -50, 50))))[:, None]
    gains = [variances / (variances + own) for own in prior]
    gain = (1 - is_broad) * gains[0] + is_broad * gains[1]
    variance = (
        variances * (1 - gain) + is_broad * (1 - is_broad) * (gains[0] - gains[1]) ** 2 * squares
    )
    helps = known & (variances > GATE**2 * prior[0])
    return (
        np.where(helps, positions + gain * innovation, positions),
        np.where(helps, np.minimum(variance, variances), variances),
    )


def _match_width(
    squares: np.ndarray, own: np.ndarray, factor: np.ndarray, width: float, weights: np.ndarray
) -> float:
    """Variance of displacements per axis that fits the squares, from a first value."""
    # Columns that are known well say more: each counts by its Fisher information on the width.
    weights = weights * (factor / (own + width * factor)) ** 2
    return float((weights * (squares / 2 - own) / factor).sum() / max(weights.sum(), 1e-12))


def _median_positive(weights: np.ndarray) -> np.ndarray:
    """Median over axis 1 of the positive entries, 0 where there is none."""
    filled = np.where(weights > 0, weights, np.inf)
    ordered = np.sort(filled, axis=1)
    middle = np.maximum((weights > 0).sum(axis=1) - 1, 0) // 2
    median = np.take_along_axis(ordered, middle[:, None], axis=1)[:, 0]
    return np.where(np.isfinite(median), median, 0.0)
