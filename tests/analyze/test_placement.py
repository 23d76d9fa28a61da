"""Patterns laid over themselves after any turn, mirror and shift."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatom.analyze.placement import (
    Pattern,
    find_symmetries,
    improve_placement,
    place_pattern,
)

REACH = 0.6


def honeycomb(middle):
    """Atoms within 8 Å of an atom, a bond or a hexagon of graphene, and its bonds."""
    a = np.array([[2.46, 0], [1.23, 2.46 * 0.75**0.5]])
    cells = np.stack(np.mgrid[-9:10, -9:10], axis=-1).reshape(-1, 2) @ a
    places = np.concatenate([cells, cells + a.sum(axis=0) / 3])
    shift = {"atom": 0, "bond": 0.5, "hexagon": 2}[middle] * a.sum(axis=0) / 3
    places = (places - shift)[np.hypot(*(places - shift).T) < 8][:, ::-1]
    away = np.linalg.norm(places[:, None] - places, axis=-1)
    return places, np.argwhere(np.triu((away > 0.1) & (away < 1.6)))


PLACES, BONDS = honeycomb("atom")
# No symmetry is left: two foreign atoms at different distances from the middle.
LABELS = np.full(len(PLACES), "C ")
LABELS[np.hypot(*(PLACES - PLACES[np.hypot(*(PLACES - [2.5, 1.4]).T).argmin()]).T) < 0.1] = "Si"
LABELS[np.hypot(*(PLACES - PLACES[np.hypot(*(PLACES - [0.0, 4.3]).T).argmin()]).T) < 0.1] = "Si"


@given(
    angle=st.floats(-np.pi, np.pi),
    is_mirrored=st.booleans(),
    shift=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
)
def test_any_turn_mirror_and_shift_is_found_and_undone(angle, is_mirrored, shift):
    turned = PLACES * [-1 if is_mirrored else 1, 1]
    cos, sin = np.cos(angle), np.sin(angle)
    turned = turned @ np.array([[cos, sin], [-sin, cos]]) + shift
    order = np.random.default_rng(0).permutation(len(PLACES))
    found = place_pattern(
        Pattern(turned[order], LABELS[order]), Pattern(PLACES, LABELS), reach=REACH
    )
    assert found.is_mirrored == is_mirrored
    np.testing.assert_array_equal(order[found.partner], np.arange(len(PLACES)))
    np.testing.assert_allclose(found.apply(turned), PLACES, atol=1e-9)
    np.testing.assert_allclose(found.undo(PLACES), turned, atol=1e-9)
    assert found.cost < 1e-18


def test_labels_decide_and_what_lacks_has_no_partner():
    pattern, reference = Pattern(PLACES, LABELS), Pattern(PLACES, LABELS)
    lost = np.flatnonzero(LABELS == "C ")[[3, 30]]
    fewer = Pattern(np.delete(PLACES, lost, axis=0), np.delete(LABELS, lost))
    found = place_pattern(fewer, reference, reach=REACH)
    assert (found.partner < 0).nonzero()[0].tolist() == sorted(lost)
    assert found.cost == pytest.approx(2 * REACH**2 / len(PLACES))
    other = Pattern(PLACES, np.where(LABELS == "Si", "Ge", "Pt"))
    assert place_pattern(other, pattern, reach=REACH) is None


def test_placements_follow_a_reference_that_moves():
    rng = np.random.default_rng(5)
    first = place_pattern(Pattern(PLACES, LABELS), Pattern(PLACES, LABELS), reach=REACH)
    moved = PLACES + 0.1 + rng.normal(0, 0.05, PLACES.shape)
    better = improve_placement(Pattern(PLACES, LABELS), Pattern(moved, LABELS), first, reach=REACH)
    shift = better.apply(np.zeros(2))
    np.testing.assert_allclose(shift, (moved - PLACES).mean(axis=0), atol=0.01)


@pytest.mark.parametrize(("middle", "order"), [("hexagon", 12), ("atom", 6), ("bond", 4)])
def test_symmetries_are_those_of_the_point_group(middle, order):
    places, bonds = honeycomb(middle)
    places = places + np.random.default_rng(1).normal(0, 0.04, places.shape)
    pattern = Pattern(places, np.full(len(places), "C"))
    found = find_symmetries(pattern, bonds, reach=REACH)
    assert len(found) == order
    assert found[0].turn == pytest.approx(1, abs=1e-9)
    assert sum(one.is_mirrored for one in found) == order // 2


def test_a_label_and_a_bond_break_the_symmetry():
    pattern = Pattern(PLACES, np.full(len(PLACES), "C"))
    assert len(find_symmetries(Pattern(PLACES, LABELS), BONDS, reach=REACH)) == 1
    near = np.hypot(*PLACES[BONDS].mean(axis=1).T)
    fewer = np.delete(BONDS, near.argmin(), axis=0)  # one of the three at the atom in the middle
    assert len(find_symmetries(pattern, fewer, reach=REACH)) == 2
