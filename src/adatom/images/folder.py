"""Open a folder whose files are the frames of one movie."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from adatom.core.errors import FileError
from adatom.images.formats import Item

SAME_SIZE = 1e-3  # part by which pixel sizes of the frames of one movie may differ


def open_folder(
    folder: Path, suffixes: tuple[str, ...], open_file: Callable[[Path], list[Item]]
) -> list[Item]:
    """Open the frames of a movie, each a file with one image; they stay on disk until needed.

    Parameters
    ----------
    folder : Path
        Files of one kind, whose order is that of the numbers in their names.
    suffixes : tuple of str
        Endings of files that can be read; others are left aside.
    open_file : callable
        Opens one of them.

    Returns
    -------
    list of Item
        One movie. Its frame numbers are the last numbers in the names if these only grow, so that
        gaps stay; else they count from 0.
    """
    paths = [p for p in folder.iterdir() if p.suffix.lower() in suffixes and p.name[0] != "."]
    paths.sort(key=lambda path: _split_numbers(path.name))
    kinds = {path.suffix.lower() for path in paths}
    if len(kinds) != 1:
        listed = ", ".join(sorted(kinds)) or "none"
        raise ValueError(f"the frames of a movie must be files of one kind (got {listed})")
    first = _take_only(paths[0], open_file)
    dtype = np.dtype(np.float32)

    def load(block_info: Any = None) -> np.ndarray:
        path = paths[block_info[None]["chunk-location"][0]]
        frame = _take_only(path, open_file)
        _check_alike(path, frame, first)
        return np.asarray(frame.values, dtype)[None]

    shape = first.values.shape
    chunks = ((1,) * len(paths), *((n,) for n in shape))
    values = da.map_blocks(load, chunks=chunks, dtype=dtype, meta=np.empty((0, 0, 0), dtype))
    coords = {**first.coords, "frame": _find_numbers(paths)}
    return [Item(folder.name, values, first.pixel_size, first.attrs, coords)]


def _check_alike(path: Path, frame: Item, first: Item) -> None:
    """Refuse a frame of another shape or pixel size than the first."""
    here, there = frame.pixel_size, first.pixel_size
    is_known = here is not None and there is not None
    if frame.values.shape != first.values.shape:
        name, found, wanted = "shape", frame.values.shape, first.values.shape
    elif here != there and not (is_known and np.allclose(here, there, rtol=SAME_SIZE)):  # type: ignore[arg-type]
        name, found, wanted = "pixel size", here, there
    else:
        return
    raise FileError(f"{path}: a frame must have the {name} of the first, {wanted} (got {found})")


def _take_only(path: Path, open_file: Callable[[Path], list[Item]]) -> Item:
    items = open_file(path)
    if len(items) != 1 or items[0].values.ndim != 2 or items[0].is_color:
        raise FileError(f"{path}: a frame must be one gray image")
    if items[0].values.dtype.kind not in "buif":
        raise FileError(f"{path}: values must be real numbers (got {items[0].values.dtype})")
    return items[0]


def _split_numbers(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which frame 10 comes after frame 9."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _find_numbers(paths: list[Path]) -> np.ndarray:
    """Frame numbers that the names end with, or a count."""
    found = [re.findall(r"\d+", path.stem) for path in paths]
    if all(found):
        numbers = np.array([int(each[-1][-15:]) for each in found])
        if (np.diff(numbers) > 0).all():
            return numbers
    return np.arange(len(paths))
