"""How far atoms vibrate: molecular dynamics, and mean square displacements by coordination."""

from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ConfigError
from adatom.core.progress import Report, ignore_progress
from adatom.core.random import make_rng
from adatom.structures.vibrations import count_neighbors
from adatom.theory.potentials import (
    Potential,
    choose_potential,
    find_box,
    open_lammps,
    read_cell,
    read_positions,
    relax_structure,
)

LARGEST_SEED = 899_999_999  # LAMMPS takes none above
N_REPORTS = 100


class DynamicsConfig(Config):
    """How long atoms are followed, and how."""

    time: float = Field(200.0, gt=0, description="Time that is measured, ps.")
    equilibration: float = Field(
        20.0, gt=0, description="Time to find the size of the cell, and again to forget it, ps."
    )
    interval: float = Field(0.1, gt=0, description="Time between two samples, ps.")
    time_step: float = Field(0.001, gt=0, le=0.005, description="Time step, ps.")
    damping: float = Field(1.0, gt=0, description="Time constant of the Langevin thermostat, ps.")


DEFAULT = DynamicsConfig()


def run_dynamics(
    structure: Atoms,
    temperature: float,
    *,
    config: DynamicsConfig = DEFAULT,
    potential: Potential | None = None,
    rng: np.random.Generator | int,
    report: Report = ignore_progress,
) -> tuple[np.ndarray, Atoms]:
    """Follow the atoms of a structure in time at a temperature.

    The structure is relaxed. Its periodic cell vectors in plane are let go at zero pressure and this
    temperature, and held at their mean from then on: a sheet is neither stretched nor buckled.

    Parameters
    ----------
    structure : Atoms
        A sheet, ribbon or flake normal to z, periodic where `pbc` says so; bonds across the
        boundary count.
    temperature : float
        K.
    config : DynamicsConfig
        Times.
    potential : Potential, optional
        Forces; if left out, the first of `POTENTIALS` that knows all elements.
    rng : Generator or int
        Draws velocities and kicks.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    positions : (T, N, 3) array
        Every atom at every sample, Å; continuous where atoms cross the boundary.
    structure : Atoms
        Relaxed structure in the cell of these positions.

    Raises
    ------
    ConfigError
        If no potential knows the elements, LAMMPS is not installed, the cell does not fit, or
        atoms fly away.

    Notes
    -----
    Langevin dynamics: T. Schneider & E. Stoll, Phys. Rev. B 17 (1978) 1302. A weak thermostat of
    this kind reaches equilibrium in every mode, which plain dynamics of stiff crystals does not.
    """
    if not temperature > 0:
        raise ConfigError(f"temperature: must be above 0 K (got {temperature})")
    potential = potential or choose_potential(structure)
    boxed = find_box(structure)
    seeds = make_rng(rng).integers(1, LARGEST_SEED, size=2)
    with open_lammps(boxed, potential) as program:
        report(0, 1, "relax")
        relaxed = relax_structure(program, boxed)
        program.commands_list(
            [
                "reset_timestep 0",
                f"timestep {config.time_step}",
                f"velocity all create {temperature} {seeds[0]} mom yes rot yes dist gaussian",
                f"fix bath all langevin {temperature} {temperature} {config.damping} {seeds[1]} "
                "zero yes",
            ]
        )
        try:
            _settle_cell(program, relaxed, config, report)
            positions = _sample(program, relaxed.positions, config, report)
        except Exception as error:
            if "lost" not in str(error).lower() and "range" not in str(error).lower():
                raise
            raise ConfigError(
                f"temperature: the structure does not hold together at {temperature} K ({error})"
            ) from error
        relaxed.set_cell(read_cell(program), scale_atoms=True)
    return positions, relaxed


def _settle_cell(program: Any, relaxed: Atoms, config: DynamicsConfig, report: Report) -> None:
    """Bring the periodic vectors in plane to their mean at zero pressure, and hold them."""
    free = [axis for axis in (0, 1) if relaxed.pbc[axis]]
    n_steps = round(config.equilibration / config.time_step)
    if free:
        report(0, 1, "find the size of the cell")
        couples = " ".join(f"{'xy'[axis]} 0.0 0.0 1.0" for axis in free)
        program.command(f"fix move all nph {couples}")
        cells = []
        for part in range(N_REPORTS):
            program.command(f"run {max(1, n_steps // N_REPORTS)} post no")
            report(part, N_REPORTS, "find the size of the cell")
            cells.append(read_cell(program))
        mean = np.mean(cells[N_REPORTS // 2 :], axis=0)
        change = " ".join(f"{'xy'[axis]} final 0.0 {mean[axis, axis]}" for axis in free)
        program.command("unfix move")
        program.command(f"change_box all {change} remap units box")
    program.command("fix move all nve")
    report(0, 1, "equilibrate")
    program.command(f"run {n_steps} post no")


def _sample(
    program: Any, start: np.ndarray, config: DynamicsConfig, report: Report
) -> np.ndarray:
    """Positions at every sample, each followed from the one before."""
    every = max(1, round(config.interval / config.time_step))
    n_samples = max(2, round(config.time / config.interval))
    positions = np.empty((n_samples, len(start), 3))
    last = start
    for sample in range(n_samples):
        program.command(f"run {every} pre {'no' if sample else 'yes'} post no")
        last = positions[sample] = read_positions(program, last)
        if sample % max(1, n_samples // N_REPORTS) == 0:
            report(sample, n_samples, "follow the atoms")
    return positions


def measure_amplitudes(
    positions: np.ndarray, structure: Atoms, *, n_blocks: int = 10
) -> pd.DataFrame:
    """Measure mean square displacements by element and coordination.

    Motion of the whole is taken out of every sample first: of its center of mass, and its turning
    about the periodic axis of a ribbon, or about all axes of what is not periodic at all.

    Parameters
    ----------
    positions : (T, N, 3) array
        Positions in time, Å, continuous; the sheet is normal to z.
    structure : Atoms
        Elements, masses, periodic directions, and the bonds that coordination is counted from.
    n_blocks : int
        Blocks of time for the errors, at least 2.

    Returns
    -------
    DataFrame
        One row per element and coordination: element, coordination, n_atoms, u2_in_plane (per
        axis), u2_out_of_plane, their standard errors u2_in_plane_err and u2_out_of_plane_err from
        blocks of time, and u2_in_plane_spread, u2_out_of_plane_spread: the standard deviation
        between the atoms of a row. All Å².

    Raises
    ------
    ConfigError
        If positions and structure do not fit, or there are fewer samples than blocks.

    Notes
    -----
    Errors by blocks: Flyvbjerg & Petersen, J. Chem. Phys. 91 (1989) 461. They hold if a block is
    longer than the slowest vibration; displacements are from the mean of all blocks.
    """
    positions = np.asarray(positions, float)
    if positions.ndim != 3 or positions.shape[1:] != (len(structure), 3):
        raise ConfigError(
            f"positions: must have the shape (T, {len(structure)}, 3) (got {positions.shape})"
        )
    if not 2 <= n_blocks <= len(positions):
        raise ConfigError(
            f"n_blocks: must be from 2 to the number of samples, {len(positions)} (got {n_blocks})"
        )
    fixed = remove_motion(positions, structure)
    squares = (fixed - fixed.mean(axis=0)) ** 2
    blocks = np.stack([block.mean(axis=0) for block in np.array_split(squares, n_blocks)])
    both = np.stack([blocks[..., :2].mean(axis=-1), blocks[..., 2]], axis=-1)  # (block, atom, 2)
    return tabulate_amplitudes(both, structure)


def tabulate_amplitudes(blocks: np.ndarray, structure: Atoms) -> pd.DataFrame:
    """Average mean square displacements over the atoms of each element and coordination.

    Parameters
    ----------
    blocks : (B, N, 2) array
        Mean square displacement in plane (per axis) and out of plane, by block of time and atom,
        Å². One block has no error (NaN).
    structure : Atoms
        The atoms.

    Returns
    -------
    DataFrame
        As of `measure_amplitudes`.
    """
    coordination = count_neighbors(structure)
    symbols = np.array(structure.symbols)
    rows = []
    for element, number in sorted(set(zip(symbols.tolist(), coordination.tolist(), strict=True))):
        chosen = blocks[:, (symbols == element) & (coordination == number)]
        row = {"element": element, "coordination": number, "n_atoms": chosen.shape[1]}
        for axis, name in enumerate(("u2_in_plane", "u2_out_of_plane")):
            in_time = chosen[..., axis].mean(axis=1)
            row[name] = in_time.mean()
            row[f"{name}_err"] = (
                in_time.std(ddof=1) / len(in_time) ** 0.5 if len(in_time) > 1 else np.nan
            )
            row[f"{name}_spread"] = chosen[..., axis].mean(axis=0).std()
        rows.append(row)
    return pd.DataFrame(rows)


def remove_motion(positions: np.ndarray, structure: Atoms) -> np.ndarray:
    """Take shifts and free turns of the whole out of every sample.

    Parameters
    ----------
    positions : (T, N, 3) array
        Positions in time, Å.
    structure : Atoms
        Masses, and periodic directions: a ribbon turns about its axis, a flake about all three, a
        sheet not at all.

    Returns
    -------
    (T, N, 3) array
        Positions about the center of mass, turned to fit their mean, Å.

    Notes
    -----
    Best turn by singular values: W. Kabsch, Acta Cryst. A 32 (1976) 922.
    """
    weights = structure.get_masses() / structure.get_masses().sum()
    centered = positions - np.einsum("tni,n->ti", positions, weights)[:, None]
    periodic = np.flatnonzero(structure.pbc)
    if len(periodic) > 1:
        return centered
    turning = np.setdiff1d(np.arange(3), periodic)
    flat = centered[..., turning]
    reference = flat[0]
    for _ in range(2):  # first to a sample, then to the mean that this gives
        product = np.einsum("tni,n,nj->tij", flat, weights, reference)
        left, _, right = np.linalg.svd(product)
        left[..., -1] *= np.sign(np.linalg.det(left @ right))[:, None]
        turned = flat @ (left @ right)
        reference = turned.mean(axis=0)
    centered[..., turning] = turned
    return centered
