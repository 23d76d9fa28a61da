"""Dose and dwell time by hand, and the table of published ones."""

import numpy as np
import pytest
from scipy.constants import e as charge

from adatom.core.errors import ConfigError
from adatom.optics.dose import DoseConfig, calculate_dose, load_published_doses

SCAN = {"beam_current": 30.0, "dwell_time": 4.0, "pixel_size": 0.1, "frames": 20}


def test_electrons_are_counted_by_their_charge():
    dose = calculate_dose(DoseConfig(**SCAN))
    electrons = 30e-12 * 4e-6 / charge
    assert dose.electrons_per_pixel == pytest.approx(electrons, rel=1e-6)
    assert dose.dose_per_frame == pytest.approx(electrons / 0.01, rel=1e-6)
    assert dose.total_dose == pytest.approx(20 * electrons / 0.01, rel=1e-6)
    assert (dose.dwell_per_area, dose.total_dwell_per_area) == pytest.approx((400, 8000))
    assert (dose.dose_rate, dose.electrons_per_atom, dose.dwell_per_atom) == (None, None, None)


def test_dose_rate_is_the_current_through_the_field_of_view():
    dose = calculate_dose(DoseConfig(**SCAN, shape=(512, 256)))
    assert dose.dose_rate == pytest.approx(30e-12 / charge / (51.2 * 25.6), rel=1e-6)


def test_flyback_counts_where_the_time_of_a_frame_is_given():
    without = calculate_dose(DoseConfig(**SCAN))
    scan = SCAN | {"shape": (100, 100), "frame_time": 0.05}
    dose = calculate_dose(DoseConfig(**scan))
    assert dose.electrons_per_pixel == without.electrons_per_pixel
    assert dose.dose_per_frame == pytest.approx(without.dose_per_frame * 5 / 4)
    assert dose.dwell_per_area == pytest.approx(500)
    assert dose.dose_rate * 0.05 == pytest.approx(dose.dose_per_frame)
    # Without a dwell time the frame time is shared by its pixels.
    scan.pop("dwell_time")
    assert calculate_dose(DoseConfig(**scan)).electrons_per_pixel == pytest.approx(
        without.electrons_per_pixel * 5 / 4
    )


@pytest.mark.parametrize(
    # Atoms per nm² of a sheet: 3 in 8.648 Å² of MoS2, 2 in 5.245 Å² of graphene.
    ("material", "density"),
    [("MoS2", 34.69), ("graphene", 38.13)],
)
def test_an_atom_takes_its_share_of_the_area(material, density):
    dose = calculate_dose(DoseConfig(**SCAN, material=material))
    assert dose.electrons_per_atom == pytest.approx(dose.dose_per_frame * 100 / density, rel=1e-3)
    assert dose.dwell_per_atom == pytest.approx(400 * 100 / density, rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"beam_current": None}, "beam_current: must be given in pA"),
        ({"dwell_time": None}, "dwell_time: must be given in µs"),
        ({"frame_time": 1.0}, "shape: must be given with a frame time"),
        ({"frame_time": 0.01, "shape": (100, 100)}, r"the 0.04 s that all .*\(got 0.01\)"),
        ({"material": "unobtainium"}, "material: must be one of"),
    ],
)
def test_what_is_missing_or_wrong_is_named(changed, message):
    with pytest.raises(ConfigError, match=message):
        calculate_dose(DoseConfig(**(SCAN | changed)))


def test_published_doses_follow_from_their_scan_where_it_is_published():
    table = load_published_doses()
    scan = table.dropna(subset=["beam_current_pA", "dwell_time_us", "pixel_size"])
    assert len(scan) > 0
    for row in scan.itertuples():
        dose = calculate_dose(
            DoseConfig(
                beam_current=row.beam_current_pA,
                dwell_time=row.dwell_time_us,
                pixel_size=row.pixel_size,
            )
        )
        assert dose.dose_per_frame == pytest.approx(row.dose_per_frame, rel=0.01)


def test_every_published_dose_says_where_it_stands():
    table = load_published_doses()
    said = table[["name", "material", "technique", "reference", "doi", "where"]]
    assert not said.isna().to_numpy().any()
    assert table["doi"].str.startswith("10.").all()
    assert (table["dose_per_frame"].notna() | table["total_dose"].notna()).all()
    both = table.dropna(subset=["dose_per_frame", "total_dose"])
    assert (both["dose_per_frame"] <= both["total_dose"]).all()
    assert np.all(np.diff(table["dose_per_frame"].fillna(table["total_dose"])) > 0)
