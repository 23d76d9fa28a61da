"""Write images with their pixel size: zarr and OME-TIFF, whole or not at all."""

import os
import shutil
import uuid
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr

from adatom.core.errors import FileError, ImageError
from adatom.images.units import pixel_size

LARGEST_CHUNK = 2048  # pixels along an axis of a still: a part of it can be read alone


def write_image(image: xr.DataArray, path: str | Path) -> None:
    """Write an image, a movie or a focal series so that `read_image` gives it back.

    The file is written beside its place and then renamed, so that a stopped run leaves no half
    file; one that is there is replaced.

    Parameters
    ----------
    image : DataArray
        Dims (y, x), (frame, y, x) or (focus, y, x), with coordinates y, x in Å where the pixel
        size is known.
    path : str or Path
        Ends in .zarr (keeps all coordinates and attributes), or in .tif, .tiff, .ome.tif
        (OME-TIFF that keeps the pixel size).

    Raises
    ------
    FileError
        If the ending is another, or the place cannot be written.
    ImageError
        If the dims are others, or a focal series is not written as .zarr.
    """
    path = Path(path)
    if image.dims not in (("y", "x"), ("frame", "y", "x"), ("focus", "y", "x")):
        rule = "dims must be (y, x), (frame, y, x) or (focus, y, x)"
        raise ImageError(f"image: {rule} (got {image.dims})")
    if "focus" in image.dims and path.suffix.lower() != ".zarr":
        raise ImageError(f"{path}: must end in .zarr, as only that keeps the focus of a series")
    writers = {".zarr": _write_zarr, ".tif": _write_tiff, ".tiff": _write_tiff}
    if path.suffix.lower() not in writers:
        raise FileError(f"{path}: must end in {', '.join(writers)} (got {path.suffix!r})")
    beside = path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        writers[path.suffix.lower()](image, beside)
        _replace(beside, path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        _remove(beside)


def _write_zarr(image: xr.DataArray, path: Path) -> None:
    axes = {
        name: (name, image[name].to_numpy(), {"units": "angstrom"})
        for name in ("y", "x")
        if name in image.coords
    }
    dataset = image.assign_coords(axes).drop_encoding().to_dataset(name="image")
    tile = tuple(min(n, LARGEST_CHUNK) for n in image.shape)
    chunks = (1, *image.shape[1:]) if image.ndim == 3 else tile
    if image.chunks is not None:
        dataset = dataset.chunk(dict(zip(image.dims, chunks, strict=True)))
    dataset.to_zarr(path, mode="w", consolidated=False, encoding={"image": {"chunks": chunks}})


def _write_tiff(image: xr.DataArray, path: Path) -> None:
    metadata: dict[str, object] = {"axes": "TYX", "Name": str(image.name or "image")}
    if "y" in image.coords and "x" in image.coords:
        for axis, size in zip("YX", pixel_size(image), strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "Å"}
    frames = image.expand_dims("frame") if image.ndim == 2 else image
    pages = (frames[index].to_numpy().astype(np.float32) for index in range(len(frames)))
    is_large = 4 * image.size > 2**31
    with tifffile.TiffWriter(path, ome=True, bigtiff=is_large) as file:
        file.write(
            pages, shape=frames.shape, dtype=np.float32, photometric="minisblack", metadata=metadata
        )


def _replace(beside: Path, path: Path) -> None:
    """Put a file or folder where another may be; the other goes only once the new is there."""
    if not path.is_dir():
        os.replace(beside, path)
        return
    old = path.with_name(f".{uuid.uuid4().hex[:8]}-old-{path.name}")
    os.replace(path, old)
    os.replace(beside, path)
    shutil.rmtree(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
