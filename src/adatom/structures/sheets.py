"""Flat sheets: MX2 monolayers of any metal and chalcogen, graphene, h-BN."""

import numpy as np
from ase import Atoms

from adatom.core.materials import Material

HOLLOW = (1 / 3, 1 / 3)


def make_sheet(
    material: Material,
    size: tuple[float, float],
    *,
    angle: float = 0.0,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Atoms:
    """Make a sheet of MX2 (2H) or of a honeycomb that covers a rectangle.

    Parameters
    ----------
    material : Material
        Elements, lattice constant and thickness.
    size : tuple of float
        Height and width (y, x) of the rectangle, Å.
    angle : float
        Rotation of the lattice, degrees.
    offset : tuple of float
        Shift (y, x) of the lattice, Å.

    Returns
    -------
    Atoms
        Atoms inside the rectangle from (0, 0) to `size`; the beam is along z. The array `site`
        holds "M" or "X", of a honeycomb "A" or "B".

    Examples
    --------
    >>> from adatom.core.materials import get_material
    >>> sheet = make_sheet(get_material("MoS2"), (31.6, 31.6))
    >>> abs(len(sheet) / (31.6**2 / (3.16**2 * 0.75**0.5) * 3) - 1) < 0.05
    True
    """
    a = material.lattice
    points, number = fill_area(
        a * np.array([[1, 0], [0.5, 3**0.5 / 2]]), [(0, 0), HOLLOW], size, angle, offset
    )
    elements = [element for _, element in material.elements]
    if material.kind == "honeycomb":
        parts = [(elements[0], 0, 0.0, "A"), (elements[-1], 1, 0.0, "B")]
    else:
        z = material.thickness / 2
        parts = [(elements[0], 0, 0.0, "M"), (elements[1], 1, z, "X"), (elements[1], 1, -z, "X")]
    symbols, positions, sites = [], [], []
    for element, index, height, site in parts:
        inside = points[number == index]
        symbols += [element] * len(inside)
        positions.append(np.column_stack([inside, np.full(len(inside), height)]))
        sites += [site] * len(inside)
    sheet = Atoms(symbols, np.concatenate(positions), cell=(size[1], size[0], 20), pbc=False)
    sheet.set_array("site", np.array(sites))
    return sheet


def fill_area(
    cell: np.ndarray,
    basis: list[tuple[float, float]],
    size: tuple[float, float],
    angle: float,
    offset: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Repeat a flat cell over a rectangle.

    Parameters
    ----------
    cell : (2, 2) array
        Lattice vectors as rows [x, y], Å.
    basis : list of (float, float)
        Places in the cell, in parts of its vectors.
    size : tuple of float
        Height and width (y, x) of the rectangle, Å.
    angle : float
        Rotation of the lattice, degrees.
    offset : tuple of float
        Shift (y, x) of the lattice, Å.

    Returns
    -------
    points : (N, 2) array
        Places [x, y] inside the rectangle from (0, 0) to `size`, Å.
    number : (N,) int array
        Which of the basis each one is.
    """
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    vectors = np.asarray(cell, float) @ rotation.T
    # Spacing of the lattice rows: how many vectors reach across the area.
    spacing = abs(np.linalg.det(vectors)) / np.linalg.norm(vectors, axis=1)[::-1]
    reach = (np.ceil((np.hypot(*size) + np.hypot(*offset)) / spacing) + 2).astype(int)
    index = np.stack(
        np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), -1
    ).reshape(-1, 2)
    center = np.array([size[1] / 2 + offset[1], size[0] / 2 + offset[0]])
    points = np.concatenate([(index + np.array(place)) @ vectors + center for place in basis])
    number = np.repeat(np.arange(len(basis)), len(index))
    inside = ((points >= 0) & (points < (size[1], size[0]))).all(axis=1)
    return points[inside], number[inside]
