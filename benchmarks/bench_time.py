"""Time of the whole of `find_atoms` over the bare network pass on the same image."""

import argparse
import cProfile
import json
import pstats
import sys
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import adatom
from adatom.core.random import make_child_rng
from adatom.optics.microscope import haadf_cross_section
from adatom.simulate.linear import gaussian_transfer, simulate_linear
from adatom.structures.edits import remove_chalcogens
from adatom.structures.projection import project_columns
from adatom.structures.sheets import make_sheet
from bench_detect import MOS2, SCOPE, SIGMA

TILE, PIXEL = 512, 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="haadf-mx2")
    parser.add_argument("--quick", action="store_true", help="512² only")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    model = adatom.load_model(options.model)
    rows = []
    print("size   columns  network s  find_atoms s  ratio")
    for size in (512,) if options.quick else (512, 1024, 2048):
        image = make_image(size)
        whole, bare, n = [], [], 0
        for _ in range(3 if size > 1024 else 5):
            start = time.perf_counter()
            n = len(adatom.find_atoms(image, model))
            whole.append(time.perf_counter() - start)
            bare.append(time_network(image.values, model))
        rows.append(
            {
                "size": size,
                "n": n,
                "network": min(bare),
                "all": min(whole),
                "ratio": min(whole) / min(bare),
            }
        )
        print(f"{size:5}{n:9}{min(bare):10.3f}{min(whole):13.3f}{rows[-1]['ratio']:8.2f}")
    profile = cProfile.Profile()
    profile.runcall(adatom.find_atoms, make_image(512), model)
    pstats.Stats(profile).sort_stats("cumulative").print_stats("adatom", 18)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    return int(options.check and max(row["ratio"] for row in rows) > 1.5)


def time_network(values: np.ndarray, model: adatom.Model) -> float:
    """One pass of the network alone, in the same memory format."""
    batch = torch.from_numpy(values)[None, None].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        start = time.perf_counter()
        model.network(batch)
        return time.perf_counter() - start


def make_image(size: int) -> xr.DataArray:
    """MoS2 at a dose of 30, from blocks of 512² of different orientation."""
    rng = make_child_rng(12, size)
    image = np.empty((size, size), np.float32)
    line = np.arange(TILE) * PIXEL
    extent = (TILE * PIXEL,) * 2
    transfer = gaussian_transfer(extent, [(1.0, SIGMA**2 * np.eye(2), (0.0, 0.0))])
    for top in range(0, size, TILE):
        for left in range(0, size, TILE):
            sheet = make_sheet(MOS2, extent, angle=rng.uniform(0, 360))
            sheet = remove_chalcogens(sheet, 0.04, rng)
            columns, column = project_columns(sheet)
            strength = np.bincount(column, haadf_cross_section(sheet.numbers, SCOPE, 1.7))
            block = simulate_linear(
                columns[["y", "x"]].to_numpy(), strength, transfer, (line, 0 * line), line
            )
            image[top : top + TILE, left : left + TILE] = block
    counts = rng.poisson(np.maximum(image / image.max() + 0.1, 0) * 30).astype(np.float32)
    coords = {name: (name, np.arange(size) * PIXEL, {"units": "angstrom"}) for name in ("y", "x")}
    return xr.DataArray(counts, dims=("y", "x"), coords=coords, attrs={"units": "electrons"})


if __name__ == "__main__":
    sys.exit(main())
