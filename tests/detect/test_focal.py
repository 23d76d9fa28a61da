"""Columns of focal series: peaks of maps, and what does not fit a model."""

import numpy as np
import pytest
import xarray as xr

from adatom.core.errors import ImageError, ModelError
from adatom.detect.atoms import find_atoms
from adatom.detect.focal import PeakConfig, find_columns, find_map_peaks
from adatom.images.normalize import FOCAL_NORMALIZATION
from adatom.learn.targets import make_maps
from adatom.networks.model import Calibration, Model, ModelCard, build_network

CARD = ModelCard(
    name="tiny",
    labels=("Mo", "S2"),
    network={"kind": "msdnet", "depth": 3},
    focal_series=(-30.0, 20.0, 70.0),
    pixel_size=0.12,
    pixel_size_range=(0.06, 0.15),
    normalization=FOCAL_NORMALIZATION,
)


def make_series(n=3, pixel=0.12):
    coords = {axis: np.arange(40) * pixel + 5 for axis in ("y", "x")}
    values = np.random.default_rng(0).random((n, 40, 40))
    return xr.DataArray(values, dims=("focus", "y", "x"), coords=coords)


def test_peaks_stand_where_columns_are_and_have_their_label():
    places = np.array([[20.3, 31.6], [35.2, 31.9], [50.4, 12.5]])
    maps = make_maps(places, np.array([0, 1, 0]), (2, 70, 60), 2.5)
    found, kinds, heights = find_map_peaks(maps, 0.12)
    order = np.argsort(found[:, 0])
    np.testing.assert_allclose(found[order], places, atol=0.06)
    assert kinds[order].tolist() == [0, 1, 0]
    assert (np.diff(heights) <= 0).all()
    assert len(find_map_peaks(0.5 * maps, 0.12)[0]) == 0


def test_of_two_near_peaks_the_higher_stays():
    """Two of one label within 2 Å, two of different labels within 0.9 Å."""
    same = make_maps(np.array([[20.0, 20], [20, 32]]), np.array([0, 0]), (2, 60, 60), 2.5)
    other = make_maps(np.array([[45.0, 20], [45, 26]]), np.array([0, 1]), (2, 60, 60), 2.5)
    maps = np.maximum(same, other)
    maps[0, :, 30:] *= 0.9
    maps[1] *= 0.8
    found, kinds, _ = find_map_peaks(maps, 0.12)
    assert found.round().astype(int).tolist() == [[20, 20], [45, 20]]
    assert kinds.tolist() == [0, 0]
    near = PeakConfig(min_distance_same=1.0, min_distance=0.5)
    assert len(find_map_peaks(maps, 0.12, near)[0]) == 4


def test_columns_are_given_in_the_coordinates_of_the_series():
    """A network that says where the first image is bright."""
    model = Model(build_network(CARD).eval(), CARD)
    model.network.head.weight.data[0, 0] = 1.0
    series, corner = make_series(), np.array([8.4, 9.7])
    places = corner + 22 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    series[:] = 1000 * make_maps(places, np.zeros(4, int), (1, 40, 40), 2.5)
    found = find_columns(series, model).sort_values(["y", "x"])
    assert found["label"].tolist() == ["Mo"] * 4
    np.testing.assert_allclose(np.sort(found["x"]), np.sort(5 + 0.12 * places[:, 1]), atol=0.02)
    np.testing.assert_allclose(np.sort(found["y"]), np.sort(5 + 0.12 * places[:, 0]), atol=0.02)


def test_what_does_not_fit_is_refused():
    model = Model(build_network(CARD).eval(), CARD)
    with pytest.raises(ImageError, match="3 images for tiny"):
        find_columns(make_series(2), model)
    with pytest.raises(ImageError, match=r"0\.06 to 0\.15"):
        find_columns(make_series(pixel=0.2), model)
    turned = make_series().assign_coords(focus=[70.0, 20.0, -30.0])
    with pytest.raises(ImageError, match=r"steps of about \[50.0, 50.0\] Å .*\[-50.0, -50.0\]"):
        find_columns(turned, model)
    with pytest.raises(ImageError, match="3 pixels of"):
        find_columns(make_series()[:, :2], model)
    with pytest.raises(ModelError, match="tiny takes focal series"):
        find_atoms(make_series()[0], model)
    haadf = CARD.model_copy(update={"focal_series": ()})
    with pytest.raises(ModelError, match="tiny takes single images"):
        find_columns(make_series(), Model(build_network(haadf).eval(), haadf))


def test_models_of_one_focus_take_single_images_and_keep_their_frame():
    calibration = {"weights": ((1, 0), (0, 1)), "offsets": (0, 0), "prior": (0.5, 0.5)}
    card = CARD.model_copy(
        update={"focal_series": (0.0,), "calibration": Calibration.model_validate(calibration)}
    )
    model = Model(build_network(card).eval(), card)
    model.network.head.weight.data[0, 0] = 1.0
    model.network.head.bias.data[:] = -4.0
    image = make_series(1)[0].assign_coords(frame=4)
    image[:] = (
        1000 * make_maps(np.array([[8.0, 9], [30, 31]]), np.zeros(2, int), (1, 40, 40), 2.5)[0]
    )
    found = find_atoms(image, model)
    assert sorted(found["x"].round(1)) == [6.1, 8.7]
    assert found["frame"].tolist() == [4, 4]
