"""Trajectories of known amplitudes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adatom.core.errors import ConfigError
from adatom.structures.vibrations import count_neighbors
from adatom.theory.vibrations import find_changed_bonds, measure_amplitudes, remove_motion

IN_PLANE = {("Mo", 6): 0.003, ("S", 3): 0.006, ("S", 2): 0.012, ("Mo", 4): 0.005}


def shake(structure, n_samples, rng, memory=0.8):
    """Independent atoms with known in-plane and twice as large out-of-plane displacements."""
    kinds = zip(structure.symbols, count_neighbors(structure), strict=True)
    size = np.sqrt([IN_PLANE[element, int(n)] for element, n in kinds])[:, None] * (1, 1, 2**0.5)
    kicks = rng.standard_normal((n_samples, len(structure), 3))
    steps = np.empty_like(kicks)
    steps[0] = kicks[0]
    for now in range(1, n_samples):
        steps[now] = memory * steps[now - 1] + (1 - memory**2) ** 0.5 * kicks[now]
    return structure.positions + steps * size


def test_amplitudes_are_those_put_in_whatever_the_drift(make_cell):
    sheet = make_cell()
    rng = np.random.default_rng(0)
    drift = np.cumsum(rng.standard_normal((2000, 1, 3)), axis=0)
    table = measure_amplitudes(shake(sheet, 2000, rng) + drift, sheet)
    assert table[["element", "coordination", "n_atoms"]].to_numpy().tolist() == [
        ["Mo", 6, 16],
        ["S", 3, 32],
    ]
    for row in table.itertuples():
        # Without the motion of the whole, an atom lacks its own mass in the center of it.
        expected = IN_PLANE[row.element, row.coordination] * (1 - 1 / 48)
        assert row.u2_in_plane == pytest.approx(expected, rel=0.05)
        assert row.u2_out_of_plane == pytest.approx(2 * expected, rel=0.05)
        assert row.u2_in_plane_spread < 0.1 * expected


def test_errors_say_how_far_the_mean_is_off(make_cell):
    sheet = make_cell(cells=(2, 1))
    rng = np.random.default_rng(1)
    tables = [measure_amplitudes(shake(sheet, 1000, rng), sheet) for _ in range(40)]
    means = np.array([table["u2_in_plane"] for table in tables])
    errors = np.array([table["u2_in_plane_err"] for table in tables])
    ratio = means.std(axis=0) / errors.mean(axis=0)
    assert (ratio > 0.7).all()
    assert (ratio < 1.4).all()


@pytest.mark.parametrize("periodic", [(True, False, False), (False, False, False)])
def test_free_turns_are_no_vibration(make_cell, periodic):
    ribbon = make_cell(is_ribbon=True)
    ribbon.pbc = periodic
    rng = np.random.default_rng(2)
    angles = 0.5 * rng.standard_normal((50, 3)) * (True, not any(periodic), not any(periodic))
    turned = Rotation.from_rotvec(angles).as_matrix() @ ribbon.positions.T
    positions = turned.transpose(0, 2, 1) + rng.standard_normal((50, 1, 3))
    assert measure_amplitudes(positions, ribbon)["u2_out_of_plane"].max() < 1e-12
    ribbon.pbc = (True, True, False)
    assert measure_amplitudes(positions, ribbon)["u2_out_of_plane"].min() > 0.1


def test_a_ribbon_keeps_its_vibrations_when_its_turns_are_removed(make_cell):
    ribbon = make_cell(is_ribbon=True, cells=(6, 4))
    table = measure_amplitudes(shake(ribbon, 500, np.random.default_rng(3)), ribbon)
    assert set(zip(table["element"], table["coordination"], strict=True)) == set(IN_PLANE)
    for row in table.itertuples():
        expected = IN_PLANE[row.element, row.coordination]
        assert row.u2_in_plane == pytest.approx(expected, rel=0.1)


def test_an_atom_that_leaves_is_found(make_cell):
    sheet = make_cell()
    positions = shake(sheet, 200, np.random.default_rng(4))
    assert not find_changed_bonds(positions, sheet).any()
    leaving = np.flatnonzero(sheet.symbols == "S")[0]
    positions[150:, leaving, 2] += 3
    changed = find_changed_bonds(positions, sheet)
    assert changed[leaving]
    assert changed.sum() == 4  # with its three metals


def test_wrong_shapes_are_refused(make_cell):
    sheet = make_cell()
    with pytest.raises(ConfigError, match=r"positions: must have the shape \(T, 48, 3\)"):
        measure_amplitudes(np.zeros((10, 47, 3)), sheet)
    with pytest.raises(ConfigError, match=r"n_blocks: .* samples, 5 \(got 10\)"):
        measure_amplitudes(np.zeros((5, 48, 3)), sheet)


def test_center_of_mass_stays(make_cell):
    sheet = make_cell()
    fixed = remove_motion(shake(sheet, 5, np.random.default_rng(5)), sheet)
    centers = np.einsum("tni,n->ti", fixed, sheet.get_masses())
    np.testing.assert_allclose(centers, 0, atol=1e-9)
