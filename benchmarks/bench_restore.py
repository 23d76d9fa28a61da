"""How well object functions are restored: `python benchmarks/bench_restore.py`.

100 images of MoS2 with 3 to 10 % single S vacancies by frozen-phonon multislice (never the linear
model), 60 and 80 kV, residual aberrations, a rotated scan that jitters and drifts, Poisson noise of
1e2 to 1e5 e/Å² (`restore_images.py`). Every method knows the dose and the probe of a tableau; at
1e3 to 1e4 e/Å² also a probe by a tableau of twice its errors. PSNR and SSIM compare objects in the
band 2α/λ, in electrons, no gain fitted. Vacancies are looked for by a classical finder, and by a
network that learned on the output of the method (`restore_finders.py`); their bound is that of a
likelihood ratio. Steps, edges, and images without columns: `restore_cases.py`. Intervals: 95 %.

Images, restored objects and networks are kept in a folder: a stopped benchmark continues there.
On one core 20 (60 kV) or 50 s (80 kV) an image to simulate, a quarter of a minute for it by all
methods at all doses, four minutes a network, and half an hour for the networks that learn on the
images themselves; `--quick`, two small images, about a minute.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from adatom.detect.bounds import rare_label_bound
from adatom.networks.model import load_model
from adatom.networks.unet import UNet
from restore_cases import Case, find_invented, list_cases, measure_cases, print_cases
from restore_finders import (
    Training,
    count_invented,
    cross_validate,
    find_classical,
    find_learned,
    find_shipped,
    load_finder,
    measure_sites,
    square_errors,
    vote_columns,
    vote_sulfur,
    vote_vacancies,
)
from restore_images import FULL, SMALL, Scene, load_scene
from restore_methods import JUDGED, Method, list_methods
from restore_pictures import draw_cases, draw_methods
from restore_scores import (
    bootstrap,
    find_position_bound,
    find_separations,
    score_image,
    take_f1,
    take_mean,
    take_ratio,
    take_root,
)

DOSES = (1e2, 3e2, 1e3, 3e3, 1e4, 1e5)
DECIDED, WRONG_DOSES = (1e3, 3e3), (1e3, 3e3, 1e4)  # where goals are asked; and where both probes
CASE_DOSES, SHOWN_DOSE, N_EXPOSURES = (1e3, 1e4), 1e3, 4
WHOLE = (FULL, DOSES, Training(240, 1000), {"n_frames": 16, "n_steps": 600})
QUICK = (SMALL, CASE_DOSES, Training(8, 20), {"n_frames": 1, "n_steps": 2})
FINDER = "haadf-mx2"
WRONG = ", wrong probe"
# How images become a figure. F1: right, found and true ones; ratio: a sum over a sum.
FIGURES = {
    "PSNR": take_mean,
    "SSIM": take_mean,
    "F1 window": take_f1,
    "F1 network": take_f1,
    "columns": take_f1,
    "S sites": take_f1,
    "position": take_root,
    "peaks invented": take_ratio,
    "S invented": take_ratio,
    "beyond": take_mean,
    "time": take_ratio,
}
HIGHER = ("PSNR", "SSIM", "F1 window", "F1 network")  # of these a restoration is to be judged
LOST_SHARE, NEAR_BOUND = 0.1, 0.05
ENOUGH, OF_RAW, OF_FINDER = 0.95, 1 / 3, 1.1  # F1 of S sites; the dose for it, in those of others


Rows = dict[str, np.ndarray]  # of each figure what is known of each image, (N, …)
Results = dict[tuple[float, str], Rows]
Thresholds = dict[tuple[float, str], tuple[float, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="images of the sheet")
    parser.add_argument("--out", type=Path, default=Path("runs/restore"), help="what is kept")
    parser.add_argument("--quick", action="store_true", help="two small images, two doses")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    out = options.out / "quick" if options.quick else options.out
    field, doses, training, own = QUICK if options.quick else WHOLE
    n_images = 2 if options.quick else options.images
    scenes = [load_scene(out / "images", "sheet", number, field) for number in range(n_images)]
    methods = list_methods(scenes, doses, out / "own", **own)
    finders = {
        name: load_finder(name, method, out / "finders", field, training)
        for name, method in methods.items()
    }
    bounds = find_bounds(scenes, doses)
    results, thresholds = measure(scenes, doses, methods, finders, out)
    figures = summarize(results)
    print_table(figures, bounds)
    pace = np.mean([rows["time"][:, 1].mean() for rows in results.values()]) / field.side**2
    print(f"Wiener: {1e6 * pace:.2g} s a megapixel; the column time counts in units of it\n")
    print_lead(results)
    needed = find_doses(scenes, results)
    print_doses(needed)
    cases = list_cases(out / "images", field, scenes[0])
    objects = {
        (dose, case.name, name): restore_case((name, method), case, dose, out)
        for dose in CASE_DOSES
        for case in cases
        for name, method in methods.items()
    }
    found = measure_cases(cases, objects, finders, thresholds)
    print_cases(found, tuple(methods))
    shown = {
        name: restore((name, method), scenes[0], SHOWN_DOSE, (0, 0), out)[0]
        for name, method in methods.items()
    }
    draw_methods(scenes[0], SHOWN_DOSE, shown, out / "methods.png")
    draw_cases(cases, objects, CASE_DOSES[0], out / "cases.png")
    missed = [] if options.quick else find_missed(results, bounds, found, needed)
    if options.json:
        told = {f"{dose:g} {name}": rows for (dose, name), rows in figures.items()}
        told |= {"bounds": bounds, "cases": found, "doses": needed, "missed": missed}
        options.json.write_text(json.dumps(told, indent=1))
    print("missed:", "; ".join(missed) or "none")
    return int(bool(missed) and options.check)


def find_bounds(scenes: list[Scene], doses: tuple[float, ...]) -> dict[float, float]:
    """Highest F1 of vacancies at each dose, if all but the label is known."""
    separations = np.concatenate([find_separations(scene) for scene in scenes])
    n_one, n_two = (sum((s.labels == label).sum() for s in scenes) for label in ("S1", "S2"))
    share = n_one / (n_one + n_two)
    return {dose: rare_label_bound(separations * dose**0.5, share) for dose in doses}


def restore(
    named: tuple[str, Method],
    scene: Scene,
    dose: float,
    keys: tuple[int, ...],
    out: Path,
    *,
    wrong: bool = False,
) -> tuple[np.ndarray, float]:
    """Object of one exposure and the processor's seconds that it took; kept in a file."""
    name, method = named
    numbers = "_".join(map(str, keys))
    path = out / "restored" / name / f"{dose:g}_{numbers}{'_wrong' * wrong}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = scene.count(dose, *keys)
        start = time.process_time()
        found = method(counts, scene.wrong_probe if wrong else scene.probe).object_function
        seconds = time.process_time() - start
        part = path.with_suffix(".part.npz")
        np.savez(part, found=found.astype(np.float32), seconds=seconds)
        part.rename(path)
    with np.load(path) as file:
        return file["found"].astype(float), float(file["seconds"])


def restore_case(named: tuple[str, Method], case: Case, dose: float, out: Path) -> list[np.ndarray]:
    """Objects of several exposures of a case."""
    numbers = range(N_EXPOSURES)
    return [restore(named, case.scene, dose, (case.key, number), out)[0] for number in numbers]


def measure(
    scenes: list[Scene],
    doses: tuple[float, ...],
    methods: dict[str, Method],
    finders: dict[str, UNet],
    out: Path,
) -> tuple[Results, Thresholds]:
    """Figures of all images by each method at each dose, and what counts as a column."""
    position_bounds = np.array([find_position_bound(scene) for scene in scenes])
    results: Results = {}
    thresholds: Thresholds = {}
    for dose in doses:
        for name, method in methods.items():
            for wrong in (False, True) if dose in WRONG_DOSES and name != "raw" else (False,):
                pairs = [
                    restore((name, method), scene, dose, (0, number), out, wrong=wrong)
                    for number, scene in enumerate(scenes)
                ]
                found = [pair[0] for pair in pairs]
                rows, levels = measure_method(found, scenes, dose, finders[name])
                rows["position"][:, 1] *= position_bounds**2 / dose
                rows["seconds"] = np.array([pair[1] for pair in pairs])
                results[dose, name + WRONG * wrong] = rows
                if not wrong:
                    thresholds[dose, name] = levels
        for (at, _), rows in results.items():
            if at == dose:
                rows["time"] = np.stack([rows["seconds"], results[dose, "Wiener"]["seconds"]], 1)
    return results, thresholds


def measure_method(
    found: list[np.ndarray], scenes: list[Scene], dose: float, finder: UNet
) -> tuple[Rows, tuple[float, float]]:
    """All figures of one method at one dose; the thresholds of a column of both finders."""
    pairs = list(zip(found, scenes, strict=True))
    scores = [score_image(image, scene, dose) for image, scene in pairs]
    rows = {name: np.array([score[name] for score in scores]) for name in scores[0]}
    _, rows["F1 window"] = cross_validate([measure_sites(image, scene) for image, scene in pairs])
    blobs = [find_classical(image / dose, scene) for image, scene in pairs]
    votes = [vote_columns(*pair) for pair in zip(blobs, scenes, strict=True)]
    levels, rows["columns"] = cross_validate(votes)
    sulfur = [vote_sulfur(*pair) for pair in zip(blobs, scenes, strict=True)]
    _, rows["S sites"] = cross_validate(sulfur)
    right, n_found, n_true = rows["columns"].T
    rows["peaks invented"] = np.stack([100 * (n_found - right), n_true], 1)
    rows["position"] = np.array(
        [square_errors(*each) for each in zip(blobs, scenes, levels, strict=True)]
    )
    learned = [find_learned(finder, image, dose, scene) for image, scene in pairs]
    votes = [vote_columns(*pair) for pair in zip(learned, scenes, strict=True)]
    likely, _ = cross_validate(votes)
    kept = [each.keep(level) for each, level in zip(learned, likely, strict=True)]
    votes = [vote_vacancies(*pair) for pair in zip(kept, scenes, strict=True)]
    single, rows["F1 network"] = cross_validate(votes)
    invented = [count_invented(*each) for each in zip(kept, scenes, single, strict=True)]
    rows["S invented"] = np.array(invented) * (100, 1)
    return rows, (float(np.mean(levels)), float(np.mean(likely)))


def summarize(results: Results) -> dict[tuple[float, str], dict[str, tuple[float, float, float]]]:
    """Figure and interval, by dose and method."""
    return {
        key: {name: bootstrap(rows[name], take) for name, take in FIGURES.items()}
        for key, rows in results.items()
    }


def print_table(figures: dict, bounds: dict[float, float]) -> None:
    """Every figure with half of its interval."""
    print(f"{'e/Å²':>7} {'method':19}" + "".join(f"{name:>18}" for name in FIGURES))
    for (dose, name), row in figures.items():
        cells = (f"{value:.3g} ± {(high - low) / 2:.1g}" for value, low, high in row.values())
        print(f"{dose:7g} {name:19}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    told = ", ".join(f"{bound:.3f} at {dose:g}" for dose, bound in bounds.items())
    print(f"F1 of vacancies by the likelihood ratio, all else known: {told}")


def print_lead(results: Results) -> None:
    """What each method has over the raw image, and what a wrong probe takes away."""
    print("over the raw image; in brackets: lost by a probe of a tableau of twice its errors")
    for dose, name in results:
        if (dose, name + WRONG) not in results:
            continue
        cells = []
        for figure in HIGHER:
            lead, *_ = compare(results, figure, dose, (name, "raw"))
            lost, low, high = compare(results, figure, dose, (name, name + WRONG))
            cells.append(f"{figure} {lead:+.3g} ({lost:.2g}, {low:.2g} to {high:.2g})")
        print(f"{dose:7g} {name:19}" + "  ".join(cells))
    print()


def compare(
    results: Results, figure: str, dose: float, names: tuple[str, str]
) -> tuple[float, float, float]:
    """What the first of two methods has over the second on the same images, and its interval."""
    first, second = (results[dose, name][figure] for name in names)
    take = FIGURES[figure]
    n = first[0].size if first.ndim > 1 else 1
    both = np.concatenate([first.reshape(len(first), -1), second.reshape(len(second), -1)], 1)

    def subtract(rows: np.ndarray) -> np.ndarray:
        parts = (rows[..., :n], rows[..., n:])
        return np.subtract(*(take(part if n > 1 else part[..., 0]) for part in parts))

    return bootstrap(both, subtract)


def find_doses(scenes: list[Scene], results: Results) -> dict[str, tuple[float, float, float]]:
    """Dose at which S sites are found well enough, and its interval: LoG, and the shipped finder.

    Interpolated over the logarithm; infinite where no dose is enough.
    """
    rows = {key: row["S sites"] for key, row in results.items() if not key[1].endswith(WRONG)}
    model = load_model(FINDER)
    for dose in {dose for dose, _ in results}:
        found = [
            find_shipped(model, scene.count(dose, 0, number), scene)
            for number, scene in enumerate(scenes)
        ]
        votes = [vote_sulfur(*pair) for pair in zip(found, scenes, strict=True)]
        rows[dose, FINDER] = cross_validate(votes)[1]
    needed = {}
    for name in dict.fromkeys(name for _, name in rows):
        doses = sorted(dose for dose, other in rows if other == name)
        whole = np.concatenate([rows[dose, name] for dose in doses], axis=1)
        needed[name] = bootstrap(whole, partial(take_dose, np.array(doses)))
    return needed


def take_dose(doses: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Of what is right, found and true at each dose, (..., N, 3 doses): where F1 is enough."""
    curves = np.stack([take_f1(part) for part in np.split(rows, len(doses), axis=-1)], axis=-1)
    found = []
    for curve in curves:
        above = np.flatnonzero(curve >= ENOUGH)
        if not len(above):
            found.append(np.inf)
        elif above[0] == 0:
            found.append(doses[0])
        else:
            ends = slice(above[0] - 1, above[0] + 1)
            found.append(np.exp(np.interp(ENOUGH, curve[ends], np.log(doses[ends]))))
    return np.array(found)


def print_doses(needed: dict[str, tuple[float, float, float]]) -> None:
    cells = (f"{name} {v:.3g} ({low:.3g} to {high:.3g})" for name, (v, low, high) in needed.items())
    print(f"e/Å² for an F1 of S sites of {ENOUGH} (LoG; {FINDER} on the raw image):")
    print("  " + ", ".join(cells) + "\n")


def find_missed(
    results: Results,
    bounds: dict[float, float],
    cases: list[dict],
    needed: dict[str, tuple[float, float, float]],
) -> list[str]:
    """No method beats the bound, and what is asked of DeepSTEM."""
    missed = []
    for (dose, name), rows in results.items():
        _, low, _ = bootstrap(rows["F1 window"], take_f1)
        if low > bounds[dose] + 0.02:
            missed.append(f"{name} at {dose:g} beats the bound")
    names = dict.fromkeys(name.removesuffix(WRONG) for _, name in results)
    old = [name for name in names if name not in JUDGED]
    for name in JUDGED:
        missed += find_lost(results, name, old) + find_invented(cases, name)
        missed += [
            f"{name}: {NEAR_BOUND} below the bound at {dose:g}"
            for dose in DECIDED
            if best_f1(results[dose, name]) < bounds[dose] - NEAR_BOUND
        ]
        missed += [
            f"{name}: {needed[name][0] / needed[other][0]:.2f} of the dose of {other} ({goal:.2g})"
            for other, goal in (("raw", OF_RAW), (FINDER, OF_FINDER))
            if not needed[name][0] <= goal * needed[other][0]
        ]
    return missed


def best_f1(rows: Rows) -> float:
    """F1 of vacancies by the better of both finders."""
    return max(float(take_f1(rows[name][None])[0]) for name in ("F1 window", "F1 network"))


def find_lost(results: Results, name: str, old: list[str]) -> list[str]:
    """Where a new method is worse than an old one, not clearly better, or loses its lead."""
    missed = []
    for dose in sorted({dose for dose, _ in results}):
        for figure in HIGHER:
            leads = {other: compare(results, figure, dose, (name, other)) for other in old}
            worse = [other for other, (_, _, high) in leads.items() if high < 0]
            if worse:
                missed.append(f"{name}: {figure} at {dose:g} below {', '.join(worse)}")
            if dose not in DECIDED or figure == "SSIM":
                continue
            if figure != "F1 window" and any(low <= 0 for _, low, _ in leads.values()):
                missed.append(f"{name}: {figure} at {dose:g} not clearly better")
            lead = min(value for value, _, _ in leads.values())
            lost, *_ = compare(results, figure, dose, (name, name + WRONG))
            if lost > LOST_SHARE * max(lead, 0):
                missed.append(f"{name}: {figure} at {dose:g} loses its lead by a wrong probe")
    return missed


if __name__ == "__main__":
    sys.exit(main())
