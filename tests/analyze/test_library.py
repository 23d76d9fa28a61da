"""Cuts of defects, and the folder that keeps them."""

import json

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from adatom.analyze.library import add_cuts, open_library, read_library
from adatom.core.errors import FileError


def test_what_goes_in_comes_out(tmp_path, plant_defect, source):
    rng = np.random.default_rng(2)
    parts = list(plant_defect("Si1C3", 3, rng=rng))
    n_added = add_cuts(tmp_path / "lib", "a-12345678", source, iter(parts))
    assert n_added == 3
    library = read_library(tmp_path / "lib")
    assert list(library.entries["name"]) == ["Si1C3"] * 3
    assert list(library.entries["frame"]) == [0, 1, 2]
    assert set(library.entries["image"]) == {"a.tif"}
    images = list(library.read_images(library.entries))
    for part, image in zip(parts, images, strict=True):
        np.testing.assert_array_equal(image, part.values[0])
        y, x = (image[axis].to_numpy()[image.to_numpy().argmax() // step % 133]
                for axis, step in (("y", 133), ("x", 1)))  # fmt: skip
        assert np.hypot(y, x) < 0.15  # the silicon atom is at the middle
    atoms, bonds = library.read_atoms(library.entries.iloc[[1]])[0]
    pd.testing.assert_frame_equal(
        atoms.drop(columns="entry").reset_index(drop=True), parts[1].atoms.drop(columns="entry")
    )
    silicon = atoms.loc[atoms["label"] == "Si", "atom"].item()
    assert ((bonds["one"] == silicon) | (bonds["other"] == silicon)).sum() == 3
    assert atoms.loc[atoms["is_member"], "label"].tolist() == ["Si"]


def test_a_cut_ends_where_the_image_ends(plant_defect):
    (cut,) = plant_defect("V_C", 1, rng=np.random.default_rng(0))
    assert cut.values.shape == (1, 133, 133)
    assert np.isfinite(cut.values).all()
    (small,) = plant_defect(
        "V_C", 1, rng=np.random.default_rng(0), size=24.0
    )  # 6 Å from its middle
    is_there = np.isfinite(small.values[0])
    y, x = (small.entries[name].item() + 0.15 * np.arange(133) for name in ("top", "left"))
    inside = [axis + small.entries[name].item() < 24.1 for axis, name in ((y, "y"), (x, "x"))]
    np.testing.assert_array_equal(is_there, np.outer(*inside))
    assert 0.5 < is_there.mean() < 0.9
    assert small.atoms["x"].max() < 6.2


def test_a_cut_knows_the_scale_of_its_lattice(plant_defect):
    (cut,) = plant_defect("V_C", 1, rng=np.random.default_rng(0), scale=1.03)
    assert cut.entries["scale"].item() == pytest.approx(1.03, abs=0.003)


def test_the_same_name_is_replaced_and_nothing_half_written_is_read(tmp_path, plant_defect, source):
    rng = np.random.default_rng(3)
    parts = list(plant_defect("V_C", 2, rng=rng))
    add_cuts(tmp_path, "a", source, parts)
    add_cuts(tmp_path, "b", source, parts[:1])
    assert add_cuts(tmp_path, "a", source, parts[1:]) == 1
    assert list(read_library(tmp_path).entries["part"]) == ["a", "b"]

    def stop():
        yield parts[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_cuts(tmp_path, "a", source, stop())
    assert list(read_library(tmp_path).entries["part"]) == ["a", "b"]
    (tmp_path / "b").rename(tmp_path / ".b.old")  # killed between two names
    (tmp_path / ".c.part").mkdir()
    (tmp_path / ".c.part" / "source.json").write_text(json.dumps(source | {"n": 1}))
    assert list(read_library(tmp_path).entries["part"]) == ["a"]
    assert add_cuts(tmp_path, "a", source, []) == 0
    assert list(read_library(tmp_path).entries["part"]) == ["b"]
    assert not list(tmp_path.glob(".*.part"))


def test_two_programs_do_not_add_at_once(tmp_path, plant_defect, source):
    add_cuts(tmp_path, "a", source, plant_defect("V_C", 1, rng=np.random.default_rng(0)))
    with FileLock(tmp_path / ".lock"), pytest.raises(FileError, match="somebody else is adding"):
        add_cuts(tmp_path, "a", source, [])
    assert len(read_library(tmp_path).entries) == 1


def test_other_folders_and_damaged_parts_are_named(tmp_path, plant_defect, source):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("keep")
    with pytest.raises(FileError, match=r"other: is no library of defects"):
        open_library(other)
    with pytest.raises(FileError, match=r"none: is no library of defects"):
        read_library(tmp_path / "none")
    place = tmp_path / "lib"
    add_cuts(place, "a", source, plant_defect("V_C", 1, rng=np.random.default_rng(0)))
    library = read_library(place)
    (place / "a" / "cuts.zarr" / "c" / "0" / "0" / "0").unlink()
    with pytest.raises(FileError, match=r"lib/a: is damaged .*no image of entry 0"):
        list(library.read_images(library.entries))
    (place / "a" / "atoms.parquet").write_text("no table")
    with pytest.raises(FileError, match=r"lib/a: is damaged"):
        library.read_atoms(library.entries)
    (place / "a" / "entries.parquet").write_text("no table")
    with pytest.raises(FileError, match=r"lib/a: is damaged"):
        read_library(place)
    (place / "library.json").write_text('{"format": "adatom defect library", "version": 2}')
    with pytest.raises(FileError, match=r"library.json: must be .*version\": 1"):
        read_library(place)
