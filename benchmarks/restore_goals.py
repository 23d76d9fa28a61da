"""Goals of `bench_restore.py`: methods compared on the same images, and what is asked of them."""

from functools import partial

import numpy as np

from adatom.networks.model import load_model
from restore_cases import find_invented
from restore_finders import (
    FINDER,
    cross_validate,
    find_shipped,
    keep_likely,
    vote_sulfur,
)
from restore_images import Scene
from restore_methods import JUDGED, Found
from restore_scores import bootstrap, take_f1, take_mean, take_ratio, take_root

DECIDED = (1e3, 3e3)  # doses at which something is asked
WRONG = ", wrong probe"
# How images become a figure. F1: right, found and true ones; ratio: a sum over a sum.
FIGURES = {
    "PSNR": take_mean,
    "PSNR in place": take_mean,
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
# Of these a restoration is to be judged.
HIGHER = ("PSNR", "PSNR in place", "SSIM", "F1 window", "F1 network")
LOST_SHARE, NEAR_BOUND = 0.1, 0.05
ENOUGH, OF_RAW, OF_FINDER = 0.95, 1 / 3, 1.1  # F1 of S sites; the dose for it, in those of others


Rows = dict[str, np.ndarray]  # of each figure what is known of each image, (N, …)
Results = dict[tuple[float, str], Rows]


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


def find_labels(
    scenes: list[Scene], restored: dict[float, list[Found]]
) -> dict[str, tuple[float, float, float]]:
    """F1 of the vacancies that the shipped finder labels, in the image and in what is restored.

    Thresholds of columns and of the label as for the networks of the methods.
    """
    model, told = load_model(FINDER), {}
    for dose, objects in restored.items():
        rows = []
        for views in ([None] * len(scenes), objects):
            found = [
                find_shipped(model, scene.count(dose, 0, number), scene, view)
                for number, (scene, view) in enumerate(zip(scenes, views, strict=True))
            ]
            rows.append(cross_validate(keep_likely(found, scenes)[2])[1])
        raw, new = rows
        told[f"{dose:g} as taken"] = bootstrap(raw, take_f1)
        told[f"{dose:g} restored"] = bootstrap(new, take_f1)
        told[f"{dose:g} difference"] = bootstrap(np.concatenate(rows, axis=1), subtract_f1)
    return told


def subtract_f1(rows: np.ndarray) -> np.ndarray:
    """What is right, found and true in the image, then in what is restored: by how much more."""
    return take_f1(rows[..., 3:]) - take_f1(rows[..., :3])


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
