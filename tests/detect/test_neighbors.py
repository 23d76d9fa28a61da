"""Labels beside each other: votes, single columns that are sure, and nothing where nothing is."""

import numpy as np
import pytest

from adatom.detect.neighbors import agree_with_neighbors

SUBLATTICES = ((0,), (1, 2))


def make_honeycomb(n=12):
    """Places (Å) and sublattice of each, MoS2."""
    cells = np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2)
    corners = cells @ (3.16 * np.array([[1, 0], [0.5, 0.75**0.5]]))
    places = np.vstack((corners, corners + np.array([1.58, 3.16 / 12**0.5])))
    return places, np.repeat([0, 1], len(corners))


def draw_shares(sublattice, right, odds, rng):
    """Shares of a network that is right that often, always with the same odds."""
    says = np.where(rng.random(len(sublattice)) < right, sublattice, 1 - sublattice)
    sure = odds / (1 + odds)
    first = np.where(says == 0, sure, 1 - sure)
    return np.column_stack([first, 0.8 * (1 - first), 0.2 * (1 - first)])


def test_a_network_that_is_often_right_becomes_right_everywhere():
    rng = np.random.default_rng(0)
    places, sublattice = make_honeycomb()
    shares = draw_shares(sublattice, 0.75, 3.0, rng)
    before = (shares[:, 0] > 0.5) == (sublattice == 0)
    agreed = agree_with_neighbors(shares, np.ones(len(places)), places, SUBLATTICES)
    after = (agreed[:, 0] > 0.5) == (sublattice == 0)
    assert before.mean() < 0.8
    assert after.mean() > 0.99
    np.testing.assert_allclose(agreed.sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(agreed[:, 1] / agreed[:, 2], 4, rtol=0.01)


def test_one_that_is_mostly_wrong_is_not_made_right():
    rng = np.random.default_rng(1)
    places, sublattice = make_honeycomb()
    shares = draw_shares(sublattice, 0.25, 3.0, rng)
    agreed = agree_with_neighbors(shares, np.ones(len(places)), places, SUBLATTICES)
    assert ((agreed[:, 0] > 0.5) == (sublattice == 0)).mean() < 0.01


def test_a_column_that_is_sure_of_the_wrong_sublattice_stays():
    places, sublattice = make_honeycomb()
    shares = draw_shares(sublattice, 1.0, 100.0, np.random.default_rng(2))
    middle = np.linalg.norm(places - places.mean(axis=0), axis=1).argmin()
    for odds, stays in ((1000.0, True), (20.0, False)):
        first = odds / (1 + odds) if sublattice[middle] == 1 else 1 / (1 + odds)
        shares[middle] = [first, 0.8 * (1 - first), 0.2 * (1 - first)]
        agreed = agree_with_neighbors(shares, np.ones(len(places)), places, SUBLATTICES)
        assert ((agreed[middle, 0] > 0.5) == (first > 0.5)) == stays
        others = np.delete(np.arange(len(places)), middle)
        assert ((agreed[others, 0] > 0.5) == (sublattice[others] == 0)).all()


def test_lonely_columns_and_faint_neighbors_change_nothing():
    shares = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.7, 0.2, 0.1]])
    one = agree_with_neighbors(shares[:1], np.ones(1), np.zeros((1, 2)), SUBLATTICES)
    np.testing.assert_array_equal(one, shares[:1])
    places = np.array([[0, 0], [0, 1.8], [0, 10.0]])
    faint = agree_with_neighbors(shares, np.zeros(3), places, SUBLATTICES)
    np.testing.assert_allclose(faint, shares, atol=1e-6)
    assert agree_with_neighbors(shares, np.ones(3), places, SUBLATTICES)[2] == pytest.approx(
        shares[2]
    )
    far = agree_with_neighbors(shares[:2], np.ones(2), np.array([[0, 0], [0, 25.0]]), SUBLATTICES)
    np.testing.assert_allclose(far, shares[:2], atol=1e-6)
