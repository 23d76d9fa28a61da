"""How far atoms vibrate, by element and coordination: a table that ships with adatom."""

from functools import cache
from importlib import resources
from typing import cast

import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError

BOND_REACH = 1.2  # longest bond over the sum of the covalent radii
TABLE = "vibrations.csv"
_AXES = ("in_plane", "out_of_plane")


def count_neighbors(structure: Atoms) -> np.ndarray:
    """Count the bonds of every atom.

    Two atoms are bonded if they are nearer than 1.2 times the sum of their covalent radii; two
    transition metals are not, so that a metal of MX2 counts its chalcogens.

    Parameters
    ----------
    structure : Atoms
        The structure; its periodic directions count.

    Returns
    -------
    (N,) int array
        Neighbors of each atom.

    Examples
    --------
    >>> from ase.build import mx2
    >>> count_neighbors(mx2("MoS2", size=(3, 3, 1), vacuum=5))[:3]
    array([6, 3, 3])
    """
    if not structure.pbc.any():
        return _count_in_the_open(structure)
    numbers = sorted(set(structure.numbers.tolist()))
    reach = {
        (first, second): BOND_REACH * (covalent_radii[first] + covalent_radii[second])
        for first in numbers
        for second in numbers
        if not (_is_transition_metal(first) and _is_transition_metal(second))
    }
    if not reach:
        return np.zeros(len(structure), int)
    return np.bincount(neighbor_list("i", structure, reach), minlength=len(structure))


def _count_in_the_open(structure: Atoms) -> np.ndarray:
    """As `count_neighbors`, where nothing is periodic; many times as fast."""
    numbers = structure.numbers
    radii = covalent_radii[numbers]
    is_metal = np.isin(numbers, [n for n in set(numbers.tolist()) if _is_transition_metal(n)])
    farthest = 2 * BOND_REACH * radii.max(initial=0)
    first, second = cKDTree(structure.positions).query_pairs(farthest, output_type="ndarray").T
    apart = np.linalg.norm(structure.positions[first] - structure.positions[second], axis=1)
    is_bond = apart < BOND_REACH * (radii[first] + radii[second])
    is_bond &= ~(is_metal[first] & is_metal[second])
    return np.bincount(np.append(first[is_bond], second[is_bond]), minlength=len(structure))


def _is_transition_metal(number: int) -> bool:
    return 21 <= number <= 30 or 39 <= number <= 48 or 57 <= number <= 80


@cache
def _read_table() -> pd.DataFrame:
    with resources.files("adatom.structures").joinpath(TABLE).open(encoding="utf-8") as file:
        return pd.read_csv(file)


def load_amplitudes(
    material: str, temperature: float
) -> dict[tuple[str, int], tuple[float, float]]:
    """Mean square displacements of a material by element and coordination.

    They come from the table that ships with adatom (classical molecular dynamics), times the ratio
    of the quantum to the classical harmonic displacement, which is in the table too.

    Parameters
    ----------
    material : str
        Formula, such as `"MoS2"` or `"graphene"`.
    temperature : float
        300 to 773 K.

    Returns
    -------
    dict
        Mean square displacement in plane (per axis) and out of plane, Å², by element and
        coordination.

    Raises
    ------
    ConfigError
        If the table does not hold the material, or the temperature lies outside of it.

    Notes
    -----
    Between the temperatures of the table it is interpolated linearly in the mean square
    displacement: that of a classical harmonic crystal is proportional to the temperature, and
    300 K is hot enough for the quantum one to grow nearly linearly.

    Examples
    --------
    >>> in_plane, out_of_plane = load_amplitudes("MoS2", 300)["Mo", 6]
    >>> 0.002 < in_plane < 0.006 < out_of_plane
    True
    """
    table = _read_table()
    known = {name.lower(): name for name in table["material"]}
    if material.lower() not in known:
        names = ", ".join(dict.fromkeys(table["material"]))
        raise ConfigError(f"material: vibrations are known of {names} (got {material!r})")
    rows = _read_amplitudes(known[material.lower()])
    every = [temperatures for temperatures, _ in rows.values()]
    lowest, highest = min(t[0] for t in every), max(t[-1] for t in every)
    if not lowest <= temperature <= highest:
        raise ConfigError(
            f"temperature: must be from {lowest:g} to {highest:g} K (got {temperature})"
        )
    return {
        key: (
            float(np.interp(temperature, temperatures, values[:, 0])),
            float(np.interp(temperature, temperatures, values[:, 1])),
        )
        for key, (temperatures, values) in rows.items()
    }


@cache
def _read_amplitudes(material: str) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    """Temperatures, (T,), and displacements at them, (T, 2), by element and coordination."""
    table = _read_table()
    rows = table[table["material"] == material].sort_values("temperature")
    found = {}
    for key, group in rows.groupby(["element", "coordination"]):
        element, coordination = cast(tuple[str, int], key)
        values = [group[f"u2_{axis}"] * group[f"quantum_{axis}"] for axis in _AXES]
        found[element, int(coordination)] = (
            group["temperature"].to_numpy(float),
            np.column_stack(values),
        )
    return found


def assign_amplitudes(
    structure: Atoms, material: str, temperature: float, *, by_coordination: bool = True
) -> np.ndarray:
    """Give each atom the mean square displacement of its element and coordination.

    An atom whose coordination the table does not hold takes the nearest one of its element (of two
    as near, the lower). Where a structure was cut to fit an image, atoms at the cut have lost
    neighbors that the sheet has: cut it wider than the image.

    Parameters
    ----------
    structure : Atoms
        A sheet normal to z.
    material : str
        Formula of its host, such as `"MoS2"` or `"graphene"`.
    temperature : float
        300 to 773 K.
    by_coordination : bool
        Whether atoms at defects and edges vibrate otherwise than those inside the sheet.

    Returns
    -------
    (N, 2) array
        Mean square displacement in plane (per axis) and out of plane, Å².

    Raises
    ------
    ConfigError
        If the table does not hold the material or an element, or the temperature lies outside of
        it.
    """
    table = load_amplitudes(material, temperature)
    values = np.zeros((len(structure), 2))
    coordination = count_neighbors(structure)
    for element in dict.fromkeys(structure.symbols):
        known = sorted(n for symbol, n in table if symbol == element)
        if not known:
            elements = ", ".join(dict.fromkeys(symbol for symbol, _ in table))
            raise ConfigError(
                f"structure: vibrations of {material} are known of {elements} (got {element})"
            )
        chosen = np.flatnonzero(structure.symbols == element)
        if not by_coordination:
            known = known[-1:]
        nearest = np.abs(np.subtract.outer(coordination[chosen], known)).argmin(axis=1)
        values[chosen] = np.array([table[element, n] for n in known])[nearest]
    return values
