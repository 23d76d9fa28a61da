"""How far atoms vibrate, beside the literature: `python benchmarks/bench_vibrations.py`.

Follows sheets, sheets with vacancies and ribbons of MoS2 and graphene by molecular dynamics at 300
and 773 K, two seeds each, finds their normal modes, and prints the table beside what is published
(harmonic sheet: Stillinger-Weber; crystal: 3R, X-ray). Every run is kept in a folder: a stopped
benchmark continues there. `--write` puts the table into the package. Half an hour on one core
(`--material` follows one material only, to share the work); with `--quick`, which follows small
cells for a few picoseconds, under a minute.
"""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from ase import Atoms

import adatom.structures.vibrations
from adatom.core.errors import ConfigError
from adatom.core.materials import get_material
from adatom.core.random import make_child_rng
from adatom.structures.sheets import make_sheet
from adatom.structures.vibrations import count_neighbors
from adatom.theory.dynamics import DynamicsConfig, run_dynamics
from adatom.theory.harmonic import find_mode_amplitudes, harmonic_amplitudes, open_forces
from adatom.theory.potentials import CHGNET, REBO, Potential, choose_potential
from adatom.theory.vibrations import find_changed_bonds, measure_amplitudes, remove_motion

TEMPERATURES = (300, 773)
# A free edge of graphene ripples, and has no place to vibrate about: no ribbon of it.
KINDS = {"MoS2": ("sheet", "vacancies", "ribbon"), "graphene": ("sheet", "vacancies")}
# There the ribbon falls apart within 100 ps; its row is scaled from 300 K as the sheet's.
NOT_FOLLOWED = ("MoS2", "ribbon", 773)
# In which of them the atoms of an element and coordination are measured.
PLACES = {
    "MoS2": {
        ("Mo", 6): "sheet",
        ("Mo", 5): "vacancies",
        ("Mo", 4): "ribbon",
        ("S", 3): "sheet",
        ("S", 2): "ribbon",
    },
    "graphene": {("C", 3): "sheet", ("C", 2): "vacancies"},
}
CELL = (12, 6)  # rectangular cells along zigzag and armchair: the area of 12 x 12 hexagonal ones
SEED, N_SEEDS = 61, 2
CONFIGS = {
    "MoS2": DynamicsConfig(time=150, equilibration=10, time_step=0.002),
    "graphene": DynamicsConfig(time=100, equilibration=10, time_step=0.001),
}
REBO_CONFIG = DynamicsConfig(time=50, equilibration=5, time_step=0.002)
REBO_CELL, REBO_SEED = (8, 5), 5
QUICK = {"time": 4, "equilibration": 2, "interval": 0.05}
QUICK_CELL = (6, 3)
CELLS = ((4, 2), (6, 3), (12, 6), (18, 9))
NETWORK_CELL = (4, 2)
AXES = ("u2_in_plane", "u2_out_of_plane")
# Published of MoS2 in plane at 300 K (Å², and ratios), and how far from it counts as met.
PUBLISHED = {
    "Mo, quantum": (0.0036, 0.0036, 0.1, "harmonic sheet 0.0036, crystal 0.0048"),
    "S, quantum": (0.0063, 0.0063, 0.1, "harmonic sheet 0.0063, crystal 0.0038"),
    "Mo beside a vacancy / Mo": (1.21, 1.21, 0.08, "1.21"),
    "S facing a vacancy / S": (1.03, 1.03, 0.08, "1.03"),
}
WIDTHS = (3, 4, 6)  # rectangular cells of ribbons whose edges are set against their middle
COMPARED, MARGIN = 4, 0.08  # of these; how far from the published range counts as met
PUBLISHED_EDGES = {
    "Mo edge / middle": (1.7, 1.9),
    "second Mo row / middle": (1.1, 1.3),
    "S edge / middle": (1.6, 2.5),
    "second S row / middle": (1.1, 1.3),
}


class Run(NamedTuple):
    """What one run follows."""

    material: str
    kind: str
    temperature: int
    seed: int


def make_cell(material: str, kind: str, cell: tuple[int, int] = CELL) -> Atoms:
    """A sheet without edges, one with two single vacancies, or a ribbon with zigzag edges."""
    lattice = get_material(material).lattice
    width, height = cell[0] * lattice, cell[1] * 3**0.5 * lattice
    atoms = make_sheet(get_material(material), (height, width), offset=(0.1, 0.1))
    atoms.pbc = (True, kind != "ribbon", False)
    if kind == "vacancies":
        upper = np.flatnonzero(np.isclose(atoms.positions[:, 2], atoms.positions[:, 2].max()))
        places = atoms.positions[upper, :2]
        holes = [np.hypot(*(places - (width * p, height * p)).T).argmin() for p in (0.25, 0.75)]
        del atoms[upper[holes]]
    return atoms


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/vibrations"), help="kept runs")
    parser.add_argument("--material", choices=list(KINDS), help="follow it, and stop there")
    parser.add_argument("--quick", action="store_true", help="small cells, a few picoseconds")
    parser.add_argument("--write", action="store_true", help="put the table into the package")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    if options.write and options.quick:
        parser.error("--write needs the whole benchmark, without --quick")
    options.out.mkdir(parents=True, exist_ok=True)
    found = {run: follow(run, options.out, options.quick) for run in list_runs(options)}
    if options.material:
        return 0
    table = make_table(found, options.quick)
    print(table.drop(columns=["method"]).to_string(index=False, float_format="%.4g"), "\n")
    missed = compare(found, table) + compare_edges()
    figures = {"table": table.to_dict("records")}
    if options.quick:
        missed = []  # small cells do not vibrate as large ones
    else:
        compare_growth(options.out)
        figures["potentials"] = compare_potentials()
    figures["missed"] = missed
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    if options.write:
        folder = Path(adatom.structures.vibrations.__file__).parent
        table.to_csv(folder / adatom.structures.vibrations.TABLE, index=False, float_format="%.4g")
    print("missed:", "; ".join(missed) or "none")
    return int(bool(missed) and options.check)


def list_runs(options: argparse.Namespace) -> list[Run]:
    """All runs, those of the first seed first."""
    return [
        Run(material, kind, temperature, seed)
        for seed in range(1 if options.quick else N_SEEDS)
        for material in ([options.material] if options.material else KINDS)
        for temperature in (TEMPERATURES[:1] if options.quick else TEMPERATURES)
        for kind in KINDS[material]
        if (material, kind, temperature) != NOT_FOLLOWED
    ]


def follow(run: Run, folder: Path, quick: bool) -> tuple[np.ndarray, Atoms]:
    """Positions of one run, from its file if it is there, and the structure before it."""
    path = folder / f"{'quick_' * quick}{'_'.join(map(str, run))}.npz"
    start = make_cell(run.material, run.kind, QUICK_CELL if quick else CELL)
    if not path.exists():
        config = CONFIGS[run.material]
        config = config.model_copy(update=QUICK) if quick else config
        kinds = KINDS[run.material]
        keys = (list(KINDS).index(run.material), kinds.index(run.kind), run.temperature, run.seed)
        positions, relaxed = run_dynamics(
            start, run.temperature, config=config, rng=make_child_rng(SEED, *keys)
        )
        part = path.with_suffix(".part.npz")
        np.savez(part, positions=positions.astype(np.float32), cell=relaxed.cell.array)
        part.rename(path)
    with np.load(path) as file:
        cell = np.where(start.pbc[:, None], file["cell"], start.cell.array)
        start.set_cell(cell, scale_atoms=True)
        return file["positions"].astype(float), start


def make_table(found: dict, quick: bool) -> pd.DataFrame:
    """One row per material, temperature, element and coordination."""
    rows = []
    for material, places in PLACES.items():
        modes = {kind: find_modes(material, kind, quick) for kind in KINDS[material]}
        for temperature in sorted({run.temperature for run in found}):
            for (element, coordination), kind in places.items():
                row = {"material": material, "temperature": temperature, "element": element}
                row["coordination"] = coordination
                place = (material, kind, temperature)
                row |= measure(found, place, (element, coordination), quick)
                known = pick(modes[kind][temperature], element, coordination)
                row |= {f"harmonic_{name[3:]}": known[name] for name in AXES}
                row |= {name: known[name] for name in ("quantum_in_plane", "quantum_out_of_plane")}
                rows.append(row)
    return scale_missing(pd.DataFrame(rows))


def measure(found: dict, place: tuple[str, str, int], kind: tuple[str, int], quick: bool) -> dict:
    """What all seeds of one structure and temperature say of an element and coordination."""
    runs = {run: pair for run, pair in found.items() if run[:3] == place}
    if not runs:
        return {}
    values = [pick(measure_amplitudes(*pair), *kind) for pair in runs.values()]
    row = {}
    for name in AXES:
        row[name] = float(np.mean([value[name] for value in values]))
        row[f"{name}_err"] = find_error(values, name)
    name = choose_potential(make_cell(place[0], "sheet", QUICK_CELL)).name
    length = QUICK["time"] if quick else CONFIGS[place[0]].time
    cell = describe_cell(next(iter(runs.values()))[1])
    method = f"classical dynamics by {name}, {len(runs)} x {length:g} ps"
    return row | {"cell": f"{place[1]} {cell}", "method": method}


def scale_missing(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of what was not followed: from 300 K, growing as those of the sheet."""
    for index in table.index[table[AXES[0]].isna()]:
        material, temperature, element, coordination = table.loc[index].iloc[:4]
        same = table[(table["material"] == material) & (table["element"] == element)]
        cold, hot = (same[same["temperature"] == kelvin] for kelvin in (300, temperature))
        source = cold[cold["coordination"] == coordination].iloc[0]
        most = same["coordination"].max()
        for name in AXES:
            sheet = [rows.loc[rows["coordination"] == most, name].item() for rows in (cold, hot)]
            table.loc[index, name] = source[name] * sheet[1] / sheet[0]
            table.loc[index, f"{name}_err"] = source[f"{name}_err"] * sheet[1] / sheet[0]
        table.loc[index, "cell"] = source["cell"]
        table.loc[index, "method"] = "scaled from 300 K as the sheet"
    return table


def pick(table: pd.DataFrame, element: str, coordination: int) -> pd.Series:
    is_it = (table["element"] == element) & (table["coordination"] == coordination)
    return table[is_it].iloc[0]


def find_error(runs: list[pd.Series], name: str) -> float:
    """Standard error of the mean of all seeds: by blocks of time or between seeds, the larger."""
    blocks = np.sqrt(sum(run[f"{name}_err"] ** 2 for run in runs)) / len(runs)
    values = [run[name] for run in runs]
    between = np.std(values, ddof=1) / len(runs) ** 0.5 if len(runs) > 1 else 0
    return float(max(blocks, between))


def find_modes(material: str, kind: str, quick: bool) -> dict[int, pd.DataFrame]:
    cell = make_cell(material, kind, QUICK_CELL if quick else CELL)
    with open_forces(cell) as (relaxed, forces):
        return {
            kelvin: harmonic_amplitudes(relaxed, kelvin, forces=forces) for kelvin in TEMPERATURES
        }


def describe_cell(structure: Atoms) -> str:
    width, height = (
        structure.cell.lengths()[axis]
        if structure.pbc[axis]
        else np.ptp(structure.positions[:, axis])
        for axis in (0, 1)
    )
    return f"{width:.1f} x {height:.1f} A"


def compare(found: dict, table: pd.DataFrame) -> list[str]:
    """Print what is published beside it; name what is too far from it."""
    ratios = [find_ratios(found, seed) for seed in sorted({run.seed for run in found})]
    cold = table[(table["material"] == "MoS2") & (table["temperature"] == 300)]
    figures = {}
    for element, coordination in (("Mo", 6), ("S", 3)):
        row = pick(cold, element, coordination)
        size = row["quantum_in_plane"]
        figures[f"{element}, quantum"] = (
            row["u2_in_plane"] * size,
            row["u2_in_plane_err"] * size,
        )
    for name in ratios[0]:
        values = [ratio[name] for ratio in ratios]
        error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
        figures[name] = (float(np.mean(values)), float(error))
    print("MoS2 in plane at 300 K      here              published")
    missed = []
    for name, (value, error) in figures.items():
        low, high, margin, text = PUBLISHED[name]
        print(f"{name:27} {value:7.4f} ± {error:6.4f}  {text}")
        if not low * (1 - margin) <= value <= high * (1 + margin):
            missed.append(name)
    n_changed = {
        " ".join(map(str, run)): int(find_changed_bonds(*pair).sum()) for run, pair in found.items()
    }
    print(
        "atoms whose bonds changed:", {run: n for run, n in n_changed.items() if n} or "none", "\n"
    )
    return missed


def find_ratios(found: dict, seed: int) -> dict[str, float]:
    """In-plane displacements of one seed over those of the same element far from any defect."""
    positions, holed = found[Run("MoS2", "vacancies", 300, seed)]
    u2 = find_by_atom(positions, holed)
    coordination, places = count_neighbors(holed), holed.positions
    is_metal = holed.symbols == "Mo"
    is_upper = places[:, 2] > 1
    lower = np.flatnonzero(places[:, 2] < -1)
    upper = places[is_upper, :2]
    gaps = [np.hypot(*(upper - places[atom, :2]).T).min() for atom in lower]
    facing = lower[np.argsort(gaps)[-2:]]
    found_ratios = {
        "Mo beside a vacancy / Mo": u2[coordination == 5].mean()
        / u2[is_metal & (coordination == 6)].mean(),
        "S facing a vacancy / S": u2[facing].mean() / u2[~is_metal].mean(),
    }
    return {name: float(value) for name, value in found_ratios.items()}


def compare_edges() -> list[str]:
    """Print harmonic amplitudes at the edges of ribbons of several widths over their middle's."""
    names = list(PUBLISHED_EDGES)
    print(f"{'ribbon of MoS2, harmonic':27}" + "".join(f"{name:>24}" for name in names))
    missed = []
    for width in WIDTHS:
        start = make_cell("MoS2", "ribbon", (CELL[0], width))
        with open_forces(start) as (relaxed, forces):
            u2 = find_mode_amplitudes(relaxed, 300, forces=forces)[0, :, 0]
        values = []
        for element, step in (("Mo", 1), ("S", -1)):
            heights = start.positions[:, 1].round(2)
            chosen = start.symbols == element
            rows = [u2[chosen & (heights == y)].mean() for y in np.unique(heights[chosen])][::step]
            middle = np.mean(rows[width - 1 : width + 1])
            values += [rows[0] / middle, rows[1] / middle]
        print(f"{describe_cell(start):27}" + "".join(f"{value:24.2f}" for value in values))
        if width == COMPARED:
            limits = PUBLISHED_EDGES.values()
            missed += [
                name
                for name, value, (low, high) in zip(names, values, limits, strict=True)
                if not low * (1 - MARGIN) <= value <= high * (1 + MARGIN)
            ]
    published = (f"{low} to {high}" for low, high in PUBLISHED_EDGES.values())
    print(f"{'published':27}" + "".join(f"{text:>24}" for text in published), "\n")
    return missed


def find_by_atom(positions: np.ndarray, structure: Atoms) -> np.ndarray:
    """Mean square displacement in plane, per axis, of every atom, Å²."""
    return remove_motion(positions, structure).var(axis=0)[:, :2].mean(axis=1)


def compare_growth(folder: Path) -> None:
    """Print how edges grow from 300 to 773 K with a potential that holds them together."""
    tables = {}
    for temperature in TEMPERATURES:
        path = folder / f"REBO_ribbon_{temperature}.npz"
        start = make_cell("MoS2", "ribbon", REBO_CELL)
        if not path.exists():
            positions, _ = run_dynamics(
                start, temperature, config=REBO_CONFIG, potential=REBO, rng=REBO_SEED
            )
            np.savez(path, positions=positions.astype(np.float32))
        with np.load(path) as file:
            tables[temperature] = measure_amplitudes(file["positions"], start)
    cold, hot = tables.values()
    print("ribbon of MoS2 by REBO, in plane, 773 K over 300 K:")
    for (_, low), (_, high) in zip(cold.iterrows(), hot.iterrows(), strict=True):
        growth = high[AXES[0]] / low[AXES[0]]
        error = growth * np.hypot(*(row[f"{AXES[0]}_err"] / row[AXES[0]] for row in (low, high)))
        print(f"{low['element']}{low['coordination']} {growth:.2f} ± {error:.2f}")
    print()


def compare_potentials() -> list[dict]:
    """Print harmonic amplitudes of cells and potentials."""
    cases: list[tuple[str, str, tuple[int, int], Potential | None]] = [
        (material, "sheet", cell, None) for material in KINDS for cell in CELLS
    ]
    cases += [("MoS2", kind, CELL, REBO) for kind in KINDS["MoS2"]]
    if find_spec("chgnet") is not None:
        cases += [(material, "sheet", NETWORK_CELL, CHGNET) for material in KINDS]
    print("harmonic, classical, 300 K                    in plane   out of plane (Å²)")
    figures = []
    for material, kind, size, potential in cases:
        cell = make_cell(material, kind, size)
        name = (potential or choose_potential(cell)).name
        try:
            with open_forces(cell, potential) as (relaxed, forces):
                table = harmonic_amplitudes(relaxed, 300, forces=forces)
        except ConfigError as error:
            print(f"{material} {kind} {size} {name}: {error}")
            continue
        for row in table.to_dict("records"):
            atom = f"{row['element']}{row['coordination']}"
            label = f"{material} {kind} {size[0]}x{size[1]} {atom} {name}"
            print(f"{label:43}{row[AXES[0]]:11.5f}{row[AXES[1]]:11.4f}", flush=True)
            figures.append(
                {"material": material, "kind": kind, "cell": size, "potential": name} | row
            )
    return figures


if __name__ == "__main__":
    sys.exit(main())
