"""A mean defect against what is ideal: strain of its bonds, displacements of its atoms."""

from dataclasses import replace

import ase
import numpy as np
import pandas as pd

from adatom.analyze.average import RADIUS, REACH, MeanDefect
from adatom.analyze.defects import CLASS, find_defects
from adatom.analyze.placement import Pattern, place_pattern
from adatom.core.chemistry import make_chemistry
from adatom.core.errors import ConfigError
from adatom.core.materials import Material
from adatom.structures.projection import project_columns

N_COPIES = 3  # of a periodic cell, in each direction


def strain_from_lattice(found: MeanDefect, material: Material) -> MeanDefect:
    """Strain of the bonds of a defect against those of the perfect lattice.

    Parameters
    ----------
    found : MeanDefect
        What `average_defects` gives.
    material : Material
        The perfect lattice.

    Returns
    -------
    MeanDefect
        Its bonds with `ideal` (Å), `strain` and `strain_err`, NaN where an end is foreign.
    """
    labels = found.atoms["label"].to_numpy(str)
    is_host = np.isin(labels, make_chemistry(material).hosts)
    between = is_host[found.bonds[["one", "other"]].to_numpy()].all(axis=1)
    ideal = np.where(between, material.neighbor_distance, np.nan)
    return replace(found, bonds=_compare(found.bonds, ideal))


def strain_from_structure(
    found: MeanDefect, structure: ase.Atoms, material: Material
) -> MeanDefect:
    """Strain of all bonds, and displacements of all atoms, against a structure with the defect.

    Parameters
    ----------
    found : MeanDefect
        What `average_defects` gives.
    structure : Atoms
        Holds a defect of that name, seen along z; what is periodic in x and y is repeated.
    material : Material
        Whose elements are its hosts.

    Returns
    -------
    MeanDefect
        Its bonds with `ideal` (Å), `strain` and `strain_err`; its atoms with `dx`, `dy` (Å): mean
        less ideal, once one is laid over the other and averaged over the symmetries of the mean.

    Raises
    ------
    ConfigError
        If the structure has no such defect, or it cannot be laid over the mean.
    """
    atoms = _list_columns(structure, material)
    table = find_defects(atoms, make_chemistry(material), material=material).table
    alike = table["name"] == found.name
    if found.name.startswith(CLASS):  # a number that holds in its own table only
        alike = table["hash"] == found.entries["hash"].iloc[0]
    named = table[alike & ~table["is_cut"]]
    if named.empty:
        names = ", ".join(table.loc[~table["is_cut"], "name"].unique()) or "no defect"
        raise ConfigError(f"ideal: must hold a whole {found.name} (got {names})")
    middle = atoms[["y", "x"]].mean().to_numpy()
    nearest = np.hypot(*(named[["y", "x"]].to_numpy() - middle).T).argmin()
    places = atoms[["y", "x"]].to_numpy() - named[["y", "x"]].iloc[nearest].to_numpy()
    is_near = np.hypot(*places.T) < RADIUS + 1
    ideal = Pattern(places[is_near], atoms["label"].to_numpy(str)[is_near])
    mean = Pattern(found.atoms[["y", "x"]].to_numpy(), found.atoms["label"].to_numpy(str))
    laid = place_pattern(ideal, mean, reach=REACH * material.neighbor_distance)
    if laid is None or (laid.partner[found.atoms["is_member"].to_numpy()] < 0).any():
        raise ConfigError(f"ideal: its {found.name} cannot be laid over the mean (other bonds)")
    over = np.where((laid.partner >= 0)[:, None], laid.apply(ideal.places)[laid.partner], np.nan)
    # As the mean is: the same in all ways that it can be laid over itself.
    ways = [np.where((way.partner >= 0)[:, None], way.apply(over[way.partner]), np.nan)
            for way in found.symmetries]  # fmt: skip
    even = np.ma.masked_invalid(ways).mean(axis=0).filled(np.nan)
    one, other = found.bonds[["one", "other"]].to_numpy().T
    lengths = np.linalg.norm(even[one] - even[other], axis=1)
    dy, dx = (mean.places - even).T
    atoms = found.atoms.assign(dx=dx, dy=dy)
    return replace(found, atoms=atoms, bonds=_compare(found.bonds, lengths))


def _compare(bonds: pd.DataFrame, ideal: np.ndarray) -> pd.DataFrame:
    return bonds.assign(
        ideal=ideal, strain=bonds["length"] / ideal - 1, strain_err=bonds["length_err"] / ideal
    )


def _list_columns(structure: ase.Atoms, material: Material) -> pd.DataFrame:
    """Atoms table of a structure seen along z, its columns named by what they hold."""
    flat = structure.repeat([N_COPIES if structure.pbc[axis] else 1 for axis in (0, 1)] + [1])
    columns, column = project_columns(flat)
    symbols = np.array(flat.get_chemical_symbols())
    names = pd.Series(symbols).groupby(column).agg(lambda held: "".join(sorted(held)))
    labels = names.to_list()
    if material.kind == "mx2":
        metal, other = (dict(material.elements)[label] for label in ("M", "X1"))
        roles = {metal: "M", 2 * other: "X2", other: "X1"}
        labels = [roles.get(name, "dopant") for name in labels]
    n_atoms = len(columns)
    return pd.DataFrame(
        {
            "frame": np.zeros(n_atoms, int),
            "atom": np.arange(n_atoms),
            "x": columns["x"],
            "y": columns["y"],
            "label": labels,
            "score": np.ones(n_atoms),
        }
    )
