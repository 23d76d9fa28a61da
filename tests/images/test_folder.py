"""Folders of frames."""

import numpy as np
import pytest
import xarray as xr

from adatom.core.errors import FileError
from adatom.images import pixel_size
from adatom.images.read import describe_file, read_image
from adatom.images.write import write_image

FRAMES = np.random.default_rng(0).uniform(size=(4, 6, 8)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "movie"
    place.mkdir()
    for number, frame in zip((2, 9, 10, 12), FRAMES, strict=True):
        np.save(place / f"run3_{number}.npy", frame)
    (place / "notes.txt").write_text("not a frame")
    return place


def test_frames_come_in_the_order_of_their_numbers_and_gaps_stay(folder):
    movie = read_image(folder, pixel_size=0.1)
    assert movie.dims == ("frame", "y", "x")
    np.testing.assert_array_equal(movie.frame, [2, 9, 10, 12])
    np.testing.assert_array_equal(movie, FRAMES)
    assert pixel_size(movie) == (0.1, 0.1)
    assert describe_file(folder)["items"][0]["shape"] == (4, 6, 8)


def test_frames_keep_the_pixel_size_of_their_files(folder, tmp_path):
    place = tmp_path / "tiffs"
    place.mkdir()
    image = read_image(folder, pixel_size=0.25).isel(frame=0, drop=True)
    for name in ("a.tif", "b.tif"):
        write_image(image, place / name)
    movie = read_image(place)
    assert pixel_size(movie) == pytest.approx((0.25, 0.25))
    np.testing.assert_array_equal(movie.frame, [0, 1])


def test_frames_must_have_one_pixel_size(tmp_path):
    for number, size in enumerate((0.2, 0.2000001, 0.3)):
        places = {"y": size * np.arange(6), "x": size * np.arange(8)}
        frame = xr.DataArray(FRAMES[number], dims=("y", "x"), coords=places)
        write_image(frame, tmp_path / f"a{number}.tif")
    with pytest.raises(FileError, match=r"a2\.tif: a frame must have the pixel size of the first"):
        read_image(tmp_path)


def test_what_is_no_movie_is_refused(folder, tmp_path):
    np.save(folder / "run3_13.npy", FRAMES[0][:3])
    with pytest.raises(FileError, match=r"run3_13\.npy: a frame must have the shape"):
        read_image(folder)
    (folder / "run3_13.npy").rename(folder / "run3_13.png")
    with pytest.raises(FileError, match="files of one kind"):
        read_image(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="got none"):
        read_image(tmp_path / "empty")
