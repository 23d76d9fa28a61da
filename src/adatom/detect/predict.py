"""Run a network over an image of any size, tile by tile."""

import numpy as np
import torch

from adatom.networks.compiled import Compiled
from adatom.networks.precision import has_fast_bf16
from adatom.networks.unet import UNet

TILE = 1024


def predict_classes(
    image: np.ndarray, network: UNet, *, compiled: Compiled | None = None, tile: int = TILE
) -> np.ndarray:
    """Class probabilities of every pixel.

    Parameters
    ----------
    image : (H, W) float32 array
        Normalized image at the pixel size of the network.
    network : UNet
        In evaluation mode.
    compiled : callable, optional
        The same network compiled for the CPU; runs in its place while that is on the CPU.
    tile : int
        Largest height and width of the part of a tile that is kept, pixels. The result does not
        depend on it: every tile sees as much beyond its edge as the network can.

    Returns
    -------
    (n_classes, H, W) float32 array
        Probabilities that sum to 1; class 0 is the background.
    """
    height, width = image.shape
    step, margin = network.step, network.margin
    tile = max(tile // step, 1) * step
    lacking = [(0, -n % step) for n in image.shape]
    padded = np.pad(image, lacking, mode="edge")[None, None]
    run = compiled if compiled and next(network.parameters()).device.type == "cpu" else None
    probabilities = np.empty((network.head.out_channels, height, width), np.float32)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            y0, x0 = max(top - margin, 0), max(left - margin, 0)
            part = padded[..., y0 : top + tile + margin, x0 : left + tile + margin]
            scores = run(part)[0] if run else _run_torch(part, network)
            bottom, right = min(top + tile, height), min(left + tile, width)
            kept = scores[:, top - y0 : bottom - y0, left - x0 : right - x0]
            probabilities[:, top:bottom, left:right] = kept
    return probabilities


def _run_torch(part: np.ndarray, network: UNet) -> np.ndarray:
    """Class probabilities of one tile, (n_classes, H, W)."""
    device = next(network.parameters()).device
    images = torch.from_numpy(part).to(device).contiguous(memory_format=torch.channels_last)
    is_rounded = has_fast_bf16(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=is_rounded):
        return torch.softmax(network(images)[0].float(), dim=0).cpu().numpy()
