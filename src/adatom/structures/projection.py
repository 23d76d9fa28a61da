"""Columns of a structure seen along the beam, and their labels."""

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import chemical_symbols
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from adatom.core.materials import Material


def project_columns(structure: Atoms, *, tolerance: float = 0.4) -> tuple[pd.DataFrame, np.ndarray]:
    """Merge atoms that the beam meets one after the other into columns.

    Parameters
    ----------
    structure : Atoms
        The structure; the beam is along z.
    tolerance : float
        Atoms nearer than this in projection belong together, Å.

    Returns
    -------
    columns : DataFrame
        x, y (Å, mean of the atoms) and n_atoms; one row per column.
    column_of_atom : (n_atoms,) array
        Row of `columns` that each atom belongs to.
    """
    points = structure.positions[:, :2]
    pairs = (
        cKDTree(points).query_pairs(tolerance, output_type="ndarray")
        if len(points)
        else np.empty((0, 2), int)
    )
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(points),) * 2)
    n_columns, column = connected_components(links, directed=False)
    count = np.bincount(column, minlength=n_columns)
    mean = [
        np.bincount(column, points[:, axis], n_columns) / np.maximum(count, 1) for axis in (0, 1)
    ]
    return pd.DataFrame({"x": mean[0], "y": mean[1], "n_atoms": count}), column


def label_columns(
    structure: Atoms, column_of_atom: np.ndarray, material: Material | None
) -> np.ndarray:
    """Name the columns of a structure by their role.

    Parameters
    ----------
    structure : Atoms
        Atoms; those of MX2 with the array `site`.
    column_of_atom : (n_atoms,) array
        Column that each atom belongs to.
    material : Material or None
        The host. Of MX2 any other element, and what lies on it, is a dopant; of a honeycomb
        columns are named by their heaviest element. Without one all columns are alike.

    Returns
    -------
    (n_columns,) array of str
        "M", "X2", "X1" or "dopant"; elements; or "column".
    """
    n_columns = int(column_of_atom.max()) + 1 if len(column_of_atom) else 0
    if material is None:
        return np.full(n_columns, "column")
    if material.kind == "honeycomb":
        heaviest = np.zeros(n_columns, int)
        np.maximum.at(heaviest, column_of_atom, structure.numbers)
        return np.array(chemical_symbols)[heaviest].astype("<U6")
    elements = dict(material.elements)
    symbols = np.array(structure.get_chemical_symbols())
    is_x = structure.arrays["site"] == "X"
    is_m = structure.arrays["site"] == "M"
    is_host = is_x & (symbols == elements["X2"]) | is_m & (symbols == elements["M"])
    n_x = np.bincount(column_of_atom, is_x, n_columns)
    labels = np.where(n_x == 0, "M", np.where(n_x == 1, "X1", "X2")).astype("<U6")
    labels[np.bincount(column_of_atom, ~is_host, n_columns) > 0] = "dopant"
    return labels
