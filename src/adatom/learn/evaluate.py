"""Measure a model on held-out simulation, and make its scores mean what they say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logit

from adatom.core.progress import Report
from adatom.core.random import make_child_rng
from adatom.detect.atoms import propose_columns, weigh_labels
from adatom.detect.peaks import Peaks
from adatom.detect.refine import refine_positions
from adatom.detect.scores import calibrate_column
from adatom.learn.samples import CALIBRATION
from adatom.metrics.detection import detection_scores, match_points
from adatom.networks.model import Calibration, Model
from adatom.simulate.example import Example, simulate_example
from adatom.simulate.recipe import Recipe


@dataclass(frozen=True)
class Candidates:
    """Candidates of many held-out images, and what is true of each.

    Attributes
    ----------
    column : (N,) array
        Raw probability of any column.
    evidence : (N, n_features) array
        What is known of the label, from `measure_evidence`.
    signal : (N,) array
        Fitted intensity over its error.
    truth : (N,) int array
        Label of the column that is there, or -1 where there is none.
    image : (N,) int array
        Image that each candidate is from.
    true_counts : (n_images, n_labels) int array
        Columns of each label in each image.
    """

    column: np.ndarray
    evidence: np.ndarray
    signal: np.ndarray
    truth: np.ndarray
    image: np.ndarray
    true_counts: np.ndarray


def collect_candidates(
    model: Model,
    recipe: Recipe,
    n_images: int,
    *,
    split: int = CALIBRATION,
    tolerance: float = 0.5,
    report: Report | None = None,
) -> Candidates:
    """Run a model over held-out simulated images.

    Parameters
    ----------
    model : Model
        The model.
    recipe : Recipe
        What to simulate.
    n_images : int
        How many images.
    split : int
        Which numbered images; those of the training are 0.
    tolerance : float
        Largest distance between a candidate and its column, Å.
    report : callable, optional
        Called with (images done, images in all, text).

    Returns
    -------
    Candidates
        Raw outputs and truth.
    """
    parts, counts = [], []
    labels = np.array(model.card.labels)
    for index in range(n_images):
        example = simulate_example(recipe, make_child_rng(recipe.training.seed, split, index))
        peaks, evidence, signal = _find_candidates(model, example)
        positions = peaks.positions * model.card.pixel_size
        matches = match_points(positions, example.truth[["y", "x"]].to_numpy(), tolerance)
        truth = np.full(len(positions), -1)
        is_label = example.truth["label"].to_numpy()[:, None] == labels
        truth[matches.found] = is_label[matches.true].argmax(axis=1)
        parts.append((peaks.column, evidence, signal, truth, np.full(len(positions), index)))
        counts.append(is_label.sum(axis=0))
        if report:
            report(index + 1, n_images, "held-out images")
    column, evidence, signal, truth, image = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    return Candidates(column, evidence, signal, truth, image, np.array(counts))


def _find_candidates(model: Model, example: Example) -> tuple[Peaks, np.ndarray, np.ndarray]:
    """Candidates of one image, the evidence for their labels, and their signal to noise."""
    sizes = (example.pixel_size, example.pixel_size)
    peaks = propose_columns(example.image, sizes, model)
    start = peaks.positions * model.card.pixel_size / example.pixel_size
    refined = refine_positions(
        example.image, start, example.pixel_size, is_counts=example.is_counts
    )
    evidence = weigh_labels(peaks.shares, refined, sizes, model.card)
    return peaks, evidence, refined.intensity / refined.intensity_err


def measure_signal_range(candidates: Candidates, calibration: Calibration) -> tuple[float, float]:
    """Signal to noise that columns have in the images of a training.

    Parameters
    ----------
    candidates : Candidates
        Of held-out images.
    calibration : Calibration
        Tells columns from other candidates.

    Returns
    -------
    tuple of float
        1 % and 99 % of the medians over the columns of an image.
    """
    kept = calibrate_column(candidates.column, calibration) >= 0.5
    kept &= np.isfinite(candidates.signal)
    signal, image = candidates.signal[kept], candidates.image[kept]
    medians = [np.median(signal[image == number]) for number in np.unique(image)]
    low, high = np.quantile(medians, [0.01, 0.99]) if medians else (0.0, 0.0)
    return float(low), float(high)


def fit_calibration(candidates: Candidates) -> Calibration:
    """Find the calibration under which held-out scores are right most often.

    Parameters
    ----------
    candidates : Candidates
        Raw outputs and truth of held-out images.

    Returns
    -------
    Calibration
        Logistic for any column (Platt), multinomial logistic of the evidence for the labels, and
        the shares of the labels.
    """
    is_column = candidates.truth >= 0
    raw = logit(np.clip(candidates.column, 1e-6, 1 - 1e-6))

    def column_loss(parameters: np.ndarray) -> float:
        signed = np.where(is_column, 1, -1) * (np.exp(parameters[0]) * raw + parameters[1])
        return float(np.logaddexp(0, -signed).mean())

    column_fit = minimize(column_loss, np.zeros(2), method="Nelder-Mead")
    evidence, truth = candidates.evidence[is_column], candidates.truth[is_column]
    n_labels, n_features = candidates.true_counts.shape[1], evidence.shape[1]
    scale = np.maximum(evidence.std(axis=0), 1e-3)
    scaled = evidence / scale
    indicator = np.eye(n_labels)[truth]

    def label_loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights = parameters.reshape(n_labels, n_features + 1)
        log_scores = log_softmax(scaled @ weights[:, :-1].T + weights[:, -1], axis=1)
        misfit = (np.exp(log_scores) - indicator) / len(truth)
        slope = np.column_stack([misfit.T @ scaled, misfit.sum(axis=0)]) + 2e-4 * weights
        loss = -(log_scores * indicator).sum() / len(truth) + 1e-4 * (weights**2).sum()
        return float(loss), slope.ravel()

    first = np.zeros(n_labels * (n_features + 1))
    label_fit = minimize(label_loss, first, jac=True, method="L-BFGS-B")
    found = label_fit.x.reshape(n_labels, n_features + 1)
    # A label that held-out images lack is rare, not impossible.
    prior = (np.bincount(truth, minlength=n_labels) + 1) / (len(truth) + n_labels)
    return Calibration(
        column_slope=float(np.exp(column_fit.x[0])),
        column_offset=float(column_fit.x[1]),
        weights=tuple(tuple(map(float, row)) for row in found[:, :-1] / scale),
        offsets=tuple(map(float, found[:, -1])),
        prior=tuple(map(float, prior)),
    )


def measure_reliability(
    scores: np.ndarray, is_right: np.ndarray, *, n_bins: int = 10
) -> np.ndarray:
    """Reliability curve: how often scores of a size are right.

    Parameters
    ----------
    scores : (N,) array
        Scores, 0 to 1.
    is_right : (N,) bool array
        Whether each was right.
    n_bins : int
        Bins between 0 and 1.

    Returns
    -------
    (n_filled, 3) array
        Mean score, share that was right, and number of each bin that holds any.
    """
    index = np.minimum((scores * n_bins).astype(int), n_bins - 1)
    count = np.bincount(index, minlength=n_bins)
    filled = count > 0
    mean = np.bincount(index, scores, n_bins)[filled] / count[filled]
    right = np.bincount(index, is_right, n_bins)[filled] / count[filled]
    return np.column_stack([mean, right, count[filled]])


def score_candidates(
    candidates: Candidates, label_scores: np.ndarray, is_column: np.ndarray, labels: Sequence[str]
) -> dict[str, float]:
    """Figures for a model's card from candidates with calibrated scores.

    Parameters
    ----------
    candidates : Candidates
        Truth of every candidate.
    label_scores : (N, n_labels) array
        Calibrated scores of the labels.
    is_column : (N,) array
        Calibrated scores of there being any column.
    labels : sequence of str
        Names of the labels.

    Returns
    -------
    dict
        `sites_f1`, `<label>_f1` and the mean error of calibration `calibration_error`.
    """
    kept = is_column >= 0.5
    best = label_scores.argmax(axis=1)
    n_true = candidates.true_counts.sum(axis=0)
    n_matched = int((kept & (candidates.truth >= 0)).sum())
    figures = {"sites_f1": detection_scores(n_matched, int(kept.sum()), int(n_true.sum()))["f1"]}
    for index, label in enumerate(labels):
        said = kept & (best == index)
        n_right = int((said & (candidates.truth == index)).sum())
        figures[f"{label}_f1"] = detection_scores(n_right, int(said.sum()), int(n_true[index]))[
            "f1"
        ]
    top = label_scores.max(axis=1)
    curve = measure_reliability(top[kept], (best == candidates.truth)[kept])
    if len(curve):
        misfit = np.abs(curve[:, 0] - curve[:, 1])
        figures["calibration_error"] = float(np.average(misfit, weights=curve[:, 2]))
    return {name: round(value, 5) for name, value in figures.items()}
