"""Labels of the columns of a focal series by how much stands in them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import logsumexp, softmax

from adatom.analyze.columns import ColumnFit
from adatom.core.materials import find_role
from adatom.core.tables import make_atoms, score_columns

LEAST_SCATTER = 0.03  # of occupancies: what the model is off
LEAST_USUAL = 0.3  # occupancy of whole columns
RAREST = 0.01  # share of a label, of columns that are none


def weigh_labels(
    atoms: pd.DataFrame,
    found: ColumnFit,
    sublattices: Sequence[tuple[str, ...]],
    *,
    threshold: float,
) -> pd.DataFrame:
    """Tell labels of one sublattice, and columns from nothing, by the occupancy.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table of an MX2 monolayer, a row at least.
    found : ColumnFit
        Of its columns.
    sublattices : sequence of two tuples of str
        Labels of the metal, and of the others.
    threshold : float
        Lowest score of any column that is kept.

    Returns
    -------
    DataFrame
        The table with new scores and labels, `intensity` and `intensity_err` the occupancies (1 is
        the median of whole columns of the sublattice), and places where these were fitted too;
        columns that are likelier none are left out.

    Notes
    -----
    Normal likelihoods around 1, around what either of two atoms alone has, and around 0. Their
    width is the error and, in quadrature, what the metal atoms scatter more than that; labels are
    as frequent as they were, a percent at least. How likely a column is of one sublattice or the
    other stays as it was.
    """
    table = atoms.copy()
    labels = [label for part in sublattices for label in part]
    scores = table[[*score_columns(labels), "score_none"]].to_numpy(float, copy=True)
    mine = np.array([table["label"].isin(part) for part in sublattices])
    occupancy, error = found.occupancy.copy(), found.occupancy_err.copy()
    for rows in mine:
        whole = rows & ~table["label"].map(find_role).eq("X1").to_numpy()
        if whole.any():
            # Where most columns have next to nothing, the microscope is wrong: so are they.
            usual = max(float(np.median(occupancy[whole])), LEAST_USUAL)
            occupancy[rows], error[rows] = occupancy[rows] / usual, error[rows] / usual
    metal = mine[0] if mine[0].any() else np.ones(len(table), bool)
    off = occupancy[metal] - 1
    excess = (1.4826 * np.median(np.abs(off))) ** 2 - np.median(error[metal] ** 2)
    width = np.sqrt(error**2 + max(excess, LEAST_SCATTER**2))
    for part, rows in zip(sublattices, mine, strict=True):
        columns = [labels.index(label) for label in part]
        share = [max(float((table["label"][rows] == label).mean()), RAREST) for label in part]
        middles = [found.halves if find_role(label) == "X1" else (1.0,) for label in part]
        odds = _compare(occupancy[rows], width[rows], [*middles, (0.0,)], [*share, RAREST])
        others = [n for n in range(len(labels)) if n not in columns]
        of_others = scores[rows][:, others]
        kept = 1 - of_others.sum(axis=1, keepdims=True) / scores[rows].sum(axis=1, keepdims=True)
        new = np.zeros((rows.sum(), len(labels) + 1))
        new[:, columns], new[:, -1:] = odds[:, :-1] * kept, odds[:, -1:]
        new[:, others] = of_others * (1 - odds[:, -1:])
        scores[rows] = new / new.sum(axis=1, keepdims=True)
    names = [*score_columns(labels), "score_none"]
    table[names] = scores
    best = scores[:, :-1].argmax(axis=1)
    table["label"] = np.array(labels)[best]
    table["score"] = scores[np.arange(len(scores)), best]
    table["intensity"], table["intensity_err"] = occupancy, error
    if found.moved is not None and found.moved_err is not None:
        table[["y", "x"]] += found.moved
        table[["y_err", "x_err"]] = found.moved_err
    kept = table[table["score_none"] <= 1 - threshold]
    filled = {str(name): kept[name].to_numpy() for name in kept if name not in {"frame", "atom"}}
    return make_atoms(filled, labels, frame=int(atoms["frame"].iloc[0]))


def _compare(
    occupancy: np.ndarray, width: np.ndarray, middles: list[tuple[float, ...]], share: list[float]
) -> np.ndarray:
    """Posterior of each kind, (N, K): a mean of normal likelihoods around its middles each."""
    log = [
        np.log(part / len(around))
        + logsumexp(-0.5 * ((occupancy[:, None] - around) / width[:, None]) ** 2, axis=1)
        for around, part in zip(middles, share, strict=True)
    ]
    return np.asarray(softmax(np.array(log), axis=0).T)
