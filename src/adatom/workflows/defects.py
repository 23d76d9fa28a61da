"""Lattice, graph and defects of the atoms of a run, in its folder."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adatom.core.materials import Material
from adatom.core.table_files import TableParts, TableWriter

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from adatom.analyze.defects import Defects
    from adatom.core.chemistry import Chemistry

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
        `grains` of the frame that is shown; `strain`: spread (robust, percent) over its atoms.
    shown : Defects or None
        Of the frame that is shown.
    strain : DataFrame or None
        Of its atoms.
    notes : tuple of str
        What to know.
    """

    summary: dict[str, Any]
    shown: "Defects | None"
    strain: "pd.DataFrame | None"
    notes: tuple[str, ...]


def find_rules(
    rules: Path | None, material: Material | None, labels: tuple[str, ...], table: Path, frame: int
) -> "Chemistry | None":
    """Rules of a file, of a material, or of the distances of the atoms; None without atoms."""
    from adatom.analyze.waves import find_spacing
    from adatom.core.chemistry import make_chemistry, make_plain_chemistry, read_chemistry
    from adatom.core.materials import find_role

    if rules is not None:
        return read_chemistry(rules, material)
    if material is not None:
        return make_chemistry(material)
    places = _read_frame(table, frame)[["y", "x"]].to_numpy()
    if len(places) < 2:
        return None
    return make_plain_chemistry(tuple(find_role(label) for label in labels), find_spacing(places))


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

    from adatom.analyze.defects import find_defects, number_classes
    from adatom.analyze.strain import measure_strain

    frames = [int(frame) for frame in image["frame"]] if "frame" in image.dims else [0]
    area = np.array([[float(image[axis][end]) for axis in ("y", "x")] for end in (0, -1)])
    tables, kept, strain, large = [], None, None, []
    with (
        TableWriter(folder, "sites", units=UNITS) as sites,
        TableWriter(folder, "defect_members", units={}) as members,
    ):
        for frame in frames:
            atoms = _read_frame(folder / "atoms.parquet", frame)
            if len(atoms) > MOST_ATOMS:
                large.append(frame)
                atoms = atoms.iloc[:0]
            found = find_defects(atoms, chemistry, material=material, area=area)
            moved = measure_strain(found.lattices, found.graph.places)
            sites.append(_tell_sites(found, moved, frame))
            members.append(found.members.assign(frame=frame))
            tables.append(found.table.assign(frame=frame))
            if frame == shown:
                kept, strain = found, moved
    table = number_classes(pd.concat(tables, ignore_index=True))
    with TableWriter(folder, "defects", units=UNITS) as writer:
        writer.append(table)
    if kept is not None:
        mine = table[table["frame"] == shown].reset_index(drop=True)
        kept = replace(kept, table=mine)
    said = f"defects were not looked for in {len(large)} frames of more than {MOST_ATOMS:,} atoms"
    notes = (said,) if large else ()
    width = np.prod(area[1] - area[0]) * (len(frames) - len(large))
    return DefectRun(_summarize(table, float(width), kept, strain), kept, strain, notes)


def _read_frame(table: Path, frame: int) -> "pd.DataFrame":
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
    """

    def __init__(self, folder: Path, columns: tuple[str, ...]) -> None:
        import pandas as pd

        self._parts = TableParts(folder / "atoms.parquet", columns)
        names = pd.read_parquet(folder / "defects.parquet", columns=["frame", "defect", "name"])
        members = pd.read_parquet(folder / "defect_members.parquet")
        members = members[~members["is_shell"]].merge(names, on=["frame", "defect"])
        self._names = members.drop_duplicates(["frame", "atom"])[["frame", "atom", "name"]]

    def __iter__(self) -> Iterator["pd.DataFrame"]:
        """Parts with a column `defect`, "-" for atoms of none."""
        for part in self._parts:
            found = part.merge(self._names, on=["frame", "atom"], how="left")["name"]
            yield part.assign(defect=found.fillna("-").str.replace(" ", "_").to_numpy())
