"""The lattice of an image in its power spectrum."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from adatom.core.materials import Material
from adatom.plots.style import TEXT_SIZE, make_axes

LARGEST_PX = 1024


def draw_calibration(
    image: xr.DataArray, *, material: Material | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the power spectrum of a calibrated image, with rings where the material's spots lie.

    The spots of a well calibrated image lie on the rings: 2/(√3 a) and √3 times that.

    Parameters
    ----------
    image : DataArray
        One frame, dims y, x with coordinates in Å.
    material : Material, optional
        Its lattice gives the rings.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Spatial frequencies in 1/Å, power in gray (logarithmic).
    """
    ax = make_axes(ax, (3.2, 2.9))
    values = image.to_numpy()[:LARGEST_PX, :LARGEST_PX].astype(np.float32)
    steps = [float(image[name][1] - image[name][0]) for name in ("y", "x")]
    window = np.outer(*(np.hanning(side) for side in values.shape))
    power = np.abs(np.fft.fftshift(np.fft.fft2((values - values.mean()) * window))) ** 2
    shown = np.log(power + power.mean() * 1e-6)
    low, high = np.percentile(shown, (20, 99.95))
    (top, bottom), (left, right) = map(_find_edges, shown.shape, steps)
    box = (left, right, bottom, top)
    ax.imshow(shown, cmap="gray", vmin=low, vmax=high, extent=box, interpolation="antialiased")
    edge = min(0.5 / max(steps), 0.9)
    if material is not None:
        for factor, color in ((1.0, "#56B4E9"), (3**0.5, "#E69F00")):
            radius = factor * 2 / (3**0.5 * material.lattice)
            ring = Circle((0, 0), radius, fill=False, ec=color, lw=1.0, ls=(0, (2, 3)))
            ring.set_label(f"{1 / radius:.2f} Å")
            ax.add_patch(ring)
        ax.legend(
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            fontsize=TEXT_SIZE - 1,
            title=material.name,
            title_fontsize=TEXT_SIZE - 1,
        )
    ax.locator_params(nbins=5)
    ax.set(xlabel="$k_x$ (1/Å)", ylabel="$k_y$ (1/Å)", xlim=(-edge, edge), ylim=(edge, -edge))
    return ax


def _find_edges(n_pixels: int, step: float) -> tuple[float, float]:
    """Outer edges of the first and the last pixel of a shifted spectrum, 1/Å."""
    frequencies = np.fft.fftshift(np.fft.fftfreq(n_pixels, step))
    half = 0.5 / (n_pixels * step)
    return float(frequencies[0] - half), float(frequencies[-1] + half)
