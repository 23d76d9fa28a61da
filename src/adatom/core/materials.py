"""Lattices of known materials and the elements behind the labels."""

from dataclasses import dataclass
from typing import Literal

from adatom.core.errors import ConfigError


@dataclass(frozen=True)
class Material:
    """A material as its image shows it.

    Attributes
    ----------
    name : str
        Chemical formula.
    kind : {"mx2", "honeycomb"}
        Which sheet it is.
    lattice : float
        In-plane lattice constant a of the hexagonal cell, Å.
    thickness : float
        Distance between the outer atomic planes, Å.
    elements : tuple of (label, element)
        Element behind each label; `X2` holds two atoms.
    """

    name: str
    kind: Literal["mx2", "honeycomb"]
    lattice: float
    thickness: float
    elements: tuple[tuple[str, str], ...]

    @property
    def neighbor_distance(self) -> float:
        """Projected distance of nearest columns, Å."""
        return self.lattice / 3**0.5

    @property
    def cell_area(self) -> float:
        """Area of the hexagonal cell, Å²; it holds one formula unit of MX2, or two atoms."""
        return 3**0.5 / 2 * self.lattice**2

    @property
    def atoms_per_cell(self) -> int:
        """Atoms in the hexagonal cell: three of MX2, two of a honeycomb."""
        return 3 if self.kind == "mx2" else 2

    def name_column(self, label: str) -> str:
        """What the columns of a label consist of: "X2" of MoS2 is "S2"; dopants stay dopants."""
        element = dict(self.elements).get(label)
        return label if element is None else element + label[1:]


def _mx2(metal: str, chalcogen: str, lattice: float, thickness: float) -> Material:
    elements = (("M", metal), ("X2", chalcogen), ("X1", chalcogen))
    return Material(f"{metal}{chalcogen}2", "mx2", lattice, thickness, elements)


# Lattice constants and chalcogen plane distances of the 2H monolayers (experiment where known:
# Wilson & Yoffe, Adv. Phys. 18 (1969) 193; Haastrup et al., 2D Mater. 5 (2018) 042002).
MATERIALS = {
    material.name: material
    for material in (
        _mx2("Mo", "S", 3.160, 3.13),
        _mx2("W", "S", 3.153, 3.14),
        _mx2("Mo", "Se", 3.288, 3.34),
        _mx2("W", "Se", 3.282, 3.36),
        _mx2("Mo", "Te", 3.519, 3.61),
        _mx2("Nb", "S", 3.324, 3.12),
        _mx2("Ta", "S", 3.316, 3.13),
        _mx2("Nb", "Se", 3.445, 3.36),
        _mx2("Ta", "Se", 3.437, 3.36),
        Material("graphene", "honeycomb", 2.461, 0.0, (("C", "C"),)),
        Material("h-BN", "honeycomb", 2.504, 0.0, (("B", "B"), ("N", "N"))),
    )
}


_ROLES = {
    material.name_column(role): role
    for material in MATERIALS.values()
    if material.kind == "mx2"
    for role, _ in material.elements
}


def find_role(label: str) -> str:
    """Role behind a label that names the atoms of a column; other labels are roles themselves.

    Parameters
    ----------
    label : str
        Label of a model.

    Returns
    -------
    str
        Label as models of HAADF images have it.

    Examples
    --------
    >>> find_role("S1"), find_role("Mo"), find_role("dopant")
    ('X1', 'M', 'dopant')
    """
    return _ROLES.get(label, label)


def get_material(name: str) -> Material:
    """Look up a material by its formula, whatever its case.

    Parameters
    ----------
    name : str
        Formula, such as `"MoS2"` or `"graphene"`.

    Returns
    -------
    Material
        Lattice and elements.

    Raises
    ------
    ConfigError
        If the table does not hold it.

    Examples
    --------
    >>> get_material("mos2").lattice
    3.16
    """
    for known in MATERIALS.values():
        if known.name.lower() == name.lower():
            return known
    raise ConfigError(f"material: must be one of {', '.join(MATERIALS)} (got {name!r})")
