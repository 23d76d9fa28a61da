"""Edits of a structure: vacancies, dopants, adatoms, edges and holes, grain boundaries, strain."""

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from scipy.spatial import cKDTree


def remove_chalcogens(
    sheet: Atoms, fraction: float, rng: np.random.Generator, *, both: float = 0.05
) -> Atoms:
    """Take chalcogen atoms out of an MX2 sheet at random.

    Parameters
    ----------
    sheet : Atoms
        A sheet with the array `site`.
    fraction : float
        Share of the chalcogen columns that lose an atom, 0 to 1.
    rng : Generator
        Chooses the atoms.
    both : float
        Share of these columns that lose both atoms.

    Returns
    -------
    Atoms
        The sheet without them.
    """
    sites = np.flatnonzero(sheet.arrays["site"] == "X")
    upper, lower = _pair_columns(sheet, sites)
    hit = rng.random(len(upper)) < fraction
    takes_upper = rng.random(len(upper)) < 0.5
    takes_both = rng.random(len(upper)) < both
    removed = np.concatenate(
        [upper[hit & (takes_upper | takes_both)], lower[hit & (~takes_upper | takes_both)]]
    )
    return sheet[np.setdiff1d(np.arange(len(sheet)), removed)]


def remove_atoms(
    structure: Atoms, fraction: float, rng: np.random.Generator, *, site: str | None = None
) -> Atoms:
    """Take atoms out of a structure at random.

    Parameters
    ----------
    structure : Atoms
        The structure; with the array `site` if one is named.
    fraction : float
        Share of the atoms that go, 0 to 1.
    rng : Generator
        Chooses the atoms.
    site : str, optional
        Only atoms of this site go.

    Returns
    -------
    Atoms
        The structure without them.
    """
    is_removed = rng.random(len(structure)) < fraction
    if site is not None:
        is_removed &= structure.arrays["site"] == site
    return structure[np.flatnonzero(~is_removed)]


def substitute(
    sheet: Atoms, site: str, elements: tuple[str, ...], fraction: float, rng: np.random.Generator
) -> Atoms:
    """Put dopants on the sites of one kind.

    Parameters
    ----------
    sheet : Atoms
        A sheet with the array `site`.
    site : str
        "M" or "X".
    elements : tuple of str
        Dopants, each as likely; one that equals the host changes nothing.
    fraction : float
        Share of the atoms of this site that are replaced, 0 to 1.
    rng : Generator
        Chooses atoms and elements.

    Returns
    -------
    Atoms
        The doped sheet.
    """
    doped = sheet.copy()
    hit = np.flatnonzero((doped.arrays["site"] == site) & (rng.random(len(doped)) < fraction))
    chosen = rng.integers(len(elements), size=len(hit))
    doped.numbers[hit] = np.array([atomic_numbers[element] for element in elements])[chosen]
    return doped


def add_adatoms(
    sheet: Atoms,
    elements: tuple[str, ...],
    density: float,
    rng: np.random.Generator,
    *,
    height: float = 2.0,
    min_distance: float = 1.25,
) -> Atoms:
    """Lay foreign atoms on a sheet: on top of its columns, or between these where there is room.

    Parameters
    ----------
    sheet : Atoms
        A sheet with the array `site`; the adatoms get the site "T".
    elements : tuple of str
        Elements of the adatoms, each as likely.
    density : float
        Adatoms per 1000 Å² of its cell.
    rng : Generator
        Chooses places and elements.
    height : float
        Their height over the highest atom, Å.
    min_distance : float
        Least distance in projection of those between the columns from all others, Å.

    Returns
    -------
    Atoms
        The sheet with its adatoms.
    """
    width, length = sheet.cell.lengths()[:2]
    n_wanted = rng.poisson(density * width * length / 1000)
    if not n_wanted or not len(sheet):
        return sheet
    places = sheet.positions[:, :2]
    n_on_top = min(rng.binomial(n_wanted, 0.5), len(sheet))
    on_top = places[rng.choice(len(sheet), n_on_top, replace=False)]
    thrown = rng.random((100 * n_wanted, 2)) * (width, length)
    distance, _ = cKDTree(places).query(thrown)
    between = keep_apart(thrown[distance > min_distance], min_distance)[: n_wanted - n_on_top]
    points = np.concatenate([on_top, between])
    z = np.full(len(points), sheet.positions[:, 2].max() + height)
    adatoms = Atoms(rng.choice(elements, len(points)).tolist(), np.column_stack([points, z]))
    adatoms.set_array("site", np.full(len(points), "T"))
    return sheet + adatoms


def keep_apart(points: np.ndarray, distance: float) -> np.ndarray:
    """Leave out points that fall too near to an earlier one.

    Parameters
    ----------
    points : (N, 2) array
        Places, Å.
    distance : float
        Least distance, Å.

    Returns
    -------
    (M, 2) array
        The others, in their order.
    """
    keep = np.ones(len(points), bool)
    if len(points):
        pairs = cKDTree(points).query_pairs(distance, output_type="ndarray")
        for first, second in pairs[np.argsort(pairs[:, 0], kind="stable")]:
            keep[second] &= not keep[first]
    return points[keep]


def cut_holes(sheet: Atoms, holes: list[tuple[float, float, float]]) -> Atoms:
    """Cut round holes; a circle of large radius cuts an edge.

    Parameters
    ----------
    sheet : Atoms
        The sheet.
    holes : list of (y, x, radius)
        Centers and radii, Å.

    Returns
    -------
    Atoms
        The atoms outside every hole.
    """
    keep = np.ones(len(sheet), bool)
    for y, x, radius in holes:
        keep &= np.hypot(sheet.positions[:, 0] - x, sheet.positions[:, 1] - y) > radius
    return sheet[np.flatnonzero(keep)]


def keep_patches(structure: Atoms, patches: list[tuple[float, float, float]]) -> Atoms:
    """Keep round patches of a structure, such as particles on a support.

    Parameters
    ----------
    structure : Atoms
        The structure.
    patches : list of (y, x, radius)
        Centers and radii, Å.

    Returns
    -------
    Atoms
        The atoms inside any patch.
    """
    keep = np.zeros(len(structure), bool)
    for y, x, radius in patches:
        keep |= np.hypot(structure.positions[:, 0] - x, structure.positions[:, 1] - y) <= radius
    return structure[np.flatnonzero(keep)]


def join_grains(
    first: Atoms,
    second: Atoms,
    point: tuple[float, float],
    angle: float,
    *,
    min_distance: float = 1.3,
) -> Atoms:
    """Join two grains along a straight boundary.

    Parameters
    ----------
    first, second : Atoms
        Sheets that both cover the whole area.
    point : tuple of float
        A point (y, x) of the boundary, Å.
    angle : float
        Direction of the boundary's normal, degrees; it points from `first` to `second`.
    min_distance : float
        Columns of the second grain nearer than this to the first are left out, Å.

    Returns
    -------
    Atoms
        The bicrystal.
    """
    normal = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    origin = np.array([point[1], point[0]])
    left = first[np.flatnonzero((first.positions[:, :2] - origin) @ normal < 0)]
    right = second[np.flatnonzero((second.positions[:, :2] - origin) @ normal >= 0)]
    if len(left) and len(right):
        distance, _ = cKDTree(left.positions[:, :2]).query(right.positions[:, :2])
        right = right[np.flatnonzero(distance > min_distance)]
    return left + right


def strain_sheet(sheet: Atoms, strain: np.ndarray) -> Atoms:
    """Strain a sheet about the center of its cell.

    Parameters
    ----------
    sheet : Atoms
        The sheet.
    strain : (2, 2) array
        Displacement gradient [[xx, xy], [yx, yy]].

    Returns
    -------
    Atoms
        The strained sheet.
    """
    strained = sheet.copy()
    center = sheet.cell.lengths()[:2] / 2
    strained.positions[:, :2] += (sheet.positions[:, :2] - center) @ np.asarray(strain).T
    return strained


def _pair_columns(sheet: Atoms, sites: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower atom of every whole chalcogen column."""
    upper = sites[sheet.positions[sites, 2] > 0]
    lower = sites[sheet.positions[sites, 2] <= 0]
    if not len(upper) or not len(lower):
        return upper[:0], lower[:0]
    distance, nearest = cKDTree(sheet.positions[lower, :2]).query(sheet.positions[upper, :2])
    is_whole = np.asarray(distance) < 0.3
    return upper[is_whole], lower[np.asarray(nearest)[is_whole]]
