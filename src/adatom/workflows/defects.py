"""Lattice, graph and defects of the atoms of a run, in its folder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adatom.core.materials import Material
from adatom.core.table_files import TableParts, TableWriter
from adatom.workflows.record import load_frame

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from adatom.analyze.defects import Defects
    from adatom.core.chemistry import Chemistry

UNTOLD = ("column",)  # label of models that do not tell one column from another
MOST_ATOMS = 300_000  # of a frame; its graph is held whole
COLUMNS = (
    *("frame", "atom", "x", "y", "label", "score", "score_none", "x_err", "y_err"),
    *("intensity", "intensity_err"),
)
LENGTHS = dict.fromkeys(("x", "y", "x_ref", "y_ref", "dx", "dy", "bond", "bond_err"), "angstrom")
ANGLES = dict.fromkeys(("rotation", "rotation_err", "angle_spread", "angle_spread_err"), "degree")
UNITS = LENGTHS | ANGLES


@dataclass(frozen=True)
class DefectRun:
    """What a run says of lattice and defects.

    Attributes
    ----------
    summary : dict
        `defects`: kind, name, count, density (1/nm²), score and how many are cut, of each name;
        `grains` of the frame that is shown; `strain`: spread (robust) over its atoms; `rules`.
    shown : Defects or None
        Of the frame that is shown.
    strain : DataFrame or None
        Of its atoms.
    absent : DataFrame
        `frame`, `atom` of those of the atoms table that scatter nothing.
    notes : tuple of str
        What to know.
    """

    summary: dict[str, Any]
    shown: "Defects | None"
    strain: "pd.DataFrame | None"
    absent: "pd.DataFrame"
    notes: tuple[str, ...]


def find_rules(
    material: Material | None, labels: tuple[str, ...], table: Path
) -> "tuple[Chemistry, Material | None] | None":
    """Rules of a material, if the labels are its own, or of the distances of the atoms.

    Parameters
    ----------
    material : Material or None
        What is looked at.
    labels : tuple of str
        Of the model.
    table : Path
        The atoms table; the first frame with two atoms gives their distance.

    Returns
    -------
    (Chemistry, Material or None) or None
        Rules, and whose elements stand in names; None without atoms.
    """
    from adatom.analyze.waves import find_spacing
    from adatom.core.chemistry import make_chemistry, make_plain_chemistry
    from adatom.core.materials import find_role

    roles = tuple(find_role(label) for label in labels)
    if material is not None and set(make_chemistry(material).hosts) & set(roles):
        return make_chemistry(material), material
    for part in TableParts(table, COLUMNS):
        for _, atoms in part.groupby("frame"):
            if len(atoms) > 1:
                spacing = find_spacing(atoms[["y", "x"]].to_numpy())
                return make_plain_chemistry(roles, spacing), None
    return None


def write_defects(
    folder: Path,
    image: "xr.DataArray",
    shown: int,
    chemistry: "Chemistry",
    material: Material | None,
) -> DefectRun:
    """Find lattice and defects of every frame of a run, and write their tables.

    Parameters
    ----------
    folder : Path
        The run folder, with the atoms table in it; gets `defects`, `defect_members` and `sites`,
        as Parquet and CSV.
    image : DataArray
        Whose atoms they are: gives the numbers of the frames, and where the image ends.
    shown : int
        The frame whose graph is kept for figures.
    chemistry : Chemistry
        Rules.
    material : Material or None
        Whose elements stand in the names.

    Returns
    -------
    DefectRun
        Summary, graph of the shown frame, and notes.
    """
    import pandas as pd

    from adatom.analyze.defects import number_classes
    from adatom.analyze.strain import measure_strain

    frames = [int(frame) for frame in image["frame"]] if "frame" in image.dims else [0]
    tables, absent, kept, strain, large = [], [], None, None, []
    with (
        TableWriter(folder, "sites", units=UNITS) as sites,
        TableWriter(folder, "defect_members", units={}) as members,
    ):
        for index, frame in enumerate(frames):
            atoms = read_frame(folder / "atoms.parquet", frame)
            if len(atoms) > MOST_ATOMS:
                large.append(frame)
                atoms = atoms.iloc[:0]
            found = find_in_frame(load_frame(image, index), atoms, chemistry, material)
            moved = measure_strain(found.lattices, found.graph.places)
            sites.append(_tell_sites(found, moved, frame))
            members.append(found.members.assign(frame=frame))
            tables.append(found.table.assign(frame=frame))
            gone = atoms.loc[~atoms["atom"].isin(found.atoms["atom"]), ["frame", "atom"]]
            absent.append(gone)
            if frame == shown:
                kept, strain = found, moved
    table = number_classes(pd.concat(tables, ignore_index=True))
    with TableWriter(folder, "defects", units=UNITS) as writer:
        writer.append(table)
    if kept is not None:
        mine = table[table["frame"] == shown].reset_index(drop=True)
        kept = replace(kept, table=mine)
    notes = []
    if large:
        said = f"in {len(large)} frames of more than {MOST_ATOMS:,} atoms"
        notes.append(f"defects were not looked for {said}")
    missing = pd.concat(absent, ignore_index=True)
    if len(missing):
        notes.append(
            f"{len(missing)} columns of the atoms table scatter nothing, and count as vacancies"
        )
    shape = np.array([image.sizes["y"], image.sizes["x"]])
    extent = np.abs(np.diff(_find_area(image), axis=0)[0]) * shape / (shape - 1)
    seen = float(np.prod(extent)) * (len(frames) - len(large))
    summary = _summarize(table, seen, kept, strain) | {"rules": chemistry.model_dump()}
    return DefectRun(summary, kept, strain, missing, tuple(notes))


def find_in_frame(
    frame: "xr.DataArray",
    atoms: "pd.DataFrame",
    chemistry: "Chemistry",
    material: Material | None,
) -> "Defects":
    """Defects of one frame; where labels do not tell what a column is, its brightness does.

    Parameters
    ----------
    frame : DataArray
        Dims y, x, for a focal series focus too, with coordinates in Å.
    atoms : DataFrame
        Its atoms table.
    chemistry : Chemistry
        Rules.
    material : Material or None
        Whose elements stand in the names.

    Returns
    -------
    Defects
        What `find_defects` gives.
    """
    from adatom.analyze.contrast import measure_brightness
    from adatom.analyze.defects import find_defects
    from adatom.images.units import pick_image, pixel_size

    area = _find_area(frame)
    if chemistry.hosts == UNTOLD:
        values = pick_image(frame).to_numpy()
        places = atoms[["y", "x"]].to_numpy(float)
        known = measure_brightness(values, area[0], np.array(pixel_size(frame)), places)
        atoms = atoms.assign(brightness=known)
    return find_defects(atoms, chemistry, material=material, area=area)


def _find_area(image: "xr.DataArray") -> np.ndarray:
    """First and last [y, x] of an image, Å, (2, 2)."""
    return np.array([[float(image[axis][end]) for axis in ("y", "x")] for end in (0, -1)])


def read_frame(table: Path, frame: int) -> "pd.DataFrame":
    """What the defects of one frame follow from: some columns of the atoms table of a run."""
    import pandas as pd

    parts = list(TableParts(table, COLUMNS, frame))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _tell_sites(found: "Defects", moved: "pd.DataFrame", frame: int) -> "pd.DataFrame":
    """Sites with the numbers of their atoms, and the strain there."""
    sites = found.lattices.sites
    row = sites["atom"].to_numpy()
    numbers = np.append(found.atoms["atom"].to_numpy(dtype=np.int64), -1)
    around = moved.reindex(row).reset_index(drop=True)  # NaN where a site is empty
    whole = sites.assign(frame=np.full(len(sites), frame), atom=numbers[row])
    return whole.join(around)[["frame", *sites.columns, *moved.columns]]


def _summarize(
    table: "pd.DataFrame", area: float, shown: "Defects | None", strain: "pd.DataFrame | None"
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    names = table.groupby(["kind", "name"])
    for (kind, name), mine in sorted(names, key=lambda item: -len(item[1])):
        rows.append(
            {
                "kind": kind,
                "name": name,
                "count": len(mine),
                "density": 100 * len(mine) / area if area else None,
                "score": float(mine["score"].mean()),
                "n_cut": int(mine["is_cut"].sum()),
            }
        )
    grains = []
    for grain in shown.lattices.grains if shown else ():
        errors = np.linalg.norm(grain.vectors_err, axis=1)
        grains.append(
            {
                "lengths": grain.lengths,
                "lengths_err": errors.tolist(),
                "angle": grain.angle,
                "n_atoms": grain.n_atoms,
            }
        )
    spread = {}
    if strain is not None and grains:
        for name in ("strain_xx", "strain_yy", "strain_xy", "strain_err", "rotation"):
            values = strain[name].dropna()
            if len(values):
                middle = values.median()
                spread[name] = float(
                    middle if name == "strain_err" else 1.48 * (values - middle).abs().median()
                )
    return {"defects": rows, "grains": grains, "strain": spread}


class NamedAtoms:
    """Parts of the atoms table of a run, with the name of the defect that each atom belongs to.

    Parameters
    ----------
    folder : Path
        The run folder.
    columns : tuple of str
        Columns of the atoms table.
    absent : DataFrame
        `frame`, `atom` of what is left out.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], absent: "pd.DataFrame") -> None:
        import pandas as pd

        self._parts = TableParts(folder / "atoms.parquet", columns)
        self._absent = pd.MultiIndex.from_frame(absent[["frame", "atom"]])
        names = pd.read_parquet(folder / "defects.parquet", columns=["frame", "defect", "name"])
        members = pd.read_parquet(folder / "defect_members.parquet")
        members = members[~members["is_shell"]].merge(names, on=["frame", "defect"])
        self._names = members.drop_duplicates(["frame", "atom"])[["frame", "atom", "name"]]

    def __iter__(self) -> Iterator["pd.DataFrame"]:
        """Parts with a column `defect`, "-" for atoms of none."""
        import pandas as pd

        for whole in self._parts:
            index = pd.MultiIndex.from_frame(whole[["frame", "atom"]])
            part = whole[~index.isin(self._absent)].reset_index(drop=True)
            found = part.merge(self._names, on=["frame", "atom"], how="left")["name"]
            yield part.assign(defect=found.fillna("-").str.replace(" ", "_").to_numpy())
