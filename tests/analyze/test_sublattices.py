"""The microscope is found again, and labels that contradict it are exchanged."""

import numpy as np
import pytest

from adatom.analyze.microscope import fit_microscope
from adatom.analyze.sublattices import settle_sublattices
from adatom.analyze.unit_cell import average_cells
from adatom.core.errors import ConfigError
from adatom.core.materials import get_material
from adatom.images.normalize import FOCAL_NORMALIZATION
from adatom.networks.model import ModelCard

CARD = ModelCard(
    name="mine",
    labels=("Mo", "S2", "S1"),
    materials=("MoS2",),
    network={"kind": "msdnet", "depth": 3},
    focal_series=(-30.0, 20.0, 70.0),
    sublattices=(("Mo",), ("S2", "S1")),
    pixel_size=0.12,
    pixel_size_range=(0.06, 0.15),
    normalization=FOCAL_NORMALIZATION,
)


def exchange(table):
    other = table.assign(label=table["label"].map({"Mo": "S2", "S2": "Mo"}))
    scores = {"score_Mo": table["score_S2"], "score_S2": table["score_Mo"]}
    return other.assign(**scores)


def test_the_microscope_is_found_again(monolayer):
    series, table = monolayer
    (cell,) = average_cells(series, table, ("Mo",))
    fits = [
        fit_microscope(cell, get_material("MoS2"), 60e3, CARD.focal_series, metal_first=is_first)
        for is_first in (True, False)
    ]
    right, wrong = fits
    assert right.metal_first
    assert right.chi_square < 0.6 * right.n_data
    assert wrong.chi_square > right.chi_square + 100
    np.testing.assert_allclose(right.defoci, series.attrs["defoci"], atol=8)
    assert right.values["C12"] == pytest.approx(25, abs=4)
    assert right.values["phi12"] % 180 == pytest.approx(40, abs=4)
    assert right.values["C23"] == pytest.approx(300, abs=80)


def test_right_labels_stay_and_exchanged_ones_are_put_right(monolayer):
    series, table = monolayer
    settled, fits = settle_sublattices(series, table, CARD)
    assert settled.equals(table)
    assert [fit.metal_first for fit in fits] == [True]
    settled, fits = settle_sublattices(series, exchange(table), CARD)
    inside = table["x"].between(4, 24) & table["y"].between(4, 23)
    assert (settled["label"] == table["label"])[inside].all()
    np.testing.assert_allclose(
        settled.loc[inside, "score_Mo"], table.loc[inside, "score_Mo"], atol=0.1
    )
    total = settled[["score_Mo", "score_S2", "score_S1"]].sum(axis=1)
    np.testing.assert_allclose(
        total, exchange(table)[["score_Mo", "score_S2", "score_S1"]].sum(axis=1)
    )
    assert [fit.metal_first for fit in fits] == [False]


def test_images_that_no_microscope_explains_change_nothing(monolayer):
    series, table = monolayer
    strange = series.copy()
    strange.values[1] = strange.values[1].max() - strange.values[0]
    strange.values[2] = strange.values[2] ** 3
    settled, _ = settle_sublattices(strange, exchange(table), CARD)
    assert settled.equals(exchange(table))


def test_what_is_not_known_is_asked_for(monolayer):
    series, table = monolayer
    without = series.copy()
    del without.attrs["energy_eV"]
    with pytest.raises(ConfigError, match="energy_eV: must be given"):
        settle_sublattices(without, table, CARD)
    with pytest.raises(ConfigError, match="must be of one MX2 monolayer"):
        settle_sublattices(series, table, CARD.model_copy(update={"sublattices": ()}))
