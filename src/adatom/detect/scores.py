"""From network outputs to scores that mean what they say, with the image's own label shares."""

import numpy as np
from scipy.special import expit, logit, softmax

from adatom.networks.model import Calibration

_SMALLEST = 1e-6
_PSEUDO_COUNT = 20.0  # columns that the training shares count for against those of the image


def calibrate_scores(
    column: np.ndarray, shares: np.ndarray, calibration: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of every label and of none.

    Parameters
    ----------
    column : (N,) array
        Raw probability of any column.
    shares : (N, n_labels) array
        Raw shares of the labels.
    calibration : Calibration
        What held-out simulation says of the raw values.

    Returns
    -------
    label_scores : (N, n_labels) array
        Score of each label.
    none_score : (N,) array
        Score of there being no column; each row sums to 1 with it.
    """
    raw = logit(np.clip(column, _SMALLEST, 1 - _SMALLEST))
    is_column = expit(calibration.column_slope * raw + calibration.column_offset)
    offsets = np.array(calibration.offsets or np.zeros(shares.shape[1]))
    given = softmax(
        np.log(np.maximum(shares, _SMALLEST)) / calibration.temperature + offsets, axis=1
    )
    if calibration.prior and len(given):
        given = adapt_shares(given, np.array(calibration.prior), is_column)
    return given * is_column[:, None], 1 - is_column


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
