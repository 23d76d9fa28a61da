"""MSD-net against U-nets on HRTEM focal series of MoS2: `python benchmarks/study_msdnet_unet.py`.

Trains every network on the same images for the same number of steps, from several seeds, after the
same search of the learning rate; scores each on the same held-out series; writes scores.parquet and
its figures. Everything is kept in a folder: what is done is not done again, a stopped training goes
on. Hours on two cores; with `--quick`, a few steps of small networks, about a minute.
"""

import argparse
import itertools
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from adatom.core.progress import show_progress
from adatom.core.workers import count_cores
from adatom.learn.build import calibrate_model
from adatom.learn.fit import train_model
from adatom.learn.focal import draw_held_out, score_series
from adatom.networks.model import Model, load_model, save_model
from adatom.plots.style import COLORS
from adatom.simulate.recipe import HrtemRecipe, load_recipe
from bench_hrtem import DECADES, N_BOUND, find_bound

COMPACT = {"kind": "unet", "widths": (16, 32, 64, 128)}
ARMS: dict[str, dict] = {
    "MSD-net": {"network": {"kind": "msdnet", "depth": 50}},
    "residual U-net": {"network": {"kind": "residual", "widths": (16, 32, 64, 128)}},
    "compact U-net": {"network": COMPACT},
    "one image": {"network": COMPACT, "microscope": {"focal_series": (20.0,)}},
    "even vibrations": {"network": COMPACT, "specimen": {"vibrations": "element"}},
}
SMALL = {
    "MSD-net": {"kind": "msdnet", "depth": 10},
    "residual U-net": {"kind": "residual", "widths": (4, 8)},
    "compact U-net": {"kind": "unet", "widths": (4, 8)},
}
QUICK_ARMS = {
    name: {**parts, "network": SMALL.get(name, SMALL["compact U-net"])}
    for name, parts in ARMS.items()
}
DIFFERENCES = (
    ("MSD-net", "residual U-net"),
    ("MSD-net", "compact U-net"),
    ("residual U-net", "compact U-net"),
    ("one image", "compact U-net"),
    ("even vibrations", "compact U-net"),
)
SETS = {"bare": "hrtem_mos2", "on graphene": "hrtem_mos2_graphene"}
RATES = (8e-3, 16e-3, 32e-3)  # and on from there, while the best is at the end
SPLIT = 6  # series that nothing was trained, chosen or calibrated on
AGAINST = {  # what F1 is drawn against
    "series_dose": "dose of the series, e/Å²",
    "C23": "three-fold astigmatism, Å",
    "shift": "largest shift between two images, Å",
    "focus_error": "error of the focus, rms, Å",
    "pixel_size": "pixel size, Å",
}
N_BINS, N_BOOTSTRAPS = 6, 2000
SHOWN = 160  # pixels of the example
MARKS = {"Mo": "red", "S2": "lime", "S1": "blue"}


class Budget(NamedTuple):
    """How much is done."""

    n_steps: int
    n_search: int
    n_seeds: int
    n_calibration: int
    n_series: int
    n_validation: int = 48
    n_bound: int = N_BOUND


WHOLE = Budget(n_steps=1200, n_search=150, n_seeds=3, n_calibration=100, n_series=500)
QUICK = Budget(6, n_search=2, n_seeds=1, n_calibration=0, n_series=4, n_validation=2, n_bound=4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/study"), help="what is kept")
    parser.add_argument("--arms", nargs="*", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--quick", action="store_true", help="a few steps of small networks")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    budget, arms = (QUICK, QUICK_ARMS) if options.quick else (WHOLE, ARMS)
    if options.quick:
        shutil.rmtree(options.out / "quick", ignore_errors=True)
    out = options.out / "quick" if options.quick else options.out
    out.mkdir(parents=True, exist_ok=True)
    tables = []
    for arm in options.arms:
        network = arm if arm in SMALL else "compact U-net"
        rate = search_rate(network, arms[network], budget, out)
        for seed in range(1, budget.n_seeds + 1):
            recipe = make_recipe(arms[arm], seed, rate, budget.n_steps, budget.n_validation)
            model = train_once(recipe, out / name_run(arm, seed), budget.n_calibration)
            for name, recipe_name in SETS.items():
                rows = score_once(model, recipe_name, out / name_run(arm, seed), budget.n_series)
                n_images = len(model.card.focal_series)
                told = {"arm": arm, "seed": seed, "set": name}
                tables.append(rows.assign(**told, series_dose=n_images * rows["dose"]))
    scores = pd.concat(tables, ignore_index=True)
    scores.to_parquet(out / "scores.parquet")
    figures = summarize(scores) | {"vacancies": find_vacancies(scores, budget.n_bound)}
    for table in figures.values():
        print(table.round(3).to_string(), "\n")
    draw_histograms(scores).savefig(out / "histograms.png", dpi=160)
    draw_dependence(scores).savefig(out / "dependence.png", dpi=160)
    draw_example(out, [arm for arm in options.arms if arm in SMALL]).savefig(
        out / "example.png", dpi=100
    )
    if options.json:
        records = {name: found.reset_index().to_dict("records") for name, found in figures.items()}
        options.json.write_text(json.dumps(records, indent=1))
    return 0


def name_run(arm: str, seed: int) -> str:
    return f"{arm.replace(' ', '_')}_{seed}"


def make_recipe(
    arm: dict[str, dict], seed: int, rate: float, n_steps: int, n_validation: int
) -> HrtemRecipe:
    """Recipe of one training: of one seed all networks see the same images."""
    values = load_recipe("hrtem_mos2_both").model_dump(mode="json") | {"card": {}}
    for room, given in arm.items():
        values[room] = given if room == "network" else values[room] | given
    values["training"] |= {
        "name": "study",
        "seed": seed,
        "learning_rate": rate,
        "n_steps": n_steps,
        "n_validation": n_validation,
        "validate_every": max(n_steps // 6, 1),
    }
    return HrtemRecipe.from_mapping(values, source="study")


def search_rate(arm: str, parts: dict[str, dict], budget: Budget, out: Path) -> float:
    """Learning rate whose short training has a lower held-out loss than half and twice of it."""
    kept = out / f"{arm.replace(' ', '_')}_rates_{budget.n_search}.json"
    found = json.loads(kept.read_text()) if kept.exists() else {}
    losses = {float(rate): loss for rate, loss in found.items()}
    rates = list(RATES)
    while True:
        for rate in rates:
            if rate not in losses:
                recipe = make_recipe(parts, 0, rate, budget.n_search, budget.n_validation)
                folder = out / f"{arm.replace(' ', '_')}_search_{rate:g}"
                losses[rate] = run(recipe, folder).card.scores["held_out_loss"]
                kept.write_text(json.dumps(losses))
        best = min(losses, key=losses.__getitem__)
        rates = [best / 2, best * 2]
        if losses.keys() >= set(rates):
            return best


def run(recipe: HrtemRecipe, folder: Path) -> Model:
    resume = (folder / "checkpoint.safetensors").exists()
    # A slow network needs all cores more than its images need one of their own.
    n_workers = 1 if recipe.network.kind == "unet" else 0
    with show_progress() as report:
        return train_model(recipe, folder, resume=resume, n_workers=n_workers, report=report)


def train_once(recipe: HrtemRecipe, folder: Path, n_calibration: int) -> Model:
    """Train and calibrate, unless that was done before."""
    if not (folder / "study.json").exists():
        model = run(recipe, folder)
        save_model(
            calibrate_model(model, recipe, n_calibration) if n_calibration else model, folder
        )
    model = load_model(folder / "study.json")
    if model.card.recipe != recipe.model_dump(mode="json", exclude_defaults=True):
        raise SystemExit(f"{folder}: holds the training of another recipe; remove it")
    return model


def score_once(model: Model, recipe_name: str, folder: Path, n_series: int) -> pd.DataFrame:
    """Score of each held-out series, unless that was done before."""
    path = folder / f"{recipe_name}_{n_series}_{model.card.checksum[:8]}.parquet"
    if not path.exists():
        with show_progress() as report:
            rows = score_series(
                model,
                load_recipe(recipe_name),
                n_series,
                split=SPLIT,
                n_workers=count_cores(),
                report=report,
            )
        rows.to_parquet(path)
    return pd.read_parquet(path)


def summarize(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Figures of every arm, and differences with intervals over seeds and images."""
    rows = []
    for (name, arm), mine in scores.groupby(["set", "arm"], sort=False):
        macro = [count_f1(mine, label) for label in ("Mo", "S2", "S1")]
        row = {"set": name, "arm": arm, "f1": mine["f1"].mean()}
        row |= {f"f1_{end}": value for end, value in zip("lh", bootstrap(mine), strict=True)}
        row |= {"f1_5th": mine["f1"].quantile(0.05), "nearest_f1": mine["nearest_f1"].mean()}
        row |= {"sites_f1": mine["sites_f1"].mean(), "macro_f1": np.mean(macro)}
        row |= dict(zip(("Mo", "S2", "S1"), macro, strict=True))
        if "atoms_f1" in mine:
            row |= {"atoms_f1": mine["atoms_f1"].mean(), "atoms_S1": count_f1(mine, "S1", "atoms_")}
        rows.append(row)
    differences = []
    for name, of_set in scores.groupby("set", sort=False):
        for one, other in DIFFERENCES:
            if not {one, other} <= set(of_set["arm"]):
                continue
            pair = [of_set[of_set["arm"] == arm] for arm in (one, other)]
            low, high = bootstrap(*pair)
            mean = pair[0]["f1"].mean() - pair[1]["f1"].mean()
            differences.append(
                {"set": name, "difference": f"{one} - {other}", "f1": mean, "l": low, "h": high}
            )
    return {
        "arms": pd.DataFrame(rows).set_index(["set", "arm"]),
        "differences": pd.DataFrame(differences),
    }


def find_vacancies(scores: pd.DataFrame, n_bound: int) -> pd.DataFrame:
    """F1 of S1 by decade of the dose of a series, and the best that any method can reach."""
    rows = []
    for name, recipe_name in SETS.items():
        bound = find_bound(load_recipe(recipe_name), n_bound)
        for arm, mine in scores[scores["set"] == name].groupby("arm", sort=False):
            row = {"set": name, "arm": arm}
            for low, high in itertools.pairwise(DECADES):
                part = mine[mine["series_dose"].between(low, high)]
                row[f"S1 from {low:.0e}"] = count_f1(part, "S1")
                if "atoms_f1" in part:
                    row[f"atoms S1 from {low:.0e}"] = count_f1(part, "S1", "atoms_")
                row[f"bound from {low:.0e}"] = bound[f"{low:.0e}"]
            rows.append(row)
    return pd.DataFrame(rows).set_index(["set", "arm"])


def count_f1(rows: pd.DataFrame, label: str, prefix: str = "") -> float:
    """F1 of a label, all columns of all series together."""
    n_true, n_found, n_right = (
        rows[f"{prefix}n_{kind}_{label}"].sum() for kind in ("true", "found", "right")
    )
    return float(2 * n_right / max(n_true + n_found, 1))


def bootstrap(rows: pd.DataFrame, others: pd.DataFrame | None = None) -> tuple[float, float]:
    """95 % interval of the mean F1, or of a difference, over seeds and images drawn again.

    Few seeds drawn again vary too little, by (n - 1)/n; the interval is widened by its root.
    """
    table = spread(rows) if others is None else spread(rows) - spread(others)
    rng, (n_seeds, n_series) = np.random.default_rng(0), table.shape
    means = [
        table[rng.integers(n_seeds, size=n_seeds)][:, rng.integers(n_series, size=n_series)].mean()
        for _ in range(N_BOOTSTRAPS)
    ]
    wider = (n_seeds / (n_seeds - 1)) ** 0.5 if n_seeds > 1 else 1.0
    low, high = table.mean() + wider * (np.quantile(means, [0.025, 0.975]) - table.mean())
    return float(low), float(high)


def spread(rows: pd.DataFrame) -> np.ndarray:
    """F1 by seed and series, (S, N)."""
    return np.stack([part["f1"].to_numpy() for _, part in rows.groupby("seed")])


def color(arm: str) -> str:
    return COLORS[list(ARMS).index(arm)]


def draw_histograms(scores: pd.DataFrame) -> Figure:
    """F1 of every held-out series, as in the published figure."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    edges = np.linspace(0, 1, 41)
    for ax, (name, of_set) in zip(
        figure.subplots(1, 2, sharey=True), scores.groupby("set", sort=False), strict=True
    ):
        for arm, rows in of_set.groupby("arm", sort=False):
            share = np.full(len(rows), 100 / len(rows))
            ax.hist(rows["f1"], edges, weights=share, histtype="step", color=color(arm), label=arm)
        ax.set(title=name, xlabel="F1 of a series", xlim=(0, 1))
    figure.axes[0].set_ylabel("series, %")
    figure.axes[0].legend(frameon=False, fontsize=8, loc="upper center")
    return figure


def draw_dependence(scores: pd.DataFrame) -> Figure:
    """Mean F1 against what was drawn, with its standard error over the series."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots(2, len(AGAINST), sharey=True)
    for row, (name, of_set) in zip(axes, scores.groupby("set", sort=False), strict=True):
        for ax, column in zip(row, AGAINST, strict=True):
            edges = np.quantile(of_set[column], np.linspace(0, 1, N_BINS + 1))
            for arm, each in of_set.groupby("arm", sort=False):
                rows = each.groupby(each.groupby("seed").cumcount())[[column, "f1"]].mean()
                place = np.clip(np.searchsorted(edges, rows[column]) - 1, 0, N_BINS - 1)
                bins = rows.groupby(place)
                means, errors = bins["f1"].mean(), bins["f1"].std() / np.sqrt(bins.size())
                ax.errorbar(
                    bins[column].median(), means, errors, color=color(arm), marker="o", ms=3, lw=1
                )
            if column == "series_dose":
                ax.set_xscale("log")
                ax.set_xlim(1e3, 1e5)
                ax.xaxis.set_minor_formatter(NullFormatter())
            ax.tick_params(labelsize=8)
        row[0].set_ylabel(f"F1, {name}")
    for ax, text in zip(axes[-1], AGAINST.values(), strict=True):
        ax.set_xlabel(text, fontsize=8)
    shown = scores["arm"].unique()
    handles = [axes[0, 0].plot([], [], color=color(arm), label=arm)[0] for arm in shown]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(shown), frameon=False)
    return figure


def draw_example(out: Path, arms: Iterable[str], index: int = 3) -> Figure:
    """A held-out series on graphene, its columns, and what every network draws of it."""
    from adatom.detect.focal import draw_maps

    series, truth = draw_held_out(load_recipe(SETS["on graphene"]), SPLIT, index)
    arms = list(arms)
    n_shown = max(len(series) + 1, len(arms))
    figure = Figure(figsize=(2.6 * n_shown, 5.7), layout="constrained")
    above, below = figure.subplots(2, n_shown)
    part = {"y": slice(0, SHOWN), "x": slice(0, SHOWN)}
    for ax, image in zip(above, series, strict=False):
        ax.imshow(image.isel(part), cmap="gray")
        ax.set_title(f"taken at {float(image.focus):+.0f} Å", fontsize=9)
    x, y = series["x"].to_numpy()[:SHOWN], series["y"].to_numpy()[:SHOWN]
    for label, mark in MARKS.items():
        of_label = truth[truth["label"] == label]
        above[len(series)].plot(of_label["x"], of_label["y"], "o", ms=4, color=mark, label=label)
    above[len(series)].set(xlim=(x[0], x[-1]), ylim=(y[-1], y[0]), aspect="equal", facecolor="k")
    above[len(series)].set_title("truth: Mo red, S2 green, S1 blue", fontsize=9)
    for ax, arm in zip(below, arms, strict=False):
        maps = draw_maps(series, load_model(out / name_run(arm, 1) / "study.json")).values
        ax.imshow(np.moveaxis(maps[[0, 1, 2], :SHOWN, :SHOWN], 0, -1).clip(0, 1))
        ax.set_title(arm, fontsize=9)
    for ax in (*above, *below):
        ax.set(xticks=[], yticks=[])
        ax.set_visible(ax.has_data())
    return figure


if __name__ == "__main__":
    sys.exit(main())
