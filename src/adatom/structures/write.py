"""Columns as atoms in three dimensions, in a file that ASE, OVITO and VESTA read."""

import io
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pandas as pd
from ase.data import atomic_numbers

from adatom.core.materials import Material, find_role

HEIGHTS = {"X2": (0.5, -0.5), "X1": (0.5,)}  # in thicknesses of the sheet; others lie at 0


def write_structure(parts: Iterable[pd.DataFrame], path: Path, material: Material) -> None:
    """Write an extended XYZ file, one structure per frame, of columns whose elements are known.

    An X2 column (or S2 of MoS2) becomes two atoms half a thickness above and below the sheet, an X1
    column one above it: the image does not tell which side. A label that is an element stands for
    itself, any other without an element is ASE's `X`. Nothing is written for an empty table.

    Parameters
    ----------
    parts : iterable of DataFrame
        Consecutive parts of an atoms table, passed over twice: only one is held at a time. x and y
        stay as they are (y points down, as in the image). A column `defect` is written too.
    path : Path
        The file, ending in `.extxyz`.
    material : Material
        Elements of the labels and thickness (Å).
    """
    counts: Counter[Hashable] = Counter()
    for part in parts:
        for number, frame in part.groupby("frame"):
            counts[number] += sum(len(_heights(label)) for label in frame["label"])
    if not counts:
        return
    begun: set[Hashable] = set()
    with path.open("w", encoding="utf-8") as file:
        for part in parts:
            for number, frame in part.groupby("frame"):
                text = io.StringIO()
                ase.io.write(text, _make_structure(frame, material), format="extxyz")
                _, comment, atoms = text.getvalue().split("\n", 2)
                if number not in begun:
                    file.write(f"{counts[number]}\n{comment}\n")
                    begun.add(number)
                file.write(atoms)


def _heights(label: str) -> tuple[float, ...]:
    return HEIGHTS.get(find_role(label), (0.0,))


def _make_structure(columns: pd.DataFrame, material: Material) -> ase.Atoms:
    elements = dict(material.elements)
    heights = [_heights(label) for label in columns["label"]]
    rows = columns.loc[np.repeat(columns.index, [len(column) for column in heights])]
    z = material.thickness * np.array([height for column in heights for height in column])
    symbols = [
        elements.get(find_role(label), label if label in atomic_numbers else "X")
        for label in rows["label"]
    ]
    structure = ase.Atoms(symbols, positions=np.column_stack([rows["x"], rows["y"], z]), pbc=False)
    structure.info = {"frame": int(columns["frame"].iloc[0]), "material": material.name}
    structure.set_array("atom", rows["atom"].to_numpy())
    structure.set_array("label", rows["label"].to_numpy(dtype=str))
    structure.set_array("score", rows["score"].to_numpy())
    if "defect" in rows:
        structure.set_array("defect", rows["defect"].to_numpy(dtype=str))
    return structure
