"""All kinds of networks: their sizes, and how far they see."""

from itertools import pairwise

import pytest
import torch
from pydantic import TypeAdapter

from adatom.networks.kinds import NetworkConfig, make_network

SMALL = [
    {"kind": "unet", "widths": [4, 8, 12]},
    {"kind": "residual", "widths": [4, 8, 12]},
    {"kind": "msdnet", "depth": 12},
]


def make(values, n_inputs=2, n_outputs=3):
    config = TypeAdapter(NetworkConfig).validate_python(values)
    network = make_network(config, n_inputs, n_outputs).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.copy_(0.2 * torch.randn_like(tensor))
    return config, network


@pytest.mark.parametrize("values", SMALL, ids=lambda values: values["kind"])
def test_result_has_the_size_of_the_image_and_the_maps_asked_for(values):
    config, network = make(values)
    assert config.step == network.step
    assert network(torch.randn(2, 2, 16, 24)).shape == (2, 3, 16, 24)


@pytest.mark.parametrize("values", SMALL, ids=lambda values: values["kind"])
def test_no_pixel_beyond_the_margin_has_influence(values):
    _, network = make(values)
    size = 2 * network.margin + 8 * network.step
    image = torch.randn(1, 2, size, 16).double()
    network.double()
    changed = image.clone()
    changed[..., : 2 * network.step, :] += 1
    with torch.no_grad():
        difference = (network(changed) - network(image)).abs().amax((0, 1, 3))
    far = 2 * network.step + network.margin
    assert difference[: network.step].max() > 0
    assert difference[far:].max() == 0


def test_published_networks_have_their_numbers_of_weights():
    """Residual: counted from its description, with one PReLU slope a convolution."""
    _, network = make({"kind": "residual"}, 3, 3)

    def block(a, b):
        return 9 * a * b + 4 * 9 * b * b + 5 * (b + 1 + 2 * b)

    widths = (32, 64, 128, 256)
    known = block(3, 32) + sum(block(a, b) for a, b in pairwise(widths))
    known += sum(b * a + a + block(a, a) for a, b in pairwise(widths))
    assert sum(p.numel() for p in network.parameters()) == known + 3 * 32 + 3
