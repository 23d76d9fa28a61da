"""A corrected series is that of the better microscope."""

import numpy as np
import pytest
from ase import Atoms

from adatom.core.errors import ImageError
from adatom.optics.transfer import ImagingMicroscope
from adatom.restore.focal_series import correct_series
from adatom.simulate.hrtem import Camera, simulate_focal_series
from adatom.simulate.multislice import simulate_exit_wave

FOCI = (-40.0, 20.0, 90.0)
BAD = ImagingMicroscope(
    energy_eV=80e3, focal_series=FOCI, C12=40, phi12=25, C21=200, C23=400, C30=-2e5, focal_spread=30
)
GOOD = BAD.model_copy(update={"C12": 0.0, "C21": 0.0, "C23": 0.0, "C30": -5e4})


@pytest.fixture(scope="module")
def wave():
    rng = np.random.default_rng(2)
    places = rng.uniform(4, 26, (24, 2))
    atoms = Atoms("C24", np.column_stack([places, np.full(24, 1.0)]), cell=(30, 30, 2), pbc=True)
    return simulate_exit_wave(atoms, 80e3).crop(1.5)


def take(wave, microscope, dose=1e7, shift=0.0):
    camera = Camera(pixel_size=0.15, dose=dose)
    return simulate_focal_series(wave, microscope.model_copy(update={"shift": shift}), camera, 3)


def compare(first, second):
    inner = np.s_[:, 30:-30, 30:-30]
    return np.corrcoef(first.values[inner].ravel(), second.values[inner].ravel())[0, 1]


def test_aberrations_and_shifts_are_taken_out(wave):
    taken, wanted = take(wave, BAD, shift=0.6), take(wave, GOOD)
    shifts = np.array(taken.attrs["shifts"])
    assert np.abs(shifts).max() > 0.2
    corrected = correct_series(taken, BAD, GOOD, shifts=shifts)
    assert compare(taken, wanted) < 0.7
    assert compare(corrected, wanted) > 0.98
    assert corrected.mean() == pytest.approx(float(taken.mean()), rel=0.01)
    assert (corrected.x == taken.x).all()
    assert corrected["focus"].values.tolist() == list(FOCI)
    assert corrected["focus"].attrs["units"] == "angstrom"
    assert "defoci" not in corrected.attrs
    numbered = correct_series(taken.assign_coords(frame=7), BAD, GOOD, shifts=shifts)
    assert int(numbered["frame"]) == 7


def test_the_same_microscope_changes_nothing(wave):
    taken = take(wave, GOOD)
    corrected = correct_series(taken, GOOD, GOOD, shifts=np.zeros((3, 2)))
    assert compare(corrected, taken) > 0.99


def test_noise_holds_it_back(wave):
    """Of noise without a specimen no image is made that is noisier than the series was."""
    flat = take(wave, BAD, dose=200)
    flat = flat.copy(data=np.random.default_rng(0).poisson(20, flat.shape))
    corrected = correct_series(flat, BAD, GOOD, shifts=np.zeros((3, 2)))
    assert corrected.std() < flat.std()
    assert np.isfinite(correct_series(0 * flat + 3, BAD, GOOD, shifts=np.zeros((3, 2)))).all()


def test_as_many_images_and_shifts_as_foci(wave):
    taken = take(wave, GOOD)
    with pytest.raises(ImageError, match=r"must be of 3 images.*got 2 and \(3, 2\)"):
        correct_series(taken[:2], BAD, GOOD, shifts=np.zeros((3, 2)))
    with pytest.raises(ImageError, match=r"got 3 and \(2, 2\)"):
        correct_series(taken, BAD, GOOD, shifts=np.zeros((2, 2)))
