"""Forces by the network CHGNet, for elements that no potential of LAMMPS knows; its only door."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.optimize import FIRE

from adatom.core.errors import ConfigError
from adatom.core.progress import Report
from adatom.theory.potentials import INSTALL

LARGEST_FORCE = 0.005  # eV/Å, of a relaxed structure
N_RELAX = 500


@contextmanager
def attach_chgnet(structure: Atoms) -> Iterator[Atoms]:
    """Give a structure the forces of CHGNet, relaxed, as long as the context lasts.

    Parameters
    ----------
    structure : Atoms
        In a cell of its own, as `find_box` returns it.

    Yields
    ------
    Atoms
        At the nearest minimum, cell in plane relaxed where periodic, with ASE's calculator.

    Raises
    ------
    ConfigError
        If CHGNet is not installed, or the structure does not relax.

    Notes
    -----
    B. Deng et al., Nature Machine Intelligence 5 (2023) 1031. Its weights come with it.
    """
    try:
        from chgnet.model.dynamics import CHGNetCalculator
        from chgnet.model.model import CHGNet
    except ImportError as error:
        raise ConfigError(
            f"structure: its elements need CHGNet, which is not installed ({INSTALL})"
        ) from error
    relaxed = structure.copy()
    relaxed.pbc = True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Converting a tensor with requires_grad", UserWarning)
        with redirect_stdout(io.StringIO()):  # CHGNet greets there
            network = CHGNet.load(verbose=False, use_device="cpu")
            relaxed.calc = CHGNetCalculator(network, use_device="cpu")
        in_plane = [bool(structure.pbc[0]), bool(structure.pbc[1]), False, False, False, False]
        moving = FrechetCellFilter(relaxed, mask=in_plane) if any(in_plane) else relaxed
        if not FIRE(moving, logfile=None).run(fmax=LARGEST_FORCE, steps=N_RELAX):
            raise ConfigError(
                f"structure: does not relax to forces below {LARGEST_FORCE} eV/Å in {N_RELAX} steps"
            )
    relaxed.pbc = structure.pbc
    yield relaxed


def find_network_forces(relaxed: Atoms, positions: np.ndarray) -> np.ndarray:
    """Forces on the atoms at given positions.

    Parameters
    ----------
    relaxed : Atoms
        With its calculator, as `attach_chgnet` yields it.
    positions : (N, 3) array
        Å.

    Returns
    -------
    (N, 3) array
        eV/Å.
    """
    moved = relaxed.copy()
    moved.positions, moved.pbc, moved.calc = positions, True, relaxed.calc
    return np.asarray(moved.get_forces(), float)


def run_langevin(
    relaxed: Atoms,
    temperature: float,
    rng: np.random.Generator,
    *,
    time_step: float,
    damping: float,
    n_equilibrate: int,
    every: int,
    n_samples: int,
    report: Report,
) -> np.ndarray:
    """Follow the atoms by Langevin dynamics in a fixed cell.

    Parameters
    ----------
    relaxed : Atoms
        With its calculator, as `attach_chgnet` yields it.
    temperature : float
        K.
    rng : Generator
        Draws velocities and kicks.
    time_step, damping : float
        Time step and time constant of the thermostat, ps.
    n_equilibrate, every, n_samples : int
        Steps that are not measured, steps between two samples, samples.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    (T, N, 3) array
        Positions, Å; not wrapped into the cell.
    """
    moving = relaxed.copy()
    moving.pbc, moving.calc = True, relaxed.calc
    spread = np.sqrt(units.kB * temperature * moving.get_masses())[:, None]
    moving.set_momenta(spread * rng.standard_normal((len(moving), 3)))
    motion = Langevin(
        moving,
        timestep=1000 * time_step * units.fs,
        temperature_K=temperature,
        friction=1 / (1000 * damping * units.fs),
        fixcm=False,
        rng=rng,
    )
    positions = np.empty((n_samples, len(moving), 3))
    done = 0
    for steps, sample in [(n_equilibrate, None), *((every, n) for n in range(n_samples))]:
        report(done, n_samples, "equilibrate" if sample is None else "follow the atoms")
        motion.run(steps)
        if sample is not None:
            positions[sample] = moving.positions
            done += 1
    return positions
