"""Laying labelled points of a plane over others: turned, mirrored and shifted, not strained."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

PIVOT = 4.0  # Å from the middle: atoms that give the turns to try
N_PIVOTS = 3
N_ROUNDS = 3  # of matching and fitting
SAME_TURN = 10.0  # degrees: turns that count as one
NEAR = 6.0  # Å from the middle: bonds that a symmetry must keep


@dataclass(frozen=True)
class Placement:
    """How points lie over a reference.

    Attributes
    ----------
    turn : complex
        Of modulus 1; as points x + iy, `turn * z + shift` is over the reference.
    shift : complex
        Å.
    is_mirrored : bool
        Whether y is reversed first.
    partner : (R,) int array
        Point that lies over each point of the reference, -1 for none.
    cost : float
        Mean squared distance, Å²; what has no partner counts with the square of the reach.
    """

    turn: complex
    shift: complex
    is_mirrored: bool
    partner: np.ndarray
    cost: float

    def apply(self, places: np.ndarray) -> np.ndarray:
        """Lay places [..., (y, x)] over the reference."""
        z = _to_complex(places)
        return _to_places(self.turn * (z.conj() if self.is_mirrored else z) + self.shift)

    def undo(self, places: np.ndarray) -> np.ndarray:
        """Bring places [..., (y, x)] of the reference back to the points."""
        z = np.conj(self.turn) * (_to_complex(places) - self.shift)
        return _to_places(z.conj() if self.is_mirrored else z)


@dataclass(frozen=True)
class Pattern:
    """Labelled points of a plane.

    Attributes
    ----------
    places : (N, 2) array
        [y, x], Å, the middle near 0.
    labels : (N,) array of str
        Only points of one label can be partners.
    """

    places: np.ndarray
    labels: np.ndarray


def place_pattern(pattern: Pattern, reference: Pattern, *, reach: float) -> Placement | None:
    """Lay points over a reference by turning, mirroring and shifting them.

    Parameters
    ----------
    pattern : Pattern
        The points.
    reference : Pattern
        What they are laid over.
    reach : float
        Farthest partner, Å: less than half the distance of neighbors.

    Returns
    -------
    Placement or None
        The best; None if no point has a label and a distance from the middle to begin with.

    Notes
    -----
    The best turn for given partners in closed form: Kabsch, Acta Cryst. A 32 (1976) 922, in two
    dimensions.
    """
    match = _Matcher(pattern, reference, reach)
    starts = _keep_distinct(match.try_turns())
    return min(map(match.fit, starts), key=lambda one: one.cost, default=None)


def improve_placement(
    pattern: Pattern, reference: Pattern, found: Placement, *, reach: float
) -> Placement:
    """Fit a placement again, to a reference that has moved a little.

    Parameters
    ----------
    pattern : Pattern
        The points.
    reference : Pattern
        What they are laid over.
    found : Placement
        About how.
    reach : float
        Farthest partner, Å.

    Returns
    -------
    Placement
        The better one.
    """
    match = _Matcher(pattern, reference, reach)
    return match.fit(match.find_partners(found.turn, found.shift, found.is_mirrored))


def find_symmetries(pattern: Pattern, bonds: np.ndarray, *, reach: float) -> list[Placement]:
    """Find the turns and mirrors that lay points over themselves.

    Parameters
    ----------
    pattern : Pattern
        The points.
    bonds : (B, 2) int array
        Pairs of points. Those within 6 Å of the middle must come to lie over bonds.
    reach : float
        How far from each other points may come to lie, Å.

    Returns
    -------
    list of Placement
        The first changes nothing. Points at the rim may lack partners: a tenth of all.
    """
    match = _Matcher(pattern, pattern, reach)
    near = (np.hypot(*pattern.places.T) < NEAR)[bonds].all(axis=1)
    known = {frozenset(pair) for pair in bonds.tolist()}
    found = [
        one
        for one in _keep_distinct(map(match.fit, match.try_turns()))
        if {frozenset(pair) for pair in one.partner[bonds[near]].tolist()} <= known
        and (one.partner >= 0).mean() >= 0.9
    ]
    return sorted(found, key=lambda one: (one.is_mirrored, abs(np.angle(one.turn))))


def _keep_distinct(placements: Iterable[Placement]) -> list[Placement]:
    """The best of those with about one turn."""
    kept: list[Placement] = []
    for one in sorted(placements, key=lambda one: one.cost):
        if all(
            one.is_mirrored != other.is_mirrored
            or abs(np.angle(one.turn * np.conj(other.turn))) > np.radians(SAME_TURN)
            for other in kept
        ):
            kept.append(one)
    return kept


class _Matcher:
    """Points and a reference as complex numbers, labels as a height that sets them apart."""

    def __init__(self, pattern: Pattern, reference: Pattern, reach: float) -> None:
        self.z, self.w = _to_complex(pattern.places), _to_complex(reference.places)
        both = np.concatenate([pattern.labels, reference.labels])
        height = 4 * reach * np.unique(both, return_inverse=True)[1]
        self.of_z, self.of_w = height[: len(self.z)], height[len(self.z) :]
        self.reach = reach

    def try_turns(self) -> Iterator[Placement]:
        """Turns that lay some point over a pivot of the reference."""
        distance = np.abs(self.w)
        for pivot in np.argsort(np.abs(distance - PIVOT), kind="stable")[:N_PIVOTS]:
            if distance[pivot] < self.reach:  # tells no turn
                continue
            is_like = np.abs(np.abs(self.z) - distance[pivot]) < self.reach
            is_like &= (self.of_z == self.of_w[pivot]) & (self.z != 0)
            for start in self.z[is_like]:
                for is_mirrored in (False, True):
                    turn = self.w[pivot] / (start.conjugate() if is_mirrored else start)
                    yield self.find_partners(turn / abs(turn), 0j, is_mirrored)

    def find_partners(self, turn: complex, shift: complex, is_mirrored: bool) -> Placement:
        """What lies over the reference after a turn and a shift."""
        moved = turn * (self.z.conj() if is_mirrored else self.z) + shift
        tree = cKDTree(np.stack([moved.real, moved.imag, self.of_z], axis=1))
        goals = np.stack([self.w.real, self.w.imag, self.of_w], axis=1)
        away, partner = tree.query(goals, distance_upper_bound=self.reach)
        is_met = np.isfinite(away)
        cost = float((np.where(is_met, away, self.reach) ** 2).mean())
        return Placement(turn, shift, is_mirrored, np.where(is_met, partner, -1), cost)

    def fit(self, found: Placement) -> Placement:
        """Turn and shift for the partners, and partners for these, in turns."""
        for _ in range(N_ROUNDS):
            is_met = found.partner >= 0
            if is_met.sum() < 2:
                break
            here, there = self.z[found.partner[is_met]], self.w[is_met]
            here = here.conj() if found.is_mirrored else here
            overlap = np.vdot(here - here.mean(), there - there.mean())
            turn = complex(overlap / abs(overlap)) if overlap else found.turn
            shift = complex(there.mean() - turn * here.mean())
            found = self.find_partners(turn, shift, found.is_mirrored)
        return found


def _to_complex(places: np.ndarray) -> np.ndarray:
    return np.asarray(places[..., 1] + 1j * places[..., 0])


def _to_places(z: np.ndarray) -> np.ndarray:
    return np.stack([z.imag, z.real], axis=-1)
