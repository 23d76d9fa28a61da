"""Read focal series: the images of one place at several defoci, from one file or several."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from adatom.core.errors import FileError, ImageError
from adatom.images.read import read_image
from adatom.images.units import pixel_size as find_pixel_size

SAME_SIZE = 1e-3  # part by which pixel sizes of the images of one series may differ


def read_series(
    paths: str | Path | Sequence[str | Path],
    focus: Sequence[float] | None = None,
    item: str | None = None,
    *,
    pixel_size: float | None = None,
) -> xr.DataArray:
    """Read a focal series.

    Parameters
    ----------
    paths : str, Path or sequence of them
        A stack, or a file for each image.
    focus : sequence of float, optional
        Defocus of each image in the order of the files or of the stack, Å (+ is underfocus);
        replaces that of the file.
    item : str, optional
        Name of the image in files that hold several.
    pixel_size : float, optional
        Å per pixel along both axes; replaces that of the files.

    Returns
    -------
    DataArray
        Dims (focus, y, x), the lowest defocus first; coordinate focus in Å, the rest as of
        `read_image`.

    Raises
    ------
    FileError
        If a file cannot be read.
    ImageError
        If the images differ in shape or pixel size, the defoci are not known, not one for each
        image, or equal.
    """
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not files:
        raise FileError("paths: must name a file (got none)")
    images = [read_image(path, item, pixel_size=pixel_size) for path in files]
    series = images[0] if len(images) == 1 else _stack(images)
    if series.ndim != 3:
        rule = "must be a stack of images, or one of several files"
        raise ImageError(f"{files[0]}: {rule} (got shape {series.shape})")
    if focus is None and "focus" not in series.coords:
        raise ImageError(
            f"{files[0]}: does not say the defoci of its {len(series)} images; give them with "
            "--focus (Å, + is underfocus)"
        )
    known = np.asarray(series["focus"] if focus is None else focus, np.float64)
    if len(known) != len(series):
        raise ImageError(f"focus: must be one of each of {len(series)} images (got {len(known)})")
    if not np.isfinite(known).all() or len(np.unique(known)) < len(known):
        raise ImageError(f"focus: must be numbers that differ, Å (got {known.tolist()})")
    if "frame" in series.dims:
        series = series.drop_vars(["frame", "time"], errors="ignore").rename(frame="focus")
    return series.assign_coords(focus=("focus", known, {"units": "angstrom"})).sortby("focus")


def _stack(images: list[xr.DataArray]) -> xr.DataArray:
    """Images of several files as one; their pixels are those of the first."""
    first = images[0]
    for image in images:
        source = image.attrs["source"]
        if image.dims != ("y", "x"):
            raise ImageError(f"{source}: must be one image of a series (got {dict(image.sizes)})")
        if image.shape != first.shape:
            raise ImageError(
                f"{source}: must have the {first.shape} pixels of {first.attrs['source']} "
                f"(got {image.shape})"
            )
        sizes = [find_pixel_size(each) if "y" in each.coords else (0, 0) for each in (first, image)]
        if not np.allclose(sizes[0], sizes[1], rtol=SAME_SIZE, atol=0):
            raise ImageError(
                f"{source}: must have the pixel size of {first.attrs['source']}, {sizes[0]} Å "
                f"(got {sizes[1]}; 0 is none)"
            )
    values = np.stack([image.values for image in images])
    return xr.DataArray(
        values, dims=("focus", "y", "x"), coords=first.coords, attrs=first.attrs, name=first.name
    )
