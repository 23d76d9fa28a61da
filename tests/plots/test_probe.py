import numpy as np
import pytest

from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_probe_image
from adatom.plots.probe import draw_probe


def test_a_probe_is_drawn_in_angstrom_with_y_down():
    scope = Microscope(energy_eV=80e3, semi_angle=25, C21=4000, phi21=30)
    ax = draw_probe(make_probe_image(scope, 128, 0.2))
    left, right, bottom, top = ax.images[0].get_extent()
    assert (left, right, bottom, top) == pytest.approx((-12.9, 12.7, 12.7, -12.9))
    shown = ax.images[0].get_array()
    assert shown.sum() * 0.04 == pytest.approx(1, abs=1e-6)
    y, x = np.indices(shown.shape) - 64
    assert (shown * y).sum() > 0  # the tail at 30° points to the lower right
    assert (shown * x).sum() > 0
    assert len(ax.patches) == 1  # the scale bar
