"""The mixed-scale dense network: its size, its borders, and blocks against one by one."""

import numpy as np
import pytest
import torch

from adatom.networks.msdnet import MSDNet


def make_network(dtype=torch.float64, **shape):
    network = MSDNet(**{"n_outputs": 2, "depth": 23, "n_inputs": 3, "n_dilations": 4} | shape)
    network.to(dtype)
    rng = np.random.default_rng(1)
    network.draw_weights(rng)
    with torch.no_grad():
        for tensor in (network.biases, network.head.weight, network.head.bias):
            tensor.copy_(torch.from_numpy(0.2 * rng.standard_normal(tensor.shape)))
    return network, torch.from_numpy(rng.standard_normal((2, 3, 70, 19))).to(dtype)


def test_it_has_the_published_number_of_weights():
    network = MSDNet(5)
    assert sum(p.numel() for p in network.parameters()) == 46_060
    assert network.dilations[:12] == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2)


def test_first_weights_have_the_published_spread_and_say_nothing():
    network = MSDNet(5)
    drawn = torch.cat([weight.flatten() for weight in network.weights])
    assert float(drawn.detach().std()) == pytest.approx((2 / (9 * 100 + 5)) ** 0.5, rel=0.02)
    assert not network.biases.any()
    assert not network(torch.randn(1, 1, 16, 16)).detach().any()


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_blocks_and_their_gradients_are_those_of_one_layer_after_the_other(dtype, most):
    network, images = make_network(dtype)
    found = []
    for forward in (network, network.forward_naively):
        images = images.detach().requires_grad_()
        network.zero_grad()
        result = forward(images)
        (result.square() * torch.linspace(0, 1, 19, dtype=dtype)).sum().backward()
        gradients = [images.grad, *(p.grad for p in network.parameters())]
        found.append([result.detach(), *gradients])
    for mine, known in zip(*found, strict=True):
        assert float((mine - known).abs().max()) < most * float(known.abs().max())


def test_gradient_is_that_of_finite_differences():
    network, images = make_network(depth=12, n_inputs=1, n_outputs=1)
    small = images[:1, :1, :5, :6].requires_grad_()
    weights = (network.weights[0], network.weights[11], network.biases)
    assert torch.autograd.gradcheck(lambda image, *_: network(image), (small, *weights))


def test_borders_repeat_the_edge_pixel():
    network, _ = make_network()
    constant = network(torch.ones(1, 3, 30, 30, dtype=torch.float64)).detach()
    assert float((constant - constant[..., :1, :1]).abs().max()) < 1e-12
    layer, image = MSDNet(1, depth=1), torch.zeros(1, 1, 4, 4)
    with torch.no_grad():
        layer.weights[0].zero_()[0, 1, 0] = 1  # what stands to the left
        layer.head.weight[0, 1] = 1
    image[0, 0, :, 0] = 5
    assert layer(image)[0, 0].tolist() == [[5, 5, 0, 0]] * 4
