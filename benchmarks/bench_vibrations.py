"""How far atoms vibrate, beside the literature: `python benchmarks/bench_vibrations.py`.

Follows sheets, sheets with vacancies and ribbons of MoS2 and graphene by molecular dynamics at 300
and 773 K, several seeds each, and finds their normal modes. Every run is kept in a folder, and a
stopped benchmark continues there; runs that exist are only measured anew. `--write` puts the table
into the package. About an hour on one core; with `--quick`, which follows one cell of each for a
few picoseconds and writes nothing, under a minute.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms

from adatom.core.materials import get_material
from adatom.core.random import make_child_rng
from adatom.structures.sheets import make_sheet
from adatom.theory.vibrations import DynamicsConfig, run_dynamics

TEMPERATURES = (300, 773)
KINDS = ("sheet", "vacancies", "ribbon")
CELL = (12, 6)  # rectangular cells along zigzag and armchair: the area of 12 x 12 hexagonal ones
SEED, N_SEEDS = 61, 3
CONFIGS = {
    "MoS2": DynamicsConfig(time=400, time_step=0.002),
    "graphene": DynamicsConfig(time=200, time_step=0.001),
}
QUICK = {"time": 4, "equilibration": 2, "interval": 0.05}


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


def follow(material: str, kind: str, temperature: int, seed: int, folder: Path, quick: bool):
    """Positions of one run, from its file if it is there."""
    path = folder / f"{material}_{kind}_{temperature}_{seed}{'_quick' * quick}.npz"
    start = make_cell(material, kind, (6, 3) if quick else CELL)
    if not path.exists():
        config = CONFIGS[material]
        config = config.model_copy(update=QUICK) if quick else config
        keys = (list(CONFIGS).index(material), KINDS.index(kind), temperature, seed)
        positions, relaxed = run_dynamics(
            start, temperature, config=config, rng=make_child_rng(SEED, *keys)
        )
        part = path.with_suffix(".part.npz")
        np.savez(part, positions=positions.astype(np.float32), cell=relaxed.cell.array)
        part.rename(path)
    with np.load(path) as file:
        start.set_cell(file["cell"])
        return file["positions"].astype(float), start
