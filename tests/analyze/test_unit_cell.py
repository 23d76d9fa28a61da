"""Mean cells of honeycombs whose Fourier coefficients are known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from adatom.analyze.unit_cell import average_cells

LATTICE, TURN = 3.16, 17.0


def make_honeycomb(side=34.0):
    """Columns in an image of `side` Å, and its lattice vectors [y, x]."""
    angles = np.deg2rad(TURN + np.array([0.0, 60.0]))
    vectors = LATTICE * np.column_stack([np.sin(angles), np.cos(angles)])
    steps = np.stack(np.meshgrid(*[np.arange(-15, 30)] * 2), -1).reshape(-1, 2)
    first = steps @ vectors + 1.0
    places = np.concatenate([first, first + vectors.sum(axis=0) / 3])
    label = np.repeat(["Mo", "S2"], len(first))
    inside = ((places > 1) & (places < side - 1)).all(axis=1)
    table = pd.DataFrame({"x": places[:, 1], "y": places[:, 0], "label": label})[inside]
    return table.reset_index(drop=True), vectors


def make_series(vectors, amplitudes, noise=0.0, side=34.0):
    """Waves along the first reciprocal vector, 100 in the mean; one amplitude for each image."""
    axis = np.arange(0, side, 0.13)
    reciprocal = np.linalg.inv(vectors)[:, 0]
    phase = 2 * np.pi * ((axis[:, None] - 1) * reciprocal[0] + (axis - 1) * reciprocal[1])
    images = 100 * (1 + 2 * np.array(amplitudes)[:, None, None] * np.cos(phase))
    images += noise * np.random.default_rng(0).standard_normal(images.shape)
    return xr.DataArray(images, dims=("focus", "y", "x"), coords={"y": axis, "x": axis})


def test_coefficients_are_those_of_the_image_in_a_cell_that_turns_with_it():
    atoms, vectors = make_honeycomb()
    (cell,) = average_cells(make_series(vectors, [0.1, -0.2]), atoms, ("Mo",))
    lengths = np.linalg.norm(cell.vectors, axis=1)
    np.testing.assert_allclose(lengths, LATTICE, rtol=1e-6)
    assert (cell.vectors @ cell.vectors.T)[0, 1] == pytest.approx(LATTICE**2 / 2)
    waves = np.abs(cell.values) > 0.01
    waves[:, 0, 0] = False
    assert waves.sum() == 4  # one pair in each image
    for values, strength in zip(cell.values, (0.1, -0.2), strict=True):
        found = values[np.abs(values - 1) > 0.5]
        assert np.abs(found).max() == pytest.approx(abs(strength), rel=0.01)
        strongest = found[np.abs(found).argmax()]
        assert strongest == pytest.approx(strength, rel=0.01)
    assert len(cell.members) > 0.8 * len(atoms)


def test_errors_are_those_of_the_noise():
    atoms, vectors = make_honeycomb()
    quiet = average_cells(make_series(vectors, [0.1]), atoms, ("Mo",))[0]
    noisy = average_cells(make_series(vectors, [0.1], noise=20), atoms, ("Mo",))[0]
    low = np.ix_([0], [1, 2, -1, -2], [1, 2, -1, -2])
    off = (noisy.values - quiet.values)[low]
    spread = np.sqrt((np.abs(off) ** 2).mean() / 2)
    assert spread == pytest.approx(noisy.errors[low].mean(), rel=0.4)


def test_parts_with_exchanged_labels_and_cells_that_lack_atoms_stand_apart():
    atoms, vectors = make_honeycomb()
    is_right = atoms["x"] > 17
    atoms.loc[is_right, "label"] = atoms.loc[is_right, "label"].map({"Mo": "S2", "S2": "Mo"})
    series = make_series(vectors, [0.1])
    one, other = average_cells(series, atoms, ("Mo",))
    sides = [atoms.loc[cell.members, "x"].median() for cell in (one, other)]
    assert sorted(np.array(sides) > 17) == [False, True]
    whole = atoms.assign(label=make_honeycomb()[0]["label"])
    missing = whole["label"].eq("S2") & whole["y"].between(12, 20)
    lacking = whole.assign(label=whole["label"].where(~missing, "S1"))
    (before,), (after,) = (
        average_cells(series, table, ("Mo",), ("S1",)) for table in (whole, lacking)
    )
    assert after.n_cells < 0.85 * before.n_cells
    assert len(after.members) == len(before.members)


def test_few_columns_have_no_cell():
    atoms, vectors = make_honeycomb()
    series = make_series(vectors, [0.1])
    assert average_cells(series, atoms.iloc[:0], ("Mo",)) == []
    assert average_cells(series, atoms.iloc[:9], ("Mo",)) == []
    assert average_cells(series, atoms.assign(label="Mo"), ("Mo",)) == []
