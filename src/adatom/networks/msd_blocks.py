"""The mixed-scale dense network on a CPU: blocks of layers, and their gradient by hand.

What all maps before a block bring to its layers is one matrix product of (layers × 9 taps) by maps,
band of rows after band; only what the maps of a block bring to each other is added one by one.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from adatom.core.threads import share_out
from adatom.networks.msd_kernels import add_taps, finish_layer, spread_layer, weigh_layer

BLOCK = 10  # layers
BAND = 128  # rows of a matrix product
FEWEST = 16  # rows of a thread


class Blocks(torch.autograd.Function):
    """One image through all layers, as a function that torch can differentiate.

    `Blocks.apply(image, dilations, head, offset, biases, *weights)` takes a (C, H, W) image, the
    dilation of each of d layers, (O, C + d) weights and (O,) offsets of the result, (d,) biases,
    and (C + i, 3, 3) weights of each layer i; gives (O, H, W).
    """

    @staticmethod
    def forward(  # noqa: PLR0917
        ctx: Any,
        image: torch.Tensor,
        dilations: tuple[int, ...],
        head: torch.Tensor,
        offset: torch.Tensor,
        biases: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        """All maps, and their combination."""
        pad = max(dilations)
        n_inputs, height, width = image.shape
        maps = image.new_empty((n_inputs + len(weights), height + 2 * pad, width + 2 * pad))
        for i in range(n_inputs):
            _surround(maps[i], image[i], pad)
        for layers in _blocks(len(weights)):
            n_early = n_inputs + layers.start
            steps = [dilations[i] for i in layers]
            sums = _add_early(maps[:n_early], _gather(weights, layers, n_early), steps, pad)
            for i, own in zip(layers, sums, strict=True):
                late = maps[n_early : n_inputs + i]
                _finish(own, late, weights[i][n_early:], float(biases[i]), dilations[i])
                _surround(maps[n_inputs + i], own, pad)
        ctx.dilations = dilations
        ctx.save_for_backward(maps, head, *weights)
        result = (head @ maps.flatten(1)).view(-1, *maps.shape[1:])
        return result[:, pad : pad + height, pad : pad + width] + offset[:, None, None]

    @staticmethod
    def backward(ctx: Any, *changes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of image, head, offset, biases and weights."""
        maps, head, *weights = ctx.saved_tensors
        dilations, pad, change = ctx.dilations, max(ctx.dilations), changes[0]
        n_inputs, (height, width) = len(maps) - len(weights), change.shape[1:]
        inside = slice(pad, pad + height), slice(pad, pad + width)
        grown = maps.new_zeros(maps.shape)  # gradients of the padded maps
        grown[:, *inside] = torch.einsum("om,oyx->myx", head, change)
        of_head = torch.einsum("oyx,myx->om", change, maps[:, *inside])
        of_biases = maps.new_empty(len(weights))
        of_weights = [torch.zeros_like(weight) for weight in weights]
        for layers in list(_blocks(len(weights)))[::-1]:
            n_early = n_inputs + layers.start
            surrounded = maps.new_zeros((len(layers), height + 4 * pad, width + 4 * pad))
            for i in reversed(layers):
                n = n_inputs + i
                own = surrounded[i - layers.start]
                _fold(grown[n], pad)
                own[2 * pad :, 2 * pad :][:height, :width] = grown[n][inside] * (
                    maps[n][inside] > 0
                )
                of_biases[i] = own.sum()
                of_weights[i][n_early:] = _go_back(
                    own, weights[i][n_early:], dilations[i], maps[n_early:n], grown[n_early:n]
                )
            early = _gather(weights, layers, n_early)
            found = maps.new_zeros((len(layers) * 9, n_early))
            steps = [dilations[i] for i in layers]
            for top, bottom in _bands(height + 2 * pad):
                taps = _look_back(surrounded, steps, pad, top, bottom).flatten(2).flatten(0, 1)
                grown[:n_early, top:bottom] += (early.T @ taps).view(n_early, bottom - top, -1)
                found += taps @ maps[:n_early, top:bottom].reshape(n_early, -1).T
            for i, part in zip(layers, found.view(len(layers), 9, n_early), strict=True):
                of_weights[i][:n_early] = part.T.reshape(n_early, 3, 3)
        for i in range(n_inputs):
            _fold(grown[i], pad)
        of_image = grown[:n_inputs, *inside].contiguous()
        return of_image, None, of_head, change.sum((1, 2)), of_biases, *of_weights


def _blocks(n_layers: int) -> Iterator[range]:
    for start in range(0, n_layers, BLOCK):
        yield range(start, min(start + BLOCK, n_layers))


def _bands(n_rows: int) -> Iterator[tuple[int, int]]:
    for top in range(0, n_rows, BAND):
        yield top, min(top + BAND, n_rows)


def _gather(weights: Any, layers: range, n_early: int) -> torch.Tensor:
    """Weights of the maps before a block, (layers × 9, n_early)."""
    parts = [weights[i][:n_early].reshape(n_early, 9).T for i in layers]
    return torch.cat(parts).contiguous()


def _add_early(
    maps: torch.Tensor, early: torch.Tensor, dilations: list[int], pad: int
) -> torch.Tensor:
    """What the maps before a block bring to its layers, (L, H, W)."""
    height, width = maps.shape[1] - 2 * pad, maps.shape[2] - 2 * pad
    sums = maps.new_empty((len(dilations), height, width))
    steps, found = np.array(dilations), sums.numpy()
    space = maps.new_empty(len(early) * (min(BAND, height) + 2 * pad) * (width + 2 * pad))
    for top, bottom in _bands(height):
        band = maps[:, top : bottom + 2 * pad].flatten(1)
        product = space[: len(early) * band.shape[1]].view(len(early), -1)
        torch.mm(early, band, out=product)
        taps = product.view(len(dilations), 9, -1, width + 2 * pad).numpy()

        def add(first: int, end: int, taps: np.ndarray = taps, top: int = top) -> None:
            add_taps(taps, steps, pad, found, top, top + first, top + end)

        share_out(add, bottom - top, fewest=FEWEST)
    return sums


def _finish(
    own: torch.Tensor, late: torch.Tensor, weight: torch.Tensor, bias: float, dilation: int
) -> None:
    """Add what the maps of its block bring to a layer, and rectify it."""
    pad = (late.shape[1] - own.shape[0]) // 2
    arrays = own.numpy(), late.numpy(), weight.reshape(-1, 9).numpy()
    share_out(
        lambda first, end: finish_layer(*arrays, bias, dilation, pad, first, end),
        len(own),
        fewest=FEWEST,
    )


def _surround(padded: torch.Tensor, inner: torch.Tensor, pad: int) -> None:
    """Write a map into its padded place, mirrored at the borders with the edge repeated."""
    height, width = inner.shape
    padded[pad : pad + height, pad : pad + width] = inner
    rows = padded[pad : pad + height]
    rows[:, :pad] = inner[:, :pad].flip(1)
    rows[:, pad + width :] = inner[:, width - pad :].flip(1)
    padded[:pad] = rows[:pad].flip(0)
    padded[pad + height :] = rows[height - pad :].flip(0)


def _fold(grown: torch.Tensor, pad: int) -> None:
    """Add the gradient of mirrored pixels to that of the pixels that they mirror."""
    height, width = (n - 2 * pad for n in grown.shape)
    grown[pad : 2 * pad] += grown[:pad].flip(0)
    grown[height : pad + height] += grown[pad + height :].flip(0)
    rows = grown[pad : pad + height]
    rows[:, pad : 2 * pad] += rows[:, :pad].flip(1)
    rows[:, width : pad + width] += rows[:, pad + width :].flip(1)


def _go_back(
    own: torch.Tensor,
    weight: torch.Tensor,
    dilation: int,
    late: torch.Tensor,
    grown: torch.Tensor,
) -> torch.Tensor:
    """Gradient of a layer's weights of the maps of its block, whose gradients it adds to."""
    if not len(late):
        return torch.zeros_like(weight)
    pad = (own.shape[0] - late.shape[1]) // 2
    found = np.empty((len(late), 9))
    change, taps = own.numpy(), weight.reshape(-1, 9).numpy()
    read, changed = late.numpy(), grown.numpy()
    share_out(
        lambda first, end: weigh_layer(change, read, dilation, pad, found, first, end),
        len(late),
        fewest=1,
    )
    share_out(
        lambda first, end: spread_layer(change, taps, dilation, pad, changed, first, end),
        grown.shape[1],
        fewest=FEWEST,
    )
    return torch.from_numpy(found).to(weight.dtype).view_as(weight)


def _look_back(
    surrounded: torch.Tensor, dilations: list[int], pad: int, top: int, bottom: int
) -> torch.Tensor:
    """Gradients of layers as each tap sees them from padded rows, (L, 9, R, W + 2 pad)."""
    width = surrounded.shape[2] - 2 * pad
    taps = surrounded.new_empty((len(dilations), 9, bottom - top, width))
    for layer, dilation in enumerate(dilations):
        for k in range(9):
            below, aside = pad - (k // 3 - 1) * dilation, pad - (k % 3 - 1) * dilation
            taps[layer, k] = surrounded[layer, top + below : bottom + below, aside : aside + width]
    return taps
