"""Amplitudes from normal modes: a check of the dynamics, and what quantum mechanics adds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import pandas as pd
from ase import Atoms, units

from adatom.core.errors import ConfigError
from adatom.core.progress import Report, ignore_progress
from adatom.theory.lammps import find_forces, open_lammps, relax_structure
from adatom.theory.potentials import CHGNET, Potential, choose_potential, find_box
from adatom.theory.vibrations import tabulate_amplitudes

STEP = 0.01  # Å, of the finite differences
FLAT = 1e-6  # of the stiffest mode: one below it has no restoring force
PLANCK = units._hbar * units.J * units.s  # reduced, in eV, Å and atomic mass units

Forces = Callable[[np.ndarray], np.ndarray]


@contextmanager
def open_forces(
    structure: Atoms, potential: Potential | None = None
) -> Iterator[tuple[Atoms, Forces]]:
    """Relax a structure and give the forces on its atoms, for `harmonic_amplitudes`.

    Parameters
    ----------
    structure : Atoms
        A sheet, ribbon or flake normal to z, periodic where `pbc` says so.
    potential : Potential, optional
        Forces; if left out, the first of `POTENTIALS` that knows all elements.

    Yields
    ------
    structure : Atoms
        At the nearest minimum; atoms and cell in plane relaxed.
    forces : callable
        Forces (eV/Å) from positions (Å), both (N, 3); while the context lasts.

    Raises
    ------
    ConfigError
        If no potential knows the elements, the program that it needs is not
        installed, or the cell does not fit.
    """
    boxed = find_box(structure)
    potential = potential or choose_potential(structure)
    if potential == CHGNET:
        from adatom.theory.chgnet import attach_chgnet, find_network_forces

        with attach_chgnet(boxed) as relaxed:
            yield relaxed, partial(find_network_forces, relaxed)
        return
    with open_lammps(boxed, potential) as program:
        yield relax_structure(program, boxed), partial(find_forces, program)


def harmonic_amplitudes(
    structure: Atoms,
    temperature: float,
    *,
    forces: Forces,
    report: Report = ignore_progress,
) -> pd.DataFrame:
    """Mean square displacements of normal modes by element and coordination.

    Parameters
    ----------
    structure : Atoms
        A structure at a minimum of its energy, such as `open_forces` gives.
    temperature : float
        K.
    forces : callable
        Forces (eV/Å) from positions (Å), both (N, 3).
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    DataFrame
        One row per element and coordination: element, coordination, n_atoms, u2_in_plane (per
        axis) and u2_out_of_plane of classical vibrations (Å²), and quantum_in_plane and
        quantum_out_of_plane: the mean square displacement by quantum mechanics over these.

    Raises
    ------
    ConfigError
        If the structure is at no minimum, so that a mode has no restoring force.
    """
    by_atom = find_mode_amplitudes(structure, temperature, forces=forces, report=report)
    tables = [tabulate_amplitudes(part[None], structure) for part in by_atom]
    found = tables[0][["element", "coordination", "n_atoms", "u2_in_plane", "u2_out_of_plane"]]
    for name in ("in_plane", "out_of_plane"):
        ratio = tables[1][f"u2_{name}"] / tables[0][f"u2_{name}"]
        found = found.assign(**{f"quantum_{name}": ratio})
    return found


def find_mode_amplitudes(
    structure: Atoms,
    temperature: float,
    *,
    forces: Forces,
    report: Report = ignore_progress,
) -> np.ndarray:
    """Mean square displacements of every atom by normal modes.

    Parameters
    ----------
    structure : Atoms
        A structure at a minimum of its energy, such as `open_forces` gives.
    temperature : float
        K.
    forces : callable
        Forces (eV/Å) from positions (Å), both (N, 3).
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    (2, N, 2) array
        Classical, then by quantum mechanics; in plane (per axis) and out of plane, Å².

    Raises
    ------
    ConfigError
        If the structure is at no minimum, so that a mode has no restoring force.

    Notes
    -----
    Shifts of the whole, and its free turns, are no vibrations and left out. A mode of angular
    frequency ω has the mean square amplitude kT/ω², by quantum mechanics ħ/(2ω) coth(ħω/2kT),
    times its share in the atom over the atom's mass: Born & Huang, Dynamical Theory of Crystal
    Lattices (1954), section 38.
    """
    if not temperature > 0:
        raise ConfigError(f"temperature: must be above 0 K (got {temperature})")
    stiffness = _find_stiffness(structure, forces, report)
    report(0, 1, "find the normal modes")
    squares, modes = _find_modes(stiffness, structure)
    heat, omega = units.kB * temperature, np.sqrt(squares)
    quantum = PLANCK / (2 * omega) / np.tanh(PLANCK * omega / (2 * heat))
    found = []
    for amplitudes in (heat / squares, quantum):
        by_axis = (modes**2 @ amplitudes).reshape(-1, 3) / structure.get_masses()[:, None]
        found.append(np.stack([by_axis[:, :2].mean(axis=1), by_axis[:, 2]], axis=-1))
    return np.array(found)


def _find_stiffness(structure: Atoms, forces: Forces, report: Report) -> np.ndarray:
    """Second derivatives of the energy, (3N, 3N), eV/Å², by central differences of the forces."""
    positions = structure.positions
    rows = []
    for atom in range(len(positions)):
        report(atom, len(positions), "find the stiffness")
        for axis in range(3):
            moved = positions.copy()
            moved[atom, axis] += STEP
            ahead = forces(moved)
            moved[atom, axis] -= 2 * STEP
            rows.append((forces(moved) - ahead).ravel() / (2 * STEP))
    stiffness = np.array(rows)
    return (stiffness + stiffness.T) / 2


def _find_modes(stiffness: np.ndarray, structure: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Squares of the angular frequencies, and modes as columns, without those of the whole."""
    roots = np.repeat(np.sqrt(structure.get_masses()), 3)
    dynamical = stiffness / np.outer(roots, roots)
    motions, sizes, _ = np.linalg.svd(
        _find_rigid_motions(structure) * roots[:, None], full_matrices=False
    )
    rigid = motions[:, sizes > 1e-6 * sizes[0]]  # a line of atoms does not turn about itself
    keep = np.eye(len(roots)) - rigid @ rigid.T
    # Lifted above all vibrations, the motions of the whole come last.
    lift = 2 * np.abs(dynamical).sum(axis=1).max()
    squares, modes = np.linalg.eigh(keep @ dynamical @ keep + lift * rigid @ rigid.T)
    squares, modes = squares[: -rigid.shape[1]], modes[:, : -rigid.shape[1]]
    if not squares[0] > FLAT * squares[-1]:
        raise ConfigError(
            "structure: must be at a minimum of its energy, but its softest mode has a squared "
            f"frequency of {squares[0] / squares[-1]:.1e} of the stiffest (must be above {FLAT})"
        )
    return squares, modes


def _find_rigid_motions(structure: Atoms) -> np.ndarray:
    """Displacements (3N, 3 to 6) by shifts and free turns of the whole."""
    places = structure.positions - structure.get_center_of_mass()
    motions = [np.tile(axis, (len(places), 1)) for axis in np.eye(3)]
    n_periodic = structure.pbc.sum()
    for axis, is_periodic in zip(np.eye(3), structure.pbc, strict=True):
        if n_periodic == 0 or (n_periodic == 1 and is_periodic):
            motions.append(np.cross(axis, places))
    return np.stack([motion.ravel() for motion in motions], axis=1)
