import pytest

from adatom.core.materials import get_material
from adatom.structures.sheets import make_sheet


@pytest.fixture
def make_cell():
    """Sheets of 4 x 2 rectangular cells, or ribbons with zigzag edges along x."""

    def make(material="MoS2", *, is_ribbon=False, cells=(4, 2)):
        lattice = get_material(material).lattice
        size = (cells[1] * 3**0.5 * lattice, cells[0] * lattice)
        sheet = make_sheet(get_material(material), size, offset=(0.1, 0.1))
        sheet.pbc = (True, not is_ribbon, False)
        return sheet

    return make
