"""Run a network over an image of any size, tile by tile."""

from collections.abc import Callable

import numpy as np
import torch

from adatom.networks.compiled import Compiled
from adatom.networks.kinds import Network
from adatom.networks.precision import has_fast_bf16

TILE = 1024


def predict_classes(
    image: np.ndarray, network: Network, *, compiled: Compiled | None = None, tile: int = TILE
) -> np.ndarray:
    """Class probabilities of every pixel.

    Parameters
    ----------
    image : (H, W) float32 array
        Normalized image at the pixel size of the network.
    network : Module
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
    run = compiled if compiled and next(network.parameters()).device.type == "cpu" else None

    def see(part: np.ndarray) -> np.ndarray:
        return run(part)[0] if run else torch.softmax(_run_torch(part, network), 0).cpu().numpy()

    return _see_tiles(image[None], network, see, tile)


def predict_maps(images: np.ndarray, network: Network, *, tile: int = TILE) -> np.ndarray:
    """A map of each label from the images of a focal series.

    Parameters
    ----------
    images : (F, H, W) float32 array
        Normalized images at the pixel size of the network.
    network : Module
        In evaluation mode.
    tile : int
        As of `predict_classes`.

    Returns
    -------
    (C, H, W) float32 array
        0 to 1 at every pixel, near 1 at the columns of the label.
    """

    def see(part: np.ndarray) -> np.ndarray:
        return torch.sigmoid(_run_torch(part, network)).cpu().numpy()

    return _see_tiles(images, network, see, tile)


def _see_tiles(
    images: np.ndarray, network: Network, see: Callable[[np.ndarray], np.ndarray], tile: int
) -> np.ndarray:
    """Maps of all tiles, (C, H, W)."""
    height, width = images.shape[1:]
    step, margin = network.step, network.margin
    # Tiles of about the same size: a narrow one costs its margins all the same.
    tiles = [max(-(-n // -(-n // tile)) + step - 1, step) // step * step for n in (height, width)]
    lacking = [(0, 0), *((0, -n % step) for n in images.shape[1:])]
    padded = np.pad(images, lacking, mode="edge")[None]
    maps = np.empty((network.head.out_channels, height, width), np.float32)
    for top in range(0, height, tiles[0]):
        for left in range(0, width, tiles[1]):
            y0, x0 = max(top - margin, 0), max(left - margin, 0)
            part = padded[..., y0 : top + tiles[0] + margin, x0 : left + tiles[1] + margin]
            bottom, right = min(top + tiles[0], height), min(left + tiles[1], width)
            kept = see(part)[:, top - y0 : bottom - y0, left - x0 : right - x0]
            maps[:, top:bottom, left:right] = kept
    return maps


def _run_torch(part: np.ndarray, network: Network) -> torch.Tensor:
    """Logits of one tile, (C, H, W)."""
    device = next(network.parameters()).device
    images = torch.from_numpy(part).to(device).contiguous(memory_format=torch.channels_last)
    is_rounded = has_fast_bf16(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=is_rounded):
        return network(images)[0].float()
