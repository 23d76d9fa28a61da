"""Whatever a recipe trains, one command trains it."""

from adatom.networks.restorer import load_restorer
from adatom.workflows.train import train_recipe

RECIPE = """extends = "haadf_objects"
[dataset]
n_pixels = 40
[network]
widths = [4, 8]
[training]
name = "tiny"
n_steps = 2
batch_size = 2
n_validation = 2
validate_every = 1
"""


def test_a_recipe_of_object_functions_makes_a_restorer_and_goes_on_from_one(tmp_path):
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE)
    card = train_recipe(recipe, tmp_path / "first")
    assert load_restorer(card).card.name == "tiny"
    further = train_recipe(recipe, tmp_path / "second", start=str(card))
    assert load_restorer(further).card.start["name"] == "tiny"
