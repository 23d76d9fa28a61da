"""Whatever a recipe trains, one command trains it."""

import subprocess
import sys

from adatom.networks.restorer import load_restorer

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
COMMAND = "import sys; from adatom.cli import main; sys.exit(main())"


def test_a_recipe_of_object_functions_makes_a_restorer_and_goes_on_from_one(tmp_path):
    # In a process of its own, as from the command line: a training forks one that simulates.
    recipe = tmp_path / "own.toml"
    recipe.write_text(RECIPE)
    start: list[str] = []
    for name in ("first", "second"):
        parts = ["train", str(recipe), "--out", str(tmp_path / name), *start]
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *parts], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        card = tmp_path / name / "tiny.json"
        assert str(card) in done.stdout
        start = ["--start", str(card)]
    assert load_restorer(card).card.start["name"] == "tiny"
