"""Files of every format, and files that are not what their names say."""

import json
import os
import shutil
import warnings
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from PIL import Image

from adatom.core.errors import FileError, ImageError
from adatom.images import formats, pixel_size
from adatom.images.read import describe_file, list_items, read_image

VENDOR = Path(__file__).parents[3] / "shared" / "data" / "vendor" / "se_implanted_mos2.dm3"
needs_vendor = pytest.mark.skipif(not VENDOR.is_file(), reason="needs ../shared/data/vendor")


@pytest.fixture
def counts():
    return np.random.default_rng(0).integers(0, 200, (24, 32)).astype(np.uint8)


def test_array_with_its_sidecar(tmp_path, counts):
    np.save(tmp_path / "a.npy", counts)
    said = {
        "experiment_type": "HAADF-STEM",
        "details": {
            "voltage": "60 kV",
            "probe_current": "0.03 nA",
            "spatial_info": {
                "field_of_view_x": 0.64,
                "field_of_view_y": 0.48,
                "field_of_view_units": "nm",
            },
        },
    }
    (tmp_path / "a.json").write_text(json.dumps(said))
    image = read_image(tmp_path / "a.npy")
    assert image.dtype == np.float32
    assert pixel_size(image) == pytest.approx((0.2, 0.2))
    assert image.attrs["energy_eV"] == 60000
    assert image.attrs["beam_current_pA"] == pytest.approx(30)
    assert image.attrs["modality"] == "HAADF"
    assert image.attrs["pixel_size_source"] == "header"
    given = read_image(tmp_path / "a.npy", pixel_size=0.3)
    assert pixel_size(given) == pytest.approx((0.3, 0.3))
    assert given.attrs["pixel_size_source"] == "option"


def test_several_images_must_be_asked_for(tmp_path, counts):
    np.savez(tmp_path / "a.npz", first=counts, second=counts + 1, names=np.array(["x", "y"]))
    assert [name for name, _, _ in list_items(tmp_path / "a.npz")] == ["first", "second"]
    with pytest.raises(FileError, match="holds 2 images; ask for one of first, second"):
        read_image(tmp_path / "a.npz")
    with pytest.raises(FileError, match=r"no image 'third'"):
        read_image(tmp_path / "a.npz", "third")
    np.testing.assert_array_equal(read_image(tmp_path / "a.npz", "second"), counts + 1.0)


def test_movie_keeps_the_frame_numbers_of_its_file(tmp_path, counts):
    np.savez(tmp_path / "a.npz", images=np.stack([counts] * 3), frame=np.array([2, 5, 6]))
    movie = read_image(tmp_path / "a.npz")
    assert movie.dims == ("frame", "y", "x")
    np.testing.assert_array_equal(movie.frame, [2, 5, 6])


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_large_movies_stay_lazy(tmp_path, counts, monkeypatch, suffix):
    movie = np.stack([counts, counts + 1, counts + 2])
    path = tmp_path / f"a{suffix}"
    np.save(path, movie) if suffix == ".npy" else tifffile.imwrite(
        path, movie, photometric="minisblack"
    )
    monkeypatch.setattr(formats, "LAZY_BYTES", 100)
    monkeypatch.setattr("adatom.images.read.LAZY_BYTES", 100)
    found = read_image(path)
    assert isinstance(found.data, da.Array)
    np.testing.assert_array_equal(found[1].to_numpy(), movie[1])


@pytest.mark.parametrize("name", ["a.npy", "plain.tif", "packed.tif"])
def test_large_stills_stay_lazy_where_they_lie_plain_on_disk(tmp_path, counts, monkeypatch, name):
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, counts)
    else:
        packing = "zlib" if name == "packed.tif" else None
        tifffile.imwrite(path, counts, compression=packing, byteorder=">")
    monkeypatch.setattr(formats, "LAZY_BYTES", 100)
    monkeypatch.setattr("adatom.images.read.LAZY_BYTES", 100)
    found = read_image(path)
    is_lazy = name != "packed.tif"
    assert isinstance(found.data, da.Array) == is_lazy
    np.testing.assert_array_equal(found.to_numpy(), counts)
    if is_lazy:  # a change of the file is seen: nothing was copied to memory
        data = path.read_bytes()
        path.write_bytes(data.replace(counts[3:5].tobytes(), (counts[3:5] + 1).tobytes()))
        np.testing.assert_array_equal(found.to_numpy()[3:5], counts[3:5] + 1)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_gray_files_hold_their_values(tmp_path, counts, name):
    if name == "a.png":
        Image.fromarray(counts).save(tmp_path / name)
    elif name == "a.tif":
        tifffile.imwrite(tmp_path / name, counts)
    else:
        np.save(tmp_path / name, counts)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image, counts)
    assert "x" not in image.coords


def test_colors(tmp_path, counts):
    Image.fromarray(np.stack([counts] * 3, axis=-1)).save(tmp_path / "gray.png")
    np.testing.assert_allclose(read_image(tmp_path / "gray.png"), counts)
    red = np.stack([counts, 0 * counts, 0 * counts], axis=-1)
    Image.fromarray(red).save(tmp_path / "red.png")
    image = read_image(tmp_path / "red.png")
    np.testing.assert_allclose(image, 0.299 * counts, rtol=1e-5)
    assert "luminance" in image.attrs["note"]
    for channels in (3, 4):  # as from other libraries
        np.save(tmp_path / "red.npy", np.pad(red, ((0, 0), (0, 0), (0, channels - 3))))
        np.testing.assert_allclose(read_image(tmp_path / "red.npy"), 0.299 * counts, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"imagej": True, "resolution": (40, 50), "metadata": {"unit": "nm"}}, (0.2, 0.25)),
        ({"resolution": (4e8, 5e8), "resolutionunit": "CENTIMETER"}, (0.2, 0.25)),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
    ],
)
def test_resolution_tags(tmp_path, counts, options, expected):
    tifffile.imwrite(tmp_path / "a.tif", counts, **options)
    found = describe_file(tmp_path / "a.tif")["items"][0]["pixel_size"]
    assert found == (None if expected is None else pytest.approx(expected))


def test_bare_zarr(tmp_path, counts):
    zarr.save_array(str(tmp_path / "a.zarr"), counts)
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr"), counts)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (np.diag([1.0, np.nan, 2.0, np.inf]), r"finite \(2 of 16"),
        (np.ones((1, 1)), "4 × 4"),
        (np.ones((30, 30, 2)), "4 × 4"),
        (np.float32(3), "4 × 4"),
        (np.ones((2, 2, 2, 2)), "4 × 4"),
        (np.ones((4, 4), complex), "real numbers"),
        (np.full((4, 4), "a"), "real numbers"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, values, rule):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(ImageError, match=rule):
        read_image(tmp_path / "a.npy")


def test_pickles_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match=r"a\.npy"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", [".dm3", ".dm4", ".tif", ".png", ".jpg", ".npy", ".npz"])
@pytest.mark.parametrize("content", [b"", b"no image", bytes(range(256)) * 8, b"\x00" * 999])
def test_wrong_content_is_one_line(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"a\{suffix}") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.97])
def test_truncated_files(tmp_path, suffix, part):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    values = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    if suffix == ".tif":
        tifffile.imwrite(whole, values)
    elif suffix == ".png":
        Image.fromarray(values).save(whole)
    else:
        (np.save if suffix == ".npy" else np.savez)(whole, values)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(part * len(data))])
    with pytest.raises(FileError, match=r"cut"):
        read_image(cut)


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz"])
def test_damaged_bytes_are_one_line_or_an_image(tmp_path, suffix):
    rng = np.random.default_rng(0)
    whole, damaged = tmp_path / f"whole{suffix}", tmp_path / f"damaged{suffix}"
    values = rng.integers(0, 255, (16, 16)).astype(np.uint8)
    if suffix == ".tif":
        tifffile.imwrite(whole, values)
    elif suffix == ".png":
        Image.fromarray(values).save(whole)
    else:
        (np.save if suffix == ".npy" else np.savez_compressed)(whole, values)
    lines = []
    for _ in range(40):
        data = bytearray(whole.read_bytes())
        for place in rng.integers(0, min(len(data), 200), 5):
            data[place] = rng.integers(0, 256)
        damaged.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_image(damaged)
            except (FileError, ImageError) as error:
                lines.append(str(error))
    assert lines
    assert not any("\n" in line for line in lines)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(FileError, match="must be a file or a folder"):
        read_image(tmp_path / "a.tif")


def test_places_that_are_no_files(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        read_image(tmp_path / "a.tif")
    (tmp_path / "b.zarr").write_text("x")
    with pytest.raises(FileError, match="must be a folder"):
        read_image(tmp_path / "b.zarr")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(FileError, match=r"must end in .*'\.txt'"):
        read_image(tmp_path / "a.txt")
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(FileError, match=r"a\.zarr"):
        read_image(tmp_path / "a.zarr")


@needs_vendor
def test_digital_micrograph():
    image = read_image(VENDOR)
    assert image.shape == (1024, 1024)
    assert pixel_size(image) == pytest.approx((0.12695, 0.12695), rel=1e-4)
    assert describe_file(VENDOR)["items"][0]["name"] == "SI Survey Image (active)"


@needs_vendor
@pytest.mark.parametrize("part", [0.001, 0.3, 0.6])
def test_truncated_digital_micrograph(tmp_path, part):
    path = tmp_path / "a.dm3"
    shutil.copy(VENDOR, path)
    with path.open("r+b") as file:
        file.truncate(int(part * VENDOR.stat().st_size))
    with pytest.raises(FileError, match=r"a\.dm3"):
        read_image(path)


def test_zarr_of_others_in_nanometers_is_scaled_and_a_damaged_one_is_one_line(tmp_path):
    path = tmp_path / "nm.zarr"
    axes = {name: (name, np.arange(40) * 0.01, {"units": "nm"}) for name in ("y", "x")}
    xr.DataArray(
        np.random.default_rng(0).random((40, 40)), dims=("y", "x"), coords=axes, name="a"
    ).to_zarr(path, consolidated=False)
    assert pixel_size(read_image(path)) == pytest.approx((0.1, 0.1))
    chunk = next(file for file in (path / "a" / "c").rglob("*") if file.is_file())
    chunk.write_bytes(b"no zstandard")
    with pytest.raises(FileError, match=r"nm\.zarr"):
        read_image(path)
