"""F1 of the columns of HRTEM focal series of MoS2, bare and on graphene, by decade of dose.

Beside it what no method can beat: F1 of S1 (one sulfur) against S2 for a likelihood-ratio test that
knows the microscope, the specimen and all other columns.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import adatom
from adatom.core.progress import show_progress
from adatom.core.random import make_child_rng
from adatom.core.workers import count_cores
from adatom.detect.bounds import rare_label_bound
from adatom.learn.focal import Correct, score_series, summarize_scores
from adatom.networks.model import Model
from adatom.simulate.hrtem import draw_steps, expect_electrons, form_images
from adatom.simulate.multislice import simulate_exit_wave
from adatom.simulate.recipe import HrtemRecipe, load_recipe
from adatom.simulate.specimen import box_side, draw_specimen
from adatom.workflows.correct import correct_atoms

SETS = {"bare": "hrtem_mos2", "on graphene": "hrtem_mos2_graphene"}
SPLIT = 6  # series that neither training, calibration nor the figures of the card saw
DECADES = (1e3, 1e4, 1e5)  # e/Å² per series of three
GOALS = {"bare": 0.98, "on graphene": 0.96}
S1_GOAL, S1_FROM, S1_SLACK = 0.90, 1e4, 0.05
N_BOUND = 60
BOUND_SIZE = 16.0  # Å
# Peaks above a height, as published; calibrated scores; the same after aberrations are taken out.
RULES = {"peaks": "", "atoms": "atoms_", "corrected": "corrected_"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["hrtem-mos2"], help="names or .json files")
    parser.add_argument("--series", type=int, default=500, help="of each set")
    parser.add_argument("--quick", action="store_true", help="20 series of each set")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    n_series, n_bound = (20, 20) if options.quick else (options.series, N_BOUND)
    figures: dict[str, dict] = {}
    for name, recipe_name in SETS.items():
        recipe = load_recipe(recipe_name)
        bound = find_bound(recipe, n_bound)
        print(f"\n{name}: best F1 of S1 from {say(bound)}")
        print(
            f"{'model':>22} {'rule':>9}  F1     5th    sites  rms Å   Mo     S2     S1     S1 from"
        )
        figures[name] = {"bound": bound}
        for model_name in options.models:
            model = adatom.load_model(model_name)
            with show_progress() as report:
                rows = score_series(
                    model,
                    recipe,
                    n_series,
                    split=SPLIT,
                    correct=find_correct(model),
                    n_workers=count_cores(),
                    report=report,
                )
            figures[name][model_name] = summarize(rows, model.card.labels)
            for rule, found in figures[name][model_name].items():
                print_row(Path(model_name).stem, rule, found)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    missed = check(figures)
    print("\nmissed:", "; ".join(missed) or "none")
    return int(options.check and bool(missed))


def find_correct(model: Model) -> Correct | None:
    """What `adatom analyze` does with a focal series of a monolayer; its focus is off unknown."""
    if not model.card.sublattices:
        return None

    def correct(series: xr.DataArray, atoms: pd.DataFrame) -> pd.DataFrame:
        told = series.assign_coords(focus=list(model.card.focal_series))
        found = correct_atoms(told, atoms, model)
        return atoms if found is None else found.atoms

    return correct


def find_bound(recipe: HrtemRecipe, n_draws: int) -> dict[str, float]:
    """Best F1 of S1 by decade of dose, over the specimens and microscopes of a recipe."""
    doses, separations, shares = [], [], []
    for index in range(n_draws):
        rng = make_child_rng(7, index)
        scope, camera = recipe.microscope.draw(rng), recipe.detector.draw(rng)
        whole = [kind.model_copy(update={"holes": 0.0}) for kind in recipe.structure]
        specimen = draw_specimen(tuple(whole), recipe.specimen, BOUND_SIZE, rng)
        middle = np.array([box_side(BOUND_SIZE) / 2] * 2)
        truth = specimen.truth[specimen.truth["label"] == "S2"]
        nearest = truth.iloc[np.linalg.norm(truth[["x", "y"]] - middle, axis=1).argmin()]
        atoms = specimen.structure
        away = np.linalg.norm(atoms.positions[:, :2] - nearest[["x", "y"]].to_numpy(float), axis=1)
        pair = np.flatnonzero((atoms.numbers == 16) & (away < 0.5))
        kept = np.arange(len(atoms)) != rng.choice(pair)
        expected = []
        for keep in (np.ones(len(atoms), bool), kept):
            wave = simulate_exit_wave(
                atoms[keep],
                float(scope.energy_eV),
                displacements=specimen.displacements[keep],
                tilt=specimen.tilt,
                config=recipe.slices,
            )
            steps = draw_steps(scope, np.random.default_rng(index))
            images = form_images(wave, scope, *steps)
            expected.append(expect_electrons(images, wave.grid.length, camera)[0])
        first, second = expected
        separations.append(np.sqrt(((first - second) ** 2 / ((first + second) / 2)).sum()))
        doses.append(float(camera.dose) * len(first))
        counts = specimen.truth["label"].value_counts()
        shares.append(counts.get("S1", 0) / max(counts.get("S1", 0) + counts.get("S2", 0), 1))
    share = float(np.mean(shares))
    return by_decade(
        np.array(doses), lambda rows: rare_label_bound(np.array(separations)[rows], share)
    )


def by_decade(doses: np.ndarray, measure) -> dict[str, float]:
    """A figure of the rows of each decade of the dose per series."""
    found = {}
    for low, high in itertools.pairwise(DECADES):
        rows = np.flatnonzero((doses >= 0.99 * low) & (doses < 1.01 * high))
        found[f"{low:.0e}"] = float(measure(rows)) if len(rows) else float("nan")
    return found


def summarize(rows: pd.DataFrame, labels: tuple[str, ...]) -> dict[str, dict]:
    """Figures of each rule."""
    summary, doses = summarize_scores(rows, labels), 3 * rows["dose"].to_numpy()
    found = {}
    for rule, prefix in RULES.items():
        if f"{prefix}f1" not in rows:
            continue
        others = tuple(other for other in RULES.values() if other != prefix and other)
        mine = {
            k.removeprefix(prefix): v
            for k, v in summary.items()
            if k.startswith(prefix) and not k.startswith(others)
        }
        n_true, n_found, n_right = (
            rows[f"{prefix}n_{kind}_S1"].to_numpy() for kind in ("true", "found", "right")
        )
        mine["S1_by_dose"] = by_decade(
            doses, lambda r, t=n_true, f=n_found, g=n_right: 2 * g[r].sum() / (t[r] + f[r]).sum()
        )
        mine["f1_by_dose"] = by_decade(doses, lambda r, p=prefix: rows[f"{p}f1"].iloc[r].mean())
        found[rule] = mine
    return found


def say(by_dose: dict[str, float]) -> str:
    return ", ".join(f"{float(dose):.0e} {value:.3f}" for dose, value in by_dose.items())


def print_row(model: str, rule: str, found: dict) -> None:
    names = ("f1", "f1_5th", "sites_f1", "rms", "Mo_f1", "S2_f1", "S1_f1")
    numbers = "  ".join(f"{found[name]:.3f}" for name in names)
    print(f"{model:>22} {rule:>9}  {numbers}  {say(found['S1_by_dose'])}", flush=True)


def check(figures: dict[str, dict]) -> list[str]:
    """The goals that no model reaches."""
    missed = []
    for name, goal in GOALS.items():
        found = [
            rule
            for model, rules in figures[name].items()
            if model != "bound"
            for rule in rules.values()
        ]
        best = max(rule["f1"] for rule in found)
        if best < goal:
            missed.append(f"{name}: F1 {best:.3f} ({goal})")
        for dose, bound in figures[name]["bound"].items():
            least = min(S1_GOAL, bound - S1_SLACK)
            reached = max(rule["S1_by_dose"][dose] for rule in found)
            if float(dose) >= S1_FROM and not reached >= least:
                missed.append(f"{name}: F1 of S1 {reached:.3f} from {dose} ({least:.3f})")
    return missed


if __name__ == "__main__":
    sys.exit(main())
