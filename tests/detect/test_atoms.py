"""The shipped model finds simulated atoms, in any coordinates, and refuses what it cannot take."""

import numpy as np
import pytest
import xarray as xr

from adatom.core.errors import CalibrationError, ImageError
from adatom.core.tables import check_atoms
from adatom.detect.atoms import View, find_atoms
from adatom.detect.profile import make_gaussian_profile
from adatom.metrics.detection import match_points, score_atoms
from adatom.networks.model import list_models, load_model
from adatom.simulate.example import Example, simulate_example
from adatom.simulate.recipe import HrtemRecipe, Recipe, list_recipes, load_recipe


@pytest.fixture(scope="module")
def model():
    return load_model("haadf-mx2")


@pytest.fixture(scope="module")
def example() -> Example:
    demo = load_recipe("demo_mos2")
    small = demo.dataset.model_copy(update={"size": 50.0})
    return simulate_example(demo.model_copy(update={"dataset": small}), 1)


def test_atoms_are_found_labelled_and_placed_with_honest_errors(model, example):
    atoms = find_atoms(example.to_image(), model)
    check_atoms(atoms)
    inner = [
        t[t[["x", "y"]].gt(2).all(axis=1) & t[["x", "y"]].lt(48).all(axis=1)]
        for t in (atoms, example.truth)
    ]
    scores = score_atoms(*inner, ["M", "X2", "X1"])
    assert scores["sites"]["f1"] > 0.99
    assert scores["M"]["f1"] > 0.97
    assert scores["X2"]["f1"] > 0.95
    matches = match_points(*(table[["y", "x"]].to_numpy() for table in inner), 0.5)
    miss = (
        inner[0][["y", "x"]].to_numpy()[matches.found]
        - inner[1][["y", "x"]].to_numpy()[matches.true]
    )
    miss -= np.median(miss, axis=0)
    stated = inner[0][["y_err", "x_err"]].to_numpy()[matches.found]
    assert np.sqrt(np.mean(miss**2)) < 0.12
    assert 0.5 < np.mean(np.abs(miss) < stated) < 0.85
    labels = [name for name in atoms.columns if name.startswith("score_")]
    np.testing.assert_allclose(atoms[labels].sum(axis=1), 1, atol=1e-9)


def test_a_crop_keeps_its_coordinates(model, example):
    image = example.to_image()
    whole = find_atoms(image, model)
    crop = find_atoms(image[60:260, 40:240], model)
    low, high = np.array([60, 40]) * example.pixel_size, np.array([260, 240]) * example.pixel_size
    points = whole[["y", "x"]].to_numpy()
    inside = ((points > low + 4) & (points < high - 4)).all(axis=1)
    matches = match_points(crop[["y", "x"]].to_numpy(), points[inside], 0.3)
    assert len(matches.true) >= 0.98 * inside.sum()


def test_noise_and_empty_images_give_an_empty_table(model):
    coords = {"y": np.arange(96) * 0.2, "x": np.arange(96) * 0.2}
    flat = xr.DataArray(np.ones((96, 96)), dims=("y", "x"), coords=coords)
    found = find_atoms(flat, model)
    assert len(found) == 0
    assert list(found.columns[:6]) == ["frame", "atom", "x", "y", "label", "score"]


def test_images_without_scale_outside_the_range_or_with_frames_are_refused(model):
    bare = xr.DataArray(np.ones((32, 32)), dims=("y", "x"))
    with pytest.raises(CalibrationError):
        find_atoms(bare, model)
    coords = {"y": np.arange(32) * 2.0, "x": np.arange(32) * 2.0}
    with pytest.raises(ImageError, match="pixel size must be"):
        find_atoms(bare.assign_coords(coords), model)
    movie = xr.DataArray(np.ones((2, 8, 8)), dims=("frame", "y", "x"))
    with pytest.raises(ImageError, match="one frame at a time"):
        find_atoms(movie.assign_coords(frame=[0, 1]), model)


@pytest.mark.parametrize("card", list_models(), ids=lambda card: card.name)
def test_recipe_of_the_card_is_a_shipped_recipe(card):
    kind = HrtemRecipe if card.focal_series else Recipe
    recipe = kind.from_mapping(card.recipe, source="card")
    assert [name for name in list_recipes() if load_recipe(name) == recipe]


GOOD = {
    "columns": {"gaussian": 1.0, "sigma": 0.4},
    "specimen": {"background": 0.2},
    "detector": {"peak_electrons": 750.0},
    "dataset": {"size": 40.0, "pixel_size": 0.1},
}


def test_silicon_in_graphene_is_found():
    graphene = {"kind": "graphene", "angle": 20.0, "silicon": 8.0, "fourfold": 0.4}
    labels = {"labels": ["C", "Si"], "families": [["C", "Si"]]}
    recipe = Recipe.from_mapping(
        GOOD | {"structure": graphene, "training": labels}, source="graphene"
    )
    example = simulate_example(recipe, 5)
    atoms = find_atoms(example.to_image(), load_model("haadf-graphene"))
    inner = [
        t[t[["x", "y"]].gt(2).all(axis=1) & t[["x", "y"]].lt(38).all(axis=1)]
        for t in (atoms, example.truth)
    ]
    scores = score_atoms(*inner, ["C", "Si"])
    assert scores["Si"]["n_true"] >= 3
    assert scores["sites"]["f1"] > 0.99
    assert scores["Si"]["f1"] == 1


def test_the_network_looks_at_the_view_and_the_fit_at_the_image(model, example):
    image = example.to_image()
    empty = image.copy(data=np.random.default_rng(0).normal(10, 1, image.shape))
    shape = make_gaussian_profile(0.3**2)
    found = find_atoms(empty, model, view=View(image, shape))
    assert len(find_atoms(image, model, view=View(empty, shape))) < 0.05 * len(found)
    plain = find_atoms(image, model)
    assert len(found) > 0.9 * len(plain)
    # What is not in the image has no brightness there.
    assert abs(found["intensity"].median()) < 0.1 * plain["intensity"].median()
    with pytest.raises(ImageError, match=r"view: must have the pixels of one image \(\d+, \d+\)"):
        find_atoms(image, model, view=View(image[:100], shape))
