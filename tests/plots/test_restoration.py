import numpy as np
import pytest
import xarray as xr

from adatom.plots.restoration import WORST, draw_restoration


def test_image_and_reconvolved_image_have_the_same_grays_and_the_residual_is_balanced():
    rng = np.random.default_rng(0)
    line = 2 + 0.2 * np.arange(40)
    names = ("image", "object_function", "reconvolved", "residual")
    maps = {name: (("y", "x"), rng.random((40, 40)).astype(np.float32)) for name in names}
    found = xr.Dataset(maps, {"y": line, "x": line}, {"reduced_chi_square": 1.234})
    ax = draw_restoration(found)
    panels = [each.images[0] for each in ax.figure.axes if each.images and each.axison is False]
    assert [panel.get_array().shape for panel in panels] == [(40, 40)] * 4
    assert panels[0].get_clim() == panels[2].get_clim()
    assert panels[3].get_clim() == (-WORST, WORST)
    assert np.array_equal(ax.images[0].get_array(), found["object_function"])
    left, _, bottom, top = ax.images[0].get_extent()
    assert (left, top) == pytest.approx((1.9, 1.9))
    assert bottom > top  # y down
    assert any("1.23" in each.get_title() for each in ax.figure.axes)
