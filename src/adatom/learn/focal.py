"""How well a network finds the columns of focal series that it never saw."""

import numpy as np
import pandas as pd

from adatom.core.progress import Report
from adatom.core.random import limits_of, make_child_rng
from adatom.detect.focal import PeakConfig, find_columns
from adatom.metrics.detection import match_points
from adatom.networks.model import Model
from adatom.simulate.recipe import HrtemRecipe
from adatom.simulate.wave_set import simulate_series

BORDER = 10  # pixels that are left out
TOLERANCE = 0.5  # Å
DEFAULT = PeakConfig()


def score_series(
    model: Model,
    recipe: HrtemRecipe,
    n_series: int,
    *,
    split: int,
    config: PeakConfig = DEFAULT,
    report: Report | None = None,
) -> pd.DataFrame:
    """Score a model on simulated focal series, one by one.

    Parameters
    ----------
    model : Model
        For focal series.
    recipe : HrtemRecipe
        What to simulate.
    n_series : int
        How many.
    split : int
        Which images: see `learn.samples`.
    config : PeakConfig
        What counts as a column.
    report : callable, optional
        Called with (done, in all, text).

    Returns
    -------
    DataFrame
        One row per series: dose (e/Å² per image), f1 (a column counts if place and label are
        right), sites_f1 (the place alone), rms (Å, per axis, of the right places), and of each
        label n_true_LABEL, n_found_LABEL, n_right_LABEL.

    Notes
    -----
    Matched one to one within 0.5 Å; 10 pixels at the border do not count.
    """
    low, high = limits_of(recipe.detector.pixel_size)
    n_pixels = round(2 * recipe.dataset.size / (low + high))
    rows = []
    for index in range(n_series):
        rng = make_child_rng(recipe.training.seed, split, index)
        series, truth = simulate_series(recipe, n_pixels, rng)
        found = find_columns(series, model, config=config)
        pixel_size = float(series.y[1] - series.y[0])
        corner = np.array([float(series.y[0]), float(series.x[0])])
        limits = corner + BORDER * pixel_size, corner + (n_pixels - 1 - BORDER) * pixel_size
        row = count_columns(found, truth, model.card.labels, limits)
        rows.append({"dose": series.attrs["dose"], **row})
        if report:
            report(index + 1, n_series, "series scored")
    return pd.DataFrame(rows)


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
    kind, true_kind = found["label"].to_numpy(), truth["label"].to_numpy()
    inside = is_true[matches.true]
    pairs = matches.found[inside], matches.true[inside]
    is_right = kind[pairs[0]] == true_kind[pairs[1]]
    total = int(is_true.sum() + is_found.sum())
    away = here[pairs[0]] - there[pairs[1]]
    row = {
        "f1": 2 * int(is_right.sum()) / total if total else 1.0,
        "sites_f1": 2 * len(is_right) / total if total else 1.0,
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
        f1 and sites_f1 (means over the series), f1_5th (their 5th percentile), rms (Å), and
        LABEL_f1 (of all columns together).
    """
    figures = {
        "f1": float(rows["f1"].mean()),
        "f1_5th": float(rows["f1"].quantile(0.05)),
        "sites_f1": float(rows["sites_f1"].mean()),
        "rms": float(np.sqrt((rows["rms"] ** 2).mean())),
    }
    for label in labels:
        counted = rows[f"n_true_{label}"].sum() + rows[f"n_found_{label}"].sum()
        right = rows[f"n_right_{label}"].sum()
        figures[f"{label}_f1"] = float(2 * right / counted) if counted else 1.0
    return figures
