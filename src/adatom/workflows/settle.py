"""What the microscope says of the columns of a focal series, for a run and its report."""

import logging
from typing import TYPE_CHECKING

from adatom.core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from adatom.analyze.microscope import MicroscopeFit
    from adatom.networks.model import ModelCard

logger = logging.getLogger("adatom")


def settle_table(
    image: "xr.DataArray", table: "pd.DataFrame", card: "ModelCard"
) -> tuple["pd.DataFrame", tuple[str, ...]]:
    """Exchange labels of sublattices in a focal series, where its model knows a monolayer.

    Parameters
    ----------
    image : DataArray
        As analyzed.
    table : DataFrame
        Its atoms table.
    card : ModelCard
        Of the model.

    Returns
    -------
    table : DataFrame
        As it came, or with labels exchanged.
    notes : tuple of str
        What a user should know of it.
    """
    from adatom.analyze.sublattices import settle_sublattices

    if not card.sublattices or "focus" not in image.dims:
        return table, ()
    names = " and ".join(labels[0] for labels in card.sublattices)
    if image.attrs.get("energy_eV") is None:
        return table, (
            f"Which columns are {names} is what the network says: to check it by the microscope "
            "that this takes, the energy of the electrons must be known (--energy).",
        )
    try:
        settled, fits = settle_sublattices(image, table, card)
    except ConfigError as error:
        return table, (f"Which columns are {names} is what the network says ({error}).",)
    for fit in fits:
        logger.info("%s", describe_fit(fit))
    n_changed = int((settled["label"] != table["label"]).sum())
    exchanged = next((fit for fit in fits if not fit.metal_first), None)
    if exchanged is None:
        return settled, ()
    return settled, (
        f"{names} were exchanged in {n_changed} columns: the microscope that explains the images "
        f"then is likelier ({describe_fit(exchanged)}).",
    )


def describe_fit(fit: "MicroscopeFit") -> str:
    """One line on a microscope: focus, astigmatism, coma, and how well it explains the images."""
    foci = ", ".join(f"{defocus:+.0f}" for defocus in fit.defoci)
    aberrations = ", ".join(f"{name} {fit.values[name]:.0f} Å" for name in ("C12", "C21", "C23"))
    misfit = f"chi-square {fit.chi_square:.0f} of {fit.n_data}"
    return f"defocus {foci} Å, {aberrations}, C30 {fit.values['C30'] * 1e-4:+.0f} µm, {misfit}"
