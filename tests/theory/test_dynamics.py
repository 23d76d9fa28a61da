"""Dynamics against normal modes of the same forces."""

import sys

import numpy as np
import pytest

from adatom.core.errors import ConfigError
from adatom.theory.dynamics import DynamicsConfig, run_dynamics
from adatom.theory.harmonic import harmonic_amplitudes, open_forces
from adatom.theory.potentials import CHGNET
from adatom.theory.vibrations import measure_amplitudes

SHORT = DynamicsConfig(time=2, equilibration=1, interval=0.1, time_step=0.002)


def test_cold_dynamics_have_the_amplitudes_of_the_normal_modes(make_cell):
    pytest.importorskip("lammps")
    sheet = make_cell()
    config = DynamicsConfig(time=60, equilibration=5, time_step=0.002)
    texts = []
    positions, relaxed = run_dynamics(
        sheet, 50, config=config, rng=3, report=lambda done, in_all, text: texts.append(text)
    )
    assert positions.shape == (600, 48, 3)
    assert dict.fromkeys(texts) == dict.fromkeys(
        ("relax", "find the size of the cell", "equilibrate", "follow the atoms")
    )
    assert relaxed.cell.lengths()[0] / 4 == pytest.approx(3.12, abs=0.02)
    measured = measure_amplitudes(positions, sheet)
    with open_forces(sheet) as (still, forces):
        known = harmonic_amplitudes(still, 50, forces=forces)
    for name in ("u2_in_plane", "u2_out_of_plane"):
        far = np.abs(measured[name] - known[name])
        assert (far < 4 * measured[f"{name}_err"] + 0.02 * known[name]).all()


def test_the_seed_decides(make_cell):
    pytest.importorskip("lammps")
    runs = [
        run_dynamics(make_cell(cells=(3, 2)), 300, config=SHORT, rng=rng)[0] for rng in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 0.01


def test_temperature_must_be_positive(make_cell):
    with pytest.raises(ConfigError, match=r"temperature: must be above 0 K \(got 0\)"):
        run_dynamics(make_cell(), 0, rng=1)


@pytest.mark.parametrize(
    ("potential", "module"), [(None, "lammps"), (CHGNET, "chgnet.model.dynamics")]
)
def test_missing_programs_are_named_with_their_extra(make_cell, monkeypatch, potential, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"not installed \(pip install 'adatom\[md\]'\)"):
        run_dynamics(make_cell(), 300, potential=potential, rng=1)
