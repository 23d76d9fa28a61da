"""Read microscope files: one door for every format, one kind of error for every failure."""

import json
import logging
import struct
import tokenize
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import xarray as xr
import zarr.errors
from PIL import Image

from adatom.core.errors import FileError, ImageError
from adatom.images import formats, scanning, vendor
from adatom.images.content import recognize_content
from adatom.images.folder import open_folder
from adatom.images.formats import LAZY_BYTES, Item
from adatom.images.units import pixel_size as get_pixel_size

OPENERS = {**formats.OPENERS, **vendor.OPENERS, **scanning.OPENERS}
SUFFIXES = tuple(OPENERS)
for _library in ("tifffile", "rsciio", "PIL"):
    # What they grumble about a damaged file is for logs, not for the terminal.
    logging.getLogger(_library).addHandler(logging.NullHandler())

FEWEST_PIXELS = 4  # along an axis; an axis of 2 or 3 is no place but a channel
LARGEST_VALUE = 1e30  # beyond it single precision ends
# What the libraries raise when a file is not what its name says, or ends too early.
LIBRARY_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    NameError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
    json.JSONDecodeError,
    tifffile.TiffFileError,
    Image.DecompressionBombError,
    zarr.errors.BaseZarrError,
)


def read_image(
    path: str | Path, item: str | None = None, *, pixel_size: float | None = None
) -> xr.DataArray:
    """Read an image or a movie.

    Parameters
    ----------
    path : str or Path
        .dm3, .dm4, .emd, .ser, .emi, .mrc, .hspy, .sxm, .gwy, .tif, .png, .jpg, .npy, .npz or
        .zarr, recognized by its content where that says what it is; or a folder of files, which
        are the frames of one movie. Arrays may have a .json of the same name beside them that
        gives field of view and voltage.
    item : str, optional
        Name of the image in a file that holds several.
    pixel_size : float, optional
        Å per pixel along both axes; replaces that of the file.

    Returns
    -------
    DataArray
        Dims (y, x), (frame, y, x), or (focus, y, x) where the file holds defoci (.npz with an
        array `focus`, .zarr); coordinates y, x, focus in Å (+ is underfocus) where they are known;
        attrs
        `source`, `pixel_size_source` ("header" or "option"), and `modality`, `energy_eV`,
        `beam_current_pA`, `dwell_time_us`, `units` where the file says so. Integers become
        float32; movies above 256 MiB stay lazy.

    Raises
    ------
    FileError
        If the file is missing, damaged or of no known format, or holds several images and none
        is asked for.
    ImageError
        If it holds no image of real, finite numbers.
    """
    path = Path(path)
    items = _open_file(path)
    names = [each.name for each in items]
    if item is None and len(items) > 1:
        raise FileError(f"{path}: holds {len(items)} images; ask for one of {', '.join(names)}")
    if item is not None and item not in names:
        raise FileError(f"{path}: has no image {item!r} (has {', '.join(names)})")
    if pixel_size is not None and not 0 < pixel_size < np.inf:
        raise ImageError(f"pixel_size: must be a number above 0 Å (got {pixel_size})")
    return _make_image(path, items[0 if item is None else names.index(item)], pixel_size)


def list_items(path: str | Path) -> list[tuple[str, tuple[int, ...], str]]:
    """List the images of a file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    list of (str, tuple of int, str)
        Name, shape, and a description of type and pixel size, of each.

    Raises
    ------
    FileError
        If the file cannot be read.
    """
    found = []
    for item in _open_file(Path(path)):
        size = "no pixel size"
        if item.pixel_size is not None:
            size = f"{item.pixel_size[0]:.4g} × {item.pixel_size[1]:.4g} Å per pixel"
        found.append((item.name, tuple(item.values.shape), f"{item.values.dtype}, {size}"))
    return found


def describe_file(path: str | Path) -> dict[str, Any]:
    """Describe what a file holds, without the values.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict
        `source`, and `items`: a list with `name`, `shape`, `dtype`, `pixel_size` (Å along y and
        x, or None), `energy_eV`, `beam_current_pA`, `dwell_time_us`, `modality`, `frame_time` (s)
        and `focus` (Å) (None where the file does not say).

    Raises
    ------
    FileError
        If the file cannot be read.
    """
    path = Path(path)
    items = []
    for item in _open_file(path):
        size = item.pixel_size
        if size is None and {"y", "x"} <= item.coords.keys():
            places = {name: item.coords[name] for name in ("y", "x")}
            size = get_pixel_size(
                xr.DataArray(item.values, dims=_dims(item, item.values.ndim), coords=places)
            )
        items.append(
            {
                "name": item.name,
                "shape": tuple(item.values.shape),
                "dtype": str(item.values.dtype),
                "pixel_size": size,
                "energy_eV": item.attrs.get("energy_eV"),
                "beam_current_pA": item.attrs.get("beam_current_pA"),
                "dwell_time_us": item.attrs.get("dwell_time_us"),
                "modality": item.attrs.get("modality"),
                "frame_time": _find_frame_time(item),
                "focus": _find_focus(item),
            }
        )
    return {"source": str(path), "items": items}


def _find_frame_time(item: Item) -> float | None:
    """Seconds from frame to frame."""
    times = item.coords.get("time", ())
    return float(np.median(np.diff(times))) if len(times) > 1 else None


def _find_focus(item: Item) -> list[float] | None:
    """Defocus of each image of a focal series, Å."""
    is_known = item.stack == "focus" and "focus" in item.coords
    return [float(focus) for focus in item.coords["focus"]] if is_known else None


def _open_file(path: Path) -> list[Item]:
    """Open a file by its content, else by the ending of its name.

    Every failure becomes a FileError of one line.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise FileError(f"{path}: does not exist")
    if not path.is_dir():
        suffix = _find_kind(path, suffix)
    opener = OPENERS.get(suffix)
    if path.is_dir() and suffix != ".zarr":
        opener, suffix = partial(open_folder, suffixes=SUFFIXES, open_file=_open_file), "a movie"
    if opener is None:
        raise FileError(f"{path}: must end in one of {', '.join(SUFFIXES)} (got {suffix!r})")
    try:
        items = opener(path)
    except LIBRARY_ERRORS as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise FileError(f"{path}: cannot be read as {suffix} ({reason})") from error
    if not items:
        raise FileError(f"{path}: holds no image with two or three axes")
    return items


def _find_kind(path: Path, suffix: str) -> str:
    """What a file is by its content, else by the ending of its name."""
    if not path.is_file():
        raise FileError(f"{path}: must be a file or a folder")
    try:
        if path.stat().st_size == 0:
            raise FileError(f"{path}: is empty (0 bytes)")
        kind = recognize_content(path) or suffix
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from error
    if kind == ".zarr":
        raise FileError(f"{path}: must be a folder")
    return kind


def _dims(item: Item, n_axes: int) -> tuple[str, ...]:
    return (item.stack, "y", "x")[-n_axes:]


def _make_image(path: Path, item: Item, option: float | None) -> xr.DataArray:
    """Check the values and put names, coordinates and notes on them."""
    values = item.values
    attrs = {**item.attrs, "source": str(path)}
    if values.dtype.kind not in "buif":
        raise ImageError(f"{path}: values must be real numbers (got {values.dtype})")
    if item.is_color and values.ndim == 3:
        values, note = _remove_color(values)
        attrs["note"] = note
    if values.ndim not in (2, 3) or min(values.shape[-2:]) < FEWEST_PIXELS or values.shape[0] < 1:
        rule = "must be an image (y, x) or a movie (frame, y, x) of 4 × 4 pixels or more"
        raise ImageError(f"{path}: {rule} (got shape {tuple(values.shape)})")
    if isinstance(values, np.ndarray) or values.nbytes <= LAZY_BYTES:
        try:
            loaded = np.asarray(values)
        except LIBRARY_ERRORS as error:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise FileError(f"{path}: its values cannot be read ({reason})") from error
        values = _check_values(path, loaded)
    dims = _dims(item, values.ndim)
    coords = _name_stack(item, dims[0], values.shape[0])
    sizes = (option, option) if option is not None else item.pixel_size
    if sizes is not None:
        attrs["pixel_size_source"] = "header" if option is None else "option"
        for name, size, n_pixels in zip(("y", "x"), sizes, values.shape[-2:], strict=True):
            coords[name] = (name, size * np.arange(n_pixels), {"units": "angstrom"})
    else:
        for name in {"y", "x"} & item.coords.keys():
            coords[name] = (name, item.coords[name], {"units": "angstrom"})
        if "y" in coords:
            attrs["pixel_size_source"] = "header"
    return xr.DataArray(values, dims=dims, coords=coords, attrs=attrs, name=item.name)


def _name_stack(item: Item, dim: str, n_images: int) -> dict[str, Any]:
    """Coordinates along the first axis of a movie or a focal series."""
    if dim == "focus" and "focus" in item.coords:
        return {"focus": ("focus", item.coords["focus"], {"units": "angstrom"})}
    if dim != "frame":
        return {}
    coords: dict[str, Any] = {"frame": item.coords.get("frame", np.arange(n_images))}
    if "time" in item.coords:
        coords["time"] = ("frame", item.coords["time"], {"units": "s"})
    return coords


def _check_values(path: Path, values: np.ndarray) -> np.ndarray:
    """Integers and half floats to float32; refuse what is not finite."""
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32)
    n_bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if n_bad:
        raise ImageError(f"{path}: values must be finite ({n_bad} of {values.size} are not)")
    if values.dtype == np.float64 and float(np.abs(values).max()) > LARGEST_VALUE:
        largest = float(np.abs(values).max())
        raise ImageError(f"{path}: values must be below {LARGEST_VALUE:g} (got {largest:g})")
    return values


def _remove_color(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Gray values of a picture in color: its channels where they are equal, else the luminance."""
    colors = values[..., :3].astype(np.float32)
    largest = float(np.abs(colors - colors[..., :1]).mean())
    if largest <= 0.01 * max(float(np.ptp(colors)), 1.0):
        return colors[..., 0], "three equal color channels were read as one"
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    return colors @ weights, "colors were turned into luminance"
