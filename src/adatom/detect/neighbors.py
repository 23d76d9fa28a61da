"""Labels that agree with those of the neighbors: the two sublattices of a honeycomb."""

import numpy as np
from scipy.spatial import cKDTree

COUPLING = 0.8  # log-odds over two that a neighbor brings
REACH = 1.35  # of the usual distance of neighbors; second neighbors are at 1.73
LARGEST = 2.1  # Å, of that distance in any monolayer
N_ITERATIONS = 60
LEAST_SHARE = 1e-4


def find_reach(places: np.ndarray) -> float:
    """Find how far the neighbors of a column in a honeycomb are at most.

    Parameters
    ----------
    places : (N, 2) array
        Two columns at least, Å.

    Returns
    -------
    float
        Between the distances of first and second neighbors, Å.
    """
    usual = np.median(cKDTree(places).query(places, k=2)[0][:, 1])
    return float(REACH * min(usual, LARGEST))


def agree_with_neighbors(
    shares: np.ndarray,
    column: np.ndarray,
    places: np.ndarray,
    sublattices: tuple[tuple[int, ...], tuple[int, ...]],
) -> np.ndarray:
    """Weigh what a network says of each column with what it says of the neighbors.

    A microscope whose aberrations imitate the difference of two elements makes a network uncertain
    of all columns alike; that neighbors are of different sublattices is certain. A single column
    of the wrong sublattice stays where the network is sure of it (odds of a hundred to one against
    three neighbors).

    Parameters
    ----------
    shares : (N, C) array
        How a network shares each column between the labels; rows sum to 1.
    column : (N,) array
        How sure it is that there is a column, 0 to 1.
    places : (N, 2) array
        Å.
    sublattices : two tuples of int
        Labels of either sublattice, all labels together.

    Returns
    -------
    (N, C) array
        Shares after the neighbors were asked; those of one sublattice keep their ratios.

    Notes
    -----
    Mean field of an Ising antiferromagnet whose fields are the network's log-odds, as in the
    pixel labels of J. Besag, J. R. Stat. Soc. B 48 (1986) 259.

    Examples
    --------
    >>> shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.9, 0.1]])
    >>> places = np.array([[0.0, 0.0], [0.0, 1.8], [0.0, 3.6]])
    >>> agree_with_neighbors(shares, np.ones(3), places, ((0,), (1,)))[1].round(1)
    array([0.1, 0.9])
    """
    if len(places) < 2:
        return shares
    shares = np.maximum(shares, LEAST_SHARE)
    first, second = (shares[:, list(labels)].sum(axis=1) for labels in sublattices)
    evidence = np.log(first / second)
    pairs = cKDTree(places).query_pairs(find_reach(places), output_type="ndarray")
    mean = np.tanh(evidence / 2)
    for _ in range(N_ITERATIONS):
        around = np.zeros(len(places))
        for here, there in (pairs.T, pairs.T[::-1]):
            np.add.at(around, here, column[there] * mean[there])
        mean = (mean + np.tanh(evidence / 2 - COUPLING * around)) / 2  # damped: no two-step cycles
    agreed = np.empty_like(shares)
    for labels, before, now in zip(
        sublattices, (first, second), ((1 + mean) / 2, (1 - mean) / 2), strict=True
    ):
        agreed[:, list(labels)] = shares[:, list(labels)] * (now / before)[:, None]
    return agreed
