"""Defects of graphene with known bonds: vacancies, turned bonds, silicon in place of carbon."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from ase import Atoms
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.structures.graphene import BONDS, FOURFOLD, HEAVIEST_HOST, SILICON

CARBON = 6
LONGEST = (1.75, 2.10, 2.50)  # Å, bonds with none, one and two silicon atoms (Ziatdinov et al.)
INTACT = 7.0  # Å around a defect: only six-rings of carbon before
MOBILE = 15.0  # Å around it: atoms that relax
RIM = 5.0  # Å around these: atoms that stay, but are felt
NEXT_NEIGHBORS = 2.2  # Å, atoms without a bond repel each other below this
FURTHEST = 3.3  # Å, atoms before they relax that may come that near
ANGLE = 2 * np.pi / 3  # between bonds of atoms with three neighbors or fewer
LARGEST_RING = 20
STRETCHING, BENDING, REPELLING = 1.0, 0.4, 2.0  # only their ratios matter
RELAXED = {"gtol": 1e-4, "ftol": 0}  # the largest force left ends it, nothing else


@dataclass
class _Patch:
    """Part of a sheet: places x + iy (N,), Å; atomic numbers (N,); who is bonded to whom."""

    places: np.ndarray
    numbers: np.ndarray
    bonds: dict[int, set[int]]


def insert_defect(
    sheet: Atoms, kind: str, place: tuple[float, float], rng: np.random.Generator
) -> Atoms:
    """Put a defect of known bonds into graphene and relax the sheet around it in its plane.

    Parameters
    ----------
    sheet : Atoms
        Flat graphene. Other defects of this function may be in it; bonds across its borders not.
    kind : str
        One of `KINDS`: V_C and 2V_C lack one and two atoms and close no bonds, Si1C3 is silicon
        with three carbon neighbors and so on, the others are named by their rings.
    place : tuple of float
        (x, y), Å; the defect takes the nearest atom or bond.
    rng : Generator
        Chooses one of the equivalent orientations.

    Returns
    -------
    Atoms
        The atoms that are left, in their order; those farther than 15 Å have not moved.

    Raises
    ------
    ConfigError
        If the kind is unknown, or not all within 7 Å is carbon in rings of six.

    Notes
    -----
    Vacancies and turned bonds: Banhart, Kotakoski and Krasheninnikov, ACS Nano 5 (2011) 26.
    Silicon: Zhou et al., Phys. Rev. Lett. 109 (2012) 206803; Yang et al., Angew. Chem. 126 (2014)
    9054 (three atoms); Ziatdinov et al., ACS Nano 11 (2017) 12742. The bonds are given; a potential
    after Keating, Phys. Rev. 145 (1966) 637, finds their shape, not their energy.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: must be one of {', '.join(KINDS)} (got {kind!r})")
    points = sheet.positions[:, 0] + 1j * sheet.positions[:, 1]
    near = np.flatnonzero(np.abs(points - complex(*place)) < MOBILE + RIM)
    patch = _connect(points[near], sheet.numbers[near])
    n_centers, edit = EDITS[kind]
    centers = _choose_centers(patch, complex(*place), n_centers, rng)
    if not _is_intact(patch, centers):
        got = ", ".join(f"{value:g}" for value in place)
        raise ConfigError(
            f"place: must have only six-rings of carbon within {INTACT:g} Å (got {got})"
        )
    is_mobile = _is_near(patch, centers, MOBILE)
    rest = np.median(np.abs(np.diff(patch.places[_list_pairs(patch)])))
    edit(patch, centers, rng)
    _relax(patch, is_mobile, float(rest))
    changed = sheet.copy()
    changed.numbers[near] = patch.numbers
    changed.positions[near, :2] = patch.places.view(float).reshape(-1, 2)
    gone = np.setdiff1d(np.arange(len(near)), list(patch.bonds))
    return changed[np.setdiff1d(np.arange(len(sheet)), near[gone])]


def _connect(places: np.ndarray, numbers: np.ndarray) -> _Patch:
    """Find the bonds by distance."""
    patch = _Patch(places, numbers, {atom: set() for atom in range(len(places))})
    tree = cKDTree(places.view(float).reshape(-1, 2))
    pairs = tree.query_pairs(max(LONGEST), output_type="ndarray")
    limit = np.array(LONGEST)[(numbers[pairs] > HEAVIEST_HOST).sum(axis=1)]
    for pair in pairs[np.abs(np.diff(places[pairs]))[:, 0] < limit].tolist():
        _bond(patch, *pair)
    return patch


def _list_pairs(patch: _Patch) -> np.ndarray:
    """All bonds, (B, 2), in order."""
    pairs = [(a, b) for a, found in patch.bonds.items() for b in found if a < b]
    return np.array(sorted(pairs), int).reshape(-1, 2)


def _choose_centers(
    patch: _Patch, target: complex, n_centers: int, rng: np.random.Generator
) -> list[int]:
    """The atom or the two atoms of the bond nearest to a place; none if there is none."""
    groups = np.array(list(patch.bonds))[:, None] if n_centers == 1 else _list_pairs(patch)
    if not len(groups):
        return []
    distance = np.abs(patch.places[groups].mean(axis=1) - target)
    nearest = np.flatnonzero(distance < distance.min() + 1e-3)
    return groups[rng.choice(nearest)].tolist()


def _is_near(patch: _Patch, centers: list[int], radius: float) -> np.ndarray:
    """Which atoms are nearer to the middle of some than a radius, (N,) bool."""
    return np.abs(patch.places - patch.places[centers].mean()) < radius


def _is_intact(patch: _Patch, centers: list[int]) -> bool:
    """Whether all around is carbon, each atom in three rings of six."""
    return bool(centers) and all(
        patch.numbers[atom] == CARBON
        and len(patch.bonds[atom]) == 3
        and all(len(_find_ring(patch, atom, other)) == 6 for other in patch.bonds[atom])
        for atom in np.flatnonzero(_is_near(patch, centers, INTACT)).tolist()
    )


def _find_ring(patch: _Patch, start: int, following: int) -> list[int]:
    """Atoms of the ring on the left of a bond; none if it is open or too large for one."""
    ring = [start, following]
    for _ in range(LARGEST_RING):
        before, atom = ring[-2:]
        others = sorted(patch.bonds[atom] - {before})
        if not others:
            break
        steps = patch.places[[before, *others]] - patch.places[atom]
        ring.append(others[int(np.argmax(np.angle(-steps[1:] / steps[0])))])
        if ring[-2:] == [start, following]:
            return ring[:-2]
    return []


def _bond(patch: _Patch, *atoms: int) -> None:
    """Add a bond between any two of some atoms."""
    for one, other in combinations(atoms, 2):
        patch.bonds[one].add(other)
        patch.bonds[other].add(one)


def _remove(patch: _Patch, atom: int) -> list[int]:
    """Take out an atom; returns those that it was bonded to."""
    dangling = sorted(patch.bonds.pop(atom))
    for other in dangling:
        patch.bonds[other].remove(atom)
    return dangling


def _turn(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    """Turn a bond by 90°, counterclockwise: each of its atoms trades a neighbor for another."""
    one, other = centers
    axis = patch.places[other] - patch.places[one]
    left = _find_beside(patch, one, other, 1j * axis)
    right = _find_beside(patch, other, one, -1j * axis)
    for atom, lost in ((one, left), (other, right)):
        patch.bonds[atom].remove(lost)
        patch.bonds[lost].remove(atom)
    _bond(patch, one, right)
    _bond(patch, other, left)
    middle = patch.places[centers].mean()
    patch.places[one], patch.places[other] = middle - 0.5j * axis, middle + 0.5j * axis


def _find_beside(patch: _Patch, atom: int, partner: int, direction: complex) -> int:
    """The neighbor of an atom, other than its partner, that lies farthest in a direction."""
    others = sorted(patch.bonds[atom] - {partner})
    steps = patch.places[others] - patch.places[atom]
    return others[int(np.argmax((steps * np.conj(direction)).real))]


def _turn_beside(patch: _Patch, size: int, centers: list[int], rng: np.random.Generator) -> None:
    """Turn a bond between a ring of some size and one of six, with rings of six at its ends."""
    pairs = _list_pairs(patch)
    found = []
    for pair in pairs[_is_near(patch, centers, INTACT)[pairs].all(axis=1)].tolist():
        rings = {frozenset(_find_ring(patch, atom, n)) for atom in pair for n in patch.bonds[atom]}
        sides = sorted(len(ring) for ring in rings if ring.issuperset(pair))
        ends = [len(ring) for ring in rings if not ring.issuperset(pair)]
        if sides == [6, size] and ends == [6, 6]:
            found.append(pair)
    _turn(patch, found[rng.integers(len(found))], rng)


def _leave_vacancy(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    for atom in centers:
        _remove(patch, atom)


def _close_vacancy(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    dangling = _remove(patch, centers[0])
    _bond(patch, *rng.permutation(dangling)[:2].tolist())


def _close_divacancy(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    one, other = centers
    _bond(patch, *(set(_remove(patch, one)) - {other}))
    _bond(patch, *_remove(patch, other))


def _turn_after_closing(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    _close_divacancy(patch, centers, rng)
    _turn_beside(patch, 8, centers, rng)


def _turn_twice(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    _turn_after_closing(patch, centers, rng)
    _turn_beside(patch, 7, centers, rng)


def _replace(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    patch.numbers[centers] = SILICON


def _replace_pair(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    one, other = centers
    for dangling in set(_remove(patch, other)) - {one}:
        _bond(patch, one, dangling)
    patch.numbers[one] = SILICON


def _replace_star(patch: _Patch, centers: list[int], rng: np.random.Generator) -> None:
    dangling = _remove(patch, centers[0])
    _bond(patch, *dangling)
    patch.numbers[dangling] = SILICON


def _relax(patch: _Patch, is_mobile: np.ndarray, rest: float) -> None:
    """Bring bonds to their lengths and angles; `rest` is the length of those of carbon, Å."""
    bonds = _list_pairs(patch)
    kept = np.array(sorted(patch.bonds))
    tree = cKDTree(patch.places[kept].view(float).reshape(-1, 2))
    near = tree.query_pairs(FURTHEST, output_type="ndarray")
    apart = sorted(set(map(tuple, kept[near].tolist())) - set(map(tuple, bonds.tolist())))
    pairs = np.concatenate([bonds, np.array(apart, int).reshape(-1, 2)])
    is_bond = np.arange(len(pairs)) < len(bonds)
    lengths = np.where(is_bond, _find_lengths(patch, pairs, rest), NEXT_NEIGHBORS)
    stiffness = np.where(is_bond, STRETCHING, REPELLING)
    flat = {atom: sorted(around) for atom, around in patch.bonds.items() if len(around) < 4}
    corners = np.array([(atom, *ends) for atom in flat for ends in combinations(flat[atom], 2)])
    sides = corners[:, :2], corners[:, ::2]
    dots = np.cos(ANGLE) * np.prod([_find_lengths(patch, side, rest) for side in sides], axis=0)
    step, one, other = (_subtract(ends, len(patch.places)) for ends in (pairs, *sides))

    def find_energy(moved: np.ndarray) -> tuple[float, np.ndarray]:
        patch.places[is_mobile] = moved.view(complex)
        steps, ones, others = step @ patch.places, one @ patch.places, other @ patch.places
        longer = np.abs(steps) ** 2 - lengths**2
        longer[~is_bond] = np.minimum(longer[~is_bond], 0)
        wider = (ones * others.conj()).real - dots
        slope = step.T @ (4 * stiffness * longer * steps)
        slope += 2 * BENDING * (one.T @ (wider * others) + other.T @ (wider * ones))
        energy = stiffness @ longer**2 + BENDING * wider @ wider
        return energy, slope[is_mobile].view(float)

    start = patch.places[is_mobile].view(float)
    found = minimize(find_energy, start, jac=True, method="L-BFGS-B", options=RELAXED)
    patch.places[is_mobile] = found.x.view(complex)


def _find_lengths(patch: _Patch, pairs: np.ndarray, rest: float) -> np.ndarray:
    """Rest lengths of bonds, Å."""
    n_silicon = (patch.numbers[pairs] > HEAVIEST_HOST).sum(axis=1)
    is_fourfold = np.array([len(patch.bonds.get(n, ())) > 3 for n in range(len(patch.places))])
    lengths = np.array([rest, *(length for length, _ in BONDS[1:])])[n_silicon]
    return np.where((n_silicon == 1) & is_fourfold[pairs].any(axis=1), FOURFOLD, lengths)


def _subtract(pairs: np.ndarray, n_atoms: int) -> csr_array:
    """Matrix that turns places into the steps between pairs of them."""
    rows = np.arange(len(pairs)).repeat(2)
    signs = np.tile([1.0, -1.0], len(pairs))
    return csr_array((signs, (rows, pairs.ravel())), shape=(len(pairs), n_atoms))


EDITS: dict[str, tuple[int, Callable[[_Patch, list[int], np.random.Generator], None]]] = {
    "V_C": (1, _leave_vacancy),
    "2V_C": (2, _leave_vacancy),
    "5-9": (1, _close_vacancy),
    "5-8-5": (2, _close_divacancy),
    "55-77": (2, _turn),
    "555-777": (2, _turn_after_closing),
    "5555-6-7777": (2, _turn_twice),
    "Si1C3": (1, _replace),
    "Si1C4": (2, _replace_pair),
    "Si2C4": (2, _replace),
    "Si3C6": (1, _replace_star),
}
KINDS = tuple(EDITS)
