"""Strain and rotation that were planted."""

import numpy as np

from adatom.analyze.lattice import find_lattices
from adatom.analyze.strain import measure_strain


def test_a_planted_wave_of_strain_comes_back_within_its_errors(make_honeycomb):
    places, labels = make_honeycomb(140, noise=0.0)
    wave = 2 * np.pi / 140
    moved = places.copy()
    moved[:, 1] += 0.01 / wave * np.sin(wave * places[:, 1])
    moved += np.random.default_rng(0).normal(0, 0.08, places.shape)
    found = measure_strain(find_lattices(moved, labels), moved)
    true = 0.01 * np.cos(wave * places[:, 1])
    miss = found["strain_xx"] - (true - true.mean())
    assert np.corrcoef(found["strain_xx"], true)[0, 1] > 0.9
    inner = (np.abs(places) < 60).all(axis=1)
    for name, factor in (("strain_yy", 1), ("strain_xy", 2**-0.5)):
        spread = (found[name] / found["strain_err"])[inner].std()
        assert 0.85 * factor < spread < 1.15 * factor
    assert 0.85 < (miss / found["strain_err"])[inner].std() < 1.15
    turn = (found["rotation"] / found["rotation_err"])[inner].std()
    assert 0.85 < turn < 1.15


def test_signs_of_shear_and_rotation(make_honeycomb):
    """A twist that grows along x: turned from x towards y there, by its angle."""
    places, labels = make_honeycomb(100)
    moved = places.copy()
    moved[:, 0] += 0.01 * places[:, 1] ** 2 / 100  # slope 0.0002 x: d(y)/d(x) from -0.01 to 0.01
    found = measure_strain(find_lattices(moved, labels), moved)
    inner = (np.abs(places) < 40).all(axis=1)
    slope = 2e-4 * places[inner, 1]
    np.testing.assert_allclose(found["rotation"][inner], np.degrees(slope / 2), atol=0.02)
    np.testing.assert_allclose(found["strain_xy"][inner], slope / 2, atol=3e-4)
    np.testing.assert_allclose(found["strain_xx"][inner], 0, atol=3e-4)


def test_atoms_on_no_site_have_no_strain(make_honeycomb):
    places, labels = make_honeycomb(50)
    places = np.concatenate([places, [[0.0, 80.0]]])
    labels = np.append(labels, "C")
    found = measure_strain(find_lattices(places, labels), places)
    assert found.iloc[-1].isna().all()
    assert found.iloc[:-1].notna().all(axis=None)
