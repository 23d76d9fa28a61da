"""What an atoms table says in a few numbers: counts, densities, fractions, errors."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from adatom.core.materials import find_role
from adatom.core.tables import check_atoms

SITES = ("X2", "X1")  # two states of the same site: their fraction is one of these sites
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


@dataclass
class _Tally:
    """What is summed up of one label, part by part."""

    count: int = 0
    score: float = 0.0
    errors: list[np.ndarray] = field(default_factory=list)

    def add(self, columns: pd.DataFrame) -> None:
        self.count += len(columns)
        self.score += float(columns["score"].sum())
        if "x_err" in columns:
            self.errors.append(columns[["x_err", "y_err"]].to_numpy(np.float32).ravel())


def summarize_atoms(
    parts: Iterable[pd.DataFrame], labels: tuple[str, ...], area: float, distances: np.ndarray
) -> dict[str, Any]:
    """Count an atoms table by label.

    Parameters
    ----------
    parts : iterable of DataFrame
        Parts of the atoms table of one or several frames; only one is held at a time.
    labels : tuple of str
        Labels of the model, also those that were not found.
    area : float, Å²
        Imaged area, summed over the frames.
    distances : (N,) array, Å
        What `find_neighbor_distances` gives.

    Returns
    -------
    dict
        `sentence`; `n_atoms`; `labels`, a list of what `LabelSummary` holds;
        `neighbor_distance`: median, standard deviation (Å) and number of the first shell's pairs.
    """
    tallies = {label: _Tally() for label in labels}
    for part in parts:
        check_atoms(part)
        for label, tally in tallies.items():
            tally.add(part[part["label"] == label])
    rows = [_summarize_label(label, tallies, area) for label in labels]
    n_atoms = sum(tally.count for tally in tallies.values())
    return {
        "sentence": _make_sentence(rows, n_atoms),
        "n_atoms": n_atoms,
        "labels": [asdict(row) for row in rows],
        "neighbor_distance": {
            "median": float(np.median(distances)) if len(distances) else None,
            "spread": float(np.std(distances)) if len(distances) else None,
            "n_pairs": len(distances),
        },
    }


def _summarize_label(label: str, tallies: dict[str, _Tally], area: float) -> LabelSummary:
    mine = tallies[label]
    shared = [name for name in tallies if find_role(name) in SITES]
    is_shared = find_role(label) in SITES and len(shared) > 1
    total = sum(tallies[name].count for name in (shared if is_shared else tallies))
    low, high = find_wilson_interval(mine.count, total)
    has_errors = mine.count > 0 and len(mine.errors) > 0
    return LabelSummary(
        label=label,
        count=mine.count,
        density=100 * mine.count / area,
        fraction=mine.count / total if total else float("nan"),
        low=low,
        high=high,
        of="X sites" if is_shared else "columns",
        score=mine.score / mine.count if mine.count else float("nan"),
        error=100 * float(np.nanmedian(np.concatenate(mine.errors))) if has_errors else np.nan,
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
        if find_role(row.label) == "X1" and row.count:
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


def find_neighbor_distances(parts: Iterable[pd.DataFrame]) -> np.ndarray:
    """Distances of all pairs in the first shell of neighbors, whatever the labels.

    The first shell ends at 1.37 times the median distance of nearest neighbors, and all of its
    pairs count: nearest neighbors alone would be too short, since noise picks the shortest.

    Parameters
    ----------
    parts : iterable of DataFrame
        Parts of the atoms table of one or several frames, passed over twice; only one is held at a
        time, and pairs across two parts of a large image are left out.

    Returns
    -------
    (N,) float32 array, Å
        One distance per pair.
    """
    nearest = [np.empty(0, np.float32)]
    for places in _split_frames(parts):
        nearest.append(_measure_nearest(places))
    all_nearest = np.concatenate(nearest)
    if not len(all_nearest):
        return all_nearest
    reach = SHELL * float(np.median(all_nearest))
    found = []
    for places in _split_frames(parts):
        pairs = cKDTree(places).query_pairs(reach, output_type="ndarray")
        apart = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
        found.append(apart.astype(np.float32))
    return np.concatenate(found)


def _split_frames(parts: Iterable[pd.DataFrame]) -> Iterator[np.ndarray]:
    """Places (N, 2) of the columns of each part that are in one frame, two at least."""
    for part in parts:
        for _, frame in part.groupby("frame"):
            if len(frame) > 1:
                yield frame[["x", "y"]].to_numpy()


def _measure_nearest(places: np.ndarray) -> np.ndarray:
    return np.asarray(cKDTree(places).query(places, k=2)[0])[:, 1].astype(np.float32)
