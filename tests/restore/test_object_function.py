"""From images to object functions: gray levels, pixels, tiles, errors."""

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from adatom.core.errors import ConfigError, ImageError
from adatom.networks.restorer import load_restorer
from adatom.optics.microscope import Microscope
from adatom.restore import object_function
from adatom.restore.electrons import RestoreConfig
from adatom.restore.object_function import count_electrons, restore_by_network, restore_image
from adatom.simulate.objects import load_restore_recipe, simulate_object

SCOPE = Microscope(energy_eV=60e3, semi_angle=30, source_size=0.8, C12=15, phi12=20)
WIENER = RestoreConfig(method="wiener")


def make_example(n_pixels=96, peak=100.0, seed=2):
    recipe = load_restore_recipe("haadf_objects")
    return simulate_object(
        recipe.model_copy(
            update={
                "structure": recipe.structure[:1],
                "microscope": SCOPE,
                "detector": recipe.detector.model_copy(
                    update={"peak_electrons": peak, "read_noise": 0.0}
                ),
                "dataset": recipe.dataset.model_copy(
                    update={"n_pixels": n_pixels, "pixel_size": 0.2}
                ),
            }
        ),
        seed,
    )


def to_image(values, step=0.2, units="electrons"):
    coords = {
        name: (name, 5 + np.arange(n) * step, {"units": "angstrom"})
        for name, n in zip(("y", "x"), values.shape, strict=True)
    }
    return xr.DataArray(values, dims=("y", "x"), coords=coords, attrs={"units": units})


@pytest.fixture(scope="module")
def restorer():
    return load_restorer("deepstem")


def test_the_network_finds_the_object_better_than_a_wiener_filter(restorer):
    example = make_example()
    image = to_image(example.image)
    found, filtered = (
        restore_image(image, SCOPE, restorer=restorer, config=config)
        for config in (RestoreConfig(), WIENER)
    )
    inside = np.s_[10:-10, 10:-10]

    def agree(one, other):
        return np.corrcoef(one[inside].ravel(), other[inside].ravel())[0, 1]

    truth = ndimage.gaussian_filter(example.object_function, 1.0)
    by_network = agree(found["object_function"].to_numpy(), truth)
    assert by_network > 0.8
    assert by_network > 0.1 + agree(filtered["object_function"].to_numpy(), truth)
    assert float(found["object_function"].min()) >= 0
    assert found.attrs["reduced_chi_square"] == pytest.approx(1, abs=0.1)
    assert found.attrs["is_supported"] == 1
    assert found["residual"].std() == pytest.approx(1, abs=0.05)


def test_gray_levels_give_what_the_electrons_behind_them_give(restorer):
    example = make_example(128)
    counted = restore_image(to_image(example.image), SCOPE, restorer=restorer)
    levels = to_image(100 + 7.5 * example.image, units="arbitrary")
    found = restore_image(levels, SCOPE, restorer=restorer)
    assert found.attrs["gain"] == pytest.approx(7.5, rel=0.1)
    one, other = (each["object_function"].to_numpy().ravel() for each in (counted, found))
    assert np.corrcoef(one, other)[0, 1] > 0.99


def test_tiles_give_what_the_whole_gives(restorer, monkeypatch):
    example = make_example(160)
    whole = restore_by_network(example.image, example.probe, restorer)
    monkeypatch.setattr(object_function, "LARGEST_TILE", 100)
    tiled = restore_by_network(example.image, example.probe, restorer)
    difference = tiled.object_function - whole.object_function
    assert np.sqrt(np.mean(difference**2)) < 0.1 * whole.object_function.std()
    assert tiled.reconvolved.shape == example.image.shape


def test_an_object_function_is_seen_through_spots_that_can_be_taken_away(restorer):
    example = make_example(peak=3000.0)
    found = restore_by_network(example.image, example.probe, restorer)
    assert 0.5 < found.spot_px < 3
    sharper = found.sharpen()
    assert sharper.sum() == pytest.approx(found.object_function.sum(), rel=1e-5)
    inside = np.s_[10:-10, 10:-10]
    errors = [
        np.abs(ndimage.gaussian_filter(values - example.object_function, 0.8)[inside]).mean()
        for values in (found.object_function, sharper)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_fine_pixels_are_added_up_and_keep_their_electrons_and_places():
    example = make_example(96)
    fine = np.kron(example.image, np.ones((4, 4))) / 16
    counts, step, gain = count_electrons(to_image(fine, 0.05), SCOPE)
    assert step == pytest.approx(0.2)
    assert np.allclose(counts, example.image)
    assert gain.gain == 1
    found = restore_image(to_image(fine, 0.05), SCOPE, config=WIENER)
    assert float(found["x"][0]) == pytest.approx(5 + 0.075)
    assert float(found["y"][-1]) == pytest.approx(5 + 0.075 + 95 * 0.2)


def test_what_is_not_known_of_the_probe_is_an_error_of_the_object():
    image = to_image(make_example().image)
    others = [SCOPE.model_copy(update={"defocus": defocus}) for defocus in (-40, 0, 40)]
    found = restore_image(image, SCOPE, others=others, config=WIENER)
    error = found["object_function_err"].to_numpy()
    assert error.mean() > 0
    same = restore_image(image, SCOPE, others=[SCOPE] * 3, config=WIENER)
    assert float(same["object_function_err"].max()) < 1e-3 * error.mean()


def test_images_that_cannot_be_restored_are_refused():
    image = to_image(np.full((64, 64), 3.0))
    with pytest.raises(ConfigError, match="restorer: must be given"):
        restore_image(image, SCOPE)
    with pytest.raises(ImageError, match=r"at most 0\.406 Å"):
        restore_image(to_image(np.ones((64, 64)), 0.5), SCOPE, config=WIENER)
    with pytest.raises(ImageError, match="square"):
        restore_image(image.assign_coords(y=image.y * 2), SCOPE, config=WIENER)
    with pytest.raises(ImageError, match="single"):
        restore_image(image.expand_dims("frame"), SCOPE, config=WIENER)
    with pytest.raises(ImageError, match="finite"):
        restore_image(to_image(np.full((64, 64), np.nan)), SCOPE, config=WIENER)


def test_the_smallest_image_is_restored_and_a_smaller_one_refused(restorer):
    example = make_example()
    found = restore_by_network(example.image[:33, :40], example.probe, restorer)
    assert found.object_function.shape == (33, 40)
    with pytest.raises(ImageError, match=r"must have 33 pixels at least \(got shape \(32, 40\)\)"):
        restore_by_network(example.image[:32, :40], example.probe, restorer)
