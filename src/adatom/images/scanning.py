"""Open the files of scanning probe microscopes: Nanonis .sxm and Gwyddion .gwy."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from adatom.images.formats import Item, find_modality
from adatom.images.units import to_angstrom

GWY_MARK = b"GWYP"
GWY_NUMBERS = {"b": "<?", "c": "<c", "i": "<i", "q": "<q", "d": "<d"}
GWY_ARRAYS = {"C": "S1", "I": "<i4", "Q": "<i8", "D": "<f8"}
DEEPEST = 8  # objects inside each other; real files have three


def open_nanonis(path: Path) -> list[Item]:
    """Open a Nanonis scan, .sxm.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Item
        Every channel, forward and backward; row 0 is the top of the scan.
    """
    content = path.read_bytes()
    header, mark, data = content.partition(b"\x1a\x04")
    said = _read_header(header.decode("latin-1"))
    if not mark or not {"SCAN_PIXELS", "SCAN_RANGE", "DATA_INFO"} <= said.keys():
        raise ValueError("header of a Nanonis scan expected")
    n_x, n_y = (int(n) for n in said["SCAN_PIXELS"].split())
    range_x, range_y = (1e10 * float(length) for length in said["SCAN_RANGE"].split())
    columns, *rows = [line.split("\t") for line in said["DATA_INFO"].strip().splitlines()]
    items: list[Item] = []
    for row in rows:
        channel = dict(zip(map(str.strip, columns), map(str.strip, row), strict=True))
        both = ("forward", "backward")
        for direction in both if channel["Direction"] == "both" else (channel["Direction"],):
            start = len(items) * n_x * n_y * 4
            values = np.frombuffer(data, ">f4", n_x * n_y, start).reshape(n_y, n_x)
            values = values[:, ::-1] if direction == "backward" else values
            values = values[::-1] if said.get("SCAN_DIR", "").strip() == "up" else values
            items.append(
                Item(
                    f"{channel['Name']} {direction}",
                    values.astype(np.float32),
                    (range_y / n_y, range_x / n_x),
                    {"modality": "STM", "units": channel["Unit"]},
                )
            )
    return items


def _read_header(text: str) -> dict[str, str]:
    """Fields of a Nanonis header: each a line `:NAME:` and what follows it."""
    said: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(":") and line.rstrip().endswith(":"):
            lines = said.setdefault(line.strip()[1:-1], [])
        else:
            lines.append(line.lstrip("\t"))
    return {name: "\n".join(value) for name, value in said.items()}


def open_gwyddion(path: Path) -> list[Item]:
    """Open a Gwyddion file, .gwy.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Item
        Every data field.

    Notes
    -----
    The format is that of the Gwyddion user guide, "Gwyddion native data files": objects that hold
    named components, each with its type.
    """
    content = path.read_bytes()
    if not content.startswith(GWY_MARK):
        raise ValueError("file of Gwyddion expected")
    root = _Bytes(content, len(GWY_MARK), len(content)).take_object()
    items: list[Item] = []
    for key, field in root.items():
        channel = key.removesuffix("/data")
        if not (isinstance(field, dict) and key == f"{channel}/data" and "data" in field):
            continue
        values = np.asarray(field["data"]).reshape(field["yres"], field["xres"])
        unit = field.get("si_unit_xy", {}).get("unitstr", "")
        sides = (field["yreal"] / field["yres"], field["xreal"] / field["xres"])
        sizes = [to_angstrom(side, unit) for side in sides]
        known = [size for size in sizes if size is not None and 0 < size < np.inf]
        title = str(root.get(f"{key}/title", f"channel {channel.strip('/')}"))
        name = title if title not in [item.name for item in items] else f"{title} {len(items)}"
        notes = {"units": field.get("si_unit_z", {}).get("unitstr", ""), **find_modality(title)}
        items.append(Item(name, values, (known[0], known[1]) if len(known) == 2 else None, notes))
    return items


class _Bytes:
    """Components of a Gwyddion object, read one after the other; never beyond its end."""

    def __init__(self, content: bytes, start: int, end: int, depth: int = 0):
        self.content, self.at, self.end, self.depth = content, start, end, depth

    def take(self, n_bytes: int) -> bytes:
        """The next bytes."""
        if not 0 <= n_bytes <= self.end - self.at:
            raise ValueError("file of Gwyddion ends too early")
        self.at += n_bytes
        return self.content[self.at - n_bytes : self.at]

    def take_number(self, kind: str) -> Any:
        """The next number, by its code for `struct`."""
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def take_text(self) -> str:
        """Text up to the next zero."""
        stop = self.content.find(b"\0", self.at, self.end)
        if stop < 0:
            raise ValueError("file of Gwyddion ends too early")
        return self.take(stop + 1 - self.at)[:-1].decode("utf-8", "replace")

    def take_object(self) -> dict[str, Any]:
        """Components of the next object, by name."""
        if self.depth > DEEPEST:
            raise ValueError("file of Gwyddion is nested too deeply")
        self.take_text()
        size = self.take_number("<I")
        inside = _Bytes(self.content, self.at, self.at + size, self.depth + 1)
        self.take(size)
        found = {}
        while inside.at < inside.end:
            name = inside.take_text()
            found[name] = inside.take_value(inside.take(1).decode("latin-1"))
        return found

    def take_value(self, kind: str) -> Any:
        """Value of a component of one type."""
        if kind in GWY_NUMBERS:
            return self.take_number(GWY_NUMBERS[kind])
        if kind == "s":
            return self.take_text()
        if kind == "o":
            return self.take_object()
        count = self.take_number("<I")
        if kind in GWY_ARRAYS:
            dtype = np.dtype(GWY_ARRAYS[kind])
            return np.frombuffer(self.take(count * dtype.itemsize), dtype)
        takers: dict[str, Callable[[], Any]] = {"S": self.take_text, "O": self.take_object}
        if kind not in takers:
            raise ValueError(f"component of type {kind!r} in a file of Gwyddion")
        return [takers[kind]() for _ in range(min(count, self.end - self.at))]


OPENERS: dict[str, Callable[[Path], list[Item]]] = {
    ".sxm": open_nanonis,
    ".gwy": open_gwyddion,
}
