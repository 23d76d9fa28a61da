"""From analyzed images to a library."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import adatom.detect.atoms
from adatom.analyze.library import read_library
from adatom.core.errors import FileError
from adatom.images.write import write_image
from adatom.workflows.analyze import AnalyzeConfig, analyze_image
from adatom.workflows.library import add_runs, format_defects, list_defects, write_gallery
from adatom.workflows.mean_defect import show_defect


@pytest.fixture
def run(truth, tmp_path):
    """The run folder of a movie of three frames, the second of them without atoms."""
    image, _, _ = truth
    movie = xr.concat([image, 0 * image, image], dim="frame").assign_coords(frame=[0, 4, 7])
    write_image(movie, tmp_path / "movie.zarr")
    config = AnalyzeConfig(material="MoS2", pixel_size=0.201)
    return analyze_image(tmp_path / "movie.zarr", tmp_path, config=config).folder


def test_a_library_holds_what_the_run_says(run, tmp_path):
    place = tmp_path / "lib"
    table = pd.read_parquet(run / "defects.parquet")
    assert add_runs(place, [run]) == {run: len(table)}
    entries = read_library(place).entries
    assert set(entries["frame"]) == {0, 7}
    assert list(entries["name"]) == list(table["name"])
    np.testing.assert_allclose(entries[["x", "y", "score"]], table[["x", "y", "score"]])
    assert set(entries["material"]) == {"MoS2"}
    # The cut is that of the image as the run scaled it: a metal stands where the table says.
    row = entries.iloc[[0]]
    (cut,), ((atoms, _),) = (list(found) for found in (
        read_library(place).read_images(row), read_library(place).read_atoms(row)
    ))  # fmt: skip
    metal = atoms[(atoms["label"] == "M") & (np.hypot(atoms["x"], atoms["y"]) < 4)].iloc[0]
    assert float(cut.sel(x=metal["x"], y=metal["y"], method="nearest")) > 0.85
    add_runs(place, [run])
    assert len(read_library(place).entries) == len(table)


def test_names_are_counted_and_drawn(run, tmp_path):
    place = tmp_path / "lib"
    add_runs(place, [run])
    library = read_library(place)
    table = list_defects(library)
    assert table["n"].sum() == len(library.entries)
    assert table["n"].is_monotonic_decreasing
    lines = format_defects(table).splitlines()
    assert len(lines) == 1 + len(table)
    assert lines[1].split()[:2] == [table["name"][0], "vacancy"]
    write_gallery(library, tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").read_bytes().startswith(b"\x89PNG")
    cut = type(library)(library.folder, library.entries.assign(is_cut=True))
    with pytest.raises(FileError, match="no defect in it is whole"):
        write_gallery(cut, tmp_path / "none.png")


def test_a_crop_keeps_its_place_when_the_lattice_replaces_its_scale(truth, tmp_path, monkeypatch):
    image, atoms, _ = truth
    # The crop lies 10 px down and 20 px right; its header is 10 % wrong.
    shown = image.isel(y=slice(10, None), x=slice(20, None))
    shown = shown.assign_coords(y=0.9 * shown["y"], x=0.9 * shown["x"])
    shown.attrs["pixel_size_source"] = "header"
    write_image(shown, tmp_path / "crop.zarr")
    kept = atoms[(atoms["y"] > 2.2) & (atoms["x"] > 4.2)]
    monkeypatch.setattr(
        adatom.detect.atoms, "find_atoms_by_part", lambda frame, model, config, done, view: [kept]
    )
    run = analyze_image(tmp_path / "crop.zarr", tmp_path, config=AnalyzeConfig(material="MoS2"))
    add_runs(tmp_path / "lib", [run.folder])
    library = read_library(tmp_path / "lib")
    pd.testing.assert_series_equal(
        library.entries["is_cut"], pd.read_parquet(run.folder / "defects.parquet")["is_cut"]
    )
    for cut, (table, _) in zip(
        library.read_images(library.entries), library.read_atoms(library.entries), strict=True
    ):
        metals = table[table["label"] == "M"]
        inner = metals[np.hypot(metals["x"], metals["y"]) < 5]
        at = cut.sel(x=inner["x"].to_xarray(), y=inner["y"].to_xarray(), method="nearest")
        assert float(at.median()) > 0.85


def test_runs_of_other_tasks_are_skipped_and_one_image_counts_once(run, tmp_path):
    place = tmp_path / "lib"
    (n,) = add_runs(place, [run]).values()
    mean = show_defect(place, "V_S", tmp_path).folder
    (tmp_path / "movie.zarr").rename(tmp_path / "a; b.zarr")
    config = AnalyzeConfig(material="MoS2", pixel_size=0.201)
    other = analyze_image(tmp_path / "a; b.zarr", tmp_path, config=config).folder
    assert add_runs(place, [mean, other]) == {mean: None, other: n}
    assert len(read_library(place).entries) == n


def test_inputs_that_changed_are_refused(run, tmp_path):
    image = tmp_path / "movie.zarr"
    moved = image.rename(tmp_path / "moved.zarr")
    with pytest.raises(FileError, match=r"movie.zarr: is gone"):
        add_runs(tmp_path / "lib", [run])
    moved.rename(image)
    (image / "more.txt").write_text("x")
    with pytest.raises(FileError, match=r"movie.zarr: has changed since"):
        add_runs(tmp_path / "lib", [run])
    with pytest.raises(FileError, match=r"run.json: cannot be read"):
        add_runs(tmp_path / "lib", [tmp_path])
    assert read_library(tmp_path / "lib").entries.empty
