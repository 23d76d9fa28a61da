"""Tiles do not show."""

import numpy as np
import pytest
import torch

from adatom.detect import predict
from adatom.detect.predict import predict_classes
from adatom.networks.compiled import compile_network
from adatom.networks.precision import has_fast_bf16
from adatom.networks.unet import UNet


@pytest.fixture
def network():
    rng = np.random.default_rng(0)
    made = UNet(3, (4, 6, 8, 8)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape) * 0.4))
    return made


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize(("tile", "shape"), [(64, (200, 170)), (48, (97, 256)), (1024, (8, 5))])
def test_tiled_is_whole(network, tile: int, shape: tuple[int, int], is_compiled: bool):
    compiled = None
    if is_compiled:
        pytest.importorskip("openvino")
        compiled = compile_network(network)
        assert compiled is not None
    image = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    whole = predict_classes(image, network)
    tiled = predict_classes(image, network, compiled=compiled, tile=tile)
    assert whole.std() > 0.05  # the network says something
    # A CPU with bfloat16 rounds, and each library in its own way.
    np.testing.assert_allclose(
        tiled, whole, atol=0.05 if has_fast_bf16(torch.device("cpu")) else 2e-5
    )
    np.testing.assert_allclose(whole.sum(axis=0), 1, atol=1e-5)


def test_bfloat16_changes_little(network, monkeypatch):
    image = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    exact, rounded = [], []
    for is_fast, found in ((False, exact), (True, rounded)):
        monkeypatch.setattr(predict, "has_fast_bf16", lambda device, is_fast=is_fast: is_fast)
        found.append(predict_classes(image, network))
    difference = np.abs(exact[0] - rounded[0])
    assert difference.max() > 0
    assert difference.mean() < 0.01
