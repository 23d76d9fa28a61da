import numpy as np
import pytest

from adatom.optics.tableau import TableauConfig, fit_aberrations
from adatom.optics.tilt import PARTS, TiltMeasurement, pack_parts, shift_coefficients
from adatom.plots.tableau import draw_tableau


def test_lines_lie_along_the_azimuth_of_the_astigmatism():
    parts = pack_parts({"A1": 40 * np.exp(2j * np.deg2rad(30))})
    tilts = [0, 9e-3, 9e-3j, -9e-3]
    seen = [
        TiltMeasurement(
            t, (shift_coefficients(t) @ parts)[:3], np.eye(3), np.zeros((3, len(PARTS)))
        )
        for t in tilts
    ]
    ax = draw_tableau(fit_aberrations(seen, config=TableauConfig(order=2)))
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # y down
    assert ax.get_title(loc="left").startswith("χ² ")
    line = ax.lines[0]
    slope = np.ptp(line.get_ydata()) / np.ptp(line.get_xdata())
    assert np.rad2deg(np.arctan(slope)) == pytest.approx(30, abs=1)
    np.testing.assert_allclose(ax.collections[0].get_offsets()[1], [9, 0])
