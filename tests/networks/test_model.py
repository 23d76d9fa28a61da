"""Models on disk: whole, checked, never code."""

import json

import numpy as np
import pytest
import torch

from adatom.core.errors import ModelError
from adatom.images.normalize import NormalizeConfig
from adatom.networks.model import (
    Model,
    ModelCard,
    build_network,
    choose_model,
    load_model,
    save_model,
)


@pytest.fixture
def saved(tmp_path):
    card = ModelCard(
        name="tiny",
        labels=("M", "X2"),
        network={"kind": "unet", "widths": (4, 8)},
        pixel_size=0.2,
        pixel_size_range=(0.05, 0.3),
        dose_range=(1e2, 1e5),
        normalization=NormalizeConfig(),
    )
    network = build_network(card).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())
    return save_model(Model(network, card), tmp_path), network


def test_saved_model_gives_the_same_output(saved):
    path, network = saved
    model = load_model(path)
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 1, 16, 16)).astype("f4"))
    torch.testing.assert_close(model.network(image), network(image), atol=1e-4, rtol=1e-3)
    assert model.card.name == "tiny"
    assert load_model(path.with_suffix(".safetensors")).card == model.card


def test_changed_weights_cards_and_names_are_refused(saved, tmp_path):
    path, _ = saved
    weights = path.with_suffix(".safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"x")
    with pytest.raises(ModelError, match="checksum"):
        load_model(path)
    weights.write_bytes(content)
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"network": {"kind": "unet", "widths": [8, 8]}}))
    with pytest.raises(ModelError, match="does not hold the network"):
        load_model(path)
    for change in (
        {"families": [["Q"]]},
        {"labels": ["M", "M"]},
        {"network": {"kind": "unet", "widths": [4, 10**7]}},
    ):
        path.write_text(json.dumps(card | change))
        with pytest.raises(ModelError, match="tiny"):
            load_model(path)
    path.write_text("{")
    with pytest.raises(ModelError, match="not a model card"):
        load_model(path)
    weights.unlink()
    path.write_text(json.dumps(card))
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(path)
    with pytest.raises(ModelError, match="no-such"):
        load_model("no-such")


@pytest.mark.parametrize(
    ("material", "name"),
    [
        ("WS2", "haadf-mx2"),
        ("graphene", "haadf-graphene"),
        ("MoTe2", "haadf-general"),
        (None, "haadf-general"),
    ],
)
def test_the_model_is_the_one_that_knows_the_material(material, name):
    assert choose_model(material) == name


def test_focal_series_have_models_of_their_own():
    assert choose_model("MoS2", n_foci=3) == "hrtem-mos2"
    with pytest.raises(ModelError, match=r"\(3 images\) of graphene; name one .*hrtem-mos2"):
        choose_model("graphene", n_foci=3)
