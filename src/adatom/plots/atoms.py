"""An image with its atoms, in gray and color."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.lines import Line2D

from adatom.core.materials import find_role
from adatom.plots.style import (
    draw_legend_beside,
    draw_scale_bar,
    find_gray_range,
    label_colors,
    make_axes,
    shrink_image,
)

RADIUS = 0.55  # Å: a third of the distance of neighboring columns in MX2
RARE = ("X1", "dopant", "Si")


def draw_image(image: xr.DataArray, *, ax: Axes | None = None) -> Axes:
    """Draw an image in gray with a scale bar.

    Parameters
    ----------
    image : DataArray
        One frame, dims y, x with coordinates in Å.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        In Å, y pointing down.
    """
    ax = make_axes(ax, (6.4, 5.0 * image.sizes["y"] / image.sizes["x"]))
    small = shrink_image(image.to_numpy())
    low, high = find_gray_range(small)
    x, y = image["x"].to_numpy(), image["y"].to_numpy()
    step_x, step_y = (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1)
    block = image.sizes["x"] // small.shape[1]
    left, top = x[0] - step_x / 2, y[0] - step_y / 2
    right = left + small.shape[1] * block * step_x
    bottom = top + small.shape[0] * block * step_y
    ax.imshow(small, cmap="gray", vmin=low, vmax=high, extent=(left, right, bottom, top))
    ax.set_axis_off()
    draw_scale_bar(ax, left, bottom, right - left)
    return ax


def is_rare(label: str) -> bool:
    """Whether atoms of a label matter because they are rare: X1 (or S1, …), dopant, Si."""
    return find_role(label) in RARE


def draw_atoms(
    image: xr.DataArray,
    atoms: pd.DataFrame,
    *,
    counts: Mapping[str, int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an image with a circle around every atom, colored by label.

    Labels that matter because they are rare (X1 or S1, dopant, Si) get a larger and thicker circle,
    so that color alone does not tell them apart.

    Parameters
    ----------
    image : DataArray
        One frame, dims y, x with coordinates in Å.
    atoms : DataFrame
        Atoms table of this frame, or those of its atoms that get a circle.
    counts : mapping, optional
        How many atoms each label has, if the table does not hold all.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        In Å, y pointing down; the legend stands to the right.
    """
    ax = draw_image(image, ax=ax)
    if counts is None:
        counts = dict(atoms["label"].value_counts())
    colors = label_colors(order_labels(label for label, n in counts.items() if n))
    handles = []
    for label, color in colors.items():
        rare = is_rare(label)
        places = atoms.loc[atoms["label"] == label, ["x", "y"]].to_numpy()
        size = np.full(len(places), 2 * RADIUS * (1.35 if rare else 1.0))
        circles = EllipseCollection(
            size,
            size,
            np.zeros(len(places)),
            units="xy",
            offsets=places,
            offset_transform=ax.transData,
            facecolors="none",
            edgecolors=color,
            linewidths=1.6 if rare else 0.8,
        )
        ax.add_collection(circles, autolim=False)
        handle = Line2D([], [], marker="o", ls="", mfc="none", mec=color, mew=1.6)
        handle.set_label(f"{label} ({counts[label]:,})")
        handles.append(handle)
    draw_legend_beside(ax, handles)
    return ax


def order_labels(labels: Iterable[str]) -> list[str]:
    """Put M, X2, X1 (or Mo, S2, S1, …) and dopant first, then the others by the alphabet.

    Parameters
    ----------
    labels : iterable of str
        Labels, perhaps more than once.

    Returns
    -------
    list of str
        Each once.

    Examples
    --------
    >>> order_labels(["dopant", "C", "X2", "M"])
    ['M', 'X2', 'dopant', 'C']
    """
    first = {role: number for number, role in enumerate(("M", "X2", "X1", "dopant"))}
    return sorted(set(labels), key=lambda label: (first.get(find_role(label), len(first)), label))
