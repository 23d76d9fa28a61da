"""Columns of a focal series after the aberrations were taken out of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from adatom.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from adatom.analyze.microscope import MicroscopeFit
    from adatom.core.materials import Material
    from adatom.detect.atoms import FindConfig
    from adatom.networks.model import Model
    from adatom.optics.transfer import ImagingMicroscope

PART_STEP = 10.0  # Å
LARGEST_PART = 60.0  # Å of the images on which microscopes are compared
MOST_CHI_SQUARE = 100.0  # more than that of the likeliest microscope
LEAST_CONTRAST = 3.0  # chi-square of images without contrast, over that of the microscope
WANTED_C30 = -5e4  # Å


@dataclass(frozen=True)
class Correction:
    """What became of a focal series whose microscope was found.

    Attributes
    ----------
    series : DataArray
        As a microscope without astigmatism, coma and three-fold astigmatism would have taken it.
    atoms : DataFrame
        Atoms table: of this series, or of the series as it was taken where that explains more;
        `intensity` is the occupancy of a column, 1 if all of its atoms are there.
    fit : MicroscopeFit
        The microscope that took it.
    explained : float
        Share of the variance of the images as they were taken that atoms and microscope explain:
        of a part of up to 60 Å, without edges and what varies slowly.
    explained_before : float
        The same of the atoms found before.
    is_better : bool
        Whether the atoms are those of the corrected series.
    """

    series: "xr.DataArray"
    atoms: "pd.DataFrame"
    fit: "MicroscopeFit"
    explained: float
    explained_before: float
    is_better: bool


def correct_atoms(
    series: "xr.DataArray",
    atoms: "pd.DataFrame",
    model: "Model",
    *,
    config: "FindConfig | None" = None,
    energy_eV: float | None = None,
) -> Correction | None:
    """Find the microscope that took a focal series, take its aberrations out, and look again.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x); `focus` as it was meant, else that of the model's training.
    atoms : DataFrame
        Atoms table of `find_atoms`.
    model : Model
        That found them: of one MX2 monolayer.
    config : FindConfig, optional
        How `find_atoms` found them.
    energy_eV : float, optional
        Energy of the electrons; that of the file if left out.

    Returns
    -------
    Correction or None
        None where no lattice is seen or no microscope explains it.

    Raises
    ------
    ConfigError
        If the model is of other specimens, the vibrations of its material or the energy are not
        known.
    ImageError
        If the images do not fit the model, or are not finite.

    Notes
    -----
    Microscopes that explain the mean cell nearly as well as the likeliest one are told apart by
    the whole image: columns are found in the series that each of them leads to, and simulated;
    what takes most of the variance of the images away is kept. Vacancies, edges and holes decide
    where a perfect lattice cannot. In this microscope place and occupancy of every column are
    fitted to the images as they were taken; occupancies decide between labels of a sublattice, and
    nothing.
    """
    import pandas as pd
    import xarray as xr

    from adatom.analyze.columns import fit_columns
    from adatom.analyze.explain import explain_series
    from adatom.analyze.labels import weigh_labels
    from adatom.analyze.microscope import MicroscopeFit, fit_microscopes
    from adatom.analyze.unit_cell import average_cells
    from adatom.detect.atoms import FindConfig, find_atoms

    config = config or FindConfig()
    material = find_monolayer(model)
    energy_eV = series.attrs.get("energy_eV") if energy_eV is None else energy_eV
    if energy_eV is None:
        raise ConfigError("energy_eV: must be given, the series does not say it")
    foci = model.card.focal_series
    if "focus" in series.coords:
        foci = tuple(series["focus"].values.tolist())
    cell = average_cells(series, material.lattice)
    if cell is None:
        return None
    fits = fit_microscopes(cell, material, float(energy_eV), foci)
    unit = max(1.0, fits[0].chi_square / fits[0].n_data)  # where the model is off by more
    fits = [
        fit
        for fit in fits
        if fit.chi_square < fits[0].chi_square + MOST_CHI_SQUARE * unit
        and LEAST_CONTRAST * fit.chi_square < fit.chi_square_flat
    ]
    part = _take_part(series, cell.origins)
    inside = _crop_atoms(atoms, part)

    def weigh(
        images: xr.DataArray, table: pd.DataFrame, fit: MicroscopeFit, with_places: bool = False
    ) -> pd.DataFrame:
        if not len(table):
            return table
        found = fit_columns(images, table, material, fit, with_places=with_places)
        return weigh_labels(table, found, model.card.sublattices, threshold=config.threshold)

    best: tuple[float, bool, MicroscopeFit] | None = None
    for fit in fits:
        seen = find_atoms(_correct(part, fit, model), model, config=config)
        for is_new, table in ((False, inside), (True, seen)):
            explained = explain_series(part, weigh(part, table, fit), material, fit)
            if explained > (best[0] if best else 0.0):  # what explains nothing is no microscope
                best = explained, is_new, fit
    if best is None:
        return None
    explained, is_better, fit = best
    before = explain_series(part, inside, material, fit)
    corrected = _correct(series, fit, model)
    table = _crop_atoms(atoms, series)
    if is_better:
        table = find_atoms(corrected, model, config=config)
    table = weigh(series, table, fit, with_places=True)
    return Correction(corrected, table, fit, explained, before, is_better)


def correct_table(
    series: "xr.DataArray", atoms: "pd.DataFrame", model: "Model", config: "FindConfig"
) -> tuple["pd.DataFrame", tuple[str, ...], Correction | None]:
    """Correct a focal series for a run, where its model and the energy allow it.

    Parameters
    ----------
    series : DataArray
        As analyzed.
    atoms : DataFrame
        Its atoms table.
    model : Model
        That found them.
    config : FindConfig
        How.

    Returns
    -------
    atoms : DataFrame
        The table that explains the images best.
    notes : tuple of str
        What a user should know before trusting it.
    found : Correction or None
        What it comes from.
    """
    if "focus" not in series.dims or not model.card.sublattices:
        return atoms, (), None
    network_alone = "The columns are what the network says of the series as it was taken"
    if series.attrs.get("energy_eV") is None:
        asked = "to find the microscope and take its aberrations out, the energy of the electrons"
        return atoms, (f"{network_alone}: {asked} must be known (--energy).",), None
    try:
        found = correct_atoms(series, atoms, model, config=config)
    except ConfigError as error:
        return atoms, (f"{network_alone} ({error}).",), None
    if found is None:
        return atoms, (f"{network_alone}: no microscope explains its lattice.",), None
    return found.atoms, (), found


def find_monolayer(model: "Model") -> "Material":
    """The MX2 monolayer of a model of focal series.

    Parameters
    ----------
    model : Model
        The model.

    Returns
    -------
    Material
        Its material.

    Raises
    ------
    ConfigError
        If it is of other specimens.
    """
    from adatom.core.materials import get_material

    card = model.card
    material = get_material(card.materials[0]) if len(card.materials) == 1 else None
    if material is None or material.kind != "mx2" or len(card.focal_series) < 2:
        raise ConfigError(f"model: must be of focal series of an MX2 monolayer ({card.name})")
    return material


def _correct(series: "xr.DataArray", fit: "MicroscopeFit", model: "Model") -> "xr.DataArray":
    from adatom.restore.focal_series import correct_series

    return correct_series(series, fit.lens, _improve(fit, model), shifts=fit.shifts)


def _improve(fit: "MicroscopeFit", model: "Model") -> "ImagingMicroscope":
    """The microscope that should have taken the series."""
    round_ = {"C12": 0.0, "C21": 0.0, "C23": 0.0, "C30": WANTED_C30}
    return fit.lens.model_copy(update={**round_, "focal_series": model.card.focal_series})


def _crop_atoms(atoms: "pd.DataFrame", part: "xr.DataArray") -> "pd.DataFrame":
    """Rows inside the part of a series."""
    inside = np.all(
        [atoms[axis].between(float(part[axis][0]), float(part[axis][-1])) for axis in ("y", "x")],
        axis=0,
    )
    return atoms[inside].reset_index(drop=True)


def _take_part(series: "xr.DataArray", origins: np.ndarray) -> "xr.DataArray":
    """The part of a large series that holds most cells."""
    low = np.array([float(series[axis][0]) for axis in ("y", "x")])
    sides = np.array([float(series[axis][-1]) for axis in ("y", "x")]) - low
    shape = np.maximum(np.ceil(sides / PART_STEP).astype(int), 1)
    ends = [(0.0, float(side)) for side in sides]
    counts = np.histogramdd(origins - low, bins=shape.tolist(), range=ends)[0]
    width = np.minimum(round(LARGEST_PART / PART_STEP), shape)
    windows = np.lib.stride_tricks.sliding_window_view(counts, width).sum(axis=(2, 3))
    first = low + PART_STEP * np.array(np.unravel_index(windows.argmax(), windows.shape))
    starts = zip(("y", "x"), first, strict=True)
    return series.sel({axis: slice(start, start + LARGEST_PART) for axis, start in starts})
