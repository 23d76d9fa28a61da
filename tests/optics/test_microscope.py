import numpy as np

from adatom.core.random import Draw
from adatom.optics.microscope import Microscope


def test_ranges_are_drawn_in_the_order_of_the_shipped_data_sets():
    scope = Microscope(
        source_size=Draw(min=0, max=1),
        defocus=Draw(min=0, max=1),
        C30=Draw(min=0, max=1),
        semi_angle=Draw(min=1, max=2),
        energy_eV=Draw(min=1, max=2),
    )
    drawn = scope.draw(np.random.default_rng(5))
    numbers = np.random.default_rng(5).uniform(size=5)
    found = [drawn.energy_eV - 1, drawn.semi_angle - 1, drawn.defocus, drawn.C30, drawn.source_size]
    np.testing.assert_allclose(found, numbers)
