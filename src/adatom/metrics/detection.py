"""Found columns against true ones: one-to-one matches, F1, confusion, position errors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Matches:
    """One-to-one matches of two point sets.

    Attributes
    ----------
    found, true : (n_matches,) int arrays
        Rows of the found and of the true points that belong together.
    n_found, n_true : int
        Points in all.
    """

    found: np.ndarray
    true: np.ndarray
    n_found: int
    n_true: int


def match_points(found: np.ndarray, true: np.ndarray, tolerance: float) -> Matches:
    """Pair found with true points, nearest first, each used once.

    Parameters
    ----------
    found : (N, 2) array
        Found positions, Å.
    true : (M, 2) array
        True positions, Å.
    tolerance : float
        Largest distance of a pair, Å.

    Returns
    -------
    Matches
        The pairs.

    Examples
    --------
    >>> true = np.array([[0.0, 0], [0, 0.3]])
    >>> match_points(np.array([[0.0, 0.1], [5, 5]]), true, 0.5).true.tolist()
    [0]
    """
    found, true = np.reshape(found, (-1, 2)), np.reshape(true, (-1, 2))
    empty = np.empty(0, int)
    if not len(found) or not len(true):
        return Matches(empty, empty, len(found), len(true))
    near = cKDTree(found).sparse_distance_matrix(cKDTree(true), tolerance, output_type="coo_matrix")
    order = np.argsort(near.data, kind="stable")
    rows, columns = near.row[order], near.col[order]
    kept_rows, kept_columns = [], []
    while len(rows):
        # The first pair of both its points is nearest for both: take all such pairs at once.
        index = np.arange(len(rows))
        first_row = np.full(len(found), len(rows))
        first_column = np.full(len(true), len(rows))
        np.minimum.at(first_row, rows, index)
        np.minimum.at(first_column, columns, index)
        taken = (first_row[rows] == index) & (first_column[columns] == index)
        kept_rows.append(rows[taken])
        kept_columns.append(columns[taken])
        free = ~np.isin(rows, rows[taken]) & ~np.isin(columns, columns[taken])
        rows, columns = rows[free], columns[free]
    if not kept_rows:
        return Matches(empty, empty, len(found), len(true))
    return Matches(np.concatenate(kept_rows), np.concatenate(kept_columns), len(found), len(true))


def detection_scores(n_matches: int, n_found: int, n_true: int) -> dict[str, float]:
    """Precision, recall and F1.

    Parameters
    ----------
    n_matches, n_found, n_true : int
        Counts of matches, of found and of true points.

    Returns
    -------
    dict
        `precision`, `recall`, `f1`; 1 where nothing was to be found and nothing was.

    Examples
    --------
    >>> detection_scores(8, 10, 8)["precision"]
    0.8
    """
    total = n_found + n_true
    return {
        "precision": n_matches / n_found if n_found else float(n_true == 0),
        "recall": n_matches / n_true if n_true else float(n_found == 0),
        "f1": 2 * n_matches / total if total else 1.0,
    }


def score_atoms(
    atoms: pd.DataFrame, truth: pd.DataFrame, labels: Sequence[str], *, tolerance: float = 0.5
) -> dict[str, dict[str, float]]:
    """Score an atoms table against the truth, for all sites and label by label.

    Parameters
    ----------
    atoms : DataFrame
        Columns x, y (Å), label.
    truth : DataFrame
        Columns x, y (Å), label.
    labels : sequence of str
        Labels to score.
    tolerance : float
        Largest distance of a match, Å.

    Returns
    -------
    dict
        For "sites" and each label: precision, recall, f1, n_true, n_found. A column counts for a
        label only if its position and its label are right.
    """
    matches = match_points(atoms[["y", "x"]].to_numpy(), truth[["y", "x"]].to_numpy(), tolerance)
    found, true = atoms["label"].to_numpy(), truth["label"].to_numpy()
    agree = found[matches.found] == true[matches.true]
    scores = {
        "sites": detection_scores(len(matches.found), len(atoms), len(truth))
        | {"n_true": len(truth), "n_found": len(atoms)}
    }
    for label in labels:
        n_found, n_true = int((found == label).sum()), int((true == label).sum())
        n_right = int((agree & (true[matches.true] == label)).sum())
        scores[label] = detection_scores(n_right, n_found, n_true) | {
            "n_true": n_true,
            "n_found": n_found,
        }
    return scores


def score_nearest(
    found: pd.DataFrame,
    truth: pd.DataFrame,
    tolerance: float,
    *,
    counted: tuple[np.ndarray, np.ndarray],
) -> float:
    """F1 with every column matched to the nearest one of its label, which may serve several.

    Parameters
    ----------
    found, truth : DataFrame
        Columns x, y (Å), label.
    tolerance : float
        Largest distance of a match, Å.
    counted : ((N,) bool array, (M,) bool array)
        Found and true columns that count; the others can be matched with.

    Returns
    -------
    float
        Never below the F1 by `match_points`: several found columns may share a true one. As the
        scripts of J. Madsen et al., Adv. Theory Simul. 1 (2018) 1800037, match.
    """
    n_found, n_true = (int(rows.sum()) for rows in counted)
    if not n_found or not n_true:
        return float(n_found == n_true)
    near = []
    for table, others, rows in ((found, truth, counted[0]), (truth, found, counted[1])):
        n_near = 0
        for label, mine in table[rows].groupby("label"):
            there = others.loc[others["label"] == label, ["y", "x"]].to_numpy()
            if len(there):
                away, _ = cKDTree(there).query(mine[["y", "x"]].to_numpy())
                n_near += int((away <= tolerance).sum())
        near.append(n_near)
    precision, recall = near[0] / n_found, near[1] / n_true
    return 2 * precision * recall / (precision + recall) if near[0] and near[1] else 0.0
