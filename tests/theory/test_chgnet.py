import numpy as np
import pytest

from adatom.theory.chgnet import LARGEST_FORCE
from adatom.theory.dynamics import DynamicsConfig, run_dynamics
from adatom.theory.harmonic import open_forces
from adatom.theory.potentials import CHGNET

pytest.importorskip("chgnet")


def test_the_network_relaxes_and_moves_a_sheet(make_cell, capsys):
    sheet = make_cell("NbSe2", cells=(1, 1))
    with open_forces(sheet) as (relaxed, forces):
        assert np.abs(forces(relaxed.positions)).max() < 2 * LARGEST_FORCE
        assert relaxed.cell.lengths()[0] == pytest.approx(3.445, rel=0.03)  # experiment
    config = DynamicsConfig(time=0.02, equilibration=0.01, interval=0.01, time_step=0.002)
    positions, _ = run_dynamics(sheet, 300, config=config, potential=CHGNET, rng=1)
    assert positions.shape == (2, 6, 3)
    assert 0 < np.abs(positions[1] - positions[0]).max() < 0.5
    assert capsys.readouterr().out == ""
