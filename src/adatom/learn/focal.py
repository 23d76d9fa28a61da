"""Focal series that a network never saw: what its scores mean, and how well it finds columns."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import minimize

from adatom.core.errors import ModelError
from adatom.core.progress import Report, ignore_progress
from adatom.core.random import make_child_rng
from adatom.core.workers import run_jobs
from adatom.detect.focal import draw_maps, pick_columns
from adatom.detect.scores import measure_evidence
from adatom.detect.series import pick_atoms, propose_map_columns, weigh_raw
from adatom.learn.evaluate import Candidates, fit_calibration
from adatom.learn.samples import CALIBRATION
from adatom.metrics.detection import match_points, score_nearest
from adatom.networks.model import Calibration, Model
from adatom.simulate.recipe import HrtemRecipe
from adatom.simulate.wave_set import simulate_series

BORDER = 10  # pixels that are left out
TOLERANCE = 0.5  # Å
LEAST_SCORE = 0.5  # of any column
Correct = Callable[[xr.DataArray, pd.DataFrame], pd.DataFrame]
DRAWN = ("energy_eV", "defocus", "C12", "C21", "C23", "C30", "focal_spread")


def draw_held_out(recipe: HrtemRecipe, split: int, index: int) -> tuple[xr.DataArray, pd.DataFrame]:
    """Focal series number `index` of a split, at the size of the recipe's data set.

    Parameters
    ----------
    recipe : HrtemRecipe
        What to simulate.
    split : int
        Which images: see `learn.samples`.
    index : int
        Number of the series.

    Returns
    -------
    series : DataArray
        Dims (focus, y, x), electrons per pixel.
    truth : DataFrame
        x, y (Å, by the coordinates of the series), label, n_atoms.
    """
    rng = make_child_rng(recipe.training.seed, split, index)
    return simulate_series(recipe, recipe.n_whole, rng)


def calibrate_series(
    model: Model, recipe: HrtemRecipe, n_series: int, *, report: Report | None = None
) -> Calibration:
    """Find what raw scores of a model mean, and how far its positions are off.

    Parameters
    ----------
    model : Model
        Trained on focal series.
    recipe : HrtemRecipe
        What it was trained on.
    n_series : int
        Held-out series.
    report : callable, optional
        Called with (done, in all, text).

    Returns
    -------
    Calibration
        For `find_series_atoms`.

    Raises
    ------
    ModelError
        If it finds no column at all.
    """
    labels = np.array(model.card.labels)
    parts, counts, away = [], [], []
    for index in range(n_series):
        series, truth = draw_held_out(recipe, CALIBRATION, index)
        maps = draw_maps(series, model)
        peaks = propose_map_columns(maps, model.card)
        places = maps.corner + peaks.positions * maps.pixel_size
        truth = truth[truth["label"].isin(labels)]
        matches = match_points(places, truth[["y", "x"]].to_numpy(), TOLERANCE)
        is_label = truth["label"].to_numpy()[:, None] == labels
        right = np.full(len(places), -1)
        right[matches.found] = is_label[matches.true].argmax(axis=1)
        nothing = np.full(len(places), np.nan)
        evidence = measure_evidence(peaks.shares, places, nothing, nothing, ())
        parts.append((peaks.column, evidence, nothing, right, np.full(len(places), index)))
        counts.append(is_label.sum(axis=0))
        offset = places[matches.found] - truth[["y", "x"]].to_numpy()[matches.true]
        away.append(np.column_stack([weigh_raw(peaks.column[matches.found]), offset]))
        if report:
            report(index + 1, n_series, "held-out series")
    column, evidence, signal, right, number = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    if not (right >= 0).any():
        rule = f"must find columns in {n_series} held-out series to be calibrated (found none)"
        raise ModelError(f"{model.card.name}: {rule}; train it longer")
    found = Candidates(column, evidence, signal, right, number, np.array(counts))
    calibration = fit_calibration(found)
    return calibration.model_copy(update={"position": fit_position(np.concatenate(away))})


def fit_position(away: np.ndarray) -> tuple[float, float]:
    """Find how the errors of positions follow from raw scores, by maximum likelihood.

    Parameters
    ----------
    away : (N, 3) array
        Of each column: logit of the raw score, error along y and x, Å.

    Returns
    -------
    tuple of float
        Offset and slope of the logarithm of the error along an axis.
    """
    raw, squares = away[:, 0], (away[:, 1:] ** 2).mean(axis=1)

    def loss(parameters: np.ndarray) -> float:
        log_error = parameters[0] + parameters[1] * raw
        return float(np.mean(log_error + 0.5 * squares * np.exp(-2 * log_error)))

    start = [0.5 * np.log(squares.mean()), 0.0]
    offset, slope = minimize(loss, start, method="Nelder-Mead").x
    return float(offset), float(slope)


def score_series(
    model: Model,
    recipe: HrtemRecipe,
    n_series: int,
    *,
    split: int,
    correct: Correct | None = None,
    n_workers: int = 1,
    report: Report = ignore_progress,
) -> pd.DataFrame:
    """Score a model on simulated focal series, one by one.

    Parameters
    ----------
    model : Model
        For focal series.
    recipe : HrtemRecipe
        What to simulate; the model sees those of its images that it was trained for.
    n_series : int
        How many.
    split : int
        Which images: see `learn.samples`.
    correct : callable, optional
        What becomes of an atoms table where aberrations are taken out: of the series and the table
        gives the table.
    n_workers : int
        Processes.
    report : callable
        Called with (done, in all, text).

    Returns
    -------
    DataFrame
        One row per series: dose (e/Å² per image), what was drawn of the microscope (energy_eV;
        defocus, C12, C21, C23, C30, focal_spread; shift, the largest between two images;
        focus_error, rms of the series; all in Å), pixel_size (Å), f1 (a column counts if place and
        label are right), sites_f1 (the place alone), nearest_f1 (as `score_nearest` matches), rms
        (Å, per axis, of the right places), and of each label n_true_LABEL, n_found_LABEL,
        n_right_LABEL, by the published rule (peaks above 0.6); of a calibrated model the same of
        its atoms table, with the prefix `atoms_`, and with `corrected_` after `correct`.

    Notes
    -----
    Matched one to one within 0.5 Å; 10 pixels at the border do not count.
    """
    jobs = [(model, recipe, split, index, correct) for index in range(n_series)]
    rows = run_jobs(_score_one, jobs, n_workers=n_workers, text="series scored", report=report)
    return pd.DataFrame(rows)


def _score_one(
    model: Model, recipe: HrtemRecipe, split: int, index: int, correct: Correct | None
) -> dict[str, float]:
    card = model.card
    series, truth = draw_held_out(recipe, split, index)
    foci = recipe.microscope.focal_series
    if set(card.focal_series) < set(foci):
        chosen = [foci.index(focus) for focus in card.focal_series]
        told = {name: np.array(series.attrs[name])[chosen] for name in ("defoci", "shifts")}
        series = series.isel(focus=chosen).assign_attrs(told)
    maps = draw_maps(series, model)
    pixel_size = float(series.y[1] - series.y[0])
    corner = np.array([float(series.y[0]), float(series.x[0])])
    end = corner + (np.array(series.shape[1:]) - 1 - BORDER) * pixel_size
    limits = corner + BORDER * pixel_size, end
    row = {"dose": series.attrs["dose"], **_describe_microscope(series)}
    row |= count_columns(pick_columns(maps, card), truth, card.labels, limits)
    if card.calibration.weights:
        atoms = pick_atoms(maps, card, threshold=LEAST_SCORE)
        tables = {"atoms": atoms} | ({"corrected": correct(series, atoms)} if correct else {})
        for rule, table in tables.items():
            counted = count_columns(table, truth, card.labels, limits)
            row |= {f"{rule}_{name}": value for name, value in counted.items()}
    return row


def _describe_microscope(series: xr.DataArray) -> dict[str, float]:
    """What was drawn of the microscope, Å and eV."""
    drawn, errors = series.attrs["microscope"], series.attrs["defoci"] - series["focus"].to_numpy()
    row = {name: float(drawn[name]) for name in DRAWN}
    shifts = np.array(series.attrs["shifts"])
    row["shift"] = float(np.linalg.norm(shifts[:, None] - shifts, axis=2).max())
    row["focus_error"] = float(np.sqrt((errors**2).mean()))
    row["pixel_size"] = float(series.y[1] - series.y[0])
    return row


def count_columns(
    found: pd.DataFrame,
    truth: pd.DataFrame,
    labels: tuple[str, ...],
    limits: tuple[np.ndarray, np.ndarray],
) -> dict[str, float]:
    """Count right columns inside a frame, and score them.

    Parameters
    ----------
    found, truth : DataFrame
        x, y (Å), label; of other labels than those asked for nothing counts.
    labels : tuple of str
        Labels.
    limits : ((2,) array, (2,) array)
        Corners [y, x] of the frame, Å. A match is where its truth is.

    Returns
    -------
    dict
        As a row of `score_series`.
    """
    found, truth = (table[table["label"].isin(labels)] for table in (found, truth))
    here, there = (table[["y", "x"]].to_numpy() for table in (found, truth))
    matches = match_points(here, there, TOLERANCE)
    is_true, is_found = (
        np.all((points >= limits[0]) & (points <= limits[1]), axis=1) for points in (there, here)
    )
    is_found[matches.found] = is_true[matches.true]
    nearest_f1 = score_nearest(found, truth, TOLERANCE, counted=(is_found, is_true))
    kind, true_kind = found["label"].to_numpy(), truth["label"].to_numpy()
    inside = is_true[matches.true]
    pairs = matches.found[inside], matches.true[inside]
    is_right = kind[pairs[0]] == true_kind[pairs[1]]
    total = int(is_true.sum() + is_found.sum())
    away = here[pairs[0]] - there[pairs[1]]
    row = {
        "f1": 2 * int(is_right.sum()) / total if total else 1.0,
        "sites_f1": 2 * len(is_right) / total if total else 1.0,
        "nearest_f1": nearest_f1,
        "rms": float(np.sqrt(np.mean(away**2))) if len(away) else np.nan,
    }
    for label in labels:
        row[f"n_true_{label}"] = int((is_true & (true_kind == label)).sum())
        row[f"n_found_{label}"] = int((is_found & (kind == label)).sum())
        row[f"n_right_{label}"] = int((is_right & (true_kind[pairs[1]] == label)).sum())
    return row


def summarize_scores(rows: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, float]:
    """Figures of many series.

    Parameters
    ----------
    rows : DataFrame
        Of `score_series`.
    labels : tuple of str
        Labels.

    Returns
    -------
    dict
        f1, sites_f1, nearest_f1 (means over the series), f1_5th (5th percentile), rms (Å), and
        LABEL_f1 (of all columns together), by the published rule; with the prefixes `atoms_` and
        `corrected_` those of the atoms tables, where the rows hold them.
    """
    figures: dict[str, float] = {}
    for rule in ("", "atoms_", "corrected_"):
        if f"{rule}f1" not in rows:
            continue
        figures |= {
            f"{rule}f1": float(rows[f"{rule}f1"].mean()),
            f"{rule}f1_5th": float(rows[f"{rule}f1"].quantile(0.05)),
            f"{rule}sites_f1": float(rows[f"{rule}sites_f1"].mean()),
            f"{rule}nearest_f1": float(rows[f"{rule}nearest_f1"].mean()),
            f"{rule}rms": float(np.sqrt((rows[f"{rule}rms"] ** 2).mean())),
        }
        for label in labels:
            n_true, n_found, n_right = (
                rows[f"{rule}n_{kind}_{label}"].sum() for kind in ("true", "found", "right")
            )
            counted = n_true + n_found
            figures[f"{rule}{label}_f1"] = float(2 * n_right / counted) if counted else 1.0
    return figures
