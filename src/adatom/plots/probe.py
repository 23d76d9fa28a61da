"""The probe in false color."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from adatom.plots.style import TEXT_SIZE, draw_scale_bar, make_axes


def draw_probe(probe: xr.DataArray, *, ax: Axes | None = None) -> Axes:
    """Draw the intensity of a probe with a scale bar.

    Colors follow its square root, so that the tails of aberrations show beside the peak.

    Parameters
    ----------
    probe : DataArray
        Dims (y, x) in Å, as of `make_probe_image`.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        In Å, y pointing down.
    """
    ax = make_axes(ax, (3.6, 3.0))
    x, y = probe["x"].to_numpy(), probe["y"].to_numpy()
    step_x, step_y = x[1] - x[0], y[1] - y[0]
    box = (x[0] - step_x / 2, x[-1] + step_x / 2, y[-1] + step_y / 2, y[0] - step_y / 2)
    density = np.maximum(probe.to_numpy(), 0) / (step_x * step_y)
    shown = ax.imshow(
        density, cmap="viridis", norm=PowerNorm(0.5, 0, float(density.max())), extent=box
    )
    bar = ax.figure.colorbar(shown, ax=ax, fraction=0.046, pad=0.03)
    bar.set_label("share of the beam (1/Å²)", fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1)
    ax.set_axis_off()
    draw_scale_bar(ax, box[0], box[2], box[1] - box[0])
    return ax
