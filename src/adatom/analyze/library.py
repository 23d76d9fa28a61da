"""A library of named defects from many images: their cuts, atoms, bonds and sources."""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from filelock import FileLock, Timeout
from scipy.spatial import cKDTree

from adatom.analyze.defects import UNHASHED, Defects, number_classes
from adatom.core.errors import FileError
from adatom.core.materials import Material
from adatom.core.runs import move_into_place
from adatom.core.table_files import TableWriter
from adatom.images.units import pixel_size

WIDTH = 20.0  # Å, side of a cut
FORMAT = {"format": "adatom defect library", "version": 1, "width": WIDTH}
MOST_MISFIT = 0.1  # of a lattice constant; beyond, it is another lattice
N_CHUNK = 16  # cuts of a file
INDEX, SOURCE = "library.json", "source.json"
SAID = ("image", "material", "modality", "model", "use_lattice")  # by the source, of each entry
UNITS = dict.fromkeys(
    ("x", "y", "x_err", "y_err", "bond", "bond_err", "length", "left", "top"), "angstrom"
)


@dataclass(frozen=True)
class Cuts:
    """Defects cut out of one image.

    Attributes
    ----------
    entries : DataFrame
        As of `find_defects`, with the number `entry`, the place of the first pixel of the cut,
        `left` and `top`, Å from the defect, and `scale`: lattice constant in the image, over that
        of the material (1 where there is none). Edges, boundaries and disorder are left out: they
        are of any size.
    atoms : DataFrame
        `entry`, `atom` (its number in the image), `x`, `y` (Å from the defect), `label` (role),
        `is_member`, `is_shell`, `score`, `x_err`, `y_err` (Å).
    bonds : DataFrame
        `entry`, `one`, `other` (numbers of atoms), `length` (Å).
    values : (n, H, W) array
        The image around each, NaN where it ends.
    """

    entries: pd.DataFrame
    atoms: pd.DataFrame
    bonds: pd.DataFrame
    values: np.ndarray


def cut_defects(image: xr.DataArray, found: Defects, material: Material | None = None) -> Cuts:
    """Cut 20 Å around every defect out of an image.

    Parameters
    ----------
    image : DataArray
        One frame, dims y, x with coordinates in Å.
    found : Defects
        Of this frame.
    material : Material, optional
        The host, whose lattice constant is known.

    Returns
    -------
    Cuts
        What is cut.
    """
    pixels = image.to_numpy()
    steps = np.array(pixel_size(image))
    origin = np.array([float(image["y"][0]), float(image["x"][0])])
    half = np.floor(WIDTH / 2 / steps).astype(int)
    kept = ~found.table["kind"].isin(UNHASHED)
    entries = found.table[kept].assign(entry=np.arange(kept.sum()))
    middles = entries[["y", "x"]].to_numpy()
    first = np.rint((middles - origin) / steps).astype(int) - half
    corner = first * steps + origin - middles
    values = np.full((len(entries), *(2 * half + 1)), np.nan, np.float32)
    for cut, start in zip(values, first, strict=True):
        low = np.maximum(start, 0)
        high = np.minimum(start + cut.shape, image.shape)
        inside = tuple(slice(*ends) for ends in zip(low - start, high - start, strict=True))
        cut[inside] = pixels[low[0] : high[0], low[1] : high[1]]
    atoms, bonds = _cut_graph(found, entries, middles)
    entries = entries.assign(
        left=corner[:, 1], top=corner[:, 0], scale=_find_scale(found, material)
    )
    return Cuts(entries.reset_index(drop=True), atoms, bonds, values)


def _find_scale(found: Defects, material: Material | None) -> float:
    """Lattice constant of the largest grain over that of the material; 1 for another lattice."""
    if material is None or not found.lattices.grains:
        return 1.0
    grain = max(found.lattices.grains, key=lambda grain: grain.n_atoms)
    scale = float(np.sqrt(abs(np.linalg.det(grain.vectors)) / material.cell_area))
    return scale if abs(scale - 1) < MOST_MISFIT else 1.0


def _cut_graph(
    found: Defects, entries: pd.DataFrame, middles: np.ndarray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Atoms and bonds around every defect; tables without columns if there is none."""
    graph, numbers = found.graph, found.atoms["atom"].to_numpy(np.int64)
    known = found.atoms.reindex(columns=["score", "x_err", "y_err"]).astype(float)
    tree = cKDTree(graph.places) if len(graph.places) else None
    row_of = found.table["defect"].to_numpy()
    members = found.members[found.members["is_shell"]]
    shells = {defect: part.to_numpy() for defect, part in members.groupby("defect")["atom"]}
    atoms, bonds = [], []
    for entry, defect, middle in zip(entries["entry"], entries.index, middles, strict=True):
        near = np.array(tree.query_ball_point(middle, WIDTH / 2, p=np.inf) if tree else [], int)
        y, x = (graph.places[near] - middle).T
        part = {"entry": entry, "atom": numbers[near], "x": x, "y": y, "label": graph.labels[near]}
        part |= {"is_member": np.isin(near, found.own[defect])}
        part |= {"is_shell": np.isin(numbers[near], shells.get(row_of[defect], []))}
        atoms.append(pd.DataFrame(part).join(known.iloc[near].reset_index(drop=True)))
        inside = np.isin(graph.bonds, near).all(axis=1)
        one, other = numbers[graph.bonds[inside].T]
        ends = {"entry": entry, "one": one, "other": other, "length": graph.lengths[inside]}
        bonds.append(pd.DataFrame(ends))
    return _join(atoms), _join(bonds)


def _join(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def add_cuts(library: Path, name: str, source: dict[str, Any], parts: Iterable[Cuts]) -> int:
    """Add the defects of one image or movie to a library; what it had of this name is replaced.

    Parameters
    ----------
    library : Path
        Folder of the library; made if it does not exist.
    name : str
        Name of the part.
    source : dict
        Where the defects are from, in plain values.
    parts : iterable of Cuts
        Those of each frame.

    Returns
    -------
    int
        Defects added.

    Raises
    ------
    FileError
        If the folder holds something else, or cannot be written.
    """
    open_library(library)
    place, part = library / name, library / f".{name}.part"
    n_entries, cuts = 0, None
    try:
        lock = FileLock(library / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FileError(f"{library}: somebody else is adding to it") from error
    try:
        _recover(library)
        part.mkdir()
        with (
            TableWriter(part, "entries", units=UNITS) as entries,
            TableWriter(part, "atoms", units=UNITS) as atoms,
            TableWriter(part, "bonds", units=UNITS) as bonds,
        ):
            for found in parts:
                if found.entries.empty:
                    continue
                entries.append(found.entries.assign(entry=found.entries["entry"] + n_entries))
                atoms.append(found.atoms.assign(entry=found.atoms["entry"] + n_entries))
                bonds.append(found.bonds.assign(entry=found.bonds["entry"] + n_entries))
                cuts = _make_array(part, found.values) if cuts is None else cuts
                cuts.append(found.values)
                n_entries += len(found.entries)
        (part / SOURCE).write_text(json.dumps(source | {"n": n_entries}, indent=2))
        move_into_place(part, place)
    except OSError as error:
        raise FileError(f"{place}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        lock.release()
    return n_entries


def _recover(library: Path) -> None:
    """Undo what a killed program left: parts that are not whole, and parts between two names."""
    for place in library.glob(".*.part"):
        shutil.rmtree(place)
    for old in library.glob(".*.old"):
        place = library / old.name.removeprefix(".").removesuffix(".old")
        if place.exists():
            shutil.rmtree(old)
        else:
            old.rename(place)


def _make_array(part: Path, values: np.ndarray) -> zarr.Array:
    shape = values.shape[1:]
    return zarr.create_array(
        str(part / "cuts.zarr"),
        shape=(0, *shape),
        chunks=(N_CHUNK, *shape),
        dtype="float32",
        fill_value=np.nan,
    )


def open_library(folder: Path) -> None:
    """Make an empty library, or make sure that a folder is one.

    Parameters
    ----------
    folder : Path
        Its place.

    Raises
    ------
    FileError
        If it holds something else, or cannot be made.
    """
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / INDEX).write_text(json.dumps(FORMAT, indent=2))
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror or error})") from error
    _check_library(folder)


def _check_library(folder: Path) -> None:
    if not (folder / INDEX).is_file():
        raise FileError(f"{folder}: is no library of defects (no {INDEX} in it)")
    try:
        found = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise FileError(f"{folder / INDEX}: cannot be read ({error})") from error
    if found != FORMAT:
        raise FileError(f"{folder / INDEX}: must be {json.dumps(FORMAT)} (got {found!r:.200})")


@dataclass(frozen=True)
class Library:
    """Defects of many images.

    Attributes
    ----------
    folder : Path
        Where it lies.
    entries : DataFrame
        One row per defect, as of `find_defects`, with `part` and `entry`; `image`, `material`,
        `modality`, `model`, `use_lattice` (whether neighbors helped to place its atoms) and `dy`,
        `dx` (pixel size, Å) from its source. Unnamed classes are numbered over all.
    """

    folder: Path
    entries: pd.DataFrame

    def read_atoms(self, chosen: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
        """Atoms and bonds of some entries, in their order."""
        tables = {}
        for part in chosen["part"].unique():
            with _name_damage(self.folder / part):
                found = [pd.read_parquet(self.folder / part / f"{name}.parquet")
                         for name in ("atoms", "bonds")]  # fmt: skip
                tables[part] = [dict(list(table.groupby("entry"))) for table in found]
        return [
            (tables[part][0][entry], tables[part][1].get(entry, _NO_BONDS))
            for part, entry in zip(chosen["part"], chosen["entry"], strict=True)
        ]

    def read_images(self, chosen: pd.DataFrame) -> Iterator[xr.DataArray]:
        """The cut of each of some entries, with coordinates y, x in Å from the defect."""
        arrays: dict[str, zarr.Array] = {}
        for row in chosen.to_dict("records"):
            part = row["part"]
            with _name_damage(self.folder / part):
                if part not in arrays:
                    store = zarr.open_array(str(self.folder / part / "cuts.zarr"), mode="r")
                    arrays[part] = store
                values = np.asarray(arrays[part][row["entry"]])
                if np.isnan(values).all():
                    raise ValueError(f"no image of entry {row['entry']}")
            y, x = (row[start] + row[step] * np.arange(size) for start, step, size in
                    zip(("top", "left"), ("dy", "dx"), values.shape, strict=True))  # fmt: skip
            yield xr.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x})


@contextmanager
def _name_damage(place: Path) -> Iterator[None]:
    """Whatever goes wrong in a part of a library is its damage."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise FileError(f"{place}: is damaged ({error!r:.200})") from error


_NO_BONDS = pd.DataFrame({"one": [], "other": [], "length": []}, dtype=int)


def read_library(folder: str | Path) -> Library:
    """Read a library of defects.

    Parameters
    ----------
    folder : str or Path
        What `adatom library add` made.

    Returns
    -------
    Library
        All its entries; atoms and cuts are read when asked for.

    Raises
    ------
    FileError
        If it is none, or a part of it is damaged.
    """
    folder = Path(folder)
    _check_library(folder)
    tables = []
    for place in sorted(folder.glob(f"[!.]*/{SOURCE}")):
        with _name_damage(place.parent):
            source = json.loads(place.read_text())
            if source["n"]:
                table = pd.read_parquet(place.parent / "entries.parquet")
                dy, dx = source["pixel_size"]
                known = {name: source[name] for name in SAID}
                tables.append(table.assign(part=place.parent.name, dy=dy, dx=dx, **known))
    if not tables:
        return Library(folder, pd.DataFrame(columns=["part", "entry", "name", "kind", "hash"]))
    return Library(folder, number_classes(pd.concat(tables, ignore_index=True)))
