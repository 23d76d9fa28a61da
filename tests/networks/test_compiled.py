"""The compiled network is the same network, or is not taken."""

import importlib.util

import numpy as np
import pytest
import torch

from adatom.networks import compiled
from adatom.networks.compiled import compile_network
from adatom.networks.unet import UNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = UNet(4, (6, 8, 12), n_inputs=2)
    with torch.no_grad():
        for _ in range(5):  # statistics of the batch normalization
            made(2 + 3 * torch.randn(4, 2, 32, 32))
    return made.eval()


def test_probabilities_are_those_of_torch(network):
    pytest.importorskip("openvino")
    run = compile_network(network)
    for shape in ((32, 32), (16, 40), (64, 4)):
        images = 2 + 3 * torch.randn(1, 2, *shape)
        with torch.inference_mode():
            expected = torch.softmax(network(images), dim=1).numpy()
        assert expected.std() > 0.01
        np.testing.assert_allclose(run(images.numpy()), expected, atol=0.02)


def test_without_openvino_or_where_it_disagrees_torch_is_taken(network, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        assert compile_network(network) is None
    pytest.importorskip("openvino")
    monkeypatch.setattr(compiled, "_compile", lambda network: lambda images: images[:, :1] * 0)
    assert compile_network(network) is None
    monkeypatch.setattr(compiled, "_compile", lambda network: torch.zeros(2) @ torch.zeros(3))
    assert compile_network(network) is None
