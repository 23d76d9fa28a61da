"""Seconds per megapixel of `find_atoms` with torch and with OpenVINO.

Beside them, in the same run: one bare pass of the same network in float32 eager, as a notebook
would run it, and a fit of every atom by `scipy.optimize.curve_fit`.
"""

import argparse
import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import curve_fit

import adatom
from adatom.detect.predict import predict_classes
from adatom.networks.model import build_network
from bench_time import PIXEL, make_image

N_FITTED = 300
REACH = 5  # pixels around an atom that curve_fit sees
GOAL = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="haadf-mx2")
    parser.add_argument("--quick", action="store_true", help="512² only")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where the goal is missed")
    options = parser.parse_args()
    fast = adatom.load_model(options.model)
    plain = replace(fast, compiled=None)
    if fast.compiled is None:
        print("OpenVINO is not installed here, or disagrees: its columns repeat those of torch.")
    eager = build_network(fast.card).eval()
    eager.load_state_dict(fast.network.state_dict())
    print("seconds per megapixel; in brackets over the eager pass")
    head = ("size", "columns", "eager", "torch net", "OpenVINO net", "all, torch", "all, OpenVINO")
    print("  ".join(f"{name:>14}" for name in (*head, "curve_fit")))
    rows = []
    for size in (512,) if options.quick else (512, 1024, 2048):
        image = make_image(size)
        values = np.ascontiguousarray(image.values)
        batch = torch.from_numpy(values)[None, None]
        atoms = adatom.find_atoms(image, fast)
        figures = time_by_turns(
            {
                "eager": lambda batch=batch: run_eager(eager, batch),
                "torch net": lambda values=values: predict_classes(values, plain.network),
                "OpenVINO net": lambda values=values: predict_classes(
                    values, fast.network, compiled=fast.compiled
                ),
                "all, torch": lambda image=image: adatom.find_atoms(image, plain),
                "all, OpenVINO": lambda image=image: adatom.find_atoms(image, fast),
            },
            n_turns=3 if size > 1024 else 6,
        )
        figures["curve_fit"] = time_curve_fit(values, atoms[["y", "x"]].to_numpy() / PIXEL)
        row = {name: seconds * 1e6 / size**2 for name, seconds in figures.items()}
        rows.append({"size": size, "columns": len(atoms), **row})
        cells = [f"{v:.2f} ({v / row['eager']:.2f})" for v in row.values()]
        print("  ".join(f"{cell:>14}" for cell in (size, len(atoms), *cells)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    worst = max(row["all, OpenVINO"] / row["eager"] for row in rows)
    return int(options.check and worst > GOAL)


def time_by_turns(tasks: dict[str, Callable[[], object]], n_turns: int) -> dict[str, float]:
    """Shortest time of each task, s; they take turns, so that a busy machine is fair to all."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(n_turns):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return {name: min(found) for name, found in times.items()}


def run_eager(network: torch.nn.Module, batch: torch.Tensor) -> None:
    with torch.inference_mode():
        torch.softmax(network(batch), dim=1)


def time_curve_fit(values: np.ndarray, places: np.ndarray) -> float:
    """Seconds for all atoms, from the first few hundred: a Gaussian on a level, each atom alone."""
    inside = ((places > REACH) & (places < np.array(values.shape) - REACH - 1)).all(axis=1)
    some = places[inside][:N_FITTED]
    grid = np.stack(np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]).reshape(2, -1)
    start = time.perf_counter()
    for place in some:
        top, left = np.round(place).astype(int) - REACH
        side = 2 * REACH + 1
        seen = values[top : top + side, left : left + side].ravel()
        guess = (np.ptp(seen), *(place - np.round(place)), 0.42 / PIXEL, seen.min())
        # It does not always converge.
        with warnings.catch_warnings(), contextlib.suppress(RuntimeError):
            warnings.simplefilter("ignore")
            curve_fit(gaussian, grid, seen, guess)
    return (time.perf_counter() - start) / len(some) * len(places)


def gaussian(grid: np.ndarray, *parameters: float) -> np.ndarray:
    height, y, x, sigma, level = parameters
    square = (grid[0] - y) ** 2 + (grid[1] - x) ** 2
    return height * np.exp(-square / (2 * sigma**2)) + level


if __name__ == "__main__":
    sys.exit(main())
