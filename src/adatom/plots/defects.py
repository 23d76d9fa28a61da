"""Defects, grains and strain over an image."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection, LineCollection, PolyCollection
from matplotlib.lines import Line2D

from adatom.plots.atoms import draw_image
from adatom.plots.style import COLORS, TEXT_SIZE, draw_legend_beside

if TYPE_CHECKING:
    from adatom.analyze.defects import Defects

RADIUS = 1.7  # Å, of the circle around an atom of a defect
LONG, SMALL = ("boundary", "edge", "disorder"), 1.0  # kinds without a middle; Å, of their circles
FARTHEST = 5.0  # Å from the middle: what reaches farther gets a circle around each atom, too
MOST_NAMES = 10
RING_COLORS = {4: "#CC79A7", 5: "#E69F00", 7: "#56B4E9", 8: "#009E73"}
LARGER = "#F0E442"
SHOWN_BONDS = 20_000


def draw_defects(image: xr.DataArray, found: "Defects", *, ax: Axes | None = None) -> Axes:
    """Draw an image with bonds, rings that are not as in the lattice, and a circle per defect.

    Parameters
    ----------
    image : DataArray
        One frame, dims y, x with coordinates in Å.
    found : Defects
        Of this frame.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        In Å, y pointing down; the legend stands to the right.
    """
    ax = draw_image(image, ax=ax)
    graph = found.graph
    if 0 < len(graph.bonds) < SHOWN_BONDS:
        ends = graph.places[graph.bonds][..., ::-1]
        ax.add_collection(
            LineCollection(list(ends), colors="white", lw=0.4, alpha=0.5), autolim=False
        )
    handles = _fill_rings(ax, found)
    names = found.table["name"].value_counts()
    last = len(names) if len(names) <= MOST_NAMES else MOST_NAMES - 1
    for number, name in enumerate(names.index[: last + 1]):
        is_rest = number == last
        chosen = found.table["name"].isin(names.index[number:] if is_rest else [name])
        color = COLORS[(number + 2) % len(COLORS)]
        _mark(ax, found, np.flatnonzero(chosen), color)
        handle = Line2D([], [], marker="o", ls="", mfc="none", mec=color, mew=1.4, ms=8)
        told = f"{len(names) - number} more names" if is_rest else str(name)
        handle.set_label(f"{told} ({chosen.sum():,})")
        handles.append(handle)
    draw_legend_beside(ax, handles)
    return ax


def _mark(ax: Axes, found: "Defects", chosen: np.ndarray, color: str) -> None:
    """A circle around each defect; what has no middle gets one around each of its atoms."""
    table = found.table.iloc[chosen]
    reach = np.array([_find_reach(found, row) for row in chosen])
    is_long = table["kind"].isin(LONG).to_numpy() | (reach > FARTHEST)
    short, atoms = table[~is_long], [found.own[row] for row in chosen[is_long]]
    places = [short[["x", "y"]].to_numpy(), *(found.graph.places[own][:, ::-1] for own in atoms)]
    size = [2 * (RADIUS + reach[~is_long])]
    size += [np.full(len(own), SMALL) for own in atoms]
    diameter = np.concatenate(size)
    circles = EllipseCollection(
        diameter,
        diameter,
        np.zeros(len(diameter)),
        units="xy",
        offsets=np.concatenate(places),
        offset_transform=ax.transData,
        facecolors="none",
        edgecolors=color,
        linewidths=1.4,
    )
    ax.add_collection(circles, autolim=False)


def _find_reach(found: "Defects", row: int) -> float:
    """How far the atoms of a defect are from its middle, Å."""
    middle = found.table[["y", "x"]].iloc[row].to_numpy(float)
    away = np.linalg.norm(found.graph.places[found.own[row]] - middle, axis=1)
    return float(away.max(initial=0.0))


def _fill_rings(ax: Axes, found: "Defects") -> list[Line2D]:
    """Rings that belong to a defect, by size."""
    rings, handles = found.graph.rings, []
    sizes = rings.sizes[found.rings]
    for size in np.unique(sizes):
        color = RING_COLORS.get(int(size), LARGER)
        shown = found.rings[sizes == size]
        polygons = [found.graph.places[rings[ring]][:, ::-1] for ring in shown]
        ax.add_collection(
            PolyCollection(polygons, facecolors=color, alpha=0.4, lw=0), autolim=False
        )
        handle = Line2D([], [], marker="h", ls="", mfc=color, mec="none", alpha=0.6, ms=8)
        handle.set_label(f"ring of {size} ({len(polygons):,})")
        handles.append(handle)
    return handles


def draw_strain(
    image: xr.DataArray, sites: pd.DataFrame, column: str, *, ax: Axes | None = None
) -> Axes:
    """Draw the strain or the rotation of the lattice at every atom.

    Parameters
    ----------
    image : DataArray
        One frame, dims y, x with coordinates in Å: gives the limits.
    sites : DataFrame
        `x`, `y` (Å) and the column.
    column : str
        `strain_xx`, `strain_yy`, `strain_xy` (drawn in percent) or `rotation` (degrees).

    Returns
    -------
    Axes
        In Å, y pointing down, with a color bar.
    """
    ax = draw_image(image, ax=ax)
    is_angle = column == "rotation"
    shown = sites.dropna(subset=[column])
    values = shown[column].to_numpy() * (1 if is_angle else 100)
    limit = float(np.quantile(np.abs(values), 0.98)) if len(values) else 1.0
    width = abs(float(image["x"][-1] - image["x"][0]))
    area = width * abs(float(image["y"][-1] - image["y"][0]))
    side = 330 * np.sqrt(area / max(len(shown), 1)) / width  # points that just touch
    points = ax.scatter(
        shown["x"], shown["y"], side**2 / 1.5, values, cmap="RdBu_r", vmin=-limit, vmax=limit, lw=0
    )
    bar = ax.figure.colorbar(points, ax=ax, fraction=0.045, pad=0.02)
    bar.ax.tick_params(labelsize=TEXT_SIZE)
    told = {"rotation": "rotation, degrees"}.get(column, f"{column.replace('_', ' ')}, %")
    bar.set_label(told, fontsize=TEXT_SIZE)
    return ax
