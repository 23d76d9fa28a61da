"""The U-Net compiled for this CPU by OpenVINO, where that is installed (extra `fast`)."""

import importlib.util
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from adatom.networks.kinds import Network
from adatom.networks.unet import UNet

logger = logging.getLogger("adatom")
Compiled = Callable[[np.ndarray], np.ndarray]
LARGEST_DIFFERENCE = 0.05  # of the probabilities of a test image, over how much these vary


def compile_network(network: Network) -> Compiled | None:
    """Compile a network, if OpenVINO is installed and then gives the same.

    Parameters
    ----------
    network : Module
        In evaluation mode, on the CPU.

    Returns
    -------
    callable or None
        From (1, n_inputs, H, W) float32 images to (1, n_outputs, H, W) probabilities; H and W are
        multiples of the network's step. In bfloat16 where the CPU has it. None where OpenVINO is
        not installed or disagrees with torch, and for networks other than the U-Net.
    """
    if importlib.util.find_spec("openvino") is None or not isinstance(network, UNet):
        return None
    try:
        compiled = _compile(network)
        difference = _compare(network, compiled)
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        logger.warning("OpenVINO cannot run the network, torch does: %s", str(error)[:200])
        return None
    if not difference < LARGEST_DIFFERENCE:
        logger.warning("OpenVINO disagrees with torch by %.3g, torch is taken", difference)
        return None
    return compiled


def _compile(network: UNet) -> Compiled:
    import openvino

    outputs, inputs = _build_graph(network)
    model = openvino.Model([outputs], [inputs])
    compiled = openvino.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})

    def run(images: np.ndarray) -> np.ndarray:
        request = compiled.create_infer_request()  # of its own, so that threads may share a model
        return request.infer([np.ascontiguousarray(images, np.float32)])[0]

    return run


def _build_graph(network: UNet) -> tuple[Any, Any]:
    """Output and input of the forward pass of `UNet` and a softmax, as nodes of OpenVINO."""
    from openvino import opset13 as ops

    def convolve(image: Any, layer: Any) -> Any:
        weight, bias = (layer.get_parameter(name).detach().numpy() for name in ("weight", "bias"))
        pad = list(layer.padding)
        image = ops.convolution(image, weight, [1, 1], pad, pad, [1, 1])
        return ops.add(image, bias[None, :, None, None])

    def double(image: Any, block: Any) -> Any:
        layers = list(block)
        for first in range(0, len(layers), 3):
            image = ops.relu(convolve(image, fuse_conv_bn_eval(*layers[first : first + 2])))
        return image

    image = inputs = ops.parameter([1, network.n_inputs, -1, -1], np.float32)
    skips = []
    for level, block in enumerate(network.down):
        if level:
            image = ops.max_pool(image, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
        image = double(image, block)
        skips.append(image)
    image = skips.pop()
    for widen, block in zip(network.widen, network.up, strict=True):
        wide = ops.interpolate(
            convolve(image, widen),
            np.array([2.0, 2.0], np.float32),
            "nearest",
            "scales",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
            axes=np.array([2, 3]),
        )
        image = double(ops.concat([skips.pop(), wide], 1), block)
    return ops.softmax(convolve(image, network.head), 1), inputs


def _compare(network: UNet, compiled: Compiled) -> float:
    """Mean difference of the probabilities of a test image, over their own mean deviation."""
    side = 8 * network.step
    y, x = np.mgrid[:side, :side]
    lattice = np.cos(y / 2) * np.cos(x / 2.2)  # spots some 13 pixels apart
    noise = np.random.default_rng(0).standard_normal((1, network.n_inputs, side, side))
    image = (2 * lattice + 0.3 * noise).astype(np.float32)
    with torch.inference_mode():
        expected = torch.softmax(network(torch.from_numpy(image)), dim=1).numpy()
    deviation = np.abs(expected - expected.mean(axis=(2, 3), keepdims=True)).mean()
    return float(np.abs(compiled(image) - expected).mean() / max(deviation, 1e-6))
