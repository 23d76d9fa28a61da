"""Nanoparticles of face-centered metals along [110], and amorphous films that carry them."""

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, reference_states

from adatom.core.errors import ConfigError
from adatom.structures.edits import keep_apart

# Rows: x along [-110], y along [001], z along [110].
_TO_BEAM = np.array([[-1, 1, 0], [0, 0, 2**0.5], [1, 1, 0]]) / 2**0.5
_FACETS = np.array(
    [[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)]
    + [[s * (i == 0), s * (i == 1), s * (i == 2)] for i in range(3) for s in (-1, 1)]
)
_FORMS = {"111": slice(0, 8), "100": slice(8, 14)}
LARGEST = 1.25  # distance of a facet over the radius


def find_lattice(element: str) -> float:
    """Lattice constant of a face-centered cubic metal.

    Parameters
    ----------
    element : str
        Its symbol.

    Returns
    -------
    float
        Å.

    Raises
    ------
    ConfigError
        If the element is no face-centered cubic metal.

    Examples
    --------
    >>> find_lattice("Au")
    4.08
    """
    known = reference_states[atomic_numbers.get(element, 0)]
    if not known or known["symmetry"] != "fcc":
        raise ConfigError(f"element: must be a face-centered cubic metal (got {element!r})")
    return float(known["a"])  # type: ignore[arg-type]


def make_particle(
    element: str, radius: float, rng: np.random.Generator, *, tilt: float = 0.0
) -> Atoms:
    """Make a particle with facets {111} and {100}, seen along [110].

    Parameters
    ----------
    element : str
        A face-centered cubic metal.
    radius : float
        About that of the sphere that its facets touch, Å.
    rng : Generator
        Draws center, distance of each facet, and the turn in the plane.
    tilt : float
        Angle of [110] to the beam, degrees, in a direction that is drawn.

    Returns
    -------
    Atoms
        Around (0, 0, 0), the beam along z. The array `column` numbers the columns along [110].

    Raises
    ------
    ConfigError
        If the element is no face-centered cubic metal.
    """
    a = find_lattice(element)
    reach = int(np.ceil(1.5 * radius / a)) + 1
    corner = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3), -1).reshape(-1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    points = a * ((corner[:, None] + basis).reshape(-1, 3) - rng.uniform(0, 1, 3))
    normals = _FACETS / np.linalg.norm(_FACETS, axis=1, keepdims=True)
    distance = np.empty(len(normals))
    distance[_FORMS["111"]] = radius * rng.uniform(0.85, 1.10, 8)
    distance[_FORMS["100"]] = radius * rng.uniform(0.95, LARGEST, 6)
    inside = (points @ normals.T <= distance).all(axis=1)
    seen = points[inside] @ _TO_BEAM.T
    # Columns lie on a grid of a/√8 by a/2.
    number = np.rint((seen[:, :2] - seen[:1, :2]) / (a / 8**0.5, a / 2)).astype(int)
    _, column = np.unique(number, axis=0, return_inverse=True)
    direction, turn = rng.uniform(0, 2 * np.pi, 2)
    particle = Atoms(f"{element}{len(seen)}" if len(seen) else "", seen)
    particle.rotate(tilt, (np.cos(direction), np.sin(direction), 0))
    particle.rotate(np.rad2deg(turn), "z")
    particle.set_array("column", column.ravel())
    return particle


def make_amorphous(
    element: str,
    size: tuple[float, float, float],
    density: float,
    rng: np.random.Generator,
    *,
    min_distance: float = 1.35,
) -> Atoms:
    """Fill a box with atoms at random that keep their distance.

    Parameters
    ----------
    element : str
        Of all atoms.
    size : tuple of float
        Length of the box along z, y and x, Å.
    density : float
        Atoms wanted, 1/Å³ (0.1 for amorphous carbon of 2 g/cm³).
    rng : Generator
        Throws the atoms.
    min_distance : float
        Least distance of two, Å.

    Returns
    -------
    Atoms
        Fewer than wanted where no more find room.
    """
    n_wanted = round(density * float(np.prod(size)))
    thrown = keep_apart(rng.uniform(0, 1, (2 * n_wanted, 3)) * size[::-1], min_distance)
    return Atoms(f"{element}{len(thrown[:n_wanted])}", thrown[:n_wanted])
