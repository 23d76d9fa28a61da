"""Distributions of what the atoms table holds, by label."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from adatom.plots.atoms import order_labels
from adatom.plots.style import GRAY, TEXT_SIZE, label_colors, make_axes

Range = tuple[float, float]


def draw_scores(atoms: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the histogram of scores by label, counts on a logarithmic axis.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Score against number of columns.
    """
    ax = make_axes(ax)
    _draw_by_label(ax, atoms, "score", np.linspace(0, 1, 41).tolist())
    ax.set(xlabel="score", ylabel="columns", xlim=(0, 1), yscale="log", ylim=(0.6, None))
    return ax


def draw_intensities(atoms: pd.DataFrame, *, units: str = "", ax: Axes | None = None) -> Axes:
    """Draw the histogram of column intensities by label, counts on a logarithmic axis.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table.
    units : str
        Unit of the intensity, if it has one.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Intensity against number of columns.
    """
    ax = make_axes(ax)
    _draw_by_label(ax, atoms, "intensity", _make_bins(atoms["intensity"].to_numpy(), (0.1, 99.9)))
    ax.set(xlabel="intensity" + (f" ({units})" if units else ""), ylabel="columns")
    ax.xaxis.set_major_locator(MaxNLocator(5))  # large numbers are wide
    ax.set(yscale="log", ylim=(0.6, None))
    return ax


def draw_errors(atoms: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the histogram of the stated position errors (one standard deviation per axis).

    Parameters
    ----------
    atoms : DataFrame
        Atoms table with x_err and y_err in Å.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Error in pm against number of columns.
    """
    ax = make_axes(ax)
    errors = 100 * atoms[["x_err", "y_err"]].to_numpy()
    bins = _make_bins(errors, (0.0, 99.0), low=0.0)
    for number, (name, color) in enumerate((("x", "#0072B2"), ("y", "#E69F00"))):
        values = errors[:, number]
        median = np.median(values) if len(values) else np.nan
        shown = np.clip(values, bins[0], bins[-1])
        label = f"{name}: {median:.1f} pm"
        ax.hist(shown, bins, histtype="step", color=color, lw=1.4, label=label)
    ax.set(xlabel="position error, 1σ (pm)", ylabel="columns", xlim=(bins[0], bins[-1]))
    ax.legend(frameon=False, fontsize=TEXT_SIZE - 1, title="median", title_fontsize=TEXT_SIZE - 1)
    return ax


def draw_neighbor_distances(
    distances: np.ndarray, *, expected: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the histogram of distances of neighboring columns beside the one of the material.

    Parameters
    ----------
    distances : (N,) array, Å
        Distances of neighboring columns.
    expected : float, Å, optional
        Distance in the perfect material.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Distance in Å against number of pairs.
    """
    ax = make_axes(ax)
    bins = _make_bins(distances, (0.2, 99.8))
    ax.hist(np.clip(distances, bins[0], bins[-1]), bins, color="#56B4E9", ec="white", lw=0.3)
    if expected is not None:
        ax.axvline(expected, color="#D55E00", lw=1.4, label=f"material: {expected:.3f} Å")
    if len(distances):
        median = float(np.median(distances))
        ax.axvline(median, color=GRAY, lw=1.4, ls="--", label=f"median: {median:.3f} Å")
        ax.legend(framealpha=0.85, edgecolor="none", fontsize=TEXT_SIZE - 1)
    ax.margins(y=0.35)
    ax.set(xlabel="distance of neighboring columns (Å)", ylabel="pairs")
    return ax


def draw_counts(atoms: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw the number of columns of each label against the frame of a movie.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table of several frames.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Frame number against number of columns.
    """
    ax = make_axes(ax)
    counts = pd.crosstab(atoms["frame"], atoms["label"])
    for label, color in label_colors(order_labels(counts.columns)).items():
        ax.plot(counts.index, counts[label], color=color, lw=1.4, marker=".", label=label)
    ax.set(xlabel="frame", ylabel="columns", yscale="symlog", ylim=(0, None))
    ax.legend(frameon=False, fontsize=TEXT_SIZE - 1)
    return ax


def _draw_by_label(ax: Axes, atoms: pd.DataFrame, column: str, bins: list[float]) -> None:
    for label, color in label_colors(order_labels(atoms["label"].unique())).items():
        values = atoms.loc[atoms["label"] == label, column].to_numpy()
        values = np.clip(values[np.isfinite(values)], bins[0], bins[-1])
        ax.hist(values, bins, histtype="stepfilled", color=color, alpha=0.25)
        ax.hist(values, bins, histtype="step", color=color, lw=1.4, label=label)
    if len(atoms):
        ax.legend(frameon=False, fontsize=TEXT_SIZE - 1)


def _make_bins(values: np.ndarray, percentiles: Range, *, low: float | None = None) -> list[float]:
    """Up to 60 bins between two percentiles, so that one stray value does not hide the rest."""
    values = np.asarray(values)[np.isfinite(values)]
    if values.size == 0:
        return np.linspace(0, 1, 11).tolist()
    start, end = np.percentile(values, percentiles)
    start = start if low is None else low
    n_bins = int(np.clip(np.sqrt(values.size), 10, 60))
    end = end if end > start else start + 1
    return [float(edge) for edge in np.linspace(start, end, n_bins + 1)]
