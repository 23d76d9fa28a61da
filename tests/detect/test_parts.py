"""Large images in parts."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from adatom.detect import parts
from adatom.detect.atoms import find_atoms, find_atoms_by_part
from adatom.detect.parts import Seams, split_image
from adatom.metrics.detection import match_points
from adatom.networks.model import load_model
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import load_recipe


def test_parts_cover_the_image_and_their_cores_meet():
    places = {"y": 5 + 0.1 * np.arange(7000), "x": -2 + 0.2 * np.arange(2000)}
    image = xr.DataArray(np.zeros((7000, 2000), np.int8), dims=("y", "x"), coords=places)
    found = list(split_image(image))
    assert len(found) == 6  # 2000 pixels are not cut
    assert [part.low[0] for part in found[1:]] == [part.high[0] for part in found[:-1]]
    assert found[0].low == (-np.inf, -np.inf)
    assert found[-1].high == (np.inf, np.inf)
    rng = np.random.default_rng(0)
    y, x = rng.uniform(5, 705, 2000), rng.uniform(-2, 398, 2000)
    held = np.sum([part.holds(y, x) for part in found], axis=0)
    assert held.min() == 1
    assert (held > 1).sum() < 20
    for part in found:
        mine = part.holds(y, x)
        inside = [part.image.y.values[[0, -1]], part.image.x.values[[0, -1]]]
        assert (y[mine] >= inside[0][0]).all()
        assert (y[mine] <= inside[0][1] + 0.1).all()


def test_an_atom_on_a_seam_is_kept_once():
    places = {"y": 0.1 * np.arange(5), "x": 0.1 * np.arange(4000)}
    image = xr.DataArray(np.zeros((5, 4000), np.int8), dims=("y", "x"), coords=places)
    left, middle, _ = split_image(image)
    seam = left.high[1]
    seams = Seams()
    first = {"x": np.array([1.0, seam + 0.1]), "y": np.zeros(2), "label": np.array(["M", "X2"])}
    again = {"x": np.array([seam - 0.1, seam + 1]), "y": np.zeros(2)}
    np.testing.assert_array_equal(seams.drop_repeated(left, first)["label"], ["M", "X2"])
    new = seams.drop_repeated(middle, again | {"label": np.array(["X2", "M"])})
    np.testing.assert_array_equal(new["label"], ["M"])


@pytest.mark.parametrize("is_half_empty", [False, True])
def test_parts_find_what_the_whole_finds(monkeypatch, is_half_empty):
    image = simulate_example(load_recipe("demo_mos2"), 2).to_image()
    if is_half_empty:
        empty = np.random.default_rng(0).poisson(float(image.quantile(0.02)), image.shape)
        image = image.where(image.x < 0.45 * float(image.x[-1]), empty.astype(np.float32))
    model = load_model("haadf-mx2")
    whole = find_atoms(image, model)
    monkeypatch.setattr(parts, "LARGEST_WHOLE", 300)
    monkeypatch.setattr(parts, "LARGEST_PART", 250)
    cut = find_atoms(image.chunk({"y": 100}), model)
    assert len(list(split_image(image))) == 4
    matches = match_points(cut[["y", "x"]].to_numpy(), whole[["y", "x"]].to_numpy(), 0.5)
    assert len(matches.true) > 0.99 * max(len(whole), len(cut))
    found, true = cut.iloc[matches.found], whole.iloc[matches.true]
    assert (found["label"].to_numpy() == true["label"].to_numpy()).mean() > 0.97
    # Parts estimate shape and lattice on their own: positions move, by far less than their errors.
    moved = np.hypot(*(found[["y", "x"]].to_numpy() - true[["y", "x"]].to_numpy()).T)
    errors = np.hypot(true["y_err"], true["x_err"]).to_numpy()
    assert np.quantile(moved / errors, 0.9) < 0.6
    assert cut["atom"].is_unique
    found_by_part = list(find_atoms_by_part(image, model))
    rest = list(find_atoms_by_part(image, model, done=found_by_part[:2]))
    pd.testing.assert_frame_equal(pd.concat(rest), pd.concat(found_by_part[2:]))
