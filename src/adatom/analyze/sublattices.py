"""Which sublattice of a monolayer is the metal's: what the microscope says where a network errs."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy.spatial import cKDTree

from adatom.analyze.microscope import MicroscopeFit, fit_microscope
from adatom.analyze.unit_cell import average_cells
from adatom.core.errors import ConfigError, ImageError
from adatom.core.materials import find_role, get_material
from adatom.core.tables import score_columns
from adatom.networks.model import ModelCard

LEAST_ODDS = 20.0  # of the exchange, before the labels of a network are changed
LARGEST_MISFIT = 2.0  # of chi-square over the numbers fitted: beyond it no microscope explains them
LARGEST_PART = 0.5  # of the chi-square without any contrast
REACH = 2.6  # Å: neighbors of MX2 monolayers are 1.8 to 2.1 Å apart, second ones from 3.1
UNDECIDED, KEPT, EXCHANGED = 0, 1, 2


def settle_sublattices(
    series: xr.DataArray, atoms: pd.DataFrame, card: ModelCard, *, energy_eV: float | None = None
) -> tuple[pd.DataFrame, list[MicroscopeFit]]:
    """Exchange the labels of the sublattices where the microscope that this takes is likelier.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x); `focus` as it was meant, else that of the model's training.
    atoms : DataFrame
        Atoms table of `find_atoms`.
    card : ModelCard
        Of the model that found them: one MX2 monolayer, two sublattices.
    energy_eV : float, optional
        Energy of the electrons; that of the file if left out.

    Returns
    -------
    atoms : DataFrame
        The table, labels and their scores exchanged in some domains and at their borders.
    fits : list of MicroscopeFit
        The microscope of each domain, the largest domain first; not `metal_first` where labels
        were exchanged.

    Raises
    ------
    ConfigError
        If the model is of other specimens, the vibrations of its material or the energy are not
        known.
    ImageError
        If the images are not as many as those of the model, or not finite.
    """
    energy_eV = series.attrs.get("energy_eV") if energy_eV is None else energy_eV
    material = get_material(card.materials[0]) if len(card.materials) == 1 else None
    if len(card.sublattices) != 2 or material is None or material.kind != "mx2":
        raise ConfigError(f"card: must be of one MX2 monolayer ({card.name} is not)")
    if energy_eV is None:
        raise ConfigError("energy_eV: must be given, the series does not say it")
    if len(series) != len(card.focal_series):
        rule = f"must have {len(card.focal_series)} images for {card.name}"
        raise ImageError(f"series: {rule} (got {len(series)})")
    foci = series["focus"].values if "focus" in series.coords else np.array(card.focal_series)
    metals, others = sorted(card.sublattices, key=lambda labels: find_role(labels[0]) != "M")
    partial = [label for label in others if find_role(label) == "X1"]
    cells = average_cells(series, atoms, metals, partial) or average_cells(series, atoms, metals)
    decided, fits = np.full(len(atoms), UNDECIDED), []
    for cell in cells:
        kept, exchanged = (
            fit_microscope(cell, material, energy_eV, tuple(foci), metal_first=is_first)
            for is_first in (True, False)
        )
        is_likelier = kept.chi_square - exchanged.chi_square > 2 * np.log(LEAST_ODDS)
        most = min(LARGEST_MISFIT * exchanged.n_data, LARGEST_PART * exchanged.chi_square_flat)
        is_exchanged = is_likelier and exchanged.chi_square < most
        free = cell.members[decided[cell.members] == UNDECIDED]  # larger domains were first
        decided[free] = EXCHANGED if is_exchanged else KEPT
        fits.append(exchanged if is_exchanged else kept)
    _follow_neighbors(decided, atoms[["y", "x"]].to_numpy())
    return _exchange(atoms, decided == EXCHANGED, metals, others), fits


def _follow_neighbors(decided: np.ndarray, places: np.ndarray) -> None:
    """Decide columns that are in no whole cell as their nearest neighbor, layer after layer."""
    while True:
        known, open_ = (np.flatnonzero(rows) for rows in (decided > 0, decided == UNDECIDED))
        if not len(known) or not len(open_):
            return
        away, nearest = cKDTree(places[known]).query(places[open_])
        near = away < REACH
        if not near.any():
            return
        decided[open_[near]] = decided[known[nearest[near]]]


def _exchange(
    atoms: pd.DataFrame, rows: np.ndarray, metals: tuple[str, ...], others: tuple[str, ...]
) -> pd.DataFrame:
    """Give the scores of one sublattice to the other; labels of one keep their ratios."""
    if not rows.any():
        return atoms.copy()
    first, second = (score_columns(labels) for labels in (metals, others))
    one, two = (atoms[names].to_numpy(float) for names in (first, second))
    totals = [np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in (one, two)]
    changed = np.hstack([one * totals[1] / totals[0], two * totals[0] / totals[1]])
    names = np.array([*metals, *others])
    scores = np.where(rows[:, None], changed, np.hstack([one, two]))
    label = np.where(rows, names[changed.argmax(axis=1)], atoms["label"])
    score = np.where(rows, changed.max(axis=1), atoms["score"])
    new = dict(zip([*first, *second], scores.T, strict=True))
    return atoms.assign(**new, label=label, score=score)
