"""Pictures of mean defects."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import LineCollection

from adatom.analyze.average import MeanDefect
from adatom.plots.library import draw_gallery, draw_mean_defect


@pytest.fixture
def mean():
    axis = np.linspace(-5, 5, 41)
    values = np.exp(-(axis[:, None] ** 2) - axis**2)
    image = xr.Dataset(
        {"mean": (("y", "x"), values), "spread": (("y", "x"), 0.1 + values)},
        coords={"y": axis, "x": axis},
    )
    atoms = pd.DataFrame({"x": [0.0, 1.5, -1.5], "y": [0.0, 0.0, 0.5], "label": ["Si", "C", "C"]})
    bonds = pd.DataFrame({"one": [0, 0], "other": [1, 2], "strain": [0.02, np.nan]})
    places = np.random.default_rng(0).normal(0, 0.05, (4, 3, 2)) + atoms[["y", "x"]].to_numpy()
    entries = pd.DataFrame({"part": ["a", "a", "b", "b"]})
    return MeanDefect("Si1C2", entries, 1, [], atoms, bonds, places, image)


def test_atoms_bonds_and_strain_are_where_they_are(mean):
    ax = draw_mean_defect(mean)
    gray, colored = [each for each in ax.collections if isinstance(each, LineCollection)]
    assert len(gray.get_segments()) == 2
    (segment,) = colored.get_segments()
    np.testing.assert_allclose(segment, [[0, 0], [1.5, 0]])
    np.testing.assert_allclose(colored.get_array(), [2.0])
    clouds = [line for line in ax.lines if line.get_marker() == "."]
    assert [len(line.get_xdata()) for line in clouds] == [8, 4]
    (x, y) = clouds[1].get_data()
    assert np.hypot(x, y).max() < 0.3
    assert ax.figure.get_suptitle() == "Si1C2 (4 in 2 files)"


def test_without_strain_bonds_are_gray(mean):
    bonds = mean.bonds.drop(columns="strain")
    ax = draw_mean_defect(MeanDefect(**{**vars(mean), "bonds": bonds}))
    assert len(ax.collections) == 1


def test_a_gallery_has_a_panel_for_each(mean):
    figure = draw_gallery([mean] * 5).figure
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["Si1C2 (4)"] * 5 + [""] * 3
