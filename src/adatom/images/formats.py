"""Open arrays, pictures, TIFF and zarr as a list of the images that they hold."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
import xarray as xr
import zarr
from PIL import Image

from adatom.images.units import to_angstrom

LAZY_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Item:
    """One image of a file, as the file holds it.

    Attributes
    ----------
    name : str
        What to ask for.
    values : array or dask array
        Axes (y, x), (frame, y, x), or (y, x, color).
    pixel_size : tuple of float or None
        Å per pixel along y and x.
    attrs : dict
        What the file says besides: `modality`, `energy_eV`, `beam_current_pA`, `dwell_time_us`,
        `units`.
    coords : dict
        Coordinates along `frame`, `focus`, `y` or `x` that the file holds itself.
    is_color : bool
        Whether the last axis holds colors.
    stack : {"frame", "focus"}
        What the first of three axes is.
    """

    name: str
    values: Any
    pixel_size: tuple[float, float] | None = None
    attrs: dict[str, Any] = field(default_factory=dict)
    coords: dict[str, np.ndarray] = field(default_factory=dict)
    is_color: bool = False
    stack: str = "frame"


def open_array(path: Path, *, is_archive: bool) -> list[Item]:
    """Open .npy or .npz; pickled objects are refused.

    Parameters
    ----------
    path : Path
        The file; a .json of the same name beside it may hold field of view and voltage.
    is_archive : bool
        Whether it is .npz.

    Returns
    -------
    list of Item
        Every array with two or three axes of numbers.
    """
    if not is_archive:
        is_large = path.stat().st_size > LAZY_BYTES
        values = np.load(path, mmap_mode="r" if is_large else None, allow_pickle=False)
        arrays: dict[str, Any] = {path.stem: _chunk(values) if is_large else values}
    else:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    frame, focus = arrays.get("frame"), arrays.get("focus")
    if len(arrays) > 1:
        arrays = {name: a for name, a in arrays.items() if a.ndim in (2, 3)}
    side = path.with_suffix(".json")
    said = _read_sidecar(side) if side.exists() else {}
    field_of_view, attrs = said.pop("field_of_view", None), said
    items = []
    for name, values in arrays.items():
        size = None
        if field_of_view is not None and values.ndim >= 2:
            height, width = values.shape[:2] if _is_colored(values) else values.shape[-2:]
            size = (field_of_view[0] / height, field_of_view[1] / width)
        coords = {}
        if frame is not None and frame.dtype.kind in "iu" and frame.shape == values.shape[:1]:
            coords = {"frame": frame} if len(np.unique(frame)) == len(frame) else {}
        is_colored = _is_colored(values)
        is_series = focus is not None and values.ndim == 3 and not is_colored
        if focus is not None and is_series:
            coords = {"focus": _check_focus(focus, len(values))}
        stack = "focus" if is_series else "frame"
        items.append(Item(name, values, size, dict(attrs), coords, is_colored, stack))
    return items


def _check_focus(focus: np.ndarray, n_images: int) -> np.ndarray:
    """Defoci of the images of a series, one of each."""
    if focus.shape != (n_images,) or focus.dtype.kind not in "iuf" or not np.isfinite(focus).all():
        rule = f"its array focus must hold {n_images} numbers, one for each image"
        raise ValueError(f"{rule}, got shape {focus.shape} of {focus.dtype}")
    return focus


def _is_colored(values: np.ndarray) -> bool:
    """Whether the last axis is one of color: no movie is of frames 3 or 4 pixels wide."""
    return values.ndim == 3 and values.shape[2] in (3, 4) and min(values.shape[:2]) >= 16


def _chunk(values: np.ndarray) -> da.Array:
    """Frames one by one; a still in bands of rows, as it lies on disk."""
    band = max(LAZY_BYTES // 16 // max(values[..., 0, :].nbytes, 1), 1)
    chunks = (1, *values.shape[1:]) if values.ndim == 3 else (band, values.shape[1])
    return da.from_array(_OnDisk(values), chunks=chunks, name=False)


class _OnDisk:
    """An array on disk that is not taken for one in memory: dask would copy it, and read it whole
    to name it.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values
        self.shape, self.dtype, self.ndim = values.shape, values.dtype, values.ndim

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.array(self._values[index])


def _read_sidecar(path: Path) -> dict[str, Any]:
    """Field of view (y, x) in Å, energy, beam current and modality from the .json of an array."""
    with path.open(encoding="utf-8") as file:
        found = json.load(file)
    flat: dict[str, Any] = {}
    waiting = [found] if isinstance(found, dict) else []
    while waiting:
        for key, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            else:
                flat[key] = value
    said: dict[str, Any] = {}
    unit = str(flat.get("field_of_view_units", ""))
    sides = [flat.get(f"field_of_view_{axis}") for axis in "yx"]
    if all(isinstance(side, int | float) and side > 0 for side in sides):
        field_of_view = [to_angstrom(float(side), unit) for side in sides if side is not None]
        if None not in field_of_view:
            said["field_of_view"] = tuple(field_of_view)
    energy = re.fullmatch(r"\s*([\d.]+)\s*(k?)e?V\s*", str(flat.get("voltage", "")))
    if energy:
        said["energy_eV"] = float(energy[1]) * (1000 if energy[2] else 1)
    current = re.fullmatch(r"\s*([\d.]+)\s*([pn])A\s*", str(flat.get("probe_current", "")))
    if current:
        said["beam_current_pA"] = float(current[1]) * (1000 if current[2] == "n" else 1)
    return said | find_modality(str(flat.get("experiment_type", "")))


def find_modality(text: str) -> dict[str, str]:
    """Modality that a title or a field of a file names.

    Parameters
    ----------
    text : str
        Title, detector or type of experiment.

    Returns
    -------
    dict
        `modality` as HAADF, BF, HRTEM or STM; empty if none is named.
    """
    known = (("HAADF", "HAADF"), ("HRTEM", "HRTEM"), ("TOPO", "STM"), ("BF", "BF"))
    for word, modality in known:
        if re.search(rf"(?<![A-Z]){word}", text.upper()):
            return {"modality": modality}
    return {}


def open_picture(path: Path) -> list[Item]:
    """Open .png or .jpg.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Item
        One image, of one color or three.
    """
    modes = {"1": "L", "LA": "L", "P": "RGB", "RGBA": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
    with Image.open(path) as picture:
        values = np.array(picture.convert(modes.get(picture.mode, picture.mode)))
    return [Item(path.stem, values, is_color=values.ndim == 3)]


def open_tiff(path: Path) -> list[Item]:
    """Open .tif, with the resolution that OME, ImageJ or the tags themselves give.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Item
        One per series of the file.
    """
    items = []
    values: Any
    with tifffile.TiffFile(path) as file:
        sizes = _ome_sizes(file.ome_metadata) if file.is_ome and file.ome_metadata else []
        for number, series in enumerate(file.series):
            size = sizes[number] if number < len(sizes) else _tag_size(file, series)
            is_color = series.axes.endswith("S")
            if series.nbytes > LAZY_BYTES and series.ndim == 3 and not is_color:
                values = _lazy_pages(path, number, series)
            elif series.nbytes > LAZY_BYTES and series.ndim == 2 and series.dataoffset is not None:
                values = _chunk(tifffile.memmap(path, series=number, mode="r"))
            else:
                values = series.asarray()
                if series.axes.startswith("S"):
                    values, is_color = np.moveaxis(values, 0, -1), True
                values = np.squeeze(values)
            name = series.name or f"series {number}"
            items.append(Item(name, values, size, is_color=is_color))
    return items


def _lazy_pages(path: Path, number: int, series: Any) -> da.Array:
    shape, dtype = series.shape[1:], series.dtype

    def read_page(block_info: Any = None) -> np.ndarray:
        index = block_info[None]["chunk-location"][0]
        return tifffile.imread(path, series=number, key=index)[None]

    chunks = ((1,) * series.shape[0], (shape[0],), (shape[1],))
    return da.map_blocks(read_page, chunks=chunks, dtype=dtype, meta=np.empty((0, 0, 0), dtype))


def _ome_sizes(text: str) -> list[tuple[float, float] | None]:
    """Pixel sizes (y, x) in Å of the images of OME-XML."""
    images = tifffile.xml2dict(text).get("OME", {}).get("Image", [])
    sizes: list[tuple[float, float] | None] = []
    for image in images if isinstance(images, list) else [images]:
        pixels = image.get("Pixels", {})
        size = [
            to_angstrom(
                float(pixels.get(f"PhysicalSize{axis}", "nan")),
                str(pixels.get(f"PhysicalSize{axis}Unit", "µm")),
            )
            for axis in "YX"
        ]
        is_known = all(side is not None and side > 0 for side in size)
        sizes.append((size[0], size[1]) if is_known else None)  # type: ignore[arg-type]
    return sizes


def _tag_size(file: tifffile.TiffFile, series: Any) -> tuple[float, float] | None:
    """Pixel size (y, x) in Å from the resolution tags; print resolutions are none."""
    tags = series.pages[0].tags
    unit = str((file.imagej_metadata or {}).get("unit", "")) if file.is_imagej else ""
    if not unit and "ResolutionUnit" in tags:
        unit = {2: "inch", 3: "cm"}.get(int(tags["ResolutionUnit"].value), "")
    sizes = []
    for name in ("YResolution", "XResolution"):
        above, below = tags[name].value if name in tags else (0, 1)
        size = to_angstrom(below / above, unit.encode().decode("unicode_escape")) if above else None
        # Pixels of 100 Å and more are those of a printer (72 per inch), not of a microscope.
        if size is None or not 0 < size < 100:
            return None
        sizes.append(size)
    return sizes[0], sizes[1]


def _in_house_units(coordinate: xr.DataArray) -> np.ndarray:
    """Values of a coordinate, lengths in Å."""
    values = coordinate.to_numpy()
    is_length = coordinate.name in ("y", "x") or (
        coordinate.name == "focus" and "units" in coordinate.attrs
    )
    if not is_length:
        return values
    unit = str(coordinate.attrs.get("units", ""))
    factor = to_angstrom(1.0, unit)
    if factor is None:
        raise ValueError(f"coordinate {coordinate.name} has the unit {unit!r}, which is no length")
    return values * factor


def open_zarr(path: Path) -> list[Item]:
    """Open a zarr folder, lazily: one that adatom wrote, a bare array, or a group of arrays.

    Parameters
    ----------
    path : Path
        The folder.

    Returns
    -------
    list of Item
        Every array with two or three axes.
    """
    store = zarr.open(str(path), mode="r")
    if isinstance(store, zarr.Array):
        return [Item(path.stem, da.from_zarr(store))]
    items = []
    with xr.open_zarr(path, consolidated=False, chunks=None) as found:
        for name, image in found.data_vars.items():
            if image.dims[-2:] == ("y", "x") and image.dims[:-2] in ((), ("frame",), ("focus",)):
                coords = {
                    str(key): _in_house_units(at)
                    for key, at in image.coords.items()
                    if at.dims in (("frame",), ("focus",)) or "units" in at.attrs
                }
                values, stack = da.from_zarr(store[str(name)]), str(image.dims[0])
                item = Item(str(name), values, None, image.attrs, coords, stack=stack)
                items.append(item)
    return items


OPENERS: dict[str, Callable[[Path], list[Item]]] = {
    ".npy": partial(open_array, is_archive=False),
    ".npz": partial(open_array, is_archive=True),
    ".png": open_picture,
    ".jpg": open_picture,
    ".jpeg": open_picture,
    ".tif": open_tiff,
    ".tiff": open_tiff,
    ".zarr": open_zarr,
}
