"""Mean defects of a library."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from adatom.plots.atoms import order_labels
from adatom.plots.style import TEXT_SIZE, draw_scale_bar, find_gray_range, label_colors

if TYPE_CHECKING:
    from adatom.analyze.average import MeanDefect

SIDE = 3.2  # inch
N_ACROSS = 4
LEAST_STRAIN = 0.5  # percent at the ends of the colors
MOST_DOTS = 20_000


def draw_mean_defect(found: "MeanDefect") -> Axes:
    """Draw mean image, spread of the images, and mean structure with the strain of its bonds.

    Parameters
    ----------
    found : MeanDefect
        With `strain` in its bonds, or without: then bonds are gray.

    Returns
    -------
    Axes
        Of the structure; its figure holds all three. Each dot is an atom of one defect.
    """
    figure = Figure(figsize=(3.5 * SIDE, SIDE + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, width_ratios=[1.1, 1.1, 1.25])
    mean, spread = found.image["mean"], found.image["spread"]
    _draw_panel(axes[0], mean, "mean", "gray", find_gray_range(mean.to_numpy()))
    limits = (0.0, float(spread.quantile(0.99)))
    _draw_panel(axes[1], spread, "spread", "inferno", limits)
    _draw_structure(axes[2], found)
    n_images = found.entries["part"].nunique()
    files = "one file" if n_images == 1 else f"{n_images:,} files"
    figure.suptitle(f"{found.name} ({len(found.entries):,} in {files})", fontsize=TEXT_SIZE + 2)
    return axes[2]


def _draw_panel(
    ax: Axes, image: xr.DataArray, title: str, colors: str, limits: tuple[float, float]
) -> None:
    shown = _show(ax, image, colors, limits)
    ax.set_title(title, fontsize=TEXT_SIZE)
    bar = ax.figure.colorbar(shown, ax=ax, fraction=0.046, pad=0.02)
    bar.set_label("1 = usual atom around", fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1)


def _show(ax: Axes, image: xr.DataArray, colors: str, limits: tuple[float, float]) -> AxesImage:
    x, y = image["x"].to_numpy(), image["y"].to_numpy()
    half = (x[1] - x[0]) / 2
    box = (x[0] - half, x[-1] + half, y[-1] + half, y[0] - half)
    ax.set_axis_off()
    low, high = limits
    return ax.imshow(image.to_numpy(), cmap=colors, vmin=low, vmax=high, extent=box)


def _draw_structure(ax: Axes, found: "MeanDefect") -> None:
    atoms, bonds = found.atoms, found.bonds
    places = atoms[["x", "y"]].to_numpy()
    lines = LineCollection(list(places[bonds[["one", "other"]].to_numpy()]), lw=2.2, zorder=1)
    lines.set_color("#BBBBBB")
    ax.add_collection(lines)
    if "strain" in bonds and bonds["strain"].notna().any():
        known = bonds.dropna(subset=["strain"])
        strain = 100 * known["strain"].to_numpy()
        limit = max(LEAST_STRAIN, float(np.abs(strain).max()))
        ends = list(places[known[["one", "other"]].to_numpy()])
        colored = LineCollection(ends, lw=3.0, cmap="RdBu_r", zorder=2)
        colored.set_array(strain)
        colored.set_clim(-limit, limit)
        ax.add_collection(colored)
        bar = ax.figure.colorbar(colored, ax=ax, fraction=0.046, pad=0.02)
        bar.set_label("strain of bonds, %", fontsize=TEXT_SIZE)
        bar.ax.tick_params(labelsize=TEXT_SIZE - 1)
    labels = atoms["label"].to_numpy(str)
    handles = []
    for label, color in label_colors(order_labels(dict.fromkeys(labels))).items():
        cloud = found.places[:, labels == label].reshape(-1, 2)[:MOST_DOTS]
        ax.plot(*cloud.T[::-1], ".", color=color, ms=2.5, mew=0, alpha=0.6, zorder=3)
        mine = places[labels == label]
        ax.plot(*mine.T, "o", mfc="none", mec=color, ms=6, mew=1.2, zorder=4)
        handles.append(Line2D([], [], marker="o", ls="", mfc="none", mec=color, label=label))
    x, y = found.image["x"].to_numpy(), found.image["y"].to_numpy()
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[-1], y[0])
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_title("structure; each dot is one atom", fontsize=TEXT_SIZE)
    ax.legend(handles=handles, loc="lower right", fontsize=TEXT_SIZE - 1, handletextpad=0.1)


def draw_gallery(means: Sequence["MeanDefect"]) -> Axes:
    """Draw the mean images of several defects.

    Parameters
    ----------
    means : sequence of MeanDefect
        One or more.

    Returns
    -------
    Axes
        Of the first; its figure holds all.
    """
    n_across = min(N_ACROSS, len(means))
    n_down = math.ceil(len(means) / n_across)
    figure = Figure(figsize=(0.7 * SIDE * n_across, 0.8 * SIDE * n_down), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_down, n_across, squeeze=False)
    for ax in axes.flat[len(means) :]:
        ax.set_axis_off()
    for ax, found in zip(axes.flat, means, strict=False):
        image = found.image["mean"]
        _show(ax, image, "gray", find_gray_range(image.to_numpy()))
        ax.set_title(f"{found.name} ({len(found.entries):,})", fontsize=TEXT_SIZE)
    _draw_bar(axes[0, 0], means[0].image["mean"])
    return axes[0, 0]


def _draw_bar(ax: Axes, image: xr.DataArray) -> None:
    x = image["x"].to_numpy()
    draw_scale_bar(ax, x[0], float(image["y"][-1]), x[-1] - x[0])
