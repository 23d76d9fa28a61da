"""How well object functions are restored: `python benchmarks/bench_restore.py`.

100 images of MoS2 with 3 to 10 % single S vacancies by frozen-phonon multislice (never the linear
model), 60 and 80 kV, residual aberrations, a rotated scan that jitters and drifts, Poisson noise of
1e2 to 1e5 e/Å² (`restore_images.py`). Every method knows the dose and the probe of a tableau; at
1e3 to 1e4 e/Å² also a probe by a tableau of twice its errors. PSNR and SSIM compare objects in the
band 2α/λ, in electrons, no gain fitted; PSNR also after a common shift is taken off. Vacancies are
looked for by a classical finder, and by three networks that learned on the output of the method
(`restore_finders.py`); their bound is that of a likelihood ratio, which is also taken of the
electrons themselves. Steps, edges, and images without columns: `restore_cases.py`. Intervals: 95 %.

Images, restored objects and networks are kept in a folder: a stopped benchmark continues there.
Images and restorations are made on all cores. On two cores all of it takes about an hour, a third
of which the images, a fifth the networks that learn on the images themselves; `--quick`, two small
images, about a minute.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from adatom.core.progress import show_progress
from adatom.core.workers import count_cores, run_jobs
from adatom.detect.bounds import rare_label_bound
from adatom.networks.restorer import load_restorer
from restore_cases import (
    Case,
    list_cases,
    measure_cases,
    measure_shipped,
    print_cases,
    print_shipped,
)
from restore_finders import (
    FINDER,
    Finder,
    Training,
    count_invented,
    cross_validate,
    find_classical,
    find_learned,
    keep_likely,
    load_finder,
    measure_sites,
    square_errors,
    vote_columns,
    vote_ratio,
    vote_sulfur,
)
from restore_goals import (
    ENOUGH,
    FIGURES,
    HIGHER,
    WRONG,
    Results,
    Rows,
    compare,
    find_doses,
    find_labels,
    find_missed,
)
from restore_images import FULL, SMALL, Scene, load_scene
from restore_methods import Found, Method, list_methods, look
from restore_pictures import draw_cases, draw_methods
from restore_scores import (
    bootstrap,
    find_position_bound,
    find_separations,
    score_image,
    take_f1,
)

DOSES = (1e2, 3e2, 1e3, 3e3, 1e4, 1e5)
WRONG_DOSES = (1e3, 3e3, 1e4)
KEPT = 3  # raised where what is kept of a method changes
CASE_DOSES, SHOWN_DOSE, N_EXPOSURES = (1e3, 1e4), 1e3, 4
WHOLE = (FULL, DOSES, Training(240, 1000), {"n_frames": 16, "n_steps": 600})
QUICK = (SMALL, CASE_DOSES, Training(8, 20), {"n_frames": 1, "n_steps": 2})


@dataclass(frozen=True)
class Exposure:
    """Electrons per Å², keys of the random numbers, and whether the probe is a wrong one."""

    dose: float
    keys: tuple[int, ...]
    is_wrong: bool = False


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
    jobs = [(out / "images", "sheet", number, field) for number in range(n_images)]
    scenes = work(load_scene, jobs, "images")
    cases = list_cases(out / "images", field, scenes[0])
    # Another network, or other things that are kept: other results.
    out /= f"{load_restorer('deepstem').card.checksum[:8]}-{KEPT}"
    methods = list_methods(scenes, doses, out / "own", **own)
    planned = [
        (named, scene, Exposure(dose, (0, number), is_wrong), out)
        for number, scene in enumerate(scenes)
        for dose in doses
        for named in methods.items()
        for is_wrong in list_probes(dose, named[0])
    ]
    work(restore, [job for job in planned if not find_place(*job).exists()], "restored")
    finders = {
        name: load_finder(name, method, out / "finders", field, training)
        for name, method in methods.items()
    }
    bounds, ratios = find_bounds(scenes, doses), take_ratios(scenes, doses)
    results, thresholds = measure(scenes, doses, methods, finders, out)
    figures = summarize(results)
    print_table(figures, bounds, ratios)
    pace = np.mean([rows["time"][:, 1].mean() for rows in results.values()]) / field.side**2
    print(f"Wiener: {1e6 * pace:.2g} s a megapixel; the column time counts in units of it\n")
    print_lead(results)
    needed = find_doses(scenes, results)
    print_doses(needed)
    shipped = ("DeepSTEM", methods["DeepSTEM"])
    labels = find_labels(scenes, list_objects(shipped, scenes, doses, out))
    print_labels(labels)
    objects = {
        (dose, case.name, name): restore_case((name, method), case, dose, out)
        for dose in CASE_DOSES
        for case in cases
        for name, method in methods.items()
    }
    found = measure_cases(cases, objects, finders, thresholds)
    print_cases(found, tuple(methods))
    invented = measure_shipped(cases, CASE_DOSES, shipped[1], N_EXPOSURES)
    print_shipped(invented)
    shown = {
        named[0]: restore(named, scenes[0], Exposure(SHOWN_DOSE, (0, 0)), out)[0].sharp
        for named in methods.items()
    }
    draw_methods(scenes[0], SHOWN_DOSE, shown, out / "methods.png")
    draw_cases(cases, objects, CASE_DOSES[0], out / "cases.png")
    missed = [] if options.quick else find_missed(results, bounds, found, needed)
    if options.json:
        told = {"bounds": bounds, "ratios": ratios, "labels": labels, "cases": found}
        told["cases as shipped"] = invented
        write_json(options.json, figures, told | {"doses": needed, "missed": missed})
    print("missed:", "; ".join(missed) or "none")
    return int(bool(missed) and options.check)


def write_json(path: Path, figures: dict, others: dict) -> None:
    told = {f"{dose:g} {name}": rows for (dose, name), rows in figures.items()}
    path.write_text(json.dumps(told | others, indent=1))


def find_bounds(scenes: list[Scene], doses: tuple[float, ...]) -> dict[float, float]:
    """Highest F1 of vacancies at each dose, if all but the label is known."""
    separations = np.concatenate([find_separations(scene) for scene in scenes])
    n_one, n_two = (sum((s.labels == label).sum() for s in scenes) for label in ("S1", "S2"))
    share = n_one / (n_one + n_two)
    return {dose: rare_label_bound(separations * dose**0.5, share) for dose in doses}


def take_ratios(
    scenes: list[Scene], doses: tuple[float, ...]
) -> dict[float, tuple[float, float, float]]:
    """F1 of vacancies by the likelihood ratio of the electrons that all methods see."""
    found = {}
    for dose in doses:
        counts = (scene.count(dose, 0, number) for number, scene in enumerate(scenes))
        votes = [vote_ratio(*pair, dose) for pair in zip(counts, scenes, strict=True)]
        found[dose] = bootstrap(cross_validate(votes)[1], take_f1)
    return found


def work(function: Callable, jobs: list[tuple], text: str) -> list:
    """Call a function with each of the arguments, on all cores."""
    with show_progress() as report:
        return run_jobs(function, jobs, n_workers=count_cores(), text=text, report=report)


def list_probes(dose: float, name: str) -> tuple[bool, ...]:
    """Whether the probe is a wrong one: of the restorations that a method makes at a dose."""
    return (False, True) if dose in WRONG_DOSES and name != "raw" else (False,)


def find_place(named: tuple[str, Method], _: Scene, exposure: Exposure, out: Path) -> Path:
    """File of a restored exposure."""
    numbers = "_".join(map(str, exposure.keys))
    name = f"{exposure.dose:g}_{numbers}{'_wrong' * exposure.is_wrong}.npz"
    return out / "restored" / named[0] / name


def restore(
    named: tuple[str, Method], scene: Scene, exposure: Exposure, out: Path
) -> tuple[Found, float]:
    """Object of one exposure and the processor's seconds that it took; kept in a file."""
    path = find_place(named, scene, exposure, out)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        counts = scene.count(exposure.dose, *exposure.keys)
        start = time.process_time()
        told = scene.wrong_probe if exposure.is_wrong else scene.probe
        restored = named[1](counts, told)
        seconds = time.process_time() - start
        found = look(named[0], restored, counts, scene)
        part = path.with_suffix(".part.npz")
        maps = {name: values.astype(np.float32) for name, values in asdict(found).items()}
        np.savez(part, **maps, seconds=seconds)
        part.rename(path)
    with np.load(path) as file:
        maps = {each.name: file[each.name].astype(float) for each in fields(Found)}
        return Found(**maps), float(file["seconds"])


def list_objects(
    named: tuple[str, Method], scenes: list[Scene], doses: tuple[float, ...], out: Path
) -> dict[float, list[Found]]:
    """Objects of all images at each dose at which vacancies may be told."""
    return {
        dose: [
            restore(named, scene, Exposure(dose, (0, number)), out)[0]
            for number, scene in enumerate(scenes)
        ]
        for dose in WRONG_DOSES
        if dose in doses
    }


def restore_case(named: tuple[str, Method], case: Case, dose: float, out: Path) -> list[Found]:
    """Objects of several exposures of a case."""
    exposures = [Exposure(dose, (case.key, number)) for number in range(N_EXPOSURES)]
    return [restore(named, case.scene, exposure, out)[0] for exposure in exposures]


def measure(
    scenes: list[Scene],
    doses: tuple[float, ...],
    methods: dict[str, Method],
    finders: dict[str, Finder],
    out: Path,
) -> tuple[Results, Thresholds]:
    """Figures of all images by each method at each dose, and what counts as a column."""
    position_bounds = np.array([find_position_bound(scene) for scene in scenes])
    results: Results = {}
    thresholds: Thresholds = {}
    for dose in doses:
        for name, method in methods.items():
            for wrong in list_probes(dose, name):
                pairs = [
                    restore((name, method), scene, Exposure(dose, (0, number), wrong), out)
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
    found: list[Found], scenes: list[Scene], dose: float, finder: Finder
) -> tuple[Rows, tuple[float, float]]:
    """All figures of one method at one dose; the thresholds of a column of both finders."""
    pairs = [(each.sharp, scene) for each, scene in zip(found, scenes, strict=True)]
    views = [(each.view, scene) for each, scene in zip(found, scenes, strict=True)]
    scores = [score_image(image, scene, dose) for image, scene in pairs]
    rows = {name: np.array([score[name] for score in scores]) for name in scores[0]}
    _, rows["F1 window"] = cross_validate([measure_sites(*each) for each in views])
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
    learned = [find_learned(finder, view, dose, scene) for view, scene in views]
    likely, kept, votes = keep_likely(learned, scenes)
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


def print_table(
    figures: dict, bounds: dict[float, float], ratios: dict[float, tuple[float, float, float]]
) -> None:
    """Every figure with half of its interval."""
    print(f"{'e/Å²':>7} {'method':19}" + "".join(f"{name:>18}" for name in FIGURES))
    for (dose, name), row in figures.items():
        cells = (f"{value:.3g} ± {(high - low) / 2:.1g}" for value, low, high in row.values())
        print(f"{dose:7g} {name:19}" + "".join(f"{cell:>18}" for cell in cells), flush=True)
    told = ", ".join(f"{bound:.3f} at {dose:g}" for dose, bound in bounds.items())
    print(f"F1 of vacancies by the likelihood ratio, all else known: {told}")
    cells = (f"{f1:.3f} ({low:.3f} to {high:.3f})" for f1, low, high in ratios.values())
    print(f"the same of these electrons: {', '.join(cells)}")


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


def print_labels(labels: dict[str, tuple[float, float, float]]) -> None:
    cells = (
        f"{name} {f1:.3f} ({low:.3f} to {high:.3f})" for name, (f1, low, high) in labels.items()
    )
    print(f"F1 of the vacancies that {FINDER} labels: {', '.join(cells)}")


def print_doses(needed: dict[str, tuple[float, float, float]]) -> None:
    cells = (f"{name} {v:.3g} ({low:.3g} to {high:.3g})" for name, (v, low, high) in needed.items())
    print(f"e/Å² for an F1 of S sites of {ENOUGH} (LoG; {FINDER} on the raw image):")
    print("  " + ", ".join(cells) + "\n")


if __name__ == "__main__":
    sys.exit(main())
