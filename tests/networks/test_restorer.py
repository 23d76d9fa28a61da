"""Restorers on disk."""

from pathlib import Path

import pytest
import torch

from adatom import networks
from adatom.core.errors import ModelError
from adatom.networks.deepstem import DeepSTEM
from adatom.networks.model import load_model
from adatom.networks.restorer import (
    Restorer,
    RestorerCard,
    list_restorers,
    load_card,
    load_restorer,
    save_restorer,
)
from adatom.simulate.objects import RestoreRecipe, load_restore_recipe
from adatom.simulate.recipe import list_restore_recipes


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    card = RestorerCard(name="tiny", network={"kind": "deepstem", "widths": (4, 8)})
    return save_restorer(Restorer(DeepSTEM((4, 8)).eval(), card), tmp_path)


def test_a_saved_restorer_gives_the_same_object(saved):
    first, second = load_restorer(saved), load_restorer(saved.with_suffix(".safetensors"))
    image, probe = torch.rand(1, 32, 32), torch.full((1, 9, 9), 1 / 81)
    found = [m.network(image, probe, torch.zeros(1))[0] for m in (first, second)]
    assert torch.equal(*found)
    assert load_card(saved) == first.card
    assert len(first.card.checksum) == 64


def test_a_restorer_is_no_finder_and_weights_are_those_of_the_card(saved):
    with pytest.raises(ModelError, match=r"tiny\.json: .*labels"):
        load_model(saved)
    weights = saved.with_suffix(".safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match="checksum"):
        load_restorer(saved)


@pytest.mark.parametrize("card", list_restorers(), ids=lambda card: card.name)
def test_a_shipped_restorer_is_small_and_its_recipe_ships_too(card):
    recipe = RestoreRecipe.from_mapping(card.recipe, source="card")
    assert [name for name in list_restore_recipes() if load_restore_recipe(name) == recipe]
    assert load_card(card.name) == card
    weights = Path(networks.__file__).parent / "restorers" / f"{card.name}.safetensors"
    assert weights.stat().st_size < 4e6
