"""HAADF images by multislice, against abTEM's probes one by one and its scattering matrix."""

import numpy as np
import pytest
from ase.build import make_supercell, mx2

from adatom.core.errors import ConfigError
from adatom.optics.microscope import Microscope
from adatom.simulate.beams import scan_planes
from adatom.simulate.multislice import (
    make_grid,
    project_potential,
    scan_slices,
    simulate_haadf,
)
from adatom.simulate.planes import find_planes
from adatom.simulate.recipe import Recipe
from adatom.simulate.waves import SliceConfig, resize_spectrum

CONFIG = SliceConfig(pixel_size=0.12, slice_thickness=2)
SCOPE = Microscope(
    energy_eV=80e3,
    semi_angle=22,
    source_size=0,
    inner_angle=60,
    outer_angle=110,
    defocus=30,
    C21=2000,
    phi21=40,
)


@pytest.fixture(scope="module")
def sheet():
    cell = mx2("MoS2", a=3.16, thickness=3.13, vacuum=1.5)
    sheet = make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]]) * (3, 2, 1)
    sheet.positions[:, :2] += 0.7
    sheet.wrap()
    return sheet


@pytest.fixture(scope="module")
def image(sheet):
    return simulate_haadf(sheet, SCOPE, config=CONFIG)


def test_thick_structures_are_those_of_abtem_by_hand(sheet):
    import abtem

    sheet = sheet.copy()
    sheet.positions[:, 2] += np.linspace(-1, 1, len(sheet))
    assert find_planes(sheet.positions) is None
    image = simulate_haadf(sheet, SCOPE, config=CONFIG)

    places = [(3, 4), (20, 11), (33, 40), (10, 30)]
    points = np.array([[image.x[column], image.y[row]] for row, column in places])
    grid = make_grid(sheet, CONFIG.pixel_size)
    with abtem.config.set({"diagnostics.progress_bar": False}):
        potential = abtem.Potential(sheet, gpts=grid.shape[::-1], slice_thickness=2)
        probe = abtem.Probe(
            semiangle_cutoff=22, energy=80e3, defocus=30, C21=2000, phi21=np.deg2rad(40)
        )
        probe.grid.match(potential)
        detector = abtem.AnnularDetector(60, 110)
        scan = abtem.CustomScan(points)
        known = probe.scan(potential, scan=scan, detectors=detector, lazy=False).array
    np.testing.assert_allclose([float(image[place]) for place in places], known, rtol=1e-3)


def test_planes_are_abtem_on_fine_grids_and_need_none():
    """The grid of abTEM spreads atoms between pixels; its detector has a hard rim."""
    rng = np.random.default_rng(0)
    cell = mx2("MoS2", a=3.16, thickness=3.13, vacuum=3)
    sheet = make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]]) * (2, 1, 1)
    sheet.positions[:, :2] += rng.normal(0, 0.06, (len(sheet), 2))
    scope = SCOPE.model_copy(update={"energy_eV": 60e3, "semi_angle": 30.0, "inner_angle": 70.0})
    images = []
    for size in (0.05, 0.1):
        grid = make_grid(sheet, size)
        images.append(
            scan_planes(
                sheet.positions,
                sheet.numbers,
                find_planes(sheet.positions),
                grid,
                scope,
                projected=project_potential,
            )
        )
    fine, usual = images
    assert (usual - fine).std() < 0.01 * fine.std()
    spectrum = np.fft.fft2(scan_slices(sheet, scope, make_grid(sheet, 0.05), 0.2), norm="forward")
    known = np.fft.ifft2(resize_spectrum(spectrum, fine.shape), norm="forward").real
    assert fine.mean() == pytest.approx(known.mean(), rel=0.05)
    assert (fine * (known.mean() / fine.mean()) - known).std() < 0.04 * known.std()


def test_columns_are_bright_where_they_stand(sheet, image):
    places = sheet.positions[sheet.numbers == 42][:, [1, 0]] / [float(image[n][1]) for n in "yx"]
    rows, columns = np.rint(places).astype(int).T
    metal = image.values[rows % image.shape[0], columns % image.shape[1]]
    assert metal.min() > 2 * image.values.mean()
    assert 1e-4 < image.values.max() < 0.1


def test_a_source_blurs_and_keeps_the_mean(sheet, image):
    wide = SCOPE.model_copy(update={"source_size": 1.0})
    blurred = simulate_haadf(sheet, wide, config=CONFIG)
    assert float(blurred.mean()) == pytest.approx(float(image.mean()), rel=1e-5)
    assert float(blurred.std()) < 0.8 * float(image.std())


def test_phonons_are_drawn_from_the_seed_and_keep_the_electrons(sheet, image):
    u2 = np.full(len(sheet), 0.01)
    one, same, other = (
        simulate_haadf(sheet, SCOPE, displacements=u2, n_draws=2, rng=seed, config=CONFIG)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert float(np.abs(one - other).max()) > 0
    assert float(one.mean()) == pytest.approx(float(image.mean()), rel=0.1)


def test_angles_beyond_the_grid_are_refused(sheet):
    far = SCOPE.model_copy(update={"outer_angle": 200.0})
    with pytest.raises(ConfigError, match=r"outer_angle must be at most 117 mrad.*take pixels"):
        simulate_haadf(sheet, far, config=CONFIG)


def test_a_focal_spread_is_refused_where_it_would_be_left_out(sheet):
    spread = SCOPE.model_copy(update={"focal_spread": 40.0})
    with pytest.raises(ConfigError, match=r"focal_spread must be 0 for multislice \(got 40 Å"):
        simulate_haadf(sheet, spread, config=CONFIG)
    recipe = {"specimen": {"multislice": 1}, "microscope": {"focal_spread": 40}}
    with pytest.raises(ConfigError, match=r"focal_spread must be 0 where specimen\.multislice"):
        Recipe.from_mapping(recipe, source="recipe")
