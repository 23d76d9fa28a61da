"""The microscope of a simulated series is found again."""

import numpy as np
import pytest

from adatom.analyze.microscope import fit_microscopes
from adatom.analyze.unit_cell import average_cells
from adatom.core.materials import get_material


@pytest.fixture(scope="module")
def fits(monolayer):
    series, _ = monolayer
    cell = average_cells(series, 3.16)
    return cell, fit_microscopes(cell, get_material("MoS2"), 60e3, (-30.0, 20.0, 70.0))


def test_the_likeliest_microscope_is_the_one_that_took_the_series(fits, monolayer):
    best = fits[1][0]
    assert best.chi_square < 1.2 * best.n_data
    assert best.chi_square_flat > 20 * best.chi_square
    lens = best.lens
    np.testing.assert_allclose(lens.focal_series, monolayer[0].attrs["defoci"], atol=6)
    assert pytest.approx(25, abs=4) == lens.C12
    assert lens.phi12 % 180 == pytest.approx(40, abs=4)
    assert pytest.approx(300, abs=80) == lens.C23
    assert best.contrast == pytest.approx(1, abs=0.15)


def test_columns_are_where_they_are(fits, monolayer):
    cell, (best, *_) = fits
    table = monolayer[1]
    for label, place in (("Mo", best.metal), ("S2", best.others)):
        known = table.loc[table["label"] == label, ["y", "x"]].to_numpy()
        share = (known[:, None] - cell.origins - place) @ np.linalg.inv(cell.vectors)
        away = np.linalg.norm((share - np.rint(share)) @ cell.vectors, axis=-1)
        assert np.median(away) < 0.1


def test_the_other_side_explains_less(fits):
    _, found = fits
    best, apart = found[0], [fit.others - fit.metal for fit in found]
    is_other = [np.linalg.norm(away + apart[0]) < 0.1 for away in apart]
    assert any(is_other)
    assert min(fit.chi_square for fit, is_it in zip(found, is_other, strict=True) if is_it) > (
        best.chi_square + 50
    )
    assert [fit.chi_square for fit in found] == sorted(fit.chi_square for fit in found)


def test_no_two_microscopes_are_the_same(fits):
    keys = {
        (round(float(np.mean(fit.lens.focal_series))), *np.round(fit.metal, 1)) for fit in fits[1]
    }
    assert len(keys) == len(fits[1])
