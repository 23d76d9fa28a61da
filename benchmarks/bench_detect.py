"""Positions, labels and stated errors on simulated MoS2 with truth, dose by dose.

No image comes from the recipe that trains the model: column shape, dose and displacements are fixed
per row. Dose is given in electrons per pixel of 0.2 Å at the peak of an M column. Bounds are
Cramér-Rao bounds of the same image: the joint fit with unknown intensities and background, and a
single isolated column. What moves all columns alike cannot be seen in an image and is taken off.
"own" is the fit of the column's own pixels, without the lattice (`use_lattice=False`).
"""

import argparse
import json
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

import adatom
from adatom.core.materials import get_material
from adatom.core.random import make_child_rng
from adatom.detect.atoms import FindConfig
from adatom.detect.bounds import position_bound, vacancy_bound
from adatom.detect.profile import Profile, make_gaussian_profile, make_profile
from adatom.detect.refine import RefineConfig
from adatom.metrics.detection import detection_scores, match_points
from adatom.optics.microscope import Microscope, haadf_cross_section
from adatom.simulate.linear import Transfer, gaussian_transfer, simulate_linear
from adatom.simulate.scattering import probe_transfer
from adatom.structures.edits import remove_chalcogens
from adatom.structures.projection import label_columns, project_columns
from adatom.structures.sheets import make_sheet

# Not 11: on those images the gate of the lattice prior was chosen.
SEED = 21
DOSES = (3, 10, 30, 100, 1000)
# Rms of a peer network over the bound of an isolated column, where its prior helps it.
PEER = {3: 0.8, 10: 1.0}
SIZE, MARGIN, BORDER = 80.0, 4.0, 3.0  # Å
SIGMA, VACANCIES, DISORDER, BACKGROUND = 0.42, 0.04, 0.03, 0.15
PLANTED_SHARE, PLANTED = 0.08, (0.05, 0.20)  # Å
MOS2 = get_material("MoS2")
WITHOUT_LATTICE = FindConfig(refine=RefineConfig(use_lattice=False))
SCOPE = Microscope(
    energy_eV=60e3,
    semi_angle=31.0,
    defocus=15.0,
    C12=15.0,
    phi12=35.0,
    C21=300.0,
    phi21=60.0,
    C23=250.0,
    phi23=20.0,
    C30=3000.0,
    source_size=0.8,
)


@dataclass(frozen=True)
class Scene:
    """One image, and all that is true of it."""

    image: xr.DataArray
    positions: np.ndarray  # Å, [y, x]
    labels: np.ndarray
    counts: np.ndarray  # electrons of each column
    planted: np.ndarray  # Å, [y, x]: nan where nothing was planted
    background: float  # electrons per pixel
    dose: float  # incident e/Å²


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="haadf-mx2")
    parser.add_argument("--images", type=int, default=6, help="images per row")
    parser.add_argument("--quick", action="store_true", help="one image per row")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    model = adatom.load_model(options.model)
    n_images = 1 if options.quick else options.images
    rows = []
    print(HEADER)
    for shape, pixel_size in (
        ("gaussian", 0.2),
        ("probe", 0.2),
        ("gaussian", 0.1),
        ("gaussian", 0.24),
    ):
        for dose in DOSES if pixel_size == 0.2 else (30,):
            rows.append(measure(model, shape, pixel_size, dose, n_images))
            print(format_row(rows[-1]))
    print("reliability of the label scores (mean score, share right, number)")
    curve = pool_reliability(rows)
    for mean, right, n in curve:
        print(f"  {mean:.3f} {right:.3f} {n:.0f}")
    missed = check(rows)
    print("missed:", "; ".join(missed) or "none")
    if options.json:
        keep = [{k: v for k, v in row.items() if k != "scores"} for row in rows]
        options.json.write_text(
            json.dumps({"rows": keep, "reliability": curve, "missed": missed}, indent=1)
        )
    return int(bool(missed) and options.check)


HEADER = (
    "shape    pixel dose  e/Å²    e/M    F1     rms/joint ±  own/joint rms/isolated bias_pm "
    "inside_x inside_y slope own ideal X1_recall(bound, n) X2_recall(bound)"
)


def format_row(r: dict) -> str:
    return (
        f"{r['shape']:9}{r['pixel_size']:.2f}{r['dose']:5}{r['incident']:9.3g}{r['electrons_per_M']:7.0f}"
        f"{r['f1']:8.4f}{r['over_joint']:8.3f}±{r['over_joint_sd']:.3f}{r['own_over_joint']:8.2f}"
        f"{r['over_isolated']:10.2f}{r['bias_pm']:9.2f}"
        f"{r['inside_x']:9.2f}{r['inside_y']:9.2f}{r['slope']:8.2f}{r['own_slope']:6.2f}{r['ideal_slope']:6.2f}"
        f"{r['x1_recall']:9.2f} ({r['x1_bound']:.2f}, {r['n_x1']})"
        f"{r['x2_recall']:9.3f} ({r['x2_bound']:.3f})"
    )


def make_transfer(shape: str, size: tuple[float, float]) -> Transfer:
    if shape == "gaussian":
        return gaussian_transfer(size, [(1.0, SIGMA**2 * np.eye(2), (0.0, 0.0))])
    return probe_transfer(SCOPE, size, vibration=0.08)


def true_profile(shape: str) -> Profile:
    if shape == "gaussian":
        return make_gaussian_profile(SIGMA**2)
    step, half = 0.1, 30
    grid = np.arange(2 * half + 1) * step
    transfer = make_transfer(shape, (grid[-1], grid[-1]))
    center = np.array([[half * step, half * step]])
    return make_profile(simulate_linear(center, np.ones(1), transfer, (grid, 0 * grid), grid), step)


def make_scene(shape: str, pixel_size: float, dose: float, rng: np.random.Generator) -> Scene:
    """MoS2 with vacancies, static disorder, and a share of columns displaced by 5 to 20 pm."""
    full = (SIZE + 2 * MARGIN,) * 2
    sheet = make_sheet(MOS2, full, angle=rng.uniform(0, 360), offset=tuple(rng.uniform(-3, 3, 2)))
    sheet = remove_chalcogens(sheet, VACANCIES, rng, both=0)
    columns, column = project_columns(sheet)
    labels = label_columns(sheet, column, MOS2)
    sites = columns[["y", "x"]].to_numpy() - MARGIN
    angle, length = rng.uniform(0, 2 * np.pi, len(sites)), rng.uniform(*PLANTED, len(sites))
    planted = length[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
    planted[rng.random(len(sites)) >= PLANTED_SHARE] = np.nan
    positions = sites + DISORDER * rng.standard_normal(sites.shape) + np.nan_to_num(planted)
    sections = np.bincount(column, haadf_cross_section(sheet.numbers, SCOPE, 1.7), len(columns))
    line = np.arange(round(SIZE / pixel_size)) * pixel_size
    transfer = make_transfer(shape, (SIZE, SIZE))
    image = np.maximum(simulate_linear(positions, sections, transfer, (line, 0 * line), line), 0)
    metal = float(sections[labels == "M"][0])
    peak = metal * true_profile(shape).evaluate(np.array([0.0]), np.array([0.0]))[0]
    incident = dose / (peak * 0.2**2)
    expected = (image + BACKGROUND * peak) * incident * pixel_size**2
    coords = {name: (name, line, {"units": "angstrom"}) for name in ("y", "x")}
    counts = rng.poisson(expected).astype(np.float32)
    data = xr.DataArray(counts, dims=("y", "x"), coords=coords, attrs={"units": "electrons"})
    inside = ((positions > -1) & (positions < SIZE + 1)).all(axis=1)
    background = BACKGROUND * peak * incident * pixel_size**2
    return Scene(
        data,
        positions[inside],
        labels[inside],
        (sections * incident)[inside],
        planted[inside],
        background,
        incident,
    )


def measure(model: adatom.Model, shape: str, pixel_size: float, dose: float, n_images: int) -> dict:
    pools = defaultdict(list)
    profile = true_profile(shape)
    counts = np.zeros(3, int)
    for index in range(n_images):
        scene = make_scene(shape, pixel_size, dose, make_child_rng(SEED, index, int(dose * 10)))
        atoms = adatom.find_atoms(scene.image, model)
        f, t, counted = match_scene(atoms, scene)
        counts += counted
        pools["miss"].append(find_misses(atoms, scene, f, t))
        own_atoms = adatom.find_atoms(scene.image, model, config=WITHOUT_LATTICE)
        own_f, own_t, _ = match_scene(own_atoms, scene)
        pools["own_miss"].append(find_misses(own_atoms, scene, own_f, own_t))
        pools["own_planted"].append(scene.planted[own_t])
        places = scene.positions / pixel_size
        grid = scene.image.shape
        arguments = (places, scene.counts, scene.background, profile, grid, pixel_size)
        pools["joint"].append(position_bound(*arguments)[t] * pixel_size)
        pools["isolated"].append(position_bound(*arguments, is_isolated=True)[t] * pixel_size)
        pools["stated"].append(atoms[["y_err", "x_err"]].to_numpy()[f])
        pools["planted"].append(scene.planted[t])
        pools["true"].append(scene.labels[t])
        pools["said"].append(atoms["label"].to_numpy()[f])
        pools["score"].append(atoms["score"].to_numpy()[f])
        pools["electrons"].append(scene.counts[t][scene.labels[t] == "M"])
    pool = {name: np.concatenate(parts) for name, parts in pools.items()}
    bounds = label_bounds(shape, scene, pixel_size, profile)
    return {
        "shape": shape,
        "pixel_size": pixel_size,
        "dose": dose,
        "incident": scene.dose,
        "electrons_per_M": float(pool["electrons"].mean()),
        "f1": detection_scores(*counts)["f1"],
        **summarize_positions(pool),
        "x1_recall": float((pool["said"] == "X1")[pool["true"] == "X1"].mean()),
        "x2_recall": float((pool["said"] == "X2")[pool["true"] == "X2"].mean()),
        "n_x1": int((pool["true"] == "X1").sum()),
        "x1_bound": bounds[0],
        "x2_bound": bounds[1],
        "scores": np.column_stack([pool["score"], pool["said"] == pool["true"]]),
    }


def match_scene(atoms, scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows found and columns true of each match inside the border, and the counts for F1."""
    found = atoms[["y", "x"]].to_numpy()
    matches = match_points(found, scene.positions, 0.5)
    inner = ((scene.positions > BORDER) & (scene.positions < SIZE - BORDER)).all(axis=1)
    inner_found = ((found > BORDER) & (found < SIZE - BORDER)).all(axis=1)
    inner_found[matches.found] = inner[matches.true]
    keep = inner[matches.true]
    counts = np.array([keep.sum(), inner_found.sum(), inner.sum()])
    return matches.found[keep], matches.true[keep], counts


def find_misses(atoms, scene: Scene, found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Found minus true positions, Å, without what moves all alike."""
    miss = atoms[["y", "x"]].to_numpy()[found] - scene.positions[true]
    return miss - miss.mean(axis=0)


def summarize_positions(pool: dict[str, np.ndarray]) -> dict[str, float]:
    miss, stated = pool["miss"], pool["stated"]
    bias = [np.abs(miss[pool["true"] == label].mean(axis=0)).max() for label in ("M", "X2")]
    inside = np.mean(np.abs(miss) < stated, axis=0)
    return {
        "rms_pm": 100 * rms(miss),
        "joint_pm": 100 * rms(pool["joint"]),
        "over_joint": rms(miss) / rms(pool["joint"]),
        "over_joint_sd": bootstrap(miss, pool["joint"]),
        "own_over_joint": rms(pool["own_miss"]) / rms(pool["joint"]),
        "over_isolated": rms(miss) / rms(pool["isolated"]),
        "bias_pm": 100 * float(max(bias)),
        "inside_y": float(inside[0]),
        "inside_x": float(inside[1]),
        "slope": slope_of(miss, pool["planted"]),
        "own_slope": slope_of(pool["own_miss"], pool["own_planted"]),
        "ideal_slope": ideal_slope(pool["joint"]),
    }


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def slope_of(miss: np.ndarray, planted: np.ndarray) -> float:
    """How much of a planted displacement comes back: least squares through zero."""
    is_planted = np.isfinite(planted[:, 0])
    aim = planted[is_planted]
    return float((aim * (aim + miss[is_planted])).sum() / (aim**2).sum())


def ideal_slope(bound: np.ndarray) -> float:
    """Slope of the estimator of least error: it knows the lattice, and how columns were displaced.

    Posterior mean of displacements seen with the errors of the joint bound, (N, 2).
    """
    rng = np.random.default_rng(6)
    spread = bound.mean(axis=1)
    angle, length = rng.uniform(0, 2 * np.pi, len(bound)), rng.uniform(*PLANTED, len(bound))
    planted = length[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
    variance = (spread**2 + DISORDER**2)[:, None]
    seen = planted + np.sqrt(variance) * rng.standard_normal(planted.shape)
    lengths, angles = np.linspace(*PLANTED, 16), np.arange(24) / 24 * 2 * np.pi
    ring = np.column_stack([np.sin(angles), np.cos(angles)])
    places = (lengths[:, None, None] * ring).reshape(-1, 2)
    squares = (seen**2).sum(axis=1)[:, None] + (places**2).sum(axis=1) - 2 * seen @ places.T
    likely = np.exp(-squares / (2 * variance)) * PLANTED_SHARE / len(places)
    none = np.exp(-(seen**2).sum(axis=1) / (2 * variance[:, 0])) * (1 - PLANTED_SHARE)
    expected = likely @ places / (likely.sum(axis=1) + none)[:, None]
    guess = expected + DISORDER**2 / variance * (seen - expected)
    return float((planted * guess).sum() / (planted**2).sum())


def bootstrap(miss: np.ndarray, bound: np.ndarray) -> float:
    """Standard deviation of the ratio of the two rms over resampled columns."""
    rng = np.random.default_rng(5)
    rows = rng.integers(len(miss), size=(200, len(miss)))
    return float(np.std([rms(miss[r]) / rms(bound[r]) for r in rows]))


def label_bounds(
    shape: str, scene: Scene, pixel_size: float, profile: Profile
) -> tuple[float, float]:
    """Likelihood-ratio bound for X2 against X1 with known surroundings."""
    electrons = scene.counts[scene.labels == "X2"][0]
    axis = np.arange(-8, 9) * pixel_size * max(round(0.2 / pixel_size), 1)
    y, x = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    area = (axis[1] - axis[0]) ** 2
    metal = scene.counts[scene.labels == "M"][0]
    around = scene.background * area / pixel_size**2 + sum(
        metal * area * np.maximum(profile.evaluate(y - 1.824 * np.sin(a), x - 1.824 * np.cos(a)), 0)
        for a in np.deg2rad([0, 120, 240])
    )
    column = electrons * area * np.maximum(profile.evaluate(y, x), 0)
    return vacancy_bound(around + column, around + column / 2, VACANCIES, rng=3)


def pool_reliability(rows: list[dict]) -> list[list[float]]:
    from adatom.learn.evaluate import measure_reliability

    scores = np.concatenate([row["scores"] for row in rows])
    return measure_reliability(scores[:, 0], scores[:, 1] > 0).tolist()


def check(rows: list[dict]) -> list[str]:
    missed = []
    for row in rows:
        name, dose = f"{row['shape']} {row['pixel_size']} dose {row['dose']}", row["dose"]
        most = 1.1 if row["shape"] == "gaussian" else 1.3
        if dose >= 10 and row["f1"] < 0.995:
            missed.append(f"{name}: F1 {row['f1']:.4f}")
        if dose >= 30 and row["over_joint"] > most:
            missed.append(f"{name}: rms {row['over_joint']:.2f} of the bound")
        if dose < 30 and row["over_isolated"] > PEER[dose]:
            missed.append(f"{name}: {row['over_isolated']:.2f} of the isolated bound")
        if row["shape"] == "probe" and dose >= 30 and row["bias_pm"] > 1:
            missed.append(f"{name}: bias {row['bias_pm']:.2f} pm")
        if (
            not 0.60
            <= min(row["inside_x"], row["inside_y"])
            <= max(row["inside_x"], row["inside_y"])
            <= 0.76
        ):
            missed.append(f"{name}: inside 1σ {row['inside_x']:.2f}, {row['inside_y']:.2f}")
        if row["own_slope"] < 0.95:
            missed.append(f"{name}: slope {row['own_slope']:.2f} by itself")
        if row["slope"] < 0.95:
            missed.append(f"{name}: slope {row['slope']:.2f} with the lattice")
    return missed


if __name__ == "__main__":
    sys.exit(main())
