"""The compiled network is the same network, or is not taken."""

import importlib.util
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from adatom.detect.predict import predict_classes
from adatom.networks import compiled
from adatom.networks.compiled import _build_graph as build_graph
from adatom.networks.compiled import _compile as compile_whole
from adatom.networks.compiled import compile_network
from adatom.networks.model import list_models, load_model
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
    """In single precision, also where a CPU has bfloat16: a network of chance varies too little."""
    openvino = pytest.importorskip("openvino")
    outputs, inputs = build_graph(network)
    graph = openvino.Model([outputs], [inputs])
    run = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for shape in ((32, 32), (16, 40), (64, 4)):
        images = 2 + 3 * torch.randn(1, 2, *shape)
        with torch.inference_mode():
            expected = torch.softmax(network(images), dim=1).numpy()
        assert expected.std() > 0.01
        np.testing.assert_allclose(run(images.numpy())[0], expected, atol=1e-4)


@pytest.mark.parametrize(
    "card", [card for card in list_models() if not card.focal_series], ids=lambda card: card.name
)
def test_a_broken_compiler_is_seen_with_every_shipped_model(card, monkeypatch):
    pytest.importorskip("openvino")
    model = load_model(card.name)
    assert model.compiled is not None
    broken = load_model(card.name).network
    with torch.no_grad():
        broken.down[-1][0].weight.zero_()
    monkeypatch.setattr(compiled, "_compile", lambda network: compile_whole(broken))
    assert compile_network(model.network) is None


def test_threads_share_a_model():
    pytest.importorskip("openvino")
    run = load_model("haadf-mx2").compiled
    rng = np.random.default_rng(0)
    images = [rng.standard_normal((1, 1, 64, 64)).astype(np.float32) for _ in range(8)]
    alone = [run(image).copy() for image in images]
    with ThreadPoolExecutor(4) as pool:
        for expected, found in zip(alone, pool.map(run, images), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_model_goes_to_other_processes():
    model = load_model("haadf-mx2")
    copied = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert copied.card == model.card
    assert (copied.compiled is None) == (model.compiled is None)
    image = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    expected = predict_classes(image, model.network, compiled=model.compiled)
    found = predict_classes(image, copied.network, compiled=copied.compiled)
    np.testing.assert_array_equal(found, expected)


def test_without_openvino_or_where_it_disagrees_torch_is_taken(network, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: None)
        assert compile_network(network) is None
    pytest.importorskip("openvino")
    monkeypatch.setattr(compiled, "_compile", lambda network: lambda images: images[:, :1] * 0)
    assert compile_network(network) is None
    monkeypatch.setattr(compiled, "_compile", lambda network: torch.zeros(2) @ torch.zeros(3))
    assert compile_network(network) is None
