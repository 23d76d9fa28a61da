"""What atoms and a microscope explain of a series that was simulated with them."""

import numpy as np
import xarray as xr

from adatom.analyze.explain import explain_series, simulate_columns
from adatom.core.materials import get_material

MOS2 = get_material("MoS2")


def test_what_is_left_is_the_noise(monolayer, truth):
    series, table = monolayer
    share = explain_series(series, table, MOS2, truth)
    flat = np.asarray(series.values)
    n_electrons = 5e3 * 0.12**2
    # Of a scintillator the noise is blurred as the signal is: less than one over the electrons.
    contrast = float((flat / flat.mean(axis=(1, 2), keepdims=True)).var())
    assert 1 - 1 / n_electrons / contrast < share < 1


def test_wrong_atoms_and_a_wrong_microscope_explain_less(monolayer, truth):
    series, table = monolayer
    right = explain_series(series, table, MOS2, truth)
    swapped = table.assign(label=table["label"].map({"Mo": "S2", "S2": "Mo"}))
    middle = ((table[["x", "y"]] - table[["x", "y"]].mean()) ** 2).sum(axis=1)
    s2 = middle.where(table["label"] == "S2").idxmin()
    lacking = table.assign(label=table["label"].where(table.index != s2, "S1"))
    for wrong in (swapped, lacking, table.drop(index=s2), table.assign(x=table["x"] + 0.3)):
        assert explain_series(series, wrong, MOS2, truth) < right - 1e-4
    other = truth.lens.model_copy(update={"C12": 0.0})
    assert (
        explain_series(series, table, MOS2, truth.__class__(**{**vars(truth), "lens": other}))
        < right
    )


def test_pixels_need_not_be_square(monolayer, truth):
    series, table = monolayer
    y, x = np.arange(221) * 0.12, np.arange(219) * 0.1225
    empty = xr.DataArray(
        np.ones((3, len(y), len(x))), dims=("focus", "y", "x"), coords={"y": y, "x": x}
    )
    images = simulate_columns(empty, table, MOS2, truth)
    assert images.shape == empty.shape
    sampled = series.interp(y=y, x=x)
    inner = np.s_[:, 60:-60, 60:-60]
    alike = np.corrcoef(images[inner].ravel(), sampled.values[inner].ravel())[0, 1]
    assert alike > 0.9
    assert explain_series(empty.copy(data=images), table, MOS2, truth) > 0.9999


def test_nothing_explains_nothing(monolayer, truth):
    series, table = monolayer
    assert explain_series(series, table.iloc[:0], MOS2, truth) == 0
    assert explain_series(series[:, :80, :80], table, MOS2, truth) == 0
