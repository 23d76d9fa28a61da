from contextlib import nullcontext

import numpy as np
import pytest
import torch

import adatom.theory.chgnet
from adatom.theory.chgnet import LARGEST_FORCE
from adatom.theory.dynamics import DynamicsConfig, run_dynamics
from adatom.theory.harmonic import open_forces
from adatom.theory.potentials import CHGNET

pytest.importorskip("chgnet")


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of so small a network wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_network_relaxes_and_moves_a_sheet(make_cell, capsys, monkeypatch):
    sheet = make_cell("NbSe2", cells=(1, 1))
    with open_forces(sheet) as (relaxed, forces):
        assert np.abs(forces(relaxed.positions)).max() < 2 * LARGEST_FORCE
        assert relaxed.cell.lengths()[0] == pytest.approx(3.445, rel=0.03)  # experiment
        monkeypatch.setattr(adatom.theory.chgnet, "attach_chgnet", lambda _: nullcontext(relaxed))
        config = DynamicsConfig(time=0.02, equilibration=0.01, interval=0.01, time_step=0.002)
        positions, _ = run_dynamics(sheet, 300, config=config, potential=CHGNET, rng=1)
    assert positions.shape == (2, 6, 3)
    assert 0 < np.abs(positions[1] - positions[0]).max() < 0.5
    assert capsys.readouterr().out == ""
