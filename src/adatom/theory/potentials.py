"""Forces between atoms: which potential knows them, and the cell that they work in."""

from dataclasses import dataclass

from ase import Atoms
from ase.data import chemical_symbols

from adatom.core.errors import ConfigError

INSTALL = "pip install 'adatom[md]'"
VACUUM = 25.0  # Å on either side of a sheet or ribbon


@dataclass(frozen=True)
class Potential:
    """An interatomic potential.

    Attributes
    ----------
    name : str
        What it is called in tables.
    style : str
        LAMMPS's pair style; empty for CHGNet.
    file : str
        Parameters, a file that comes with LAMMPS; empty for CHGNet.
    elements : frozenset of str
        What it knows.
    source : str
        Where it was published.
    """

    name: str
    style: str
    file: str
    elements: frozenset[str]
    source: str


POTENTIALS = (
    Potential(
        "Stillinger-Weber",
        "sw/mod",
        "tmd.sw.mod",
        frozenset({"Mo", "W", "S", "Se", "Te"}),
        "Jiang, Acta Mech. Solida Sin. 32 (2019) 17",
    ),
    Potential(
        "Tersoff",
        "tersoff",
        "BNC.tersoff",
        frozenset({"C", "B", "N"}),
        "Lindsay & Broido, Phys. Rev. B 81 (2010) 205441; Kinaci et al., 86 (2012) 115410",
    ),
)
REBO = Potential(
    "REBO",
    "rebomos",
    "MoS.rebomos",
    frozenset({"Mo", "S"}),
    "Liang et al., Phys. Rev. B 79 (2009) 245110; Stewart & Spearot, MSMSE 21 (2013) 045003",
)
# Learned from energies of bulk crystals; all up to plutonium but those that these lack.
CHGNET = Potential(
    "CHGNet",
    "",
    "",
    frozenset(chemical_symbols[1:95]) - {"Po", "At", "Rn", "Fr", "Ra"},
    "Deng et al., Nature Machine Intelligence 5 (2023) 1031",
)


def choose_potential(structure: Atoms) -> Potential:
    """Find the potential that knows all elements of a structure.

    Parameters
    ----------
    structure : Atoms
        The structure.

    Returns
    -------
    Potential
        The first of `POTENTIALS` that knows them, else CHGNet.

    Raises
    ------
    ConfigError
        If the structure is empty, or none knows all of its elements.

    Examples
    --------
    >>> choose_potential(Atoms("WSe2", [(0, 0, 0), (1, 1, 1), (1, 1, -1)])).name
    'Stillinger-Weber'
    """
    elements = sorted(set(structure.symbols))
    if not elements:
        raise ConfigError("structure: must have atoms (got none)")
    for potential in (*POTENTIALS, CHGNET):
        if potential.elements.issuperset(elements):
            return potential
    unknown = ", ".join(sorted(set(elements) - CHGNET.elements))
    raise ConfigError(f"structure: no potential knows all of its elements (got {unknown})")


def find_box(structure: Atoms) -> Atoms:
    """Put a structure into a cell that LAMMPS takes, turned back only as a whole.

    Parameters
    ----------
    structure : Atoms
        A sheet normal to z, periodic where `pbc` says so.

    Returns
    -------
    Atoms
        The same, with 25 Å of vacuum on either side of what is not periodic, and the first cell
        vector along x, the second in the plane of x and y.

    Raises
    ------
    ConfigError
        If the cell has no volume, or is turned so that z would not stay normal to the sheet.
    """
    boxed = structure.copy()
    boxed.center(vacuum=VACUUM, axis=[axis for axis in range(3) if not structure.pbc[axis]])
    if abs(boxed.cell.volume) < 1e-6:
        raise ConfigError(f"structure: needs a cell where it is periodic (got {boxed.cell})")
    cell, turn = boxed.cell.standard_form()
    if abs(turn[2, 2] - 1) > 1e-6:
        raise ConfigError(
            "structure: its first two cell vectors must lie in the plane of x and y "
            f"(got {structure.cell.array.tolist()})"
        )
    boxed.set_cell(cell, scale_atoms=True)
    return boxed
