"""Images of columns by pairs of beams, against abTEM and against the linear model."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase import Atoms

from adatom.core.materials import get_material
from adatom.optics.microscope import Microscope
from adatom.simulate.columns import ColumnLens, Setting, find_pair_gain, respond_atom
from adatom.simulate.linear import Transfer, simulate_linear
from adatom.simulate.multislice import simulate_haadf
from adatom.simulate.scattering import count_atoms, probe_transfer
from adatom.simulate.waves import SliceConfig
from adatom.structures.projection import project_columns
from adatom.structures.sheets import make_sheet

SETTING = Setting(60e3, 40.0, 70.0, 130.0)  # a wide aperture: a small box
SCOPE = Microscope(
    energy_eV=60e3,
    semi_angle=40,
    inner_angle=70,
    outer_angle=130,
    defocus=20,
    C12=15,
    phi12=30,
    C23=100,
    phi23=70,
    source_size=0.7,
)


def draw(transfer: Transfer, n: int, length: float) -> np.ndarray:
    """One column in the middle of a square."""
    line = np.arange(n) * length / n
    middle = np.array([[length / 2, length / 2]])
    return simulate_linear(middle, np.ones(1), transfer, (line, 0 * line), line)


@cache
def slice_column(symbols: str, heights: tuple[float, ...], n: int) -> np.ndarray:
    """The same by abTEM; atoms stand on pixels and in the middle of slices."""
    length = SETTING.length
    column = Atoms(symbols, [(length / 2, length / 2, z) for z in heights], pbc=True)
    column.set_cell((length, length, 5.0))
    # Its slices are transmitted where they begin, and the focus lies where the beam comes in.
    focus = 20.0 + np.mean(heights) - 0.25
    scope = SCOPE.model_copy(update={"defocus": focus})
    grid = SliceConfig(pixel_size=0.05, slice_thickness=0.5)
    return simulate_haadf(column, scope, pixel_size=length / n, config=grid).values


@pytest.fixture(scope="module")
def lens():
    return ColumnLens(SETTING, SCOPE, (SETTING.length,) * 2)


@pytest.mark.parametrize(("symbol", "number"), [("Mo", 42), ("S", 16)])
def test_single_atoms_are_those_of_abtem(lens, symbol, number):
    n = round(SETTING.length / 0.2)
    known = slice_column(symbol, (1.25,), n)
    image = draw(lens.image(respond_atom(SETTING, number), 0.0), n, SETTING.length)
    assert image.sum() == pytest.approx(known.sum(), rel=0.04)
    assert (image - known).std() < 0.04 * known.std()


def test_two_atoms_scatter_as_much_more_than_twice_one_as_in_abtem():
    n = round(SETTING.length / 0.2)
    one, two = slice_column("S", (1.25,), n), slice_column("S2", (1.25, 4.25), n)
    gain = find_pair_gain(SETTING, 16, 3.0, 0.0)
    assert gain > 0.03
    assert 1 + gain == pytest.approx(two.sum() / (2 * one.sum()), rel=0.03)
    assert (two - 2 * (1 + gain) * one).std() < 0.05 * two.std()


def test_light_atoms_in_one_place_scatter_fourfold_and_restless_ones_alone():
    assert find_pair_gain(SETTING, 6, 0.05, 0.0, 64) == pytest.approx(1, abs=0.1)
    assert abs(find_pair_gain(SETTING, 6, 25.0, 0.05)) < 0.08


def test_a_point_has_the_probe_of_the_linear_model(lens):
    """A scatterer for which all pairs of beams are alike sees the intensity of the probe.

    The image of a point is the probe seen from it, so turned by 180°; the linear model takes the
    probe as it is.
    """
    size = (SETTING.length,) * 2
    point = np.ones((len(SETTING.beams),) * 2, np.complex64)
    transfer, known = lens.image(point, 0.0064), probe_transfer(SCOPE, size, vibration=0.08)
    known = replace(known, values=known.values.conj())
    image, probe = (draw(shape, 48, SETTING.length) for shape in (transfer, known))
    image *= probe.sum() / image.sum()
    assert (image - probe).std() < 0.03 * probe.std()
    assert transfer.whole == pytest.approx(SETTING.length**2, rel=0.02)


def test_tails_are_wide_and_keep_the_sum(lens):
    response = respond_atom(SETTING, 16)
    bare, tailed = (lens.image(response, 0.0, tail=tail) for tail in ((0.0, 1.0), (0.3, 1.5)))
    assert tailed.whole == pytest.approx(bare.whole)
    high = np.unravel_index(np.argmax(bare.ky[:, None] ** 2 + bare.kx**2), bare.values.shape)
    middle = (len(bare.ky) // 2, len(bare.kx) // 2)
    assert abs(tailed.values[middle]) == pytest.approx(0.7 * abs(bare.values[middle]), rel=0.01)
    assert abs(tailed.values[high]) <= abs(bare.values[high]) + 1e-6


def test_atoms_are_counted_by_element_and_pairs_as_more_than_two():
    material = get_material("MoS2")
    sheet = make_sheet(material, (12.0, 12.0), angle=10.0)
    sheet = sheet[[i for i in range(len(sheet)) if i != np.argmax(sheet.numbers == 16)]]
    columns, column = project_columns(sheet)
    counts = count_atoms(sheet, column, material, SETTING)
    gain = find_pair_gain(SETTING, 16, material.thickness)
    n_sulfur = np.bincount(column, sheet.numbers == 16).astype(int)
    assert set(counts) == {16, 42}
    np.testing.assert_array_equal(counts[42], columns["n_atoms"] * (n_sulfur == 0))
    assert (n_sulfur == 1).sum() == 1
    np.testing.assert_allclose(counts[16], np.choose(n_sulfur, [0, 1, 2 + 2 * gain]))
