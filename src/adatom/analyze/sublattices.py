"""Which sublattice of a monolayer is the metal's: what the microscope says where a network errs."""

import numpy as np
import pandas as pd
import xarray as xr

from adatom.analyze.microscope import MicroscopeFit, fit_microscope
from adatom.analyze.unit_cell import average_cells
from adatom.core.errors import ConfigError
from adatom.core.materials import find_role, get_material
from adatom.core.tables import score_columns
from adatom.networks.model import ModelCard

LEAST_ODDS = 20.0  # of the exchange, before the labels of a network are changed
LARGEST_MISFIT = 2.0  # of chi-square over the numbers fitted: beyond it no microscope explains them


def settle_sublattices(
    series: xr.DataArray, atoms: pd.DataFrame, card: ModelCard, *, energy_eV: float | None = None
) -> tuple[pd.DataFrame, list[MicroscopeFit]]:
    """Exchange the labels of the sublattices where the microscope that this takes is likelier.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x).
    atoms : DataFrame
        Atoms table of `find_atoms`.
    card : ModelCard
        Of the model that found them: one MX2 monolayer, two sublattices.
    energy_eV : float, optional
        Energy of the electrons; that of the file if left out.

    Returns
    -------
    atoms : DataFrame
        The table, labels and their scores exchanged in some domains.
    fits : list of MicroscopeFit
        The likelier microscope of each domain, the largest domain first; `metal_first` where
        labels stayed as they were.

    Raises
    ------
    ConfigError
        If the model is of other specimens, or the energy is not known.
    """
    energy_eV = series.attrs.get("energy_eV") if energy_eV is None else energy_eV
    if len(card.sublattices) != 2 or len(card.materials) != 1:
        raise ConfigError(f"card: must be of one MX2 monolayer ({card.name} is not)")
    if energy_eV is None:
        raise ConfigError("energy_eV: must be given, the series does not say it")
    material = get_material(card.materials[0])
    metals, others = sorted(card.sublattices, key=lambda labels: find_role(labels[0]) != "M")
    partial = [label for label in others if find_role(label) == "X1"]
    settled, fits = atoms.copy(), []
    for cell in average_cells(series, atoms, metals, partial):
        kept, exchanged = (
            fit_microscope(cell, material, energy_eV, card.focal_series, metal_first=is_first)
            for is_first in (True, False)
        )
        gain = kept.chi_square - exchanged.chi_square
        explains = exchanged.chi_square < LARGEST_MISFIT * exchanged.n_data
        if gain > 2 * np.log(LEAST_ODDS) and explains:
            _exchange(settled, cell.members, metals, others)
        fits.append(kept if gain <= 0 else exchanged)
    return settled, fits


def _exchange(
    atoms: pd.DataFrame, rows: np.ndarray, metals: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """Give the scores of one sublattice to the other; labels of one keep their ratios."""
    places = atoms.index[rows]
    first, second = ([*score_columns(labels)] for labels in (metals, others))
    one, two = (atoms.loc[places, names].to_numpy(float) for names in (first, second))
    totals = [np.maximum(part.sum(axis=1, keepdims=True), 1e-12) for part in (one, two)]
    atoms.loc[places, first] = one * totals[1] / totals[0]
    atoms.loc[places, second] = two * totals[0] / totals[1]
    scores = atoms.loc[places, [*first, *second]].to_numpy(float)
    atoms.loc[places, "label"] = np.array([*metals, *others])[scores.argmax(axis=1)]
    atoms.loc[places, "score"] = scores.max(axis=1)
