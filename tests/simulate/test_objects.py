"""Images of known object functions."""

import numpy as np
import pytest
from scipy import ndimage, signal

from adatom.core.errors import ConfigError
from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_point_image
from adatom.simulate.objects import (
    RestoreRecipe,
    draw_atoms,
    load_restore_recipe,
    simulate_object,
)
from adatom.simulate.recipe import list_restore_recipes, load_recipe

SCOPE = {"energy_eV": 60e3, "semi_angle": 30, "C21": 1500, "phi21": 30, "C23": 500, "phi23": 20}


def make_recipe(**rooms):
    values = {
        "structure": {"kind": "mx2", "materials": ["MoS2"]},
        "specimen": {"background": 0.2},
        "microscope": SCOPE,
        "detector": {"peak_electrons": 1e4},
        "dataset": {"n_pixels": 96},
        "network": {"kind": "deepstem", "widths": [4, 8]},
    }
    return RestoreRecipe.from_mapping(values | rooms, source="test")


def test_the_object_convolved_with_the_image_of_a_point_is_the_expectation():
    example = simulate_object(make_recipe(), 1)
    image = signal.fftconvolve(example.object_function, example.probe, mode="same")
    inside = np.s_[32:-32, 32:-32]
    difference = (image + example.background - example.expected)[inside]
    assert difference.std() < 0.03 * example.expected[inside].std()
    assert abs(difference.mean()) < 0.01 * example.expected.mean()
    spot = make_point_image(Microscope(**SCOPE), len(example.probe), example.pixel_size)
    assert np.abs(example.probe - spot).max() < 0.01 * spot.max()
    turned = signal.fftconvolve(example.object_function, example.probe[::-1, ::-1], mode="same")
    wrong = (turned + example.background - example.expected)[inside]
    assert wrong.std() > 5 * difference.std()


def test_the_electrons_are_those_of_the_expectation_and_of_the_seed():
    recipe = make_recipe()
    one, same, other = (simulate_object(recipe, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)
    noise = (one.image - one.expected) / np.sqrt(one.expected)
    assert noise.std() == pytest.approx(1, abs=0.05)


def test_atoms_are_integrated_over_pixels_wherever_they_lie():
    places = np.array([[20.3, 10.8], [0.0, 31.0]])
    drawn = draw_atoms(places, np.array([100.0, 40.0]), (40, 32), 0.8)
    assert drawn.sum() == pytest.approx(100 + 40 * 0.5**2, rel=0.2)
    y, x = np.mgrid[:40, :32]
    inside = drawn * (y > 10)
    center = (inside * y).sum() / inside.sum(), (inside * x).sum() / inside.sum()
    assert center == pytest.approx((20.3, 10.8), abs=0.01)


def test_atoms_of_one_kind_may_differ_in_strength():
    even, uneven = (
        simulate_object(make_recipe(specimen={"spread": spread}), 4).object_function
        for spread in (0.0, 0.4)
    )
    y, x = np.nonzero((even == ndimage.maximum_filter(even, 9)) & (even > 0.7 * even.max()))
    alone = ndimage.uniform_filter(even, 7)[y, x]
    ratio = (ndimage.uniform_filter(uneven, 7)[y, x]) / alone
    assert len(ratio) > 20
    assert ratio.mean() == pytest.approx(1, abs=0.2)
    assert ratio.std() == pytest.approx(0.4, rel=0.25)


def test_a_step_of_the_background_divides_the_image():
    specimen = {"background": 0.1, "step": 1.0, "step_height": 2.0}
    low, high = np.quantile(simulate_object(make_recipe(specimen=specimen), 3).background, [0, 1])
    assert high / low == pytest.approx(21, rel=0.01)


def test_multislice_sees_a_point_as_its_image():
    ase = pytest.importorskip("ase")
    from adatom.simulate.multislice import simulate_haadf

    scope = Microscope(**SCOPE, source_size=0.3, outer_angle=150)
    atom = ase.Atoms("Mo", positions=[[8.1, 8.1, 2]], cell=[16.2, 16.2, 4], pbc=True)
    image = simulate_haadf(atom, scope, pixel_size=0.2).to_numpy()
    spot = make_point_image(scope, 81, 0.2)

    def compare(one, other):
        spectra = [np.fft.fft2((values - values.mean()) / values.std()) for values in (one, other)]
        product = np.fft.fftshift(spectra[0] * spectra[1].conj())
        fine = np.fft.ifft2(np.fft.ifftshift(np.pad(product, 3 * len(one) // 2)))
        return fine.real.max() * fine.size / one.size**2

    assert compare(image, spot) > 0.996
    assert compare(image, spot[::-1, ::-1]) < 0.99


@pytest.mark.parametrize("name", list_restore_recipes())
def test_every_shipped_recipe_runs_and_says_what_it_is(name):
    recipe = load_restore_recipe(name)
    for seed in range(3):
        example = simulate_object(recipe, seed)
        assert np.isfinite(example.image).all()
        assert example.object_function.min() >= 0
        assert example.probe.sum() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ConfigError, match=rf"recipe {name}: network.kind"):
        load_recipe(name)


def test_what_cannot_be_restored_is_refused():
    with pytest.raises(ConfigError, match="row_noise"):
        make_recipe(detector={"row_noise": 0.1})
    with pytest.raises(ConfigError, match="multiple of 2"):
        make_recipe(dataset={"n_pixels": 95})
