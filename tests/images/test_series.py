"""Focal series from stacks and from files."""

import numpy as np
import pytest
import xarray as xr

from adatom.core.errors import FileError, ImageError
from adatom.images import pixel_size
from adatom.images.read import describe_file, read_image
from adatom.images.series import read_series
from adatom.images.write import write_image

VALUES = np.random.default_rng(0).normal(size=(3, 20, 30)).astype(np.float32)


def make_series(focus=(70.0, -30.0, 20.0)):
    coords = {"focus": list(focus), "y": 0.12 * np.arange(20), "x": 0.12 * np.arange(30)}
    return xr.DataArray(
        VALUES, dims=("focus", "y", "x"), coords=coords, attrs={"modality": "HRTEM"}
    )


def test_stack_that_knows_its_focus_comes_back_in_order(tmp_path):
    write_image(make_series(), tmp_path / "a.zarr")
    np.savez(tmp_path / "b.npz", image=VALUES, focus=[70.0, -30.0, 20.0])
    for name, size in (("a.zarr", None), ("b.npz", 0.12)):
        series = read_series(tmp_path / name, pixel_size=size)
        assert series.dims == ("focus", "y", "x")
        np.testing.assert_array_equal(series.focus, [-30, 20, 70])
        np.testing.assert_array_equal(series.values, VALUES[[1, 2, 0]])
        assert pixel_size(series) == pytest.approx((0.12, 0.12))
        assert series.focus.attrs["units"] == "angstrom"
        assert describe_file(tmp_path / name)["items"][0]["focus"] == [70, -30, 20]
    assert read_image(tmp_path / "a.zarr").attrs["modality"] == "HRTEM"


def test_three_files_are_a_stack_of_them(tmp_path):
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for path, values in zip(paths, VALUES, strict=True):
        write_image(make_series()[0].drop_vars("focus").copy(data=values), path)
    whole = xr.DataArray(VALUES, dims=("frame", "y", "x"), coords=dict(make_series()[0].coords))
    write_image(whole.drop_vars("focus"), tmp_path / "stack.tif")
    series = read_series(paths, [70, -30, 20])
    stack = read_series(tmp_path / "stack.tif", [70, -30, 20])
    np.testing.assert_array_equal(series.values, VALUES[[1, 2, 0]])
    np.testing.assert_array_equal(stack.values, series.values)
    np.testing.assert_allclose(stack.x, series.x)


def test_a_focus_of_all_frames_makes_no_series(tmp_path):
    movie = make_series().rename(focus="frame").assign_coords(frame=[3, 4, 5], focus=20.0)
    write_image(movie, tmp_path / "movie.zarr")
    found = read_image(tmp_path / "movie.zarr")
    assert found.dims == ("frame", "y", "x")
    np.testing.assert_array_equal(found.frame, [3, 4, 5])
    assert describe_file(tmp_path / "movie.zarr")["items"][0]["focus"] is None


def test_what_is_no_series_is_refused(tmp_path):
    np.save(tmp_path / "stack.npy", VALUES)
    np.save(tmp_path / "still.npy", VALUES[0])
    np.save(tmp_path / "small.npy", VALUES[0, :10])
    with pytest.raises(ImageError, match=r"stack.npy: does not say the defoci of its 3 images"):
        read_series(tmp_path / "stack.npy")
    with pytest.raises(ImageError, match=r"one of each of 3 images \(got 2\)"):
        read_series(tmp_path / "stack.npy", [0, 1])
    with pytest.raises(ImageError, match=r"must be numbers that differ, Å \(got \[0.0, 0.0, 5.0\]"):
        read_series(tmp_path / "stack.npy", [0, 0, 5])
    with pytest.raises(ImageError, match=r"still.npy: must be a stack"):
        read_series(tmp_path / "still.npy", [0])
    with pytest.raises(ImageError, match=r"small.npy: must have the \(20, 30\) pixels"):
        read_series([tmp_path / "still.npy", tmp_path / "small.npy"], [0, 5])
    with pytest.raises(ImageError, match=r"stack.npy: must be one image of a series"):
        read_series([tmp_path / "stack.npy", tmp_path / "still.npy"], [0, 5])
    with pytest.raises(FileError, match=r"got none"):
        read_series([])
    np.savez(tmp_path / "short.npz", image=VALUES, focus=[0.0, 1.0])
    with pytest.raises(FileError, match=r"short.npz.*must hold 3 numbers, one for each image"):
        read_image(tmp_path / "short.npz")
    with pytest.raises(ImageError, match=r"must end in \.zarr"):
        write_image(make_series(), tmp_path / "a.tif")
