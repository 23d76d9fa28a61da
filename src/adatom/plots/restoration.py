"""An image, the object function behind it, and what is left over."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adatom.plots.style import TEXT_SIZE, draw_scale_bar
from adatom.restore.structure import TOLD

WORST = 4.0  # standard deviations at the ends of the colors of the residual
SIDE = 3.0  # inch


def draw_restoration(found: xr.Dataset) -> Axes:
    """Draw image, object function, the image that it stands for, and the residual.

    Parameters
    ----------
    found : Dataset
        Of `restore_image`.

    Returns
    -------
    Axes
        Of the object function; its figure holds all four. Image and reconvolved image have the same
        gray levels. An outline shows where electrons tell structure, if they do not everywhere.
    """
    n_y, n_x = found["image"].shape
    figure = Figure(figsize=(4 * SIDE, SIDE * n_y / n_x + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 4)
    low, high = np.quantile(found["reconvolved"], [0.001, 0.999])
    margin = 0.1 * (high - low)
    sharp = found["object_function"].to_numpy()
    grays = {"cmap": "gray", "vmin": low - margin, "vmax": high + margin}
    panels: tuple[tuple[str, str, str, dict], ...] = (
        ("image", "image", "electrons", grays),
        (
            "object_function",
            "object function",
            "electrons",
            {"cmap": "inferno", "vmin": min(0.0, float(np.quantile(sharp, 0.001)))}
            | {"vmax": float(np.quantile(sharp, 0.9995))},
        ),
        ("reconvolved", "object function and probe", "electrons", grays),
        ("residual", _describe(found), "σ", {"cmap": "RdBu_r", "vmin": -WORST, "vmax": WORST}),
    )
    for ax, (name, title, unit, colors) in zip(axes, panels, strict=True):
        _draw_panel(ax, found[name], title, unit, colors)
    if "structure" in found and float(found["structure"].min()) < TOLD:
        _outline(axes[1], found["structure"])
    return axes[1]


def _outline(ax: Axes, structure: xr.DataArray) -> None:
    """Where electrons tell columns from their mean, of an image in which they do not everywhere."""
    places = (structure["x"].to_numpy(), structure["y"].to_numpy())
    ax.contour(*places, structure.to_numpy(), levels=[TOLD], colors="w", linewidths=0.8)
    ax.set_title("object function; outlined: told by electrons", fontsize=TEXT_SIZE)


def _describe(found: xr.Dataset) -> str:
    return f"residual, χ² = {found.attrs['reduced_chi_square']:.2f}"


def _draw_panel(ax: Axes, values: xr.DataArray, title: str, unit: str, colors: dict) -> None:
    x, y = values["x"].to_numpy(), values["y"].to_numpy()
    step = x[1] - x[0]
    box = (x[0] - step / 2, x[-1] + step / 2, y[-1] + step / 2, y[0] - step / 2)
    shown = ax.imshow(values.to_numpy(), extent=box, interpolation="nearest", **colors)
    ax.set_title(title, fontsize=TEXT_SIZE)
    ax.set_axis_off()
    bar = ax.figure.colorbar(shown, ax=ax, fraction=0.046, pad=0.02)
    bar.set_label(unit, fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1)
    draw_scale_bar(ax, box[0], box[2], box[1] - box[0])
