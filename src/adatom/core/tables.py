"""Schemas of the tables that go from step to step."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from adatom.core.errors import ImageError

ATOM_COLUMNS = {
    "frame": "int64",
    "atom": "int64",
    "x": "float64",
    "y": "float64",
    "label": "str",
    "score": "float64",
}
ATOM_ERROR_COLUMNS = {
    "score_none": "float64",
    "x_err": "float64",
    "y_err": "float64",
    "intensity": "float64",
    "intensity_err": "float64",
}
UNITS = {"x": "angstrom", "y": "angstrom", "x_err": "angstrom", "y_err": "angstrom"}


def score_columns(labels: Sequence[str]) -> list[str]:
    """Names of the columns that hold the score of each label.

    Parameters
    ----------
    labels : sequence of str
        Labels of a model, without the background.

    Returns
    -------
    list of str
        `score_<label>` in the order given.
    """
    return [f"score_{label}" for label in labels]


def make_atoms(
    columns: dict[str, np.ndarray], labels: Sequence[str], *, frame: int = 0, first: int = 0
) -> pd.DataFrame:
    """Atoms table of one frame, in the order and types of the schema.

    Parameters
    ----------
    columns : dict of (N,) array
        All of `x y label score score_<label>… score_none x_err y_err intensity intensity_err`.
    labels : sequence of str
        Labels whose scores the table holds.
    frame : int
        Frame number of the file.
    first : int
        Number of the first atom.

    Returns
    -------
    DataFrame
        Columns `frame atom x y label score score_<label>… score_none x_err y_err intensity
        intensity_err`, `atom` counting from `first`.
    """
    n_atoms = len(columns["x"])
    scores = dict.fromkeys(score_columns(labels), "float64")
    types = {**ATOM_COLUMNS, **scores, **ATOM_ERROR_COLUMNS}
    filled = {"frame": np.full(n_atoms, frame), "atom": first + np.arange(n_atoms), **columns}
    return pd.DataFrame({name: pd.Series(filled[name], dtype=kind) for name, kind in types.items()})


def check_atoms(atoms: pd.DataFrame) -> None:
    """Refuse a table that is no atoms table.

    Parameters
    ----------
    atoms : DataFrame
        The table to check.

    Raises
    ------
    ImageError
        If a column is missing, or an atom's number is not unique in its frame.
    """
    missing = [name for name in ATOM_COLUMNS if name not in atoms.columns]
    if missing:
        raise ImageError(
            f"atoms table: {', '.join(missing)} missing from columns {', '.join(atoms.columns)}"
        )
    if atoms.duplicated(["frame", "atom"]).any():
        raise ImageError("atoms table: `atom` must be unique in its frame")
