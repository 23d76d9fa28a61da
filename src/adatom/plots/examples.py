"""Examples of a data set: images of each, and the last one with its columns."""

from collections.abc import Sequence

import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adatom.plots.atoms import draw_atoms, draw_image
from adatom.plots.style import TEXT_SIZE

SIDE = 2.4  # inch, of an image


def draw_examples(examples: Sequence[tuple[xr.DataArray, pd.DataFrame]]) -> Axes:
    """Draw images of a data set, a row for each example.

    Parameters
    ----------
    examples : sequence of (DataArray, DataFrame)
        Images with dims (y, x), or focal series with dims (focus, y, x); and their columns with
        x, y (Å) and label.

    Returns
    -------
    Axes
        The last one of its figure, which shows all images of a series, and the last of them once
        more with a circle around every column.
    """
    rows = []
    for image, truth in examples:
        shown = [image.isel(focus=i) for i in range(image.sizes.get("focus", 0))] or [image]
        rows.append((shown, truth))
    n_wide = max(len(shown) for shown, _ in rows) + 1
    figure = Figure(figsize=(SIDE * n_wide + 1.0, (SIDE + 0.25) * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), n_wide, squeeze=False)
    for line, (shown, truth) in zip(axes, rows, strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, image in zip(line, shown, strict=False):
            draw_image(image, ax=ax)
            if "focus" in image.coords:
                title = f"{float(image['focus']):+.0f} Å, {image.attrs['dose']:.0f} e/Å²"
                ax.set_title(title, fontsize=TEXT_SIZE)
        draw_atoms(shown[-1], truth, ax=line[-1])
    return axes[-1, -1]
