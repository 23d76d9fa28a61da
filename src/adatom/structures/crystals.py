"""Crystals as the beam sees them: columns of known lattices, of drawn ones, and of none."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.structures.edits import keep_apart
from adatom.structures.sheets import fill_area

LEAST_DISTANCE = 1.25  # Å between the columns of a drawn lattice
FAINTEST = 0.15  # a drawn column over the brightest one
LONGEST = 8.0  # Å, side of the cell of a drawn lattice
LIGHTEST, HEAVIEST = 14, 79  # elements of drawn lattices


@dataclass(frozen=True)
class Projection:
    """Columns of a crystal along a zone axis.

    Attributes
    ----------
    cell : (float, float, float)
        Lengths a and b (Å) of the flat cell and the angle between them, degrees.
    columns : tuple of (atomic number, atoms per period, a, b)
        What the columns hold, how many atoms a period of the crystal has in them, and their
        places in parts of a and b. Columns too faint for the detector are left out.
    atoms : tuple of (atomic number, a, b, height)
        All atoms of a period in parts of a, b and the period; none where depth is not known.
    period : float
        Of the crystal along the beam, Å.
    """

    cell: tuple[float, float, float]
    columns: tuple[tuple[int, float, float, float], ...]
    atoms: tuple[tuple[int, float, float, float], ...] = ()
    period: float = 0.0

    @property
    def vectors(self) -> np.ndarray:
        """Lattice vectors as rows [x, y], (2, 2), Å."""
        a, b, angle = self.cell
        turn = np.deg2rad(angle)
        return np.array([[a, 0], [b * np.cos(turn), b * np.sin(turn)]])

    @property
    def density(self) -> float:
        """Columns per area, 1/Å²."""
        return len(self.columns) / abs(float(np.linalg.det(self.vectors)))


def _dumbbell(a: float, first: int, second: int) -> Projection:
    """Diamond or zincblende along [110]."""
    columns = ((first, 1, 0, 0), (second, 1, 0.25, 0), (first, 1, 0.5, 0.5), (second, 1, 0.75, 0.5))
    heights = (0, 0.5, 0.5, 0)
    atoms = tuple((z, x, y, h) for (z, _, x, y), h in zip(columns, heights, strict=True))
    return Projection((a, a / 2**0.5, 90), columns, atoms, a / 2**0.5)


def _perovskite(a: float, large: int, small: int) -> Projection:
    """ABO3 along [001]: A and B-O columns; those of oxygen alone do not show."""
    oxygen = ((8, 0.5, 0.5, 0), (8, 0.5, 0, 0.5), (8, 0, 0.5, 0.5))
    atoms = ((large, 0, 0, 0), (small, 0.5, 0.5, 0.5), *oxygen)
    return Projection((a, a, 90), ((large, 1, 0, 0), (small, 1, 0.5, 0.5)), atoms, a)


def _centered(number: int, a: float, b: float, period: float) -> Projection:
    """One element at the corners and in the middle of a box: fcc along [110], bcc along [001]."""
    atoms = ((number, 0, 0, 0), (number, 0.5, 0.5, 0.5))
    return Projection((a, b, 90), ((number, 1, 0, 0), (number, 1, 0.5, 0.5)), atoms, period)


# Lattice constants: Wyckoff, Crystal Structures (1963); room temperature, Å.
PROJECTIONS = {
    "Si [110]": _dumbbell(5.431, 14, 14),
    "Ge [110]": _dumbbell(5.658, 32, 32),
    "GaAs [110]": _dumbbell(5.653, 31, 33),
    "InAs [110]": _dumbbell(6.058, 49, 33),
    "CdTe [110]": _dumbbell(6.482, 48, 52),
    "Si [001]": Projection((1.920, 1.920, 90), ((14, 1, 0, 0),)),
    "Au [110]": _centered(79, 4.078, 2.884, 2.884),
    "Pt [110]": _centered(78, 3.924, 2.775, 2.775),
    "Al [110]": _centered(13, 4.050, 2.864, 2.864),
    "Au [001]": Projection((2.039, 2.039, 90), ((79, 1, 0, 0),)),
    "Al [001]": Projection((2.025, 2.025, 90), ((13, 1, 0, 0),)),
    "Fe [001]": _centered(26, 2.866, 2.866, 2.866),
    "SrTiO3 [001]": _perovskite(3.905, 38, 22),
    "BaTiO3 [001]": _perovskite(4.000, 56, 22),
    "LaAlO3 [001]": _perovskite(3.790, 57, 13),
    "BiFeO3 [001]": _perovskite(3.960, 83, 26),
    "SrTiO3 [110]": Projection((3.905, 2.761, 90), ((38, 1, 0, 0), (22, 1, 0.5, 0))),
    "GaN [0001]": Projection((3.189, 3.189, 120), ((31, 1, 1 / 3, 2 / 3), (31, 1, 2 / 3, 1 / 3))),
    "GaN [11-20]": Projection((5.186, 2.762, 90), ((31, 1, 0, 0), (31, 1, 0.5, 1 / 3))),
    "CeO2 [001]": Projection((2.706, 2.706, 90), ((58, 1, 0, 0),)),
    "CeO2 [110]": Projection((5.411, 3.826, 90), ((58, 1, 0, 0), (58, 1, 0.5, 0.5))),
}


def make_crystal(
    projection: Projection | str,
    size: tuple[float, float],
    *,
    angle: float = 0.0,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Atoms:
    """Make the columns of a crystal that cover a rectangle, as one atom each.

    Parameters
    ----------
    projection : Projection or str
        The columns, or a name of `PROJECTIONS`.
    size : tuple of float
        Height and width (y, x) of the rectangle, Å.
    angle : float
        Rotation of the lattice, degrees.
    offset : tuple of float
        Shift (y, x) of the lattice, Å.

    Returns
    -------
    Atoms
        One atom per column; the array `weight` says how many it stands for, `kind` which column of
        the projection it is, and `angle` how the lattice is turned, degrees.

    Raises
    ------
    ConfigError
        If no crystal has this name.

    Examples
    --------
    >>> len(make_crystal("SrTiO3 [001]", (39.05, 39.05), offset=(0.1, 0.1)))
    200
    """
    if isinstance(projection, str):
        if projection not in PROJECTIONS:
            known = ", ".join(PROJECTIONS)
            raise ConfigError(f"crystals: must be of {known} (got {projection!r})")
        projection = PROJECTIONS[projection]
    basis = [(a, b) for *_, a, b in projection.columns]
    points, number = fill_area(projection.vectors, basis, size, angle, offset)
    numbers = np.array([column[0] for column in projection.columns])[number]
    weights = np.array([column[1] for column in projection.columns], float)[number]
    crystal = _as_atoms(points, numbers, weights, size)
    crystal.set_array("kind", number)
    crystal.set_array("angle", np.full(len(number), float(angle)))
    return crystal


def draw_projection(rng: np.random.Generator) -> Projection:
    """Draw a flat lattice of any symmetry with one to four columns in its cell.

    Parameters
    ----------
    rng : Generator
        Draws everything.

    Returns
    -------
    Projection
        Cell sides of 1.8 to 8 Å; columns at least 1.25 Å apart, up to seven times as bright as
        each other.
    """
    number = int(rng.integers(LIGHTEST, HEAVIEST + 1))
    while True:
        n_columns = int(rng.choice([1, 2, 3, 4], p=(0.3, 0.35, 0.2, 0.15)))
        a = min(float(rng.uniform(1.8, 4.0)) * n_columns ** rng.uniform(0.3, 0.9), LONGEST)
        b, angle = min(a * float(rng.uniform(1.0, 1.8)), LONGEST), float(rng.uniform(60, 90))
        symmetry = rng.integers(4)
        b = a if symmetry in (0, 1) else b
        angle = (90.0, 60.0, 90.0, angle)[symmetry]
        places = np.concatenate([np.zeros((1, 2)), rng.random((n_columns - 1, 2))])
        contrast = np.where(rng.random(n_columns) < 0.4, 1, rng.uniform(FAINTEST, 1, n_columns))
        columns = tuple(
            (number, float(share), *place)
            for share, place in zip(contrast / contrast.max(), places.tolist(), strict=True)
        )
        drawn = Projection((a, b, angle), columns)
        if _least_distance(drawn) > LEAST_DISTANCE:
            return drawn


def _least_distance(projection: Projection) -> float:
    points, _ = fill_area(
        projection.vectors, [(a, b) for *_, a, b in projection.columns], (20, 20), 0, (0, 0)
    )
    distance, _ = cKDTree(points).query(points, k=[2])
    return float(np.min(distance))


def scatter_atoms(
    size: tuple[float, float],
    number: int,
    density: float,
    min_distance: float,
    rng: np.random.Generator,
) -> Atoms:
    """Scatter atoms without any order.

    Parameters
    ----------
    size : tuple of float
        Height and width (y, x) of the area, Å.
    number : int
        Atomic number of all of them.
    density : float
        Atoms that are thrown, 1/Å²; those that fall too near to an earlier one are left out.
    min_distance : float
        Least distance between two of them, Å.
    rng : Generator
        Draws places and brightness.

    Returns
    -------
    Atoms
        One atom per column; the array `weight` makes some fainter.
    """
    n_thrown = rng.poisson(density * size[0] * size[1])
    points = keep_apart(rng.random((n_thrown, 2)) * size[::-1], min_distance)
    weights = np.where(rng.random(len(points)) < 0.5, 1, rng.uniform(FAINTEST, 1, len(points)))
    return _as_atoms(points, np.full(len(points), number), weights, size)


def _as_atoms(
    points: np.ndarray, numbers: np.ndarray, weights: np.ndarray, size: tuple[float, float]
) -> Atoms:
    flat = np.column_stack([points, np.zeros(len(points))])
    atoms = Atoms(numbers, flat, cell=(size[1], size[0], 20), pbc=False)
    atoms.set_array("weight", weights)
    return atoms
