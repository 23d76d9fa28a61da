"""The whole way from a recipe to a calibrated model on disk."""

from pathlib import Path
from typing import Any

import numpy as np

from adatom.core.errors import ConfigError
from adatom.core.progress import Report, ignore_progress
from adatom.detect.scores import calibrate_column, calibrate_labels
from adatom.learn.evaluate import (
    collect_candidates,
    fit_calibration,
    measure_signal_range,
    score_candidates,
)
from adatom.learn.fit import train_model
from adatom.learn.focal import calibrate_series, score_series, summarize_scores
from adatom.learn.samples import CALIBRATION
from adatom.networks.model import Model, save_model
from adatom.simulate.recipe import HrtemRecipe, Recipe

_TEST = CALIBRATION + 3  # images that neither training, calibration nor any choice saw


def build_model(
    recipe: Recipe | HrtemRecipe,
    folder: str | Path,
    *,
    start: Model | None = None,
    resume: bool = False,
    n_calibration: int = 200,
    report: Report | None = None,
) -> Path:
    """Train a model, calibrate its scores on held-out simulation, measure it, and save it.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        What to simulate, the network, and how it learns.
    folder : str or Path
        Where the training runs; the model is saved there too.
    start : Model, optional
        Model whose weights are trained on.
    resume : bool
        Continue the training that the folder holds.
    n_calibration : int
        Held-out images, or series, for the calibration, and as many others for the figures on the
        card.
    report : callable, optional
        Called with (done, in all, text).

    Returns
    -------
    Path
        The model's card.
    """
    model = train_model(recipe, folder, start=start, resume=resume, report=report)
    return save_model(calibrate_model(model, recipe, n_calibration, report=report), folder)


def calibrate_model(
    model: Model, recipe: Recipe | HrtemRecipe, n_images: int, *, report: Report | None = None
) -> Model:
    """Calibrate a trained model and fill in the figures of its card.

    Parameters
    ----------
    model : Model
        Trained network.
    recipe : Recipe or HrtemRecipe
        What it was trained on.
    n_images : int
        Held-out images for each of calibration and figures.
    report : callable, optional
        Called with (done, in all, text).

    Returns
    -------
    Model
        The same network with a finished card.
    """
    network = model.network
    if isinstance(recipe, HrtemRecipe):
        known: dict[str, Any] = {
            "calibration": calibrate_series(model, recipe, n_images, report=report)
        }
    else:
        candidates = collect_candidates(model, recipe, n_images, report=report)
        calibration = fit_calibration(candidates)
        signal = measure_signal_range(candidates, calibration)
        known = {"calibration": calibration, "signal_range": signal}
    card = model.card.model_copy(update=known)
    figures = evaluate_model(Model(network, card), recipe, n_images, report=report)
    return Model(network, card.model_copy(update={"scores": card.scores | figures}))


def evaluate_model(
    model: Model, recipe: Recipe | HrtemRecipe, n_images: int, *, report: Report | None = None
) -> dict[str, float]:
    """Figures of a calibrated model on simulated images that it never saw.

    Parameters
    ----------
    model : Model
        The model.
    recipe : Recipe or HrtemRecipe
        What to simulate.
    n_images : int
        How many images, or focal series.
    report : callable, optional
        Called with (done, in all, text).

    Returns
    -------
    dict
        `sites_f1`, `<label>_f1`, `calibration_error`; of focal series those of
        `summarize_scores`.

    Raises
    ------
    ConfigError
        If the model takes other images than the recipe makes.
    """
    if isinstance(recipe, HrtemRecipe) != bool(model.card.focal_series):
        raise ConfigError(
            f"recipe: must be of {'HRTEM' if model.card.focal_series else 'HAADF'} images for "
            f"{model.card.name} (got {recipe.modality})"
        )
    if isinstance(recipe, HrtemRecipe):
        told = report or ignore_progress
        rows = score_series(model, recipe, n_images, split=_TEST, report=told)
        return summarize_scores(rows, model.card.labels)
    candidates = collect_candidates(model, recipe, n_images, split=_TEST, report=report)
    is_column = calibrate_column(candidates.column, model.card.calibration)
    label_scores = np.zeros((len(is_column), len(model.card.labels)))
    for image in range(n_images):
        rows = (candidates.image == image) & (is_column >= 0.5)
        label_scores[rows] = calibrate_labels(
            candidates.evidence[rows], is_column[rows], model.card.calibration
        )
    return score_candidates(candidates, label_scores, is_column, model.card.labels)
