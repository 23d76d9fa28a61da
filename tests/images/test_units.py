"""Every spelling of a length."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from adatom.core.errors import CalibrationError
from adatom.images import pixel_size
from adatom.images.units import ANGSTROMS, to_angstrom

lengths = st.floats(1e-6, 1e6)


@given(lengths, lengths, st.sampled_from(sorted(ANGSTROMS)))
def test_scales_with_the_number_and_returns(length, factor, unit):
    one = to_angstrom(1.0, unit)
    assert to_angstrom(length * factor, unit) == pytest.approx(length * factor * one)
    assert to_angstrom(length, unit) / one == pytest.approx(length)


@pytest.mark.parametrize(
    ("unit", "angstrom"),
    [
        ("nm", 10),
        ("n_m", 10),
        (" nm ", 10),
        ("um", 1e4),
        ("µm", 1e4),
        ("μm", 1e4),
        ("Å", 1),
        ("\u212b", 1),
        ("A\u030a", 1),
        ("Angstrom", 1),
        ("pm", 0.01),
        ("m", 1e10),
        ("\\u00b5m", 1e4),
    ],
)
def test_known_spellings(unit, angstrom):
    assert to_angstrom(1.0, unit) == pytest.approx(angstrom)


@pytest.mark.parametrize("unit", ["1/nm", "eV", "", "mrad", "pixel"])
def test_what_is_no_length(unit):
    assert to_angstrom(1.0, unit) is None


def test_pixel_size_of_a_crop():
    axes = {"y": 3 + 0.1 * np.arange(5), "x": 0.2 * np.arange(7)}
    image = xr.DataArray(np.zeros((5, 7)), dims=("y", "x"), coords=axes)
    assert pixel_size(image) == pytest.approx((0.1, 0.2))


def test_pixel_size_that_is_not_there():
    image = xr.DataArray(np.zeros((5, 7)), dims=("y", "x"), attrs={"source": "a.tif"})
    with pytest.raises(CalibrationError, match=r"a\.tif.*--pixel-size.*--material"):
        pixel_size(image)


def test_uneven_coordinates():
    axes = {"y": [0, 1, 2, 9], "x": [0, 1]}
    image = xr.DataArray(np.zeros((4, 2)), dims=("y", "x"), coords=axes)
    with pytest.raises(CalibrationError, match="even steps"):
        pixel_size(image)
