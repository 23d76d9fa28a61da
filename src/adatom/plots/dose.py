"""The dose of a data set beside published ones."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from adatom.optics.dose import Dose
from adatom.plots.style import COLORS, GRAY, TEXT_SIZE, make_axes

MARKERS = {"4D-STEM": "o", "HRTEM": "s"}
NAMES = {"o": "published, 4D-STEM", "s": "published, HRTEM"}


def draw_dose(
    dose: Dose, published: pd.DataFrame, *, name: str = "this data set", ax: Axes | None = None
) -> Axes:
    """Draw dose per frame against dose in all, with published data sets and their references.

    Points of a single exposure lie on the lowest line, those of a movie on that of its number of
    frames. Where the source gives only one of the two doses an arrow leads to the other.

    Parameters
    ----------
    dose : Dose
        That of the data set.
    published : DataFrame
        As of `load_published_doses`.
    name : str
        What to call the data set.
    ax : Axes, optional
        Where to draw; a new figure if left out.

    Returns
    -------
    Axes
        Dose per frame and total dose in e/Å², both logarithmic; the references stand below.
    """
    ax = make_axes(ax, (4.2, 3.6))
    doses = published[["dose_per_frame", "total_dose"]]
    every = np.r_[doses.to_numpy().ravel(), dose.dose_per_frame, dose.total_dose]
    low = 10 ** np.floor(np.log10(np.nanmin(every)) - 0.2)
    high = 10 ** np.ceil(np.log10(np.nanmax(every)) + 0.2)
    ax.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    ax.set(xlabel="dose per frame (e/Å²)", ylabel="total dose (e/Å²)")
    _draw_frame_lines(ax, low, high)
    lines = ["Gray lines: number of frames. Arrow: the source gives only one of the two doses."]
    for number, row in enumerate(published.itertuples(), 1):
        _draw_published(ax, row, number)
        lines.append(f"[{number}] {row.name} ({row.material}), {row.technique}: {row.reference}")
    for marker, label in NAMES.items():
        ax.plot([], [], marker, color=COLORS[5], ms=5, label=label)
    ax.plot(dose.dose_per_frame, dose.total_dose, "*", color=COLORS[2], ms=13, mec="white", mew=0.6)
    ax.plot([], [], "*", color=COLORS[2], ms=10, label=name)
    ax.legend(loc="lower right", frameon=False, fontsize=TEXT_SIZE - 2)
    ax.text(
        0,
        -0.2,
        "\n".join(lines),
        transform=ax.transAxes,
        va="top",
        size=TEXT_SIZE - 2.5,
        linespacing=1.4,
    )
    return ax


def _draw_frame_lines(ax: Axes, low: float, high: float) -> None:
    """Lines of equal numbers of frames, each with its number where it leaves the chart."""
    for n_frames in (1, 10, 100, 1000):
        if n_frames * low >= high:
            break
        ax.plot([low, high / n_frames], [low * n_frames, high], color="#cccccc", lw=0.8, zorder=0)
        ax.annotate(
            "1 frame" if n_frames == 1 else f"{n_frames}",
            (high / n_frames, high),
            (0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=GRAY,
            size=TEXT_SIZE - 2,
        )


def _draw_published(ax: Axes, row: tuple, number: int) -> None:
    """A point with its number; an arrow where only one of its doses is known."""
    per_frame, total = row.dose_per_frame, row.total_dose  # type: ignore[attr-defined]
    x = total if np.isnan(per_frame) else per_frame
    y = per_frame if np.isnan(total) else total
    marker = MARKERS[row.technique.split()[0]]  # type: ignore[attr-defined]
    ax.plot(x, y, marker, color=COLORS[5], ms=5, zorder=3)
    if np.isnan(per_frame) or np.isnan(total):
        end = (x / 4, y) if np.isnan(per_frame) else (x, y * 4)
        arrow = {"arrowstyle": "->", "color": COLORS[5], "lw": 1.0}
        ax.annotate("", end, (x, y), arrowprops=arrow)
    ax.annotate(
        f"[{number}]",
        (x, y),
        (5, -3),
        textcoords="offset points",
        ha="left",
        va="top",
        size=TEXT_SIZE - 2.5,
    )
