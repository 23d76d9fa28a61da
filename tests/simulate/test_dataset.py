"""Data sets: every recipe, the same bits however they are made, and nothing lost on the way."""

import hashlib
import json
import os
from importlib import resources

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from adatom.core.config import read_toml
from adatom.core.errors import ConfigError, FileError
from adatom.images.read import read_image
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate import dataset
from adatom.simulate.dataset import simulate_dataset
from adatom.simulate.recipe import HrtemRecipe, _check_recipe, list_recipes, load_recipe
from adatom.simulate.specimen import name_columns
from adatom.simulate.wave_set import WaveSet, simulate_wave


def load_tiny(name, size=12.8):
    """The recipe with small images, particles that fit them, and thin crystals."""
    values = load_recipe(name).model_dump(mode="json")
    values["dataset"]["size"] = size
    if values.get("specimen", {}).get("multislice"):
        values["microscope"]["energy_eV"] = 100e3
    for kind in values["structure"]:
        if kind["kind"] == "particle":
            kind |= {"radius": {"min": 4.0, "max": 6.0}}
        elif kind["kind"] == "crystal":
            kind |= {"thickness": 10.0}
    return type(load_recipe(name)).from_mapping(values, source=name)


def digest(folder):
    """Of every file and what it holds; of Parquet the rows."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            content = pd.read_parquet(path).to_csv().encode()
        elif path.is_file():
            content = path.read_bytes()
        else:
            continue
        found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_runs(name, tmp_path):
    recipe = load_tiny(name)
    folder = simulate_dataset(recipe, tmp_path / "set", 2, seed=4)
    truth = pd.read_parquet(folder / "truth.parquet")
    assert set(truth["image"]) <= {0, 1}
    is_thin = isinstance(recipe, HrtemRecipe)
    name = name_columns if is_thin else lambda kind: set(kind.labels)
    labels = set.union(*map(name, recipe.structure))
    assert set(truth["label"]) <= labels | {"column"}
    if not isinstance(recipe, HrtemRecipe):
        image = read_image(folder / "images/000001.zarr")
        assert np.isfinite(image).all()
        assert image.sizes["y"] * float(image.y[1] - image.y[0]) == pytest.approx(12.8, abs=0.3)
        return
    waves = WaveSet(folder)
    assert len(waves) == 2
    series, columns = waves.draw_series(1, rng=0)
    assert series.dims == ("focus", "y", "x")
    assert series.sizes["focus"] == len(recipe.microscope.focal_series)
    assert np.isfinite(series).all()
    electrons = series.attrs["dose"] * float(series.y[1] - series.y[0]) ** 2
    assert float(series.mean()) == pytest.approx(electrons, rel=0.25)
    for axis in ("x", "y"):
        first, last = float(series[axis][0]), float(series[axis][-1])
        assert columns[axis].between(first - 0.2, last + 0.2).all()


def test_stored_waves_are_the_waves_to_half_precision(tmp_path):
    recipe = load_tiny("hrtem_mos2")
    folder = simulate_dataset(recipe, tmp_path / "set", 3, seed=1)
    waves = WaveSet(folder)
    stored = simulate_wave(recipe, dataset.make_child_rng(1, dataset.DATASET, 2))
    loaded = waves.load_wave(2)
    assert loaded.energy_eV == stored.energy_eV
    pd.testing.assert_frame_equal(waves.truth(2), stored.truth, check_like=True)
    values = stored.values[..., 0].astype(float) + 1j * stored.values[..., 1]
    assert loaded.spectrum[0, 3] == pytest.approx(values[0, 3] * stored.scale, rel=1e-5)
    assert loaded.spectrum[-2, -3] == pytest.approx(values[-2, -3] * stored.scale, rel=1e-5)
    scattered = np.abs(loaded.spectrum) ** 2
    assert 0.9 < scattered.sum() < 1.05
    assert scattered[0, 0] > 0.5
    bytes_each = values.size * 4
    assert bytes_each * (38.4 / 12.8) ** 2 * 10_500 < 10e9


@pytest.mark.parametrize("name", ["hrtem_mos2", "hrtem_au", "haadf_mx2"])
def test_any_number_of_workers_makes_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "PART", 2)
    recipe = load_tiny(name)
    one, two = (simulate_dataset(recipe, tmp_path / f"{n}", 3, seed=2, n_workers=n) for n in (1, 2))
    assert digest(one) == digest(two)
    other = simulate_dataset(recipe, tmp_path / "other", 3, seed=3)
    assert digest(one)["truth.parquet"] != digest(other)["truth.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "other"]


@pytest.mark.parametrize("name", ["hrtem_mos2", "haadf_mx2"])
def test_a_stopped_run_goes_on(name, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "PART", 1)
    recipe = load_tiny(name)
    whole = simulate_dataset(recipe, tmp_path / "whole", 4, seed=2)
    made = []
    write = dataset._write_table

    def stop(table, path):
        if len(made) >= 2 and "truth" in path.name:
            raise KeyboardInterrupt
        made.append(path)
        write(table, path)

    monkeypatch.setattr(dataset, "_write_table", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate_dataset(recipe, tmp_path / "set", 4, seed=2)
    assert not (tmp_path / "set").exists()
    stopped = len([path for path in made if "truth" in path.name])
    assert 0 < stopped < 4
    monkeypatch.setattr(dataset, "_write_table", write)
    seen = []
    simulate_dataset(recipe, tmp_path / "set", 4, seed=2, report=lambda *call: seen.append(call))
    assert seen[0][1] == 4 - stopped
    assert digest(tmp_path / "set") == digest(whole)


def test_a_run_that_is_killed_at_its_last_step_goes_on(tmp_path, monkeypatch):
    """Between the tables and the name, and with a part that power loss left empty."""
    recipe = load_tiny("hrtem_mos2")
    replace = os.replace

    def stop(source, target):
        if target == tmp_path / "set":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(dataset.os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        simulate_dataset(recipe, tmp_path / "set", 2, seed=1)
    monkeypatch.undo()
    (hidden,) = tmp_path.glob(".set.*.part")
    (hidden / "parts/truth_000000.parquet").write_bytes(b"")
    (hidden / "waves.zarr/c.0123.partial").write_bytes(b"half")
    folder = simulate_dataset(recipe, tmp_path / "set", 2, seed=1)
    assert digest(folder) == digest(simulate_dataset(recipe, tmp_path / "again", 2, seed=1))


def test_parts_of_another_recipe_are_neither_taken_nor_lost(tmp_path, monkeypatch):
    recipe = load_tiny("hrtem_mos2")
    monkeypatch.setattr(dataset, "_join", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        simulate_dataset(recipe, tmp_path / "set", 2, seed=1)
    monkeypatch.undo()
    (parts,) = tmp_path.glob(".set.*.part/parts/truth_000000.parquet")
    folder = simulate_dataset(recipe, tmp_path / "set", 2, seed=2)
    assert digest(folder) == digest(simulate_dataset(recipe, tmp_path / "again", 2, seed=2))
    assert json.loads((folder / "dataset.json").read_text())["seed"] == 2
    assert parts.exists()


def test_atoms_are_where_the_truth_says(tmp_path):
    """Just above focus atoms are bright, in images that no lens has moved."""
    recipe = load_tiny("hrtem_mos2", 16.0)
    plain = {"energy_eV": 80e3, "focal_series": (-40.0,), "focal_spread": 20.0}
    scope = ImagingMicroscope(**plain)
    camera = recipe.detector.model_copy(update={"dose": 1e6, "blur": 0.0, "mtf_frequency": 4.0})
    still = recipe.model_copy(update={"microscope": scope, "detector": camera})
    waves = WaveSet(simulate_dataset(still, tmp_path / "set", 1, seed=3))
    series, truth = waves.draw_series(0, 0)
    metals = truth[truth["label"] == "Mo"]
    inner = metals[metals[["x", "y"]].gt(7).all(axis=1) & metals[["x", "y"]].lt(19).all(axis=1)]

    def see(x, y):
        places = {"x": xr.DataArray(x), "y": xr.DataArray(y)}
        return float(series[0].interp(places).mean() / series.mean())

    here = see(inner["x"].to_numpy(), inner["y"].to_numpy())
    beside = see(inner["x"].to_numpy() + 0.8, inner["y"].to_numpy())
    turned = see(inner["y"].to_numpy(), inner["x"].to_numpy())
    assert abs(here - 1) > 0.1
    assert abs(here - 1) > 2 * max(abs(beside - 1), abs(turned - 1))


def test_wrong_folders_are_refused(tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(FileError, match="exists already"):
        simulate_dataset(load_tiny("hrtem_mos2"), tmp_path / "set", 1)
    with pytest.raises(FileError, match="holds no data set of exit waves"):
        WaveSet(tmp_path / "set")
    with pytest.raises(ConfigError, match=r"n_images: must be 1 at least \(got 0\)"):
        simulate_dataset(load_tiny("hrtem_mos2"), tmp_path / "none", 0)
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be written"):
        simulate_dataset(load_tiny("hrtem_mos2"), tmp_path / "file/set", 1)


@pytest.mark.parametrize(
    ("place", "value", "rule"),
    [
        (
            ("dataset", "k_max"),
            2.2,
            r"must be at most 0.152 Å for dataset.k_max 2.2 1/Å \(got 0.16",
        ),
        (("dataset", "size"), 0.5, "size must be 16 pixels at least"),
        (("specimen", "temperature"), 200, "from 300 to 773 K"),
        (("specimen", "tilt"), 12, "must be 10° at most"),
        (("specimen", "support"), "paper", "vibrations are known of"),
        (("structure", 0, "materials"), ["WS2"], "vibrations are known of"),
        (("structure", 0, "adatoms"), 1, "adatoms must be 0"),
        (("modality",), "TEM", "modality: must be HAADF or HRTEM"),
        (("structure",), [{"kind": "particle", "element": "Fe"}], "face-centered cubic"),
        (("structure",), [{"kind": "particle", "radius": 1}], "must be 3 Å at least"),
        (("structure",), [{"kind": "particle", "radius": 25}], "62 Å does not fit the image"),
    ],
)
def test_what_could_not_be_drawn_is_refused_at_once(place, value, rule, tmp_path):
    values = read_toml(resources.files("adatom.simulate") / "recipes/hrtem_mos2.toml")
    values["structure"] = [values["structure"]]
    table = values
    for key in place[:-1]:
        table = table.setdefault(key, {}) if isinstance(table, dict) else table[key]
    table[place[-1]] = value
    if place[-1] == "adatoms":
        table["adatom_elements"] = ["Au"]
    with pytest.raises(ConfigError, match=rule):
        _check_recipe(values, "mine.toml")
