"""From network outputs to scores that mean what they say, with the image's own label shares."""

from collections.abc import Sequence

import numpy as np
from scipy import spatial
from scipy.special import expit, logit, softmax

from adatom.core.errors import ModelError
from adatom.networks.model import Calibration

_SMALLEST = 1e-6
_FEWEST_OF_FAMILY = 8
_N_AROUND = 24  # columns of the same family that say how bright a column is here
# Brightness alone may not outvote the network, which saw the same pixels: of 1.5 to 15, about the
# best on held-out simulation.
_MOST_LOG_ODDS = 2.5
_LEAST_SPREAD = 0.02
_PSEUDO_COUNT = 20.0  # columns that the training shares count for against those of the image


def measure_evidence(
    shares: np.ndarray,
    positions: np.ndarray,
    intensity: np.ndarray,
    intensity_err: np.ndarray,
    families: Sequence[Sequence[int]],
) -> np.ndarray:
    """What is known of the label of each column: the network's shares, and its brightness.

    Parameters
    ----------
    shares : (N, n_labels) array
        Raw shares of the labels.
    positions : (N, 2) array, Å
        Where the columns are.
    intensity, intensity_err : (N,) arrays
        Fitted intensity and its error.
    families : sequence of sequence of int
        Labels that share a site: brightness is compared inside a family only, and with the
        columns around, as images are brighter here than there.

    Returns
    -------
    (N, n_labels + 3 * n_families) array
        Log shares; then for each family the logarithm of the likelihood ratio of half the usual
        brightness against the usual one, and how far, squared, a column is too bright and too dim
        for its family, in standard deviations. Zero for the columns of other families.
    """
    features = [np.log(np.maximum(shares, _SMALLEST))]
    belongs = [shares[:, list(family)].sum(axis=1) for family in families]
    family_of = np.argmax(belongs, axis=0) if belongs else np.zeros(len(shares), int)
    for index in range(len(families)):
        rows = family_of == index
        columns = np.zeros((len(shares), 3))
        if rows.sum() >= _FEWEST_OF_FAMILY:
            usual = _median_around(positions[rows], intensity[rows])
            ratio, error = intensity[rows] / usual, intensity_err[rows] / usual
            spread = 1.4826 * np.median(np.abs(ratio - 1))
            variance = np.maximum(error**2, max(float(spread), _LEAST_SPREAD) ** 2)
            excess = (ratio - 1) / np.sqrt(variance)
            columns[rows, 0] = np.clip(
                (0.75 - ratio) * 0.5 / variance, -_MOST_LOG_ODDS, _MOST_LOG_ODDS
            )
            columns[rows, 1] = np.clip(excess, 0, 7) ** 2
            columns[rows, 2] = np.clip(excess, -7, 0) ** 2
        features.append(columns)
    return np.concatenate(features, axis=1)


def _median_around(positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Median of the values of the nearest columns, the column itself left out, (N,)."""
    n_around = min(_N_AROUND, len(values) - 1)
    _, index = spatial.cKDTree(positions).query(positions, k=n_around + 1, workers=-1)
    around = np.reshape(index, (len(values), -1))[:, 1:]
    return np.maximum(np.median(values[around], axis=1), 1e-3 * np.median(values) + 1e-30)


def calibrate_column(column: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Calibrated score of there being any column, (N,), from the raw one."""
    raw = logit(np.clip(column, _SMALLEST, 1 - _SMALLEST))
    return expit(calibration.column_slope * raw + calibration.column_offset)


def calibrate_labels(
    evidence: np.ndarray, is_column: np.ndarray, calibration: Calibration
) -> np.ndarray:
    """Scores of the labels.

    Parameters
    ----------
    evidence : (N, n_features) array
        What `measure_evidence` gives.
    is_column : (N,) array
        Calibrated score of there being any column.
    calibration : Calibration
        What held-out simulation says of the evidence.

    Returns
    -------
    (N, n_labels) array
        Score of each label; a row sums to `is_column`.
    """
    if not calibration.weights:
        raise ModelError("model: its card holds no calibration of the labels")
    weights, offsets = np.array(calibration.weights), np.array(calibration.offsets)
    given = softmax(evidence @ weights.T + offsets, axis=1)
    if len(given):
        given = adapt_shares(given, np.array(calibration.prior), is_column)
    return given * is_column[:, None]


def adapt_shares(given: np.ndarray, prior: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Replace the label shares of the training by those of this image.

    Parameters
    ----------
    given : (N, n_labels) array
        Posterior of the labels under the shares of the training.
    prior : (n_labels,) array
        Shares of the labels in training.
    weights : (N,) array
        How much each row counts.

    Returns
    -------
    (N, n_labels) array
        Posterior under the shares that make this image most likely.

    Notes
    -----
    Expectation maximization of Saerens, Latinne and Decaestecker, Neural Computation 14 (2002) 21,
    with a Dirichlet prior centered on the training, so that few columns cannot run away.
    """
    shares = prior / prior.sum()
    start = shares
    for _ in range(100):
        posterior = given * (shares / start)
        posterior /= posterior.sum(axis=1, keepdims=True)
        counts = weights @ posterior + _PSEUDO_COUNT * start
        updated = counts / counts.sum()
        if np.abs(updated - shares).max() < 1e-6:
            break
        shares = updated
    return posterior
