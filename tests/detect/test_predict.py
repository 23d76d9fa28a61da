"""Tiles do not show."""

import numpy as np
import pytest
import torch

from adatom.detect.predict import predict_classes
from adatom.networks.unet import UNet


@pytest.mark.parametrize(("tile", "shape"), [(64, (200, 170)), (48, (97, 256)), (1024, (8, 5))])
def test_tiled_is_whole(tile: int, shape: tuple[int, int]):
    rng = np.random.default_rng(0)
    network = UNet(3, (4, 6, 8, 8)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape) * 0.4))
    image = rng.standard_normal(shape).astype(np.float32)
    whole = predict_classes(image, network)
    tiled = predict_classes(image, network, tile=tile)
    assert whole.std() > 0.05  # the network says something
    np.testing.assert_allclose(tiled, whole, atol=2e-5)
    np.testing.assert_allclose(whole.sum(axis=0), 1, atol=1e-5)
