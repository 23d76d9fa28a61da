"""Cases of `bench_restore.py`: steps, edges, strange lattices, and images without any column.

What is found there and is not true was invented: peaks by the classical finder, columns by the
network of the method, and structure (the error in the band, over the contrast of a sheet).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.spatial import cKDTree

from adatom.core.random import make_child_rng
from adatom.networks.model import load_model
from restore_finders import FINDER, Columns, Finder, find_classical, find_learned, find_shipped
from restore_images import NOISE, PIXEL, SEED, Field, Scene, load_scene
from restore_methods import Found, Method, look
from restore_scores import RIM, see_ideally

STEP, VACUUM = 0.5, 0.1  # of the mean of the sheet
NEAR, AWAY = 3.0, 2.0  # Å: from a step; from the nearest column beyond an edge

LEAST = 0.5  # columns for 100 Å² that are none to speak of


@dataclass(frozen=True)
class Case:
    """An image and the part of it where nothing may be invented."""

    name: str
    key: int  # of its random numbers
    scene: Scene
    region: np.ndarray  # (H, W) bool


def list_cases(folder: Path, field: Field, sheet: Scene) -> list[Case]:
    """A sheet to compare with, and all cases."""
    edge, stretched, film = (
        load_scene(folder, kind, 0, field) for kind in ("edge", "stretched", "film")
    )
    scenes = {
        "sheet": sheet,
        "step": add_step(sheet),
        "edge": edge,
        "stretched": stretched,
        "film": film,
        "shuffled": shuffle(sheet),
        "vacuum": empty(sheet, np.full_like(sheet.expected, VACUUM * sheet.expected.mean())),
    }
    y, x = np.mgrid[: field.side, : field.side]
    inner = (np.minimum(y, x) >= RIM) & (np.maximum(y, x) < field.side - RIM)
    regions = dict.fromkeys(scenes, inner)
    regions["step"] = inner & (np.abs(x - field.side / 2) * PIXEL < NEAR)
    pixels = np.stack([y, x], axis=-1).reshape(-1, 2)
    away, _ = cKDTree(edge.sites).query(pixels)
    regions["edge"] = inner & (away.reshape(y.shape) * PIXEL > AWAY)
    return [
        Case(name, 1 + number, scene, regions[name])
        for number, (name, scene) in enumerate(scenes.items())
    ]


def add_step(sheet: Scene) -> Scene:
    """A background that begins in the middle of the image, as of another layer below."""
    n = sheet.probe.shape[0] // 2
    wide = np.zeros(np.array(sheet.expected.shape) + 2 * n)
    wide[:, wide.shape[1] // 2 :] = STEP * sheet.expected.mean()
    seen = signal.fftconvolve(wide, sheet.probe, mode="valid")
    return replace(
        sheet, expected=sheet.expected + np.maximum(seen, 0), truth=sheet.truth + wide[n:-n, n:-n]
    )


def shuffle(sheet: Scene) -> Scene:
    """All pixels of the image at places of chance."""
    pixels = make_child_rng(SEED, NOISE).permutation(sheet.expected.ravel())
    return empty(sheet, pixels.reshape(sheet.expected.shape))


def empty(sheet: Scene, expected: np.ndarray) -> Scene:
    """An image of an object without structure."""
    flat = np.full_like(expected, expected.mean())
    return replace(
        sheet, expected=expected, truth=flat, sites=np.zeros((0, 2)), labels=np.zeros(0, "U2")
    )


def measure_cases(
    cases: list[Case],
    objects: dict[tuple[float, str, str], list[Found]],
    finders: dict[str, Finder],
    thresholds: dict[tuple[float, str], tuple[float, float]],
) -> list[dict]:
    """What each method invents in each case, means over exposures."""
    sheet = cases[0].scene
    contrast = see_ideally(sheet.truth, sheet.cutoff)[RIM:-RIM, RIM:-RIM].std()
    by_name = {case.name: case for case in cases}
    rows = []
    for (dose, name, method), exposures in objects.items():
        case = by_name[name]
        found = []
        for restored in exposures:
            image = restored.sharp
            peaks = find_classical(image / dose, case.scene).keep(thresholds[dose, method][0])
            learned = find_learned(finders[method], restored.view, dose, case.scene)
            columns = learned.keep(thresholds[dose, method][1])
            error = find_error(image / dose, case) / contrast
            found.append([count_untrue(peaks, case), count_untrue(columns, case), error])
        values = dict(zip(("peaks", "network", "error"), np.mean(found, 0).tolist(), strict=True))
        rows.append({"dose": dose, "case": name, "method": method} | values)
    return rows


def measure_shipped(
    cases: list[Case], doses: tuple[float, ...], method: Method, n_exposures: int
) -> list[dict]:
    """What the shipped finder invents for 100 Å² in each case, means over exposures.

    In the image; in what DeepSTEM shows; and in that with what no electrons tell.
    """
    model, rows = load_model(FINDER), []
    for dose in doses:
        for case in cases:
            found = []
            for number in range(n_exposures):
                counts = case.scene.count(dose, case.key, number)
                restored = method(counts, case.scene.probe)
                views = (
                    look("DeepSTEM", restored, counts, case.scene, is_hidden=hidden)
                    for hidden in (True, False)
                )
                columns = (
                    find_shipped(model, counts, case.scene, view).keep(model.card.threshold)
                    for view in (None, *views)
                )
                found.append([count_untrue(each, case) for each in columns])
            names = ("as taken", "restored", "restored, nothing hidden")
            means = dict(zip(names, np.mean(found, 0).tolist(), strict=True))
            rows.append({"dose": dose, "case": case.name} | means)
    return rows


def count_untrue(columns: Columns, case: Case) -> float:
    """Columns in the region that are none, for 100 Å²."""
    places = columns.places[columns.truth < 0]
    y, x = np.round(places).astype(int).T.clip(0, len(case.region) - 1)
    return float(case.region[y, x].sum()) / (case.region.sum() * PIXEL**2 / 100)


def find_error(found: np.ndarray, case: Case) -> float:
    """Rms difference to the truth in the band, in the region."""
    seen, true = (see_ideally(each, case.scene.cutoff) for each in (found, case.scene.truth))
    return float(np.sqrt(np.mean((seen - true)[case.region] ** 2)))


def find_invented(rows: list[dict], name: str) -> list[str]:
    """Where a method shows more than the raw image does that is not true."""
    raw = {(row["dose"], row["case"]): row for row in rows if row["method"] == "raw"}
    missed = []
    for row in rows:
        if row["method"] != name or row["case"] == "sheet":
            continue
        told = raw[row["dose"], row["case"]]
        more = [key for key in ("peaks", "network") if row[key] > max(told[key], LEAST)]
        more += ["error"] if row["error"] > told["error"] else []
        if more:
            missed.append(f"{name}: {row['case']} at {row['dose']:g}: more {', '.join(more)}")
    return missed


def print_shipped(rows: list[dict]) -> None:
    print(f"invented by {FINDER} for 100 Å²")
    for row in rows:
        cells = (f"{name} {row[name]:.1f}" for name in list(row)[2:])
        print(f"{row['dose']:7g} {row['case']:10} {', '.join(cells)}")
    print()


def print_cases(rows: list[dict], methods: tuple[str, ...]) -> None:
    print("invented: peaks and columns of the network for 100 Å²; error over a sheet's contrast")
    print(f"{'e/Å²':>7} {'case':10}" + "".join(f"{method:>22}" for method in methods))
    for dose, name in dict.fromkeys((row["dose"], row["case"]) for row in rows):
        mine = {row["method"]: row for row in rows if (row["dose"], row["case"]) == (dose, name)}
        cells = (f"{r['peaks']:.1f} {r['network']:.1f} {r['error']:.2f}" for r in mine.values())
        print(f"{dose:7g} {name:10}" + "".join(f"{cell:>22}" for cell in cells))
    print()
