"""What every figure shares: axes, colors, scale bar, files."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from adatom.core.materials import find_role

LARGEST_PX = 1600
TEXT_SIZE = 9
GRAY = "#555555"
# The colors of Okabe & Ito (2008), which people with color blindness tell apart.
COLORS = ("#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#E69F00", "#0072B2", "#F0E442", "#999999")
FIXED_COLORS = dict(zip(("M", "X2", "X1", "dopant"), COLORS[:4], strict=True))
FIXED_COLORS["Si"] = COLORS[4]


def label_colors(labels: Iterable[str]) -> dict[str, str]:
    """Color of each label: always the same one for M, X2, X1 (or Mo, S2, …), dopant and Si.

    Parameters
    ----------
    labels : iterable of str
        Labels in the order in which they are drawn.

    Returns
    -------
    dict
        Color as `#rrggbb` by label.
    """
    labels = list(dict.fromkeys(labels))
    fixed = {name: FIXED_COLORS.get(find_role(name)) for name in labels}
    free = [color for color in COLORS if color not in fixed.values()]
    others = [name for name in labels if fixed[name] is None]
    given = {name: free[number % len(free)] for number, name in enumerate(others)}
    return {name: fixed[name] or given[name] for name in labels}


def make_axes(ax: Axes | None, size: tuple[float, float] = (3.5, 2.4)) -> Axes:
    """Return the axes given, or those of a new figure.

    Parameters
    ----------
    ax : Axes or None
        Axes to draw on.
    size : tuple of float
        Width and height of a new figure, inch.

    Returns
    -------
    Axes
        The axes, in the style of adatom.
    """
    if ax is None:
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        ax = figure.add_subplot()
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TEXT_SIZE - 1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.label.set_fontsize(TEXT_SIZE)
    return ax


def draw_scale_bar(ax: Axes, left: float, bottom: float, width: float) -> None:
    """Draw a scale bar of a round length into the lower left corner of an image.

    Parameters
    ----------
    ax : Axes
        Axes in Å.
    left, bottom : float, Å
        Lower left corner of the image (y points down).
    width : float, Å
        Width of the image.
    """
    length = round_length(width / 4)
    pad, height = width * 0.03, width * 0.012
    place = (left + pad, bottom - pad - height)
    ax.add_patch(Rectangle(place, length, height, fc="white", ec="black", lw=0.6, zorder=5))
    ax.text(
        left + pad + length / 2,
        bottom - pad - 1.6 * height,
        format_length(length),
        color="white",
        size=TEXT_SIZE,
        ha="center",
        va="bottom",
        path_effects=[withStroke(linewidth=1.8, foreground="black")],
    )


def draw_legend_beside(ax: Axes, handles: Sequence[Artist]) -> None:
    """Draw a legend to the right of an image.

    Parameters
    ----------
    ax : Axes
        Of the image.
    handles : sequence of Artist
        With labels; without any there is no legend.
    """
    if handles:
        ax.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            borderaxespad=0.2,
            handletextpad=0.3,
            frameon=False,
            fontsize=TEXT_SIZE,
        )


def round_length(length: float) -> float:
    """Largest of 1, 2, 5, 10, 20, … that is not above a length.

    Parameters
    ----------
    length : float, Å
        Any positive length.

    Returns
    -------
    float, Å
        The round one.

    Examples
    --------
    >>> round_length(37.0), round_length(0.7)
    (20.0, 0.5)
    """
    power = 10.0 ** math.floor(math.log10(length))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= length)


def format_length(length: float) -> str:
    """Write a length with its unit: nm from 1 nm on, Å below.

    Parameters
    ----------
    length : float, Å
        The length.

    Returns
    -------
    str
        Such as `2 nm` or `5 Å`.
    """
    return f"{length / 10:g} nm" if length >= 10 else f"{length:g} Å"


def shrink_image(image: np.ndarray) -> np.ndarray:
    """Average blocks of pixels until the longer side has at most 1600.

    Parameters
    ----------
    image : (H, W) array
        The image, indexed [y, x].

    Returns
    -------
    (H // n, W // n) array
        Mean of every n × n block; the rest at the right and lower edge is left out.
    """
    step = math.ceil(max(image.shape) / LARGEST_PX)
    height, width = (side // step for side in image.shape)
    blocks = np.asarray(image[: height * step, : width * step], dtype=np.float32)
    return blocks.reshape(height, step, width, step).mean(axis=(1, 3))


def find_gray_range(image: np.ndarray) -> tuple[float, float]:
    """Values shown as black and white: the percentiles 0.3 and 99.7.

    Parameters
    ----------
    image : (H, W) array
        The image.

    Returns
    -------
    tuple of float
        Black and white.
    """
    low, high = np.nanpercentile(image, (0.3, 99.7))
    return float(low), float(max(high, low + max(abs(low), 1.0) * 1e-6))


def write_image_png(image: np.ndarray, path: Path) -> tuple[int, int]:
    """Write an image as gray PNG, at most 1600 pixels a side.

    Parameters
    ----------
    image : (H, W) array
        The image, indexed [y, x].
    path : Path
        The file.

    Returns
    -------
    tuple of int
        Height and width of the part of `image` that is shown, px of `image`.
    """
    small = shrink_image(image)
    low, high = find_gray_range(small)
    levels = np.clip((small - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    Image.fromarray(levels).save(path)
    step = math.ceil(max(image.shape) / LARGEST_PX)
    return small.shape[0] * step, small.shape[1] * step


def write_figure(ax: Axes, path: Path, *, dots_per_inch: int = 200) -> None:
    """Write the figure of some axes; the ending of the name says how (.png, .svg, .pdf).

    Parameters
    ----------
    ax : Axes
        Any axes of the figure.
    path : Path
        The file.
    dots_per_inch : int
        Resolution where the format has pixels.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("ax: must belong to a figure (got axes that were removed)")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=dots_per_inch, bbox_inches="tight")
    path.write_bytes(buffer.getvalue())
