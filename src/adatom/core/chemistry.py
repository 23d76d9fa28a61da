"""Rules of basic chemistry: which atoms can be bonded, how far apart, and with how many others."""

from itertools import product
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from adatom.core.config import Config, read_toml
from adatom.core.errors import ConfigError
from adatom.core.materials import Material, find_role

# Longest bonds, Å: carbon and silicon after Ziatdinov et al., ACS Nano 11 (2017) 12742; the others
# are the sum of covalent radii (Cordero et al., Dalton Trans. (2008) 2832) and as much again.
FLAT_BONDS = {
    "C-C": 1.75,
    "C-Si": 2.10,
    "Si-Si": 2.50,
    "B-N": 1.80,
    "B-B": 1.90,
    "N-N": 1.70,
    "B-C": 1.80,
    "C-N": 1.75,
    "B-Si": 2.30,
    "N-Si": 2.10,
}
FLAT_NEIGHBORS = {"C": 3, "B": 3, "N": 3, "Si": 4}
STRETCH = 1.35  # longest over usual distance of neighboring columns; second neighbors are at 1.73
MX2_LABELS = ("M", "X2", "X1", "dopant")


class Chemistry(Config):
    """What can be bonded to what.

    Labels are those of the atoms table: elements, or roles such as `M` and `X2` (`Mo` and `S2` of
    a model are these too).
    """

    hosts: tuple[str, ...] = Field(
        min_length=1, description="Labels of the perfect lattice; all others are foreign."
    )
    bonds: dict[str, float] = Field(
        description='Longest bond of two labels, Å: "C-Si" = 2.10; other pairs are never bonded.'
    )
    neighbors: dict[str, int] = Field(
        description="Most neighbors of a label: its longest bonds beyond these are left out."
    )
    stretch: float = Field(
        1.2,
        ge=1,
        description="Longest bond, over the usual, of two hosts that lack a neighbor.",
    )
    use_formulas: bool = Field(
        description="Name foreign atoms by the formula of them and their neighbors (Si1C3); else "
        "by the site that they take (dopant_M)."
    )
    ring: int | None = Field(
        6,
        ge=3,
        description="Members of a ring of the perfect lattice; rings are not judged without.",
    )

    @field_validator("hosts")
    @classmethod
    def _find_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(find_role(label) for label in hosts)

    @field_validator("neighbors")
    @classmethod
    def _find_neighbors(cls, neighbors: dict[str, int]) -> dict[str, int]:
        return {find_role(label): most for label, most in neighbors.items()}

    @field_validator("bonds")
    @classmethod
    def _check_bonds(cls, bonds: dict[str, float]) -> dict[str, float]:
        for pair, length in bonds.items():
            if pair.count("-") != 1 or not all(pair.split("-")):
                raise ValueError(f'must be two labels with "-" between them (got {pair!r})')
            if not length > 0:
                raise ValueError(f"{pair}: must be above 0 Å (got {length:g})")
        return _sort_pairs(bonds)

    @model_validator(mode="after")
    def _check_labels(self) -> "Chemistry":
        known = self._known
        for name, labels in (("hosts", self.hosts), ("neighbors", tuple(self.neighbors))):
            if unknown := sorted(set(labels) - known):
                raise ValueError(f"{name}: must have a bond (got {', '.join(unknown)})")
        if wrong := sorted(label for label, most in self.neighbors.items() if most < 1):
            raise ValueError(f"neighbors: must be 1 or more (got {wrong[0]} = 0)")
        return self

    @property
    def longest(self) -> float:
        """Longest bond of all, Å."""
        return max(self.bonds.values())

    def bond_limit(self, one: str, other: str) -> float:
        """Longest bond of two labels, Å: 0 if they are never bonded, that of hosts if not known."""
        if {one, other} <= self._known:
            return self.bonds.get("-".join(sorted((one, other))), 0.0)
        hosts = [
            self.bonds.get("-".join(sorted(pair)), 0.0) for pair in product(self.hosts, repeat=2)
        ]
        return max(hosts)

    @property
    def _known(self) -> set[str]:
        return {label for pair in self.bonds for label in pair.split("-")}


def _sort_pairs(bonds: dict[str, float]) -> dict[str, float]:
    """Pairs by role and alphabet."""
    pairs = {pair: "-".join(sorted(map(find_role, str(pair).split("-")))) for pair in bonds}
    names = list(pairs.values())
    if twice := [pair for pair, name in pairs.items() if names.count(name) > 1]:
        raise ValueError(f"bonds: must hold a pair once (got {' and '.join(twice)})")
    return {name: bonds[pair] for pair, name in pairs.items()}


def make_chemistry(material: Material) -> Chemistry:
    """Rules for a known material.

    Parameters
    ----------
    material : Material
        A honeycomb of single atoms, or MX2.

    Returns
    -------
    Chemistry
        With silicon as a foreign atom in honeycombs; of MX2 in terms of columns.

    Examples
    --------
    >>> from adatom.core.materials import get_material
    >>> make_chemistry(get_material("graphene")).bond_limit("Si", "C")
    2.1
    """
    if material.kind == "honeycomb":
        hosts = tuple(label for label, _ in material.elements)
        return Chemistry(hosts=hosts, bonds=FLAT_BONDS, neighbors=FLAT_NEIGHBORS, use_formulas=True)
    limit = STRETCH * material.neighbor_distance
    pairs = {f"{one}-{other}": limit for one in MX2_LABELS for other in MX2_LABELS if one <= other}
    # A dopant may sit on either sublattice; X1 is a host's column that lacks an atom.
    return Chemistry(
        hosts=("M", "X2", "X1"),
        bonds=pairs,
        neighbors=dict.fromkeys(MX2_LABELS, 3),
        use_formulas=False,
    )


def make_plain_chemistry(labels: tuple[str, ...], spacing: float) -> Chemistry:
    """Rules for a lattice of which nothing is known: neighbors are bonded, and sites may be empty.

    Parameters
    ----------
    labels : tuple of str
        Of the columns.
    spacing : float
        Usual distance of neighbors, Å.

    Returns
    -------
    Chemistry
        Without limits of coordination, and without rings.
    """
    foreign = {"dopant", "Si"}
    hosts = tuple(label for label in labels if label not in foreign) or labels
    pairs = {
        f"{one}-{other}": STRETCH * spacing for one in labels for other in labels if one <= other
    }
    values = {"hosts": hosts, "bonds": pairs, "neighbors": {}, "ring": None, "use_formulas": False}
    return Chemistry.from_mapping(values, source="labels of the model")


def read_chemistry(path: str | Path, material: Material | None) -> Chemistry:
    """Read rules from a TOML file; what it leaves out is that of the material.

    Parameters
    ----------
    path : str or Path
        With any of `hosts`, `ring`, `stretch`, `use_formulas`, `[bonds]` and `[neighbors]`.
    material : Material or None
        Gives what is left out.

    Returns
    -------
    Chemistry
        The checked rules; pairs of `[bonds]` and labels of `[neighbors]` are added to those of the
        material, or replace them.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a value breaks its rule.
    """
    given = read_toml(path)
    values = {} if material is None else make_chemistry(material).model_dump()
    if isinstance(given.get("bonds"), dict):
        try:
            given["bonds"] = _sort_pairs(given["bonds"])
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from error
    for name, value in given.items():
        is_table = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = values[name] | value if is_table else value
    if material is None and not given:
        raise ConfigError(f"{path}: must hold rules where no material is given (got nothing)")
    return Chemistry.from_mapping(values, source=str(path))
