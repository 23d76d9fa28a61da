from types import SimpleNamespace

import pytest
import torch

from adatom.images.normalize import NormalizeConfig
from adatom.networks.model import ModelCard


@pytest.fixture
def fake_model():
    """A card with a network that does nothing, where the detector is a fake too."""
    card = ModelCard(
        name="fake",
        labels=("M", "X2", "X1", "dopant"),
        network={"kind": "unet", "widths": (4, 8)},
        pixel_size=0.2,
        pixel_size_range=(0.05, 0.3),
        dose_range=(1, 1e6),
        normalization=NormalizeConfig(),
    )
    return SimpleNamespace(card=card, network=torch.nn.Linear(1, 1))
