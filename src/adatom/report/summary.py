"""What an atoms table says in a few numbers: counts, densities, fractions, errors."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from adatom.core.tables import check_atoms

# Labels that are two states of the same site: their fraction is one of these sites.
SITES = {"X2": ("X2", "X1"), "X1": ("X2", "X1")}
# Between the first and the second shell of a honeycomb (1 and √3 neighbor distances).
SHELL = 1.37


@dataclass(frozen=True)
class LabelSummary:
    """Numbers of one label.

    Attributes
    ----------
    label : str
        The label.
    count : int
        Columns in all frames.
    density : float, 1/nm²
        Columns per imaged area.
    fraction, low, high : float
        Part of the columns named by `of`, with its 95 % interval (Wilson).
    of : str
        What the fraction is a part of.
    score : float
        Mean score.
    error : float, pm
        Median position error of an axis, one standard deviation.
    """

    label: str
    count: int
    density: float
    fraction: float
    low: float
    high: float
    of: str
    score: float
    error: float


def summarize_atoms(atoms: pd.DataFrame, labels: tuple[str, ...], area: float) -> dict[str, Any]:
    """Count an atoms table by label.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table of one or several frames.
    labels : tuple of str
        Labels of the model, also those that were not found.
    area : float, Å²
        Imaged area, summed over the frames.

    Returns
    -------
    dict
        `sentence`; `n_atoms`; `labels`, a list of what `LabelSummary` holds;
        `neighbor_distance`: median, standard deviation (Å) and number of the first shell's pairs.
    """
    check_atoms(atoms)
    counts = {label: int((atoms["label"] == label).sum()) for label in labels}
    rows = [_summarize_label(label, atoms, counts, area) for label in labels]
    distances = find_neighbor_distances(atoms)
    return {
        "sentence": _make_sentence(rows, len(atoms)),
        "n_atoms": len(atoms),
        "labels": [asdict(row) for row in rows],
        "neighbor_distance": {
            "median": float(np.median(distances)) if len(distances) else None,
            "spread": float(np.std(distances)) if len(distances) else None,
            "n_pairs": len(distances),
        },
    }


def _summarize_label(
    label: str, atoms: pd.DataFrame, counts: dict[str, int], area: float
) -> LabelSummary:
    mine = atoms[atoms["label"] == label]
    shared = [name for name in SITES.get(label, ()) if name in counts]
    total = sum(counts[name] for name in shared) if len(shared) > 1 else len(atoms)
    low, high = find_wilson_interval(len(mine), total)
    has_errors = len(mine) > 0 and "x_err" in mine
    return LabelSummary(
        label=label,
        count=len(mine),
        density=100 * len(mine) / area,
        fraction=len(mine) / total if total else float("nan"),
        low=low,
        high=high,
        of="X sites" if len(shared) > 1 else "columns",
        score=float(mine["score"].mean()) if len(mine) else float("nan"),
        error=100 * float(np.nanmedian(mine[["x_err", "y_err"]])) if has_errors else float("nan"),
    )


def _make_sentence(rows: list[LabelSummary], n_atoms: int) -> str:
    if n_atoms == 0:
        return "No columns were found."
    if len(rows) == 1:
        return f"{n_atoms:,} columns."
    parts = []
    for row in rows:
        name = "dopants" if row.label == "dopant" and row.count != 1 else row.label
        part = f"{row.count:,} {name}"
        if row.label == "X1" and row.count:
            part += f" ({100 * row.fraction:.1f} % of the {row.of})"
        parts.append(part)
    return f"{n_atoms:,} columns: {', '.join(parts)}."


def find_wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % interval of a fraction.

    Parameters
    ----------
    successes : int
        How often it was so.
    total : int
        Of how many.

    Returns
    -------
    tuple of float
        Lower and upper end; NaN if `total` is 0.

    Notes
    -----
    E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.

    Examples
    --------
    >>> low, high = find_wilson_interval(1, 10)
    >>> round(low, 4), round(high, 4)
    (0.0179, 0.4042)
    """
    if total == 0:
        return float("nan"), float("nan")
    z = 1.959964
    fraction, shrink = successes / total, 1 + z**2 / total
    center = (fraction + z**2 / (2 * total)) / shrink
    half = z / shrink * np.sqrt(fraction * (1 - fraction) / total + (z / total) ** 2 / 4)
    return max(float(center - half), 0.0), min(float(center + half), 1.0)


def find_neighbor_distances(atoms: pd.DataFrame) -> np.ndarray:
    """Distances of all pairs in the first shell of neighbors, whatever the labels.

    The first shell ends at 1.37 times the median distance of nearest neighbors, and all of its
    pairs count: nearest neighbors alone would be too short, since noise picks the shortest.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table of one or several frames.

    Returns
    -------
    (N,) array, Å
        One distance per pair.
    """
    found = []
    for _, frame in atoms.groupby("frame"):
        places = frame[["x", "y"]].to_numpy()
        if len(places) < 2:
            continue
        tree = cKDTree(places)
        nearest = float(np.median(np.asarray(tree.query(places, k=2)[0])[:, 1]))
        pairs = tree.query_pairs(SHELL * nearest, output_type="ndarray")
        found.append(np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1))
    return np.concatenate(found) if found else np.empty(0)
