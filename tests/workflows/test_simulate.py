"""The data set of a recipe, with its picture."""

import pytest
from PIL import Image

from adatom.workflows.simulate import simulate_recipe

HAADF = """
[structure]
kind = "graphene"

[training]
labels = ["C", "Si"]
families = [["C", "Si"]]

[dataset]
size = 9.6
"""
HRTEM = """
modality = "HRTEM"

[structure]
kind = "graphene"

[microscope]
focal_series = [-30, 60]

[dataset]
size = 9.6
"""


@pytest.mark.parametrize(("recipe", "n_wide"), [(HAADF, 2), (HRTEM, 3)])
def test_a_data_set_has_a_picture(recipe, n_wide, tmp_path):
    (tmp_path / "mine.toml").write_text(recipe)
    folder = simulate_recipe(tmp_path / "mine.toml", tmp_path / "set", 2, n_workers=1)
    with Image.open(folder / "examples.png") as picture:
        width, height = picture.size
    assert width > n_wide * 400
    assert height > 2 * 400
