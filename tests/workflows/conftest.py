from types import SimpleNamespace

import pytest
import torch

import adatom.detect.atoms
import adatom.networks.model
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


@pytest.fixture
def truth(monkeypatch, sheet, fake_model):
    """A detector that knows the truth: this tests what stands around it."""
    image, atoms = sheet
    seen = []

    def find_atoms(frame, model, config, done, view):
        seen.append(config)
        assert frame.dims == ("y", "x")
        assert not list(done)
        yield atoms if frame.max() > 0 else atoms.iloc[:0]

    monkeypatch.setattr(adatom.detect.atoms, "find_atoms_by_part", find_atoms)
    monkeypatch.setattr(adatom.networks.model, "load_model", lambda name: fake_model)
    return image, atoms, seen
