"""Molecular dynamics: atoms followed in time at a temperature."""

from typing import Any

import numpy as np
from ase import Atoms
from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ConfigError
from adatom.core.progress import Report, ignore_progress
from adatom.core.random import make_rng
from adatom.theory.lammps import open_lammps, read_cell, read_positions, relax_structure
from adatom.theory.potentials import CHGNET, Potential, choose_potential, find_box

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

    @property
    def n_samples(self) -> int:
        """Samples that are measured."""
        return max(2, round(self.time / self.interval))

    @property
    def n_between(self) -> int:
        """Steps from one sample to the next."""
        return max(1, round(self.interval / self.time_step))


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

    The structure is relaxed. With LAMMPS its periodic cell vectors in plane are then let go at zero
    pressure and this temperature, and held at their mean from then on, so that a sheet is neither
    stretched nor buckled; with CHGNet they stay as relaxed.

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
        If no potential knows the elements, the program that it needs is not installed, or the
        cell does not fit.

    Notes
    -----
    Langevin dynamics: T. Schneider & E. Stoll, Phys. Rev. B 17 (1978) 1302. A weak thermostat of
    this kind reaches equilibrium in every mode, which plain dynamics of stiff crystals does not.
    """
    if not temperature > 0:
        raise ConfigError(f"temperature: must be above 0 K (got {temperature})")
    potential = potential or choose_potential(structure)
    boxed = find_box(structure)
    if potential == CHGNET:
        return _follow_by_network(boxed, temperature, config, make_rng(rng), report)
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
        _settle_cell(program, relaxed, config, report)
        positions = _sample(program, relaxed.positions, config, report)
        relaxed.set_cell(read_cell(program), scale_atoms=True)
    return positions, relaxed


def _follow_by_network(
    boxed: Atoms,
    temperature: float,
    config: DynamicsConfig,
    rng: np.random.Generator,
    report: Report,
) -> tuple[np.ndarray, Atoms]:
    from adatom.theory.chgnet import attach_chgnet, run_langevin

    report(0, 1, "relax")
    with attach_chgnet(boxed) as relaxed:
        positions = run_langevin(
            relaxed,
            temperature,
            rng,
            time_step=config.time_step,
            damping=config.damping,
            n_equilibrate=round(config.equilibration / config.time_step),
            every=config.n_between,
            n_samples=config.n_samples,
            report=report,
        )
        return positions, relaxed.copy()


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
        change += f" xy final {mean[1, 0]}" if len(free) == 2 else ""
        program.command("unfix move")
        program.command(f"change_box all {change} remap units box")
    program.command("fix move all nve")
    report(0, 1, "equilibrate")
    program.command(f"run {n_steps} post no")


def _sample(program: Any, start: np.ndarray, config: DynamicsConfig, report: Report) -> np.ndarray:
    """Positions at every sample, each followed from the one before."""
    n_samples = config.n_samples
    positions = np.empty((n_samples, len(start), 3))
    last = start
    for sample in range(n_samples):
        program.command(f"run {config.n_between} pre {'no' if sample else 'yes'} post no")
        last = positions[sample] = read_positions(program, last)
        if sample % max(1, n_samples // N_REPORTS) == 0:
            report(sample, n_samples, "follow the atoms")
    return positions
