"""The microscope is found again, and labels that contradict it are exchanged."""

import numpy as np
import pytest

from adatom.analyze.microscope import fit_microscope
from adatom.analyze.sublattices import settle_sublattices
from adatom.analyze.unit_cell import average_cells
from adatom.core.errors import ConfigError, ImageError
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
    np.testing.assert_allclose(right.defoci, series.attrs["defoci"], atol=4)
    assert right.values["C12"] == pytest.approx(25, abs=4)
    assert right.values["phi12"] % 180 == pytest.approx(40, abs=4)
    assert right.values["C23"] == pytest.approx(300, abs=80)


def test_right_labels_stay_and_exchanged_ones_are_put_right(monolayer):
    series, table = monolayer
    settled, fits = settle_sublattices(series, table, CARD)
    assert settled.equals(table)
    assert [fit.metal_first for fit in fits] == [True]
    settled, fits = settle_sublattices(series, exchange(table), CARD)
    assert settled["label"].tolist() == table["label"].tolist()
    np.testing.assert_allclose(settled["score_Mo"], table["score_Mo"], atol=0.1)
    total = settled[["score_Mo", "score_S2", "score_S1"]].sum(axis=1)
    np.testing.assert_allclose(
        total, exchange(table)[["score_Mo", "score_S2", "score_S1"]].sum(axis=1)
    )
    assert [fit.metal_first for fit in fits] == [False]


def test_rows_of_any_index_and_part_of_a_sheet_are_put_right(monolayer):
    series, table = monolayer
    is_right = table["x"] > 14
    mixed = table.where(~is_right, exchange(table)).set_index(np.zeros(len(table), int))
    settled, fits = settle_sublattices(series, mixed, CARD)
    assert sorted(fit.metal_first for fit in fits) == [False, True]
    assert (settled["label"].to_numpy() == table["label"].to_numpy()).mean() > 0.98


def test_images_in_another_order_have_their_own_foci(monolayer):
    series, table = monolayer
    settled, fits = settle_sublattices(series.isel(focus=[2, 1, 0]), table, CARD)
    assert settled.equals(table)
    assert fits[0].defoci[0] > fits[0].defoci[2] + 50


def test_images_that_no_microscope_explains_change_nothing(monolayer):
    series, table = monolayer
    strange, flat = series.copy(), 0 * series + 40
    strange.values[1] = strange.values[1].max() - strange.values[0]
    strange.values[2] = strange.values[2] ** 3
    for images in (strange, flat):
        settled, fits = settle_sublattices(images, exchange(table), CARD)
        assert settled.equals(exchange(table))
        assert all(fit.metal_first for fit in fits)


def test_what_is_not_known_is_asked_for(monolayer):
    series, table = monolayer
    without = series.copy()
    del without.attrs["energy_eV"]
    with pytest.raises(ConfigError, match="energy_eV: must be given"):
        settle_sublattices(without, table, CARD)
    with pytest.raises(ConfigError, match="must be of one MX2 monolayer"):
        settle_sublattices(series, table, CARD.model_copy(update={"materials": ("graphene",)}))
    with pytest.raises(ImageError, match=r"must have 3 images for mine \(got 2\)"):
        settle_sublattices(series[:2], table, CARD)
    with pytest.raises(ImageError, match="finite"):
        settle_sublattices(series.where(series.x > 1), table, CARD)
