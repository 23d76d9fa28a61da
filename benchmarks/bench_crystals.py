"""HAADF of crystals: columns by multislice and the linear model against frozen phonons.

`python benchmarks/bench_crystals.py`: SrTiO3 [001] and Si [110] at 300 kV, boxes of 11 Å, the mean
over their cells. At four points of SrTiO3 abTEM stands beside it, on three grids.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms

from adatom.optics.microscope import Microscope
from adatom.simulate.beams import scan_planes
from adatom.simulate.channeling import CrystalLens, slice_crystal
from adatom.simulate.columns import Setting
from adatom.simulate.linear import simulate_shapes
from adatom.simulate.multislice import make_grid, project_potential
from adatom.simulate.scattering import probe_transfer
from adatom.structures.crystals import PROJECTIONS, Projection

VIBRATION = 0.08  # Å per axis
SCOPE = Microscope(energy_eV=300e3, semi_angle=21, inner_angle=60, outer_angle=150, source_size=0.0)
PIXEL = 0.043  # Å: holds 150 mrad
CASES = {"SrTiO3 [001]": (3, 3), "Si [110]": (2, 3)}  # cells along a and b
DEPTHS = (6, 13)  # periods
LIFT = np.array([0, 0, 1e-3])  # off the border of abTEM's slices, Å
POINTS = {"Sr": (0, 0), "Ti": (0.5, 0.5), "O": (0.5, 0), "hollow": (0.25, 0.25)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=12, help="frozen phonons")
    parser.add_argument("--quick", action="store_true", help="one thin crystal, four draws")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 if points are as good")
    options = parser.parse_args()
    figures, missed = {}, []
    for name, repeats in list(CASES.items())[: 1 if options.quick else None]:
        for depth in DEPTHS[: 1 if options.quick else None]:
            figures[f"{name}, {depth} periods"] = row = compare(
                PROJECTIONS[name], repeats, depth, 4 if options.quick else options.draws
            )
            if not row["columns by multislice"] < row["points, strengths and background fitted"]:
                missed.append(f"{name}, {depth} periods")
            print(f"{name}, {depth} periods:", flush=True)
            for key, value in row.items():
                print(f"    {key:44} {value:.4f}", flush=True)
    if not options.quick:
        figures["points"] = compare_points(options.draws)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    print("columns by multislice no better than points:", "; ".join(missed) or "nowhere")
    return int(options.check and bool(missed))


def make_box(projection: Projection, repeats: tuple[int, int], depth: int) -> Atoms:
    a, b, _ = projection.cell
    places = np.array([place for _, *place in projection.atoms]) * (a, b, projection.period)
    numbers = [atom[0] for atom in projection.atoms]
    cell = Atoms(numbers, places + LIFT, cell=(a, b, projection.period), pbc=True)
    return cell.repeat((*repeats, depth))


def shake(box: Atoms, rng: np.random.Generator) -> Atoms:
    moved = box.copy()
    moved.positions[:, :2] += VIBRATION * rng.standard_normal((len(box), 2))
    return moved


def find_layers(box: Atoms) -> list[np.ndarray]:
    heights = box.positions[:, 2].round(3)
    return [np.flatnonzero(heights == height) for height in np.unique(heights)]


def fold(image: np.ndarray, repeats: tuple[int, int]) -> np.ndarray:
    """The mean over the cells of a box."""
    keep = [
        np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) % cells == 0
        for n, cells in zip(image.shape, repeats[::-1], strict=True)
    ]
    return np.fft.ifft2(np.fft.fft2(image) * np.outer(*keep)).real


def compare(projection: Projection, repeats: tuple[int, int], depth: int, n_draws: int) -> dict:
    """Errors of one crystal of one thickness, rms over the contrast."""
    box = make_box(projection, repeats, depth)
    layers, grid, rng = find_layers(box), make_grid(box, PIXEL), np.random.default_rng(1)
    draws = []
    start = time.perf_counter()
    for _ in range(n_draws):
        moved = shake(box, rng)
        place = (moved.positions, moved.numbers, layers, grid, SCOPE)
        draws.append(fold(scan_planes(*place, projected=project_potential), repeats))
    row = {"seconds, a frozen phonon": (time.perf_counter() - start) / n_draws}
    known = np.mean(draws, axis=0)
    row["noise of the mean"] = (draws - known).std() / np.sqrt(n_draws - 1) / known.std()
    row["one draw, mean over its cells"] = np.mean([(d - known).std() for d in draws]) / known.std()
    setting = Setting(300e3, 21.0, 60.0, 150.0)
    start = time.perf_counter()
    thickness = (depth - 0.01) * projection.period
    response = slice_crystal(setting, projection, VIBRATION, thickness)
    row["seconds, columns, first time"] = time.perf_counter() - start
    start = time.perf_counter()
    lens = CrystalLens(response, SCOPE, grid.length, 0.0)
    shapes = [lens.image(modes[-1]) for modes in response.modes]
    image = add_columns(projection, repeats, shapes, known.shape)
    row["seconds, columns"] = time.perf_counter() - start
    row["columns by multislice"] = (image - known).std() / known.std()
    row["columns, electrons over those of the mean"] = image.mean() / known.mean()
    point = [probe_transfer(SCOPE, grid.length, vibration=VIBRATION)] * len(shapes)
    kinds = sorted({column[0] for column in projection.columns})
    images = [add_columns(projection, repeats, point, known.shape, kind).ravel() for kind in kinds]
    design = np.column_stack([*images, np.ones(known.size)])
    weights, *_ = np.linalg.lstsq(design, known.ravel(), rcond=None)
    row["points, strengths and background fitted"] = (
        known.ravel() - design @ weights
    ).std() / known.std()
    return {key: float(value) for key, value in row.items()}


def add_columns(
    projection: Projection, repeats: tuple[int, int], shapes: list, shape: tuple[int, ...], kind=0
) -> np.ndarray:
    """The sum of the columns of a box and around it; of one element, if it is named."""
    a, b, _ = projection.cell
    parts = []
    for (number, _, x, y), transfer in zip(projection.columns, shapes, strict=True):
        if kind not in (0, number):
            continue
        axes = [np.arange(-3, n + 3) for n in repeats[::-1]]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
        places = (places + np.array([y, x])) * (b, a)
        near = ((places > -7) & (places < np.array(repeats[::-1]) * (b, a) + 7)).all(axis=1)
        parts.append((places[near], np.ones(near.sum()), transfer))
    rows, columns = (
        np.arange(n) * side * cells / n
        for n, side, cells in zip(shape, (b, a), repeats[::-1], strict=True)
    )
    return simulate_shapes(parts, (rows, 0 * rows), columns)


def compare_points(n_draws: int) -> dict:
    """Share of the beam on the detector at four points of SrTiO3, by planes and by abTEM."""
    import abtem

    projection, repeats, depth = PROJECTIONS["SrTiO3 [001]"], CASES["SrTiO3 [001]"], DEPTHS[-1]
    box, side = make_box(projection, repeats, depth), projection.cell[0]
    cells = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), -1).reshape(-1, 1, 2)
    points = (cells + np.array(list(POINTS.values()))) * side

    def say(name: str, values: np.ndarray) -> list[float]:
        error = values.std(0) / np.sqrt(len(values) - 1)
        told = zip(POINTS, values.mean(0), error, strict=True)
        print(f"{name:22}", *(f"{p} {v:.4f} ± {e:.4f}" for p, v, e in told), flush=True)
        return values.mean(0).tolist()

    rng, draws = np.random.default_rng(1), []
    layers, grid = find_layers(box), make_grid(box, PIXEL)
    for _ in range(n_draws):
        moved = shake(box, rng)
        place = (moved.positions, moved.numbers, layers, grid, SCOPE)
        spectrum = np.fft.fft2(scan_planes(*place, projected=project_potential), norm="forward")
        n = len(spectrum)
        k = np.fft.fftfreq(n, 1 / n) / (repeats[0] * side)
        to_y, to_x = (np.exp(2j * np.pi * points[..., axis, None] * k) for axis in (1, 0))
        seen = np.einsum("cpy,yx,cpx->cp", to_y, spectrum, to_x).real
        draws.append(seen.mean(0))
    found = {"planes": say("planes", np.array(draws))}
    for pixel in (0.043, 0.03, 0.02):
        rng, draws = np.random.default_rng(1), []
        pixels = 2 * round(repeats[0] * side / pixel / 2)
        for _ in range(n_draws if pixel > 0.025 else n_draws // 3):
            with warnings.catch_warnings(), abtem.config.set({"diagnostics.progress_bar": False}):
                warnings.simplefilter("ignore")
                slices = abtem.Potential(
                    shake(box, rng), gpts=(pixels, pixels), slice_thickness=projection.period / 2
                )
                probe = abtem.Probe(semiangle_cutoff=21, energy=300e3)
                scan = abtem.CustomScan(points.reshape(-1, 2))
                detector = abtem.AnnularDetector(60, 150 if pixel < 0.04 else 149)
                seen = probe.scan(slices, scan=scan, detectors=detector, lazy=False)
            draws.append(np.asarray(seen.array).reshape(len(cells), -1).mean(0))
        found[f"abTEM {pixel:g}"] = say(f"abTEM, {pixel:g} Å", np.array(draws))
    return found


if __name__ == "__main__":
    sys.exit(main())
