"""What a run says of the sublattices of a focal series."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import adatom.analyze.sublattices
from adatom.analyze.microscope import MicroscopeFit
from adatom.images.normalize import FOCAL_NORMALIZATION
from adatom.networks.model import ModelCard
from adatom.workflows.settle import settle_table

CARD = ModelCard(
    name="mine",
    labels=("Mo", "S2"),
    network={"kind": "msdnet", "depth": 3},
    focal_series=(-30.0, 20.0),
    sublattices=(("Mo",), ("S2",)),
    pixel_size=0.12,
    pixel_size_range=(0.06, 0.15),
    normalization=FOCAL_NORMALIZATION,
)
TABLE = pd.DataFrame({"label": ["Mo", "S2", "Mo"]})
SERIES = xr.DataArray(np.zeros((2, 4, 4)), dims=("focus", "y", "x"), attrs={"energy_eV": 60e3})
VALUES = {"C12": 21.6, "C21": 150.2, "C23": 300.4, "C30": -8e4}
FOCI, SHIFTS = np.array([-31.4, 18.8]), np.zeros((2, 2))
STAYED, FIT = (
    MicroscopeFit(is_first, 80.2, 180, 900.0, FOCI + 60 * is_first, SHIFTS, VALUES)
    for is_first in (True, False)
)


@pytest.mark.parametrize("n_changed", [0, 2])
def test_what_was_exchanged_is_said_with_the_microscope(n_changed, monkeypatch):
    other = TABLE.assign(label=["S2"] * 3 if n_changed else TABLE["label"])
    monkeypatch.setattr(
        adatom.analyze.sublattices,
        "settle_sublattices",
        lambda *given: (other, [STAYED, FIT][:n_changed]),
    )
    table, notes = settle_table(SERIES, TABLE, CARD)
    assert table.equals(other)
    if not n_changed:
        assert notes == ()
        return
    assert notes == (
        "Mo and S2 were exchanged in 2 columns: the microscope that explains the images then is "
        "likelier (defocus -31, +19 Å, C12 22 Å, C21 150 Å, C23 300 Å, C30 -8 µm, "
        "chi-square 80 of 180).",
    )


def test_a_model_whose_microscope_is_not_known_keeps_what_it_found():
    for materials in ((), ("graphene",), ("MoS2", "WS2")):
        card = CARD.model_copy(update={"materials": materials})
        table, (note,) = settle_table(SERIES, TABLE.assign(x=0.0, y=0.0), card)
        assert table["label"].tolist() == ["Mo", "S2", "Mo"]
        assert "is what the network says (" in note


def test_other_images_stay_as_they_are_and_the_energy_is_asked_for():
    table, notes = settle_table(SERIES.isel(focus=0), TABLE, CARD)
    assert table is TABLE
    assert notes == ()
    assert settle_table(SERIES, TABLE, CARD.model_copy(update={"sublattices": ()}))[1] == ()
    unknown = SERIES.copy()
    unknown.attrs.clear()
    table, (note,) = settle_table(unknown, TABLE, CARD)
    assert table is TABLE
    assert "--energy" in note
