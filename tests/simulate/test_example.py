"""Simulated images and their truth."""

import json

import numpy as np
import pandas as pd
import pytest
from ase.data import atomic_numbers
from scipy.ndimage import map_coordinates

from adatom.core.errors import ConfigError, FileError
from adatom.core.materials import get_material
from adatom.images import pixel_size
from adatom.images.read import read_image
from adatom.optics.microscope import Microscope, haadf_cross_section
from adatom.simulate.dataset import simulate_dataset
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import Recipe, load_recipe

PLAIN = Recipe.from_mapping(
    {
        "columns": {"gaussian": 1.0, "sigma": 0.4},
        "detector": {"dose": 1e6},
        "scan": {"drift_y": 0.8, "drift_x": -0.6, "flyback": 0.5},
        "specimen": {"background": 0.0},
        "structure": {"kind": "mx2", "disorder": 0.0, "vacancies": 0.1},
    },
    source="test",
)


def test_truth_lies_on_the_maxima_under_drift_and_flyback():
    example = simulate_example(PLAIN, 3)
    inner = example.truth[
        example.truth[["x", "y"]].min(axis=1).gt(2) & example.truth[["x", "y"]].max(axis=1).lt(36)
    ]
    metals = inner[inner["label"] == "M"]
    place = metals[["y", "x"]].to_numpy().T / example.pixel_size
    here = map_coordinates(example.expected, place, order=3)
    for step in ([0.3, 0], [-0.3, 0], [0, 0.3], [0, -0.3]):
        beside = map_coordinates(example.expected, place + np.array(step)[:, None], order=3)
        assert (here > beside).all()
    x1 = inner.loc[inner["label"] == "X1", "intensity"].mean()
    assert x1 == pytest.approx(inner.loc[inner["label"] == "X2", "intensity"].mean() / 2)


def test_counts_are_poisson_around_the_expectation():
    example = simulate_example(PLAIN, 4)
    assert example.is_counts
    score = (example.image - example.expected) / np.sqrt(np.maximum(example.expected, 1e-9))
    bright = example.expected > 20
    assert abs(score[bright].mean()) < 0.03
    assert score[bright].std() == pytest.approx(1, abs=0.03)


def test_same_seed_same_bits_and_shipped_recipe_is_varied():
    recipe = load_recipe("haadf_mx2")
    first, again, other = (simulate_example(recipe, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.image, again.image)
    pd.testing.assert_frame_equal(first.truth, again.truth)
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)
    labels = set().union(*(simulate_example(recipe, seed).truth["label"] for seed in range(12)))
    assert labels == {"M", "X2", "X1", "dopant"}


def test_shipped_recipe_turns_the_lattice_through_its_whole_period():
    """MX2 repeats every 120°: half of it would let a network tell M from X by direction."""
    angle = load_recipe("haadf_mx2").structure[0].angle
    assert angle.max - angle.min >= 120


@pytest.mark.parametrize("host", sorted(set(load_recipe("haadf_mx2").structure[0].materials)))
def test_every_host_of_the_recipe_has_the_brighter_metal(host: str):
    """The model tells M from X2 by brightness: a host that breaks the rule would unteach it."""
    elements = dict(get_material(host).elements)
    numbers = np.array([atomic_numbers[elements["M"]], atomic_numbers[elements["X2"]]])
    for exponent in (1.3, 2.0):
        metal, chalcogen = haadf_cross_section(numbers, Microscope(), exponent)
        assert 2 * chalcogen < metal


@pytest.mark.parametrize("name", ["haadf_graphene", "haadf_general"])
def test_recipes_of_other_lattices_are_varied_and_labelled(name: str):
    recipe = load_recipe(name)
    examples = [simulate_example(recipe, seed) for seed in range(10)]
    assert set().union(*(e.truth["label"] for e in examples)) == set(recipe.training.labels)
    again = simulate_example(recipe, 3)
    np.testing.assert_array_equal(examples[3].image, again.image)
    assert len({len(e.truth) for e in examples}) > 5


def test_boron_nitride_with_adatoms_is_labelled_by_element():
    sheet = {"kind": "graphene", "materials": ["h-BN"], "adatoms": 10, "adatom_elements": ["Ti"]}
    training = {"labels": ["B", "N", "Si", "Ti"], "families": []}
    recipe = Recipe.from_mapping({"structure": sheet, "training": training}, source="test")
    truth = simulate_example(recipe, 1).truth
    counts = truth["label"].value_counts()
    assert counts["B"] == pytest.approx(counts["N"], rel=0.1)
    assert counts["Ti"] > 5
    strength = truth.groupby("label")["intensity"].median()
    assert strength["B"] < strength["N"] < strength["Ti"]
    with pytest.raises(ConfigError, match="adatoms need their elements"):
        Recipe.from_mapping({"structure": {"kind": "mx2", "adatoms": 1}}, source="test")


def test_peak_electrons_are_those_at_a_peak_of_the_host():
    recipe = Recipe.from_mapping(
        {
            "structure": {"kind": "crystal", "crystals": ["SrTiO3 [001]"], "disorder": 0.0},
            "columns": {"gaussian": 1.0, "sigma": 0.4, "vibration": 0.0},
            "specimen": {"background": 0.0},
            "detector": {"peak_electrons": 500.0},
            "training": {"labels": ["column"], "families": []},
        },
        source="test",
    )
    example = simulate_example(recipe, 1)
    peak = example.expected.max() / example.pixel_size**2
    assert peak == pytest.approx(500, rel=0.05)
    strong = example.truth["intensity"].max()  # electrons of a Gaussian of that height
    assert strong == pytest.approx(
        500 * 2 * np.pi * 0.4**2 / example.pixel_size**2 * 0.04, rel=0.02
    )


def test_dataset_is_whole_and_repeats_bit_for_bit(tmp_path):
    small = PLAIN.model_copy(update={"dataset": PLAIN.dataset.model_copy(update={"size": 12.0})})
    folders = [simulate_dataset(small, tmp_path / name, 3, seed=9) for name in ("a", "b")]
    for name in ("000000.zarr", "000001.zarr", "000002.zarr"):
        first, second = (read_image(folder / "images" / name) for folder in folders)
        np.testing.assert_array_equal(first.values, second.values)
        assert first.attrs["units"] == "electrons"
        assert pixel_size(first) == pytest.approx((0.2, 0.2))
    truths = [pd.read_parquet(folder / "truth.parquet") for folder in folders]
    pd.testing.assert_frame_equal(*truths)
    made = json.loads((folders[0] / "dataset.json").read_text())
    assert made["seed"] == 9
    assert Recipe.from_mapping(made["recipe"], source="dataset.json") == small
    assert set(truths[0]["image"]) == {0, 1, 2}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    with pytest.raises(FileError, match="exists already"):
        simulate_dataset(small, tmp_path / "a", 1)


def test_recipe_errors_name_file_and_field(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[detector]\ndosis = 3\n")
    with pytest.raises(ConfigError, match=r"mine\.toml: detector\.dosis"):
        load_recipe(path)
    with pytest.raises(ConfigError, match="haadf_mx2"):
        load_recipe("haadf_mx3")


@pytest.mark.parametrize(
    ("room", "field", "value", "rule"),
    [
        ("detector", "dose", -1, "above 0"),
        ("detector", "dose", {"min": 0, "max": 10}, "above 0"),
        ("dataset", "pixel_size", 0, "above 0"),
        ("microscope", "semi_angle", 0, "above 0"),
        ("structure", "vacancies", 1.2, "between 0 and 1"),
        ("structure", "vacancies", {"choice": ["many"]}, "valid number"),
        ("structure", "metal_dopants", ["Qq"], "no chemical element"),
        ("structure", "materials", ["graphene"], "MoS2"),
        ("scan", "flyback", 4.0, "below flyback_length"),
        ("training", "seed", -1, "greater than or equal to 0"),
        ("training", "name", "../x", "pattern"),
        ("structure", "shear", 0.5, "half of scale"),
        ("structure", "metal_dopant_share", 0.1, "needs their elements"),
        ("dataset", "pixel_size", 10, "16 pixels"),
        ("filter", "saturation", 0.5, "below 0.5"),
        ("microscope", "inner_angle", 250, "below outer_angle"),
        ("network", "widths", [0, 8], "greater than or equal to 1"),
        ("training", "families", [[]], "hold a label"),
        ("training", "labels", ["M", "X2", "X1"], "dopant"),
        ("training", "families", [["M", "C"]], "labels only"),
    ],
)
def test_recipes_that_cannot_be_simulated_are_refused(room, field, value, rule):
    kind = {"structure": {"kind": "mx2"}, "network": {"kind": "unet"}}.get(room, {})
    with pytest.raises(ConfigError, match=rule):
        Recipe.from_mapping({room: {field: value, **kind}}, source="test")


def test_multislice_columns_differ_by_their_pairs_alone():
    """The same columns in the same places; two sulfur atoms are more than twice one."""
    specimen = PLAIN.specimen.model_copy(update={"multislice": 1.0})
    scope = PLAIN.microscope.model_copy(
        update={"inner_angle": 60.0, "outer_angle": 120.0, "semi_angle": 40.0}
    )
    shape = PLAIN.columns.model_copy(update={"gaussian": 0.0})
    update = {"specimen": specimen, "microscope": scope, "columns": shape}
    sliced = simulate_example(PLAIN.model_copy(update=update), 5)
    linear = simulate_example(PLAIN.model_copy(update=update | {"specimen": PLAIN.specimen}), 5)
    for name in ("x", "y", "label"):
        np.testing.assert_array_equal(sliced.truth[name], linear.truth[name])
    means = sliced.truth.groupby("label")["intensity"].mean()
    assert 2.2 < means["X2"] / means["X1"] < 3
    assert 1 < means["M"] / means["X2"] < 5
    flat = linear.truth.groupby("label")["intensity"].mean()
    assert flat["X2"] / flat["X1"] == pytest.approx(2)
    both = np.corrcoef(sliced.expected.ravel(), linear.expected.ravel())[0, 1]
    assert both > 0.95


def slice_crystals(share: float, **structure) -> Recipe:
    structure = {"kind": "crystal", "crystals": ["SrTiO3 [001]"], "thickness": 15.0} | structure
    return Recipe.from_mapping(
        {
            "structure": structure,
            "specimen": {"multislice": share, "thickness": 0.2, "background": 0.0},
            "microscope": {"energy_eV": 100e3, "semi_angle": 20.0, "inner_angle": 60.0},
            "detector": {"dose": 1e6},
            "training": {"labels": ["column"], "families": []},
            "dataset": {"size": 25.0},
        },
        source="test",
    )


def test_multislice_of_crystals_changes_brightness_and_no_place():
    """Ti-O columns, fainter than Sr, gain on the linear model's Z^1.7 by their oxygen."""
    sliced, linear = (simulate_example(slice_crystals(share), 3) for share in (1.0, 0.0))
    for name in ("x", "y"):
        np.testing.assert_array_equal(sliced.truth[name], linear.truth[name])
    ratio = sliced.truth["intensity"] / linear.truth["intensity"]
    strontium = linear.truth["intensity"] > linear.truth["intensity"].mean()
    assert 1.1 < ratio[~strontium].mean() / ratio[strontium].mean() < 2
    both = np.corrcoef(sliced.expected.ravel(), linear.expected.ravel())[0, 1]
    assert both > 0.9


def test_grains_of_crystals_are_sliced_in_their_directions():
    recipe = slice_crystals(1.0, grain_boundary=1.0, angle={"min": 0, "max": 90})
    example = simulate_example(recipe, 4)
    place = example.truth[["y", "x"]].to_numpy().T / example.pixel_size
    here = map_coordinates(example.expected, place, order=3, mode="nearest")
    assert np.quantile(here, 0.05) > 1.5 * np.median(example.expected)


def test_lattices_without_depth_cannot_be_sliced():
    values = slice_crystals(1.0).model_dump(mode="json")
    for crystals in ([], ["GaN [0001]"]):
        values["structure"][0]["crystals"] = crystals
        with pytest.raises(ConfigError, match=r"must be 0 but for sheets, Si \[110\]"):
            Recipe.from_mapping(values, source="recipe")


def test_crystals_are_not_sliced_anew_for_every_image():
    values = slice_crystals(1.0).model_dump(mode="json")
    values["microscope"]["inner_angle"] = {"min": 60, "max": 80}
    with pytest.raises(ConfigError, match=r"microscope\.inner_angle must be a number or a choice"):
        Recipe.from_mapping(values, source="recipe")


def test_a_recipe_extends_a_shipped_one(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "haadf_mx2"\n[detector]\ndose = 500\n')
    mine, base = load_recipe(path), load_recipe("haadf_mx2")
    assert mine.detector == base.detector.model_copy(update={"dose": 500.0})
    assert mine.model_copy(update={"detector": base.detector}) == base
    path.write_text('extends = "hrtem_mos2"\n[network]\nkind = "residual"\n')
    assert load_recipe(path).network.widths == (32, 64, 128, 256)
    path.write_text('extends = "haadf_mx9"\n')
    with pytest.raises(ConfigError, match=r"mine\.toml: extends: must be one of .*'haadf_mx9'"):
        load_recipe(path)
