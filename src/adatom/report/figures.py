"""The figures of a run folder."""

from pathlib import Path

import numpy as np
import xarray as xr

from adatom.core.materials import Material
from adatom.core.table_files import read_columns
from adatom.plots.atoms import draw_atoms
from adatom.plots.calibration import draw_calibration
from adatom.plots.histograms import (
    draw_counts,
    draw_errors,
    draw_intensities,
    draw_neighbor_distances,
    draw_scores,
)
from adatom.plots.style import write_figure, write_image_png


def write_figures(
    image: xr.DataArray, distances: np.ndarray, material: Material | None, folder: Path
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

    Returns
    -------
    dict
        Where `figures/image.png` lies in the coordinates of the atoms: `left`, `top`, `width` and
        `height`, all in Å.
    """
    figures, table = folder / "figures", folder / "atoms.parquet"
    number = int(image.coords.get("frame", 0))
    shown = read_columns(table, ("x", "y", "label"), frame=number)
    write_figure(draw_atoms(image, shown), figures / "atoms.png", dots_per_inch=250)
    intensities = read_columns(table, ("label", "intensity"))
    drawn = {
        "scores": draw_scores(read_columns(table, ("label", "score"))),
        "intensities": draw_intensities(intensities, units=str(image.attrs.get("units", ""))),
        "errors": draw_errors(read_columns(table, ("x_err", "y_err"))),
        "neighbors": draw_neighbor_distances(
            distances, expected=material.neighbor_distance if material else None
        ),
    }
    by_frame = read_columns(table, ("frame", "label"))
    if by_frame["frame"].nunique() > 1:
        drawn["counts"] = draw_counts(by_frame)
    for name, ax in drawn.items():
        write_figure(ax, figures / f"{name}.svg")
    write_figure(draw_calibration(image, material=material), figures / "calibration.png")
    height, width = write_image_png(image.to_numpy(), figures / "image.png")
    x, y = image["x"].to_numpy(), image["y"].to_numpy()
    step_x, step_y = (x[-1] - x[0]) / (len(x) - 1), (y[-1] - y[0]) / (len(y) - 1)
    return {
        "left": float(x[0] - step_x / 2),
        "top": float(y[0] - step_y / 2),
        "width": float(width * step_x),
        "height": float(height * step_y),
    }
