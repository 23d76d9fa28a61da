"""Particles whose surface atoms move from site to site."""

import numpy as np
from ase import Atoms
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.structures.particles import find_lattice

MOBILE = 8  # neighbors: atoms with more stay
HELD = 3  # neighbors of a site that an atom can take
FULL = 12  # neighbors inside


def move_surface_atoms(
    particle: Atoms, n_moves: int, rng: np.random.Generator, *, eagerness: float = 1.0
) -> Atoms:
    """Move atoms of a particle's surface to other sites of its lattice.

    Parameters
    ----------
    particle : Atoms
        Of `make_particle`.
    n_moves : int
        Atoms that move, one after the other.
    rng : Generator
        Chooses atoms and sites.
    eagerness : float
        By how many neighbors more a site is e times as likely.

    Returns
    -------
    Atoms
        As many atoms on the same lattice, `column` numbered anew.

    Raises
    ------
    ConfigError
        If no atom of the particle has all of its neighbors, so that its lattice is not known, or
        none can move.
    """
    reach = 1.15 * find_lattice(particle.get_chemical_symbols()[0]) / 2**0.5
    places = particle.positions.copy()
    near = cKDTree(places).query_ball_point(places, reach)
    inner = next((i for i, found in enumerate(near) if len(found) == FULL + 1), None)
    if inner is None:
        raise ConfigError("particle: must hold an atom with 12 neighbors")
    vectors = np.array([places[i] - places[inner] for i in near[inner] if i != inner])
    for _ in range(n_moves):
        tree = cKDTree(places)
        count = np.array([len(found) - 1 for found in tree.query_ball_point(places, reach)])
        movable = np.flatnonzero(count <= MOBILE)
        if not len(movable):
            raise ConfigError("particle: must have atoms on its surface")
        moving = movable[_choose(-count[movable] / eagerness, rng)]
        others = np.delete(places, moving, axis=0)
        sites = _find_free_sites(others, vectors, reach)
        held = np.array([len(f) for f in cKDTree(others).query_ball_point(sites, reach)])
        away = np.linalg.norm(sites - places[moving], axis=1) > reach / 2
        possible = np.flatnonzero((held >= HELD) & away)
        places[moving] = sites[possible[_choose(held[possible] / eagerness, rng)]]
    moved = particle.copy()
    moved.positions = places
    moved.set_array("column", number_columns(places, find_axis(particle)))
    return moved


def find_axis(particle: Atoms) -> np.ndarray:
    """Direction of the columns of a particle.

    Parameters
    ----------
    particle : Atoms
        With the array `column`.

    Returns
    -------
    (3,) array
        Of length 1, along the beam but for the tilt.

    Raises
    ------
    ConfigError
        If no column has two atoms.
    """
    column = particle.arrays["column"]
    longest = particle.positions[column == np.bincount(column).argmax()]
    if len(longest) < 2:
        raise ConfigError("particle: must hold a column of two atoms")
    low, high = longest[longest[:, 2].argmin()], longest[longest[:, 2].argmax()]
    return (high - low) / np.linalg.norm(high - low)


def number_columns(places: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Number the columns of atoms along an axis.

    Parameters
    ----------
    places : (N, 3) array
        Å.
    axis : (3,) array
        Direction of the columns, of length 1.

    Returns
    -------
    (N,) int array
        From 0.
    """
    across = places - np.outer(places @ axis, axis)
    pairs = cKDTree(across).query_pairs(0.3, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(places),) * 2)
    return connected_components(links, directed=False)[1]


def _find_free_sites(places: np.ndarray, vectors: np.ndarray, reach: float) -> np.ndarray:
    """Sites of the lattice beside atoms that no atom takes, each once."""
    sites = (places[:, None] + vectors).reshape(-1, 3)
    distance, _ = cKDTree(places).query(sites)
    sites = sites[distance > reach / 4]
    _, first = np.unique(sites.round(2), axis=0, return_index=True)
    return sites[np.sort(first)]


def _choose(weights: np.ndarray, rng: np.random.Generator) -> int:
    """Draw one of several by the exponentials of their weights."""
    chances = np.exp(weights - weights.max())
    return int(rng.choice(len(weights), p=chances / chances.sum()))
