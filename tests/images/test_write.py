"""What is written comes back."""

import numpy as np
import pytest
import xarray as xr

from adatom.core.errors import FileError, ImageError
from adatom.images import pixel_size
from adatom.images.read import read_image
from adatom.images.write import write_image


def make_image(n_frames=None, size=(0.12, 0.15)):
    shape = (20, 30) if n_frames is None else (n_frames, 20, 30)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    coords = {"y": size[0] * np.arange(20), "x": size[1] * np.arange(30)} if size else {}
    if n_frames is not None:
        coords["frame"] = 3 * np.arange(n_frames)
    dims = ("y", "x") if n_frames is None else ("frame", "y", "x")
    return xr.DataArray(values, dims=dims, coords=coords, attrs={"modality": "HAADF"})


@pytest.mark.parametrize("name", ["a.zarr", "a.ome.tif", "a.tif"])
@pytest.mark.parametrize("n_frames", [None, 1, 4])
def test_round_trip(tmp_path, name, n_frames):
    image = make_image(n_frames)
    write_image(image, tmp_path / name)
    found = read_image(tmp_path / name)
    np.testing.assert_array_equal(found.to_numpy().squeeze(), image.to_numpy().squeeze())
    assert pixel_size(found) == pytest.approx((0.12, 0.15))
    assert found.x.attrs["units"] == "angstrom"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name.endswith("zarr"):
        assert found.dims == image.dims
        assert found.attrs["modality"] == "HAADF"
        if n_frames:
            np.testing.assert_array_equal(found.frame, image.frame)


@pytest.mark.parametrize("name", ["a.zarr", "a.tif"])
def test_without_pixel_size_and_over_another(tmp_path, name):
    write_image(make_image(), tmp_path / name)
    write_image(make_image(size=None), tmp_path / name)
    found = read_image(tmp_path / name)
    assert "x" not in found.coords
    assert len(list(tmp_path.iterdir())) == 1


def test_refuses_other_endings_dims_and_places(tmp_path):
    with pytest.raises(FileError, match=r"must end in .*'\.bmp'"):
        write_image(make_image(), tmp_path / "a.bmp")
    with pytest.raises(ImageError, match="dims"):
        write_image(make_image().rename(y="row"), tmp_path / "a.tif")
    with pytest.raises(FileError, match="cannot be written"):
        write_image(make_image(), tmp_path / "missing" / "a.tif")
