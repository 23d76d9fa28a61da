"""What each tilt of a tableau sees, beside what the aberrations explain."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from adatom.optics.tableau import TableauFit
from adatom.plots.style import COLORS, GRAY, TEXT_SIZE, format_length, make_axes, round_length

_LONGEST = 0.11  # of the width of the figure: the longest line


def draw_tableau(fit: TableauFit, *, ax: Axes | None = None) -> Axes:
    """Draw two-fold astigmatism and defocus at every tilt, as measured and as fitted.

    Parameters
    ----------
    fit : TableauFit
        Of `fit_film_tableau` or `fit_probe_tableau`.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Tilts in mrad, y pointing down as in the images. Lines lie along the azimuth of A1', as long
        as it is large; colors of the points are C1'. χ² and its degrees of freedom stand above.
    """
    ax = make_axes(ax, (4.6, 3.6))
    table = fit.tilts
    x, y = table["tilt_x"].to_numpy(), table["tilt_y"].to_numpy()
    reach = 1.25 * max(np.hypot(x, y).max(), 1.0)
    largest = max(np.hypot(table["A1_x"], table["A1_y"]).max(), 1e-3)
    scale = 2 * reach * _LONGEST / largest
    styles = (("", COLORS[0], 3.5, "measured"), ("_fit", "black", 1.0, "fit"))
    for suffix, color, width, _ in styles:
        value = table[f"A1_x{suffix}"].to_numpy() + 1j * table[f"A1_y{suffix}"].to_numpy()
        end = scale * np.abs(value) * np.exp(0.5j * np.angle(value))
        lines = np.array([x - end.real, x + end.real]), np.array([y - end.imag, y + end.imag])
        ax.plot(*lines, color=color, lw=width, solid_capstyle="butt", zorder=2)
    points = ax.scatter(
        x, y, c=table["C1"] / 10, cmap="cividis", s=26, ec="white", lw=0.6, zorder=3
    )
    bar = ax.figure.colorbar(points, ax=ax, fraction=0.046, pad=0.03)
    bar.set_label("C1' (nm)", fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1)
    shown = round_length(largest)
    ax.plot(
        [-0.95 * reach, -0.95 * reach + 2 * scale * shown], [0.93 * reach] * 2, color=GRAY, lw=2
    )
    ax.text(
        -0.95 * reach, 0.89 * reach, f"A1' {format_length(shown)}", color=GRAY, size=TEXT_SIZE - 1
    )
    handles = [Line2D([], [], color=color, lw=width) for _, color, width, _ in styles]
    names = [name for *_, name in styles]
    # Above the axes, as tilts lie in all corners of them.
    ax.legend(
        handles,
        names,
        fontsize=TEXT_SIZE - 1,
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1.03, 0.985),
        ncols=2,
        columnspacing=1.0,
        handlelength=1.6,
    )
    ratio = f"χ² {fit.chi_square:.0f} ({fit.n_free} free)"
    ax.set_title(ratio, loc="left", fontsize=TEXT_SIZE - 1)
    ax.set_aspect("equal")
    ax.set(xlabel="tilt x (mrad)", ylabel="tilt y (mrad)")
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach))
    return ax
