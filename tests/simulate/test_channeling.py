"""Columns of crystals against frozen phonons, against single atoms, and their symmetry."""

from functools import cache

import numpy as np
import pytest

from adatom.optics.microscope import Microscope
from adatom.simulate.beams import scan_planes
from adatom.simulate.channeling import CrystalLens, CrystalResponse, _gather_columns, slice_crystal
from adatom.simulate.columns import Setting, respond_atom
from adatom.simulate.diffuse import find_diffuse_scattering
from adatom.simulate.linear import Transfer, simulate_shapes
from adatom.simulate.multislice import project_potential
from adatom.simulate.planes import find_planes
from adatom.simulate.waves import Grid
from adatom.structures.crystals import PROJECTIONS

SETTING = Setting(100e3, 26.0, 60.0, 140.0)
SCOPE = Microscope(
    energy_eV=100e3, semi_angle=26, inner_angle=60, outer_angle=140, source_size=0.0, C12=20
)
VIBRATION = 0.09
DEPTH = 15.0  # Å


@cache
def slice_titanate():
    return slice_crystal(SETTING, PROJECTIONS["SrTiO3 [001]"], VIBRATION, DEPTH)


def draw_crystal(lens: CrystalLens, levels: int, side: float, n: int, cells: int) -> np.ndarray:
    """The perfect crystal from the images of its columns, over some cells of it."""
    parts = []
    steps = np.arange(-2, cells + 2)
    for (*_, a, b), modes in zip(
        PROJECTIONS["SrTiO3 [001]"].columns, slice_titanate().modes, strict=True
    ):
        places = np.stack(np.meshgrid(steps + b, steps + a, indexing="ij"), -1).reshape(-1, 2)
        parts.append((places * side / cells, np.ones(len(places)), lens.image(modes[levels])))
    line = np.arange(n) * side / n
    return simulate_shapes(parts, (line, 0 * line), line)


def test_columns_are_those_of_frozen_phonons():
    response, cells = slice_titanate(), 3
    a = PROJECTIONS["SrTiO3 [001]"].cell[0]
    side, depth = cells * a, len(response.thicknesses)
    places = np.array([place for _, *place in PROJECTIONS["SrTiO3 [001]"].atoms])
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * 2, np.arange(depth)), -1).reshape(-1, 1, 3)
    still = ((corners + places) * a).reshape(-1, 3)
    numbers = np.tile([atom[0] for atom in PROJECTIONS["SrTiO3 [001]"].atoms], corners.shape[0])
    planes, grid = find_planes(still), Grid((140, 140), (side, side))
    rng, images = np.random.default_rng(3), []
    for _ in range(3):
        moved = still.copy()
        moved[:, :2] += VIBRATION * rng.standard_normal((len(still), 2))
        place = (moved, numbers, planes, grid, SCOPE)
        images.append(scan_planes(*place, projected=project_potential))
    known = np.mean(images, axis=0)
    n = len(known)
    order = np.rint(np.fft.fftfreq(n, 1 / n)).astype(int) % cells == 0  # the mean cell
    known = np.fft.ifft2(np.fft.fft2(known) * np.outer(order, order)).real
    lens = CrystalLens(response, SCOPE, (side, side), 0.0)
    image = draw_crystal(lens, -1, side, n, cells)
    assert image.sum() == pytest.approx(known.sum(), rel=0.1)
    assert (image - known).std() < 0.08 * known.std()


def draw(transfer: Transfer) -> np.ndarray:
    line = np.arange(60) * 0.2
    return simulate_shapes([(np.full((1, 2), 5.9), np.ones(1), transfer)], (line, 0 * line), line)


def test_a_turned_crystal_under_a_turned_lens_is_a_turned_image():
    """Silicon, whose neighbor stands on one side, and an aberration without any symmetry."""
    response = slice_crystal(SETTING, PROJECTIONS["Si [110]"], VIBRATION, 30.0)

    def see(of_crystal, of_lens):
        turned = {"phi12": 20.0 + of_lens, "C23": 300.0, "phi23": 10.0 + of_lens}
        lens = CrystalLens(response, SCOPE.model_copy(update=turned), (12.0, 12.0), of_crystal)
        return draw(lens.image(response.modes[0][-1]))

    known = np.rot90(see(0.0, 0.0), -1)  # from x towards y, which counts downwards
    assert np.abs(see(90.0, 90.0) - known).max() < 1e-4 * known.max()
    assert np.abs(see(-90.0, 90.0) - known).max() > 2e-3 * known.max()
    assert np.abs(see(90.0, -90.0) - known).max() > 2e-3 * known.max()


def test_modes_of_a_column_have_its_symmetry():
    response = slice_titanate()
    round_lens = CrystalLens(response, SCOPE.model_copy(update={"C12": 0.0}), (12.0, 12.0), 0.0)
    for modes in response.modes:
        image = draw(round_lens.image(modes[0]))
        np.testing.assert_allclose(image, image.T, atol=2e-3 * image.max())
        np.testing.assert_allclose(image, image[:, ::-1], atol=2e-3 * image.max())


def test_restless_atoms_scatter_all_that_single_ones_do():
    """Nothing is left of the coherent part; Σ over the detector of the exact matrix is the same."""
    exact = respond_atom(SETTING, 38)
    at_rest = np.argmin((SETTING.beams**2).sum(1))
    total = exact[at_rest, at_rest].real * SETTING.length**2
    assert find_diffuse_scattering(SETTING, 38, 3.0)(0.0) == pytest.approx(total, rel=0.01)
    quiet = find_diffuse_scattering(SETTING, 38, 0.02)(0.0)
    assert 0 < quiet < 0.3 * total


def test_electrons_are_neither_lost_nor_doubled_among_columns():
    """Oxygen columns of a perovskite lie between two columns of each kind, which share them."""
    beams = np.random.default_rng(0).standard_normal((40, 2))
    weights = (1.0, 2.0, 3.0, 4.0, 5.0)
    found = np.stack([w * np.eye(40, dtype=np.complex64) for w in weights])
    sums = [
        (np.abs(m) ** 2).sum() / 40
        for m in _gather_columns(found, beams, PROJECTIONS["SrTiO3 [001]"])
    ]
    assert sums == pytest.approx([1 + 4.5, 2 + 3 + 4.5])


def test_thickness_is_interpolated_from_nothing_to_the_largest():
    response = CrystalResponse(np.zeros((0, 2)), (9.0, 9.0), np.array([16.0, 32.0, 48.0]), ())
    weights = response.weigh(np.array([0.0, 8.0, 32.0, 44.0, 90.0]))
    known = [[0, 0, 0], [0.5, 0, 0], [0, 1, 0], [0, 0.25, 0.75], [0, 0, 1]]
    np.testing.assert_allclose(weights, np.transpose(known))
