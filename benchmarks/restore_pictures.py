"""Pictures of `bench_restore.py`."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from adatom.plots.style import TEXT_SIZE, draw_scale_bar, label_colors, write_figure
from restore_cases import Case
from restore_images import PIXEL, Scene
from restore_methods import Found
from restore_scores import RIM, see_ideally

PANEL, N_BESIDE = 2.1, 3  # inch; methods in a row


def draw_methods(scene: Scene, dose: float, objects: dict[str, np.ndarray], path: Path) -> None:
    """Objects of one image in the band; the last panel is the truth."""
    columns = {name: found / dose for name, found in objects.items()} | {"truth": scene.truth}
    axes = make_panels(-(-len(columns) // N_BESIDE), N_BESIDE)
    gray = find_gray(see_ideally(scene.truth, scene.cutoff))
    for ax, (name, found) in zip(axes.ravel(), columns.items(), strict=False):
        draw_panel(ax, see_ideally(found, scene.cutoff), gray, name)
        mark_vacancies(ax, scene)
    write_figure(axes[0, 0], path)


def draw_cases(
    cases: list[Case],
    objects: dict[tuple[float, str, str], list[Found]],
    dose: float,
    path: Path,
) -> None:
    """Objects of each case in the band; the last column is the truth."""
    methods = list(dict.fromkeys(method for _, _, method in objects))
    axes = make_panels(len(cases), len(methods) + 1)
    span = np.subtract(*find_gray(see_ideally(cases[0].scene.truth, cases[0].scene.cutoff))[::-1])
    for line, case in zip(axes, cases, strict=True):
        found = [objects[dose, case.name, method][0].sharp / dose for method in methods]
        seen = [see_ideally(each, case.scene.cutoff) for each in (*found, case.scene.truth)]
        base = find_gray(seen[-1])[0]
        gray = (base - 0.1 * span, base + span)  # in every case the contrast of the sheet
        for ax, each, name in zip(line, seen, (*methods, "truth"), strict=True):
            draw_panel(ax, each, gray, name if case is cases[0] else "")
        line[0].set_ylabel(case.name, size=TEXT_SIZE)
    write_figure(axes[0, 0], path)


def make_panels(n_rows: int, n_columns: int) -> np.ndarray:
    figure = Figure(figsize=(PANEL * n_columns, PANEL * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.subplots(n_rows, n_columns, squeeze=False)


def draw_panel(ax: Axes, image: np.ndarray, gray: tuple[float, float], title: str) -> None:
    height, width = (PIXEL * n for n in image.shape)
    ends = (0, width, height, 0)
    ax.imshow(image, cmap="gray", vmin=gray[0], vmax=gray[1], extent=ends, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(title, size=TEXT_SIZE)
    draw_scale_bar(ax, 0, height, width)


def mark_vacancies(ax: Axes, scene: Scene) -> None:
    inside = ((scene.sites > 0) & (scene.sites < len(scene.truth) - 1)).all(axis=1)
    y, x = PIXEL * scene.sites[inside & (scene.labels == "S1")].T
    color = label_colors(["S1"])["S1"]
    ax.scatter(x, y, s=90, facecolors="none", edgecolors=color, linewidths=1.2)


def find_gray(image: np.ndarray) -> tuple[float, float]:
    """From the lowest to the highest values without a rim."""
    low, high = np.percentile(image[RIM:-RIM, RIM:-RIM], (1, 99.7))
    return float(low), float(max(high, low + 1e-12))
