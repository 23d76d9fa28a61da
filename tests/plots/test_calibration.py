import numpy as np
import pytest

from adatom.core.materials import get_material
from adatom.plots.calibration import draw_calibration


def test_spots_lie_on_the_ring_of_the_material(sheet):
    image, _ = sheet
    ax = draw_calibration(image, material=get_material("MoS2"))
    power = ax.images[0].get_array()
    left, right, _, _ = ax.images[0].get_extent()
    centers = np.fft.fftshift(np.fft.fftfreq(len(power), 0.2))
    assert (left, right) == pytest.approx((-2.5 - 1 / 56, 2.5 - 1 / 56))
    radius = np.hypot(centers[:, None], centers[None])
    far = np.where(radius > 0.15, power, -np.inf)
    strongest = radius.flat[np.argmax(far)]
    assert strongest == pytest.approx(ax.patches[0].radius, abs=0.02)
    assert ax.patches[0].radius == pytest.approx(2 / (3**0.5 * 3.16))
