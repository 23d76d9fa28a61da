"""Flat sheets: MX2 monolayers of any metal and chalcogen."""

import numpy as np
from ase import Atoms

from adatom.core.materials import Material


def make_sheet(
    material: Material,
    size: tuple[float, float],
    *,
    angle: float = 0.0,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Atoms:
    """Make a sheet of MX2 (2H) that covers a rectangle.

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
        holds "M" or "X".

    Examples
    --------
    >>> from adatom.core.materials import get_material
    >>> sheet = make_sheet(get_material("MoS2"), (31.6, 31.6))
    >>> abs(len(sheet) / (31.6**2 / (3.16**2 * 0.75**0.5) * 3) - 1) < 0.05
    True
    """
    a, turn = material.lattice, np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    vectors = a * np.array([[1, 0], [0.5, 3**0.5 / 2]]) @ rotation.T
    reach = int(np.ceil(np.hypot(*size) / a)) + 2
    n = np.arange(-reach, reach + 1)
    index = np.stack(np.meshgrid(n, n, indexing="ij"), -1).reshape(-1, 2)
    center = np.array([size[1] / 2 + offset[1], size[0] / 2 + offset[0]])
    metals = index @ vectors + center
    chalcogens = metals + (vectors[0] + vectors[1]) / 3
    elements = dict(material.elements)
    z = material.thickness / 2
    parts = [
        (elements["M"], metals, 0.0, "M"),
        (elements["X2"], chalcogens, z, "X"),
        (elements["X2"], chalcogens, -z, "X"),
    ]
    symbols, positions, sites = [], [], []
    for element, points, height, site in parts:
        inside = points[((points >= 0) & (points < (size[1], size[0]))).all(1)]
        symbols += [element] * len(inside)
        positions.append(np.column_stack([inside, np.full(len(inside), height)]))
        sites += [site] * len(inside)
    sheet = Atoms(symbols, np.concatenate(positions), cell=(size[1], size[0], 20), pbc=False)
    sheet.set_array("site", np.array(sites))
    return sheet
