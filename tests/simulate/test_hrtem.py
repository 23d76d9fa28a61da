"""HRTEM images against abTEM, the zeros of the transfer, and counting statistics."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell, mx2

from adatom.core.errors import ConfigError
from adatom.core.random import Draw
from adatom.optics.microscope import electron_wavelength
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.hrtem import (
    Camera,
    draw_steps,
    expect_electrons,
    form_images,
    record_images,
    simulate_focal_series,
)
from adatom.simulate.multislice import make_grid, simulate_exit_wave, slice_exit_wave
from adatom.simulate.waves import ExitWave, Grid


@pytest.fixture(scope="module")
def sheet():
    cell = mx2("MoS2", a=3.16, thickness=3.13, vacuum=3)
    return make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]]) * (4, 2, 1)


def empty_wave(n=256, pixel=0.1):
    spectrum = np.zeros((n, n), np.complex64)
    spectrum[0, 0] = 1
    return ExitWave(spectrum, Grid((n, n), (n * pixel, n * pixel)), 80e3)


def test_images_are_those_of_abtem_by_hand(sheet):
    import abtem

    grid = make_grid(sheet, 0.1)
    with abtem.config.set({"diagnostics.progress_bar": False}):
        potential = abtem.Potential(sheet, gpts=grid.shape[::-1], slice_thickness=1)
        exit_wave = abtem.PlaneWave(energy=80e3).multislice(potential, lazy=False)
        lens = abtem.CTF(energy=80e3, defocus=70, Cs=-1e5, focal_spread=30)
        theirs = exit_wave.apply_ctf(lens).intensity().array.T
    wave = slice_exit_wave(sheet, 80e3, grid, (0, 0), 1.0)
    scope = ImagingMicroscope(
        energy_eV=80e3, defocus=20, focal_series=(0, 50), C30=-1e5, focal_spread=30
    )
    images = form_images(wave, scope, *draw_steps(scope, np.random.default_rng(0)))
    assert (images[1] - theirs).std() < 0.002 * theirs.std()
    assert (images[0] - theirs).std() > 0.1 * theirs.std()


def test_a_weak_object_is_not_seen_at_the_zeros_of_the_transfer():
    rng = np.random.default_rng(2)
    film = Atoms("C60", rng.uniform(0, 1, (60, 3)) * [40, 40, 0.4], cell=(40, 40, 1))
    wave = simulate_exit_wave(film, 200e3)
    scope = ImagingMicroscope(energy_eV=200e3, defocus=1200)
    image = form_images(wave, scope, *draw_steps(scope, rng))[0]
    ky, kx = wave.grid.frequencies()
    k = np.hypot(ky[:, None], kx)
    # The wave leaves 0.8 Å behind the atoms.
    chi = np.pi * electron_wavelength(200e3) * (1200 - 0.8) * k**2
    power = np.abs(np.fft.fft2(image)) ** 2 / np.maximum(np.abs(np.fft.fft2(wave.values)) ** 2, 1)
    seen = (k > 0.2) & (k < 0.8)
    low = power[seen & (np.abs(np.sin(chi)) < 0.03)].mean()
    high = power[seen & (np.abs(np.sin(chi)) > 0.99)].mean()
    assert low < 0.01 * high


def test_a_series_has_the_dose_and_the_foci_that_were_asked_for(sheet):
    wave = simulate_exit_wave(sheet, 80e3).crop(1.6)
    scope = ImagingMicroscope(energy_eV=80e3, defocus=5, focal_series=(-30, 20, 70), shift=0.5)
    camera = Camera(pixel_size=0.12, dose=Draw(log_min=5e4, log_max=2e5))
    series = simulate_focal_series(wave, scope, camera, 3)
    assert series.dims == ("focus", "y", "x")
    np.testing.assert_array_equal(series.focus, [-25, 25, 75])
    sizes = [float(series[name][1]) for name in ("y", "x")]
    assert sizes == pytest.approx([0.12, 0.12], rel=0.01)
    assert series.sizes["x"] * sizes[1] == pytest.approx(sheet.cell[0, 0])
    mean = series.attrs["dose"] * sizes[0] * sizes[1] * (np.abs(wave.spectrum) ** 2).sum()
    np.testing.assert_allclose(series.mean(("y", "x")), mean, rtol=0.01)
    again = simulate_focal_series(wave, scope, camera, 3)
    np.testing.assert_array_equal(series, again)
    assert series.attrs["defoci"] == [-25, 25, 75]
    assert series.attrs["camera"]["dose"] == series.attrs["dose"]
    assert series.attrs["microscope"]["shift"] == 0.5


def test_steps_are_off_as_asked_and_a_common_shift_is_none():
    scope = ImagingMicroscope(defocus=5, focal_series=(-30, 20, 70), focus_error=4, shift=0.5)
    rng = np.random.default_rng(0)
    drawn = [draw_steps(scope, rng) for _ in range(2000)]
    errors = np.array([defoci for defoci, _ in drawn]) - [-25, 25, 75]
    np.testing.assert_allclose(errors.mean(axis=0), 0, atol=0.4)
    np.testing.assert_allclose(errors.std(axis=0), 4, rtol=0.06)
    shifts = np.array([shifts for _, shifts in drawn])
    np.testing.assert_allclose(shifts.sum(axis=1), 0, atol=1e-12)
    # Of the variance of a uniform one, a third goes with the mean of three.
    np.testing.assert_allclose(shifts.std(axis=0), 0.5 / 3**0.5 * (2 / 3) ** 0.5, rtol=0.06)


@pytest.mark.parametrize("is_counting", [False, True])
def test_a_scintillator_blurs_its_noise_and_counting_does_not(is_counting):
    camera = Camera(
        pixel_size=0.1, dose=4e3, mtf_frequency=0.5, is_counting=is_counting, read_noise=3
    )
    wave = empty_wave()
    images, sizes = record_images(
        np.ones((1, *wave.grid.shape)), wave.grid.length, camera, np.random.default_rng(0)
    )
    assert sizes == pytest.approx((0.1, 0.1))
    ky, kx = wave.grid.frequencies()
    passed = 1.0 if is_counting else float((camera.transfer(np.hypot(ky[:, None], kx)) ** 2).mean())
    assert images.mean() == pytest.approx(40, rel=0.01)
    assert images.var() == pytest.approx(40 * passed + 9, rel=0.05)


def test_mtf_falls_to_its_half_at_twice_its_frequency():
    camera = Camera(mtf_floor=0.1, mtf_frequency=0.4, mtf_power=3)
    np.testing.assert_allclose(camera.transfer(np.array([0, 0.8, 1e3])), [1, 0.55, 0.1], atol=1e-6)


def test_pixels_may_be_larger_or_smaller_than_those_of_the_wave(sheet):
    wave = simulate_exit_wave(sheet, 80e3).crop(1.6)
    scope = ImagingMicroscope(energy_eV=80e3, defocus=60, focal_spread=30)
    image = form_images(wave, scope, *draw_steps(scope, np.random.default_rng(0)))
    expected = []
    for pixel in (0.1, 0.2):
        camera = Camera(pixel_size=pixel, dose=1e12, mtf_floor=1)
        recorded, sizes = record_images(image, wave.grid.length, camera, np.random.default_rng(0))
        expected.append(recorded[0] / (1e12 * sizes[0] * sizes[1]))
    fine = np.fft.fft2(expected[0], norm="forward")
    coarse = np.fft.fft2(expected[1], norm="forward")
    np.testing.assert_allclose(fine[:8, :8], coarse[:8, :8], atol=1e-5)


def test_other_energies_are_refused(sheet):
    wave = simulate_exit_wave(sheet, 80e3)
    with pytest.raises(ConfigError, match="that of the wave"):
        form_images(wave, ImagingMicroscope(energy_eV=60e3), np.zeros(1), np.zeros((1, 2)))


@pytest.mark.parametrize("is_counting", [False, True])
def test_electrons_on_average_are_the_mean_of_those_recorded(sheet, is_counting):
    camera = Camera(dose=100.0, pixel_size=0.2, blur=0.1, is_counting=is_counting)
    wave = simulate_exit_wave(sheet, 80e3)
    images = np.abs(wave.values)[None] ** 2
    expected, sizes = expect_electrons(images, wave.grid.length, camera)
    rng = np.random.default_rng(1)
    counts = [record_images(images, wave.grid.length, camera, rng)[0] for _ in range(200)]
    mean = np.mean(counts, axis=0)
    error = np.sqrt(expected.mean() / 200)
    assert sizes == record_images(images, wave.grid.length, camera, rng)[1]
    if is_counting:
        assert (mean - expected).std() == pytest.approx(error, rel=0.1)
    assert mean.mean() == pytest.approx(expected.mean(), rel=0.01)
    assert expected.mean() == pytest.approx(100 * sizes[0] * sizes[1], rel=2e-3)
