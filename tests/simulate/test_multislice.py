"""Exit waves against abTEM's, and against what is known without it."""

import numpy as np
import pytest
from abtem.parametrizations import LobatoParametrization
from ase import Atoms
from ase.build import make_supercell, mx2

from adatom.core.errors import ConfigError
from adatom.optics.microscope import electron_wavelength, interaction_constant
from adatom.simulate.multislice import (
    make_grid,
    simulate_exit_wave,
    slice_exit_wave,
)
from adatom.simulate.planes import find_planes
from adatom.simulate.waves import SliceConfig, resize_spectrum

SPREAD = 30.0  # Å, of the focus
COARSE = SliceConfig(pixel_size=0.16)


def make_mos2(noise=0.06):
    cell = mx2("MoS2", a=3.16, thickness=3.13, vacuum=3)
    sheet = make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]]) * (3, 2, 1)
    sheet.positions[:, :2] += np.random.default_rng(0).normal(0, noise, (len(sheet), 2))
    return sheet


def image(wave, defocus):
    """In frequencies that a good microscope transfers."""
    wave = wave.crop(1.6)
    ky, kx = wave.grid.frequencies()
    turn = np.pi * electron_wavelength(wave.energy_eV) * (ky[:, None] ** 2 + kx**2)
    spectrum = wave.spectrum * np.exp(-((turn * SPREAD / 2) ** 2) + 1j * turn * defocus)
    return np.abs(np.fft.ifft2(spectrum, norm="forward")) ** 2


def distance(first, second):
    return float((first - second).std() / second.std())


@pytest.mark.parametrize("energy", [30e3, 80e3, 300e3])
@pytest.mark.parametrize("tilt", [(0, 0), (40, -20)])
def test_planes_are_abtem_on_fine_grids_and_slices(energy, tilt):
    sheet = make_mos2()
    config = SliceConfig(pixel_size=0.06)
    planes = simulate_exit_wave(sheet, energy, tilt=tilt, config=config)
    slices = slice_exit_wave(sheet, energy, planes.grid, tilt, 0.2)
    # abTEM transmits at the start of a slice, and lays atoms between pixels on four of them.
    assert distance(image(planes, 60), image(slices, 60 + 0.1)) < 0.015
    other = simulate_exit_wave(sheet, energy, tilt=(tilt[0] + 15, tilt[1]), config=config)
    assert distance(image(other, 60), image(slices, 60.1)) > 0.1


def test_usual_pixels_are_fine_enough_for_heavy_atoms():
    """Against pixels of a quarter, in frequencies that a good microscope transfers."""
    sheet = make_mos2()
    sheet.numbers[sheet.numbers == 42] = 74
    usual, fine = (
        simulate_exit_wave(sheet, 80e3, config=SliceConfig(pixel_size=size)).crop(1.6)
        for size in (0.16, 0.025)
    )
    difference = (resize_spectrum(usual.spectrum, fine.spectrum.shape) - fine.spectrum).ravel()[1:]
    assert np.linalg.norm(difference) < 0.01 * np.linalg.norm(fine.spectrum.ravel()[1:])


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"energy_eV": -80e3}, "energy_eV: must be above 0"),
        ({"displacements": np.zeros(5)}, "displacements: must be 36 numbers"),
        ({"displacements": np.full(36, -0.01)}, "none below 0"),
    ],
)
def test_wrong_input_is_refused(wrong, rule):
    with pytest.raises(ConfigError, match=rule):
        simulate_exit_wave(make_mos2(), **{"energy_eV": 80e3} | wrong)


def test_other_structures_go_through_abtem():
    sheet = make_mos2()
    sheet.positions[:, 2] += np.linspace(-1, 1, len(sheet))
    assert find_planes(sheet.positions) is None
    assert find_planes(np.array([[1.0, 1, 0], [1.6, 1, 0.1]])) is None  # products of their tails
    wave = simulate_exit_wave(sheet, 80e3)
    grid = make_grid(sheet, 0.1)
    direct = slice_exit_wave(sheet, 80e3, grid, (0, 0), 1.0)
    np.testing.assert_array_equal(wave.spectrum, direct.spectrum)
    with pytest.raises(ConfigError, match="must be one for all atoms of an element"):
        simulate_exit_wave(sheet, 80e3, displacements=np.linspace(0, 0.1, len(sheet)))


def test_abtem_smears_potentials_as_planes_do():
    sheet = make_mos2()
    sheet.numbers[:] = np.where(sheet.numbers == 42, 8, 6)  # light: both are means of the wave
    u2 = np.where(sheet.numbers == 8, 0.01, 0.03)
    planes, still = (
        simulate_exit_wave(sheet, 300e3, displacements=given, config=SliceConfig(pixel_size=0.06))
        for given in (u2, None)
    )
    spreads = {"O": 0.1, "C": 0.03**0.5}
    slices = slice_exit_wave(sheet, 300e3, planes.grid, (0, 0), 0.2, spreads=spreads)
    assert distance(image(planes, 60), image(slices, 60.1)) < 0.02
    assert distance(image(still, 60), image(slices, 60.1)) > 0.1


def test_electrons_are_kept_and_vacuum_is_empty():
    wave = simulate_exit_wave(make_mos2(), 80e3, config=SliceConfig(pixel_size=0.05))
    assert (np.abs(wave.spectrum) ** 2).sum() == pytest.approx(1, abs=0.01)
    empty = simulate_exit_wave(Atoms(cell=(10, 12, 5)), 80e3)
    np.testing.assert_allclose(np.abs(empty.values), 1, atol=1e-6)


def test_a_light_atom_is_a_weak_phase_object():
    """ψ - 1 = iσV, whose transform abTEM knows by another formula."""
    carbon = Atoms("C", [(4.3, 7.1, 1.0)], cell=(12, 15, 2))
    wave = simulate_exit_wave(carbon, 200e3)
    ky, kx = wave.grid.frequencies()
    low = ky[:, None] ** 2 + kx**2 < 1
    phase = np.exp(-2j * np.pi * (ky[:, None] * 7.1 + kx * 4.3))
    factor = LobatoParametrization().projected_scattering_factor("C")
    potential = factor(ky[:, None] ** 2 + kx**2) * phase / 180
    turn = -np.pi * electron_wavelength(200e3) * (ky[:, None] ** 2 + kx**2) * 1.0
    known = 1j * interaction_constant(200e3) * potential * np.exp(1j * turn)
    known[0, 0] += 1
    error = np.abs(wave.spectrum - known)[low].max()
    assert error < 0.03 * np.abs(known[0, 1])


def test_vibrating_atoms_transmit_the_mean_wave_of_many_draws():
    sheet = make_mos2(noise=0) * (2, 2, 1)
    rng = np.random.default_rng(1)

    def bragg(structure, **options):
        """Beams of the unit cell, the mean over all cells."""
        wave = simulate_exit_wave(structure, 80e3, config=COARSE, **options).crop(1.6)
        return wave.spectrum[::4, ::6]

    mean, n_draws, u2 = 0.0, 60, 0.015
    for _ in range(n_draws):
        moved = sheet.copy()
        moved.positions[:, :2] += rng.normal(size=(len(sheet), 2)) * np.sqrt(u2)
        mean = mean + bragg(moved) / n_draws
    still, averaged = bragg(sheet), bragg(sheet, displacements=np.full(len(sheet), u2))
    scattered = np.linalg.norm(mean.ravel()[1:])
    assert np.linalg.norm((averaged - mean).ravel()[1:]) < 0.02 * scattered
    assert np.linalg.norm((still - mean).ravel()[1:]) > 0.15 * scattered


def test_cropped_waves_keep_their_low_frequencies():
    wave = simulate_exit_wave(make_mos2(), 80e3)
    cropped = wave.crop(1.2)
    assert cropped.spectrum.size < 0.6 * wave.spectrum.size
    for number, index in (((0, 1), (0, 1)), ((-2, 3), (-2, 3))):
        assert cropped.spectrum[index] == wave.spectrum[number]
    ky, kx = cropped.grid.frequencies()
    assert not cropped.spectrum[ky[:, None] ** 2 + kx**2 > 1.2**2].any()
    assert cropped.grid.length == wave.grid.length


def test_a_slanted_cell_is_refused():
    with pytest.raises(ConfigError, match="must be a box"):
        simulate_exit_wave(mx2("MoS2", vacuum=3), 80e3)
