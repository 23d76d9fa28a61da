"""The figures of a run folder."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from adatom.core.materials import Material
from adatom.core.memory import release_memory
from adatom.core.table_files import TableParts, read_columns
from adatom.plots.atoms import draw_atoms, is_rare
from adatom.plots.calibration import draw_calibration
from adatom.plots.defects import draw_defects, draw_strain
from adatom.plots.histograms import (
    draw_counts,
    draw_errors,
    draw_intensities,
    draw_neighbor_distances,
    draw_scores,
)
from adatom.plots.style import write_figure, write_image_png

if TYPE_CHECKING:
    from adatom.analyze.defects import Defects

MOST_CIRCLES = 50_000


def read_circled(table: Path, frame: int) -> tuple[pd.DataFrame, Counter[str]]:
    """Read the atoms of a frame that get a circle: all, unless there are too many to be seen.

    Parameters
    ----------
    table : Path
        The atoms table (Parquet); only a part of it is held.
    frame : int
        Number of the frame.

    Returns
    -------
    circled : DataFrame
        atom, x, y (Å), label, score. Of more than 50,000 atoms only rare labels are circled, and
        of each not more either.
    counts : Counter
        Atoms of each label.
    """
    columns = ("atom", "x", "y", "label", "score")
    kept: list[pd.DataFrame] = []
    counts: Counter[str] = Counter()
    for mine in TableParts(table, columns, frame):
        counts.update(map(str, mine["label"]))
        kept.append(mine)
        if counts.total() > MOST_CIRCLES:
            every, rare = pd.concat(kept), [label for label in counts if is_rare(label)]
            kept = [every[every["label"].isin(rare)].groupby("label").head(MOST_CIRCLES)]
    return pd.concat(kept or [pd.DataFrame(columns=list(columns))], ignore_index=True), counts


def _draw_circled(image: xr.DataArray, table: Path, frame: int) -> Any:
    circled, counts = read_circled(table, frame)
    return draw_atoms(image, circled, counts=counts)


def write_figures(
    image: xr.DataArray,
    distances: np.ndarray,
    material: Material | None,
    folder: Path,
    *,
    corrected: xr.DataArray | None = None,
) -> dict[str, float]:
    """Draw the figures of a run into its `figures` folder.

    Parameters
    ----------
    image : DataArray
        The frame that is shown, dims y, x with coordinates in Å; its number is the coordinate
        `frame`, 0 if it has none.
    distances : (N,) array, Å
        What `find_neighbor_distances` gives.
    material : Material or None
        What the lattice is compared with.
    folder : Path
        The run folder, with the atoms table in it.
    corrected : DataArray, optional
        The image that is shown, without aberrations.

    Returns
    -------
    dict
        Where `figures/image.png` lies in the coordinates of the atoms: `left`, `top`, `width` and
        `height`, all in Å.
    """
    figures, table = folder / "figures", folder / "atoms.parquet"
    number = int(image.coords.get("frame", 0))
    units = str(image.attrs.get("units", ""))
    expected = material.neighbor_distance if material else None
    drawings: dict[str, Callable[[], Any]] = {
        "atoms": lambda: _draw_circled(image, table, number),
        "scores": lambda: draw_scores(read_columns(table, ("label", "score"))),
        "errors": lambda: draw_errors(read_columns(table, ("x_err", "y_err"))),
        "neighbors": lambda: draw_neighbor_distances(distances, expected=expected),
    }
    if np.isfinite(read_columns(table, ("intensity",))["intensity"]).any():
        drawings["intensities"] = lambda: draw_intensities(
            read_columns(table, ("label", "intensity")), units=units
        )
    if read_columns(table, ("frame",))["frame"].nunique() > 1:
        drawings["counts"] = lambda: draw_counts(read_columns(table, ("frame", "label")))
    for name, draw in drawings.items():
        suffix = "png" if name == "atoms" else "svg"
        write_figure(draw(), figures / f"{name}.{suffix}", dots_per_inch=250)
        release_memory()
    write_figure(draw_calibration(image, material=material), figures / "calibration.png")
    if corrected is not None:
        write_image_png(corrected.to_numpy(), figures / "corrected.png")
    height, width = write_image_png(image.to_numpy(), figures / "image.png")
    x, y = image["x"].to_numpy(), image["y"].to_numpy()
    step_x, step_y = (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1)
    return {
        "left": float(x[0] - step_x / 2),
        "top": float(y[0] - step_y / 2),
        "width": float(width * step_x),
        "height": float(height * step_y),
    }


def write_defect_figures(
    image: xr.DataArray, found: "Defects", strain: pd.DataFrame | None, folder: Path
) -> None:
    """Draw defects, and strain and rotation of the lattice, into the `figures` folder of a run.

    Parameters
    ----------
    image : DataArray
        The frame that is shown, dims y, x with coordinates in Å.
    found : Defects
        Of this frame; without lattice and without defects nothing is drawn.
    strain : DataFrame or None
        Of `measure_strain`, for the atoms of this frame.
    folder : Path
        The run folder.
    """
    figures = folder / "figures"
    if not found.lattices.grains and found.table.empty:
        return
    write_figure(draw_defects(image, found), figures / "defects.png", dots_per_inch=250)
    if strain is not None and strain["strain_xx"].notna().any():
        y, x = found.graph.places.T
        places = strain.assign(x=x, y=y)
        for name in ("strain_xx", "strain_yy", "strain_xy", "rotation"):
            ax = draw_strain(image, places, name)
            write_figure(ax, figures / f"{name}.png")
            release_memory()
