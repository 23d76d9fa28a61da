"""The mixed-scale dense network."""

import numpy as np
import torch
from torch import nn

from adatom.networks.msd_blocks import Blocks


class MSDNet(nn.Module):
    """Mixed-scale dense network: each layer is one map, made from all maps before it.

    Parameters
    ----------
    n_outputs : int
        Maps of the result.
    depth : int
        Layers.
    n_inputs : int
        Channels of the input image.
    n_dilations : int
        Layer i (from 0) has dilation (i mod n_dilations) + 1.

    Notes
    -----
    D. M. Pelt and J. A. Sethian, PNAS 115 (2018) 254: one 3×3 convolution a layer, ReLU, borders
    mirrored with the edge pixel repeated, a linear combination of all maps at the end. On a CPU in
    blocks of ten layers: what all maps before a block bring to it is one matrix product.
    """

    step = 1

    def __init__(self, n_outputs: int, depth: int = 100, n_inputs: int = 1, n_dilations: int = 10):
        super().__init__()
        self.n_inputs = n_inputs
        self.dilations = tuple(i % n_dilations + 1 for i in range(depth))
        self.weights = nn.ParameterList(torch.empty(n_inputs + i, 3, 3) for i in range(depth))
        self.biases = nn.Parameter(torch.zeros(depth))
        self.head = nn.Conv2d(n_inputs + depth, n_outputs, 1)
        self.draw_weights(np.random.default_rng(0))

    @property
    def margin(self) -> int:
        """Pixels around a tile beyond which the input has no influence."""
        return sum(self.dilations)

    def draw_weights(self, rng: np.random.Generator) -> None:
        """First weights: normal, of variance 2 / (9 (n_inputs + depth - 1) + n_outputs); head 0."""
        spread = (2 / (9 * (self.n_inputs + len(self.weights) - 1) + self.head.out_channels)) ** 0.5
        with torch.no_grad():
            for weight in self.weights:
                weight.copy_(torch.from_numpy(spread * rng.standard_normal(weight.shape)))
            self.biases.zero_()
            self.head.weight.zero_()
            if self.head.bias is not None:
                self.head.bias.zero_()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps of the result.

        Parameters
        ----------
        image : (B, n_inputs, H, W) tensor
            Normalized images; H and W at least the largest dilation.

        Returns
        -------
        (B, n_outputs, H, W) tensor
            Logits.
        """
        if image.device.type != "cpu":
            return self.forward_naively(image)
        head = self.head.weight[:, :, 0, 0], self.head.bias
        with torch.autocast("cpu", enabled=False):  # loops in bfloat16 would not be faster
            return torch.stack(
                [
                    Blocks.apply(one, self.dilations, *head, self.biases, *self.weights)
                    for one in image
                ]
            )

    def forward_naively(self, image: torch.Tensor) -> torch.Tensor:
        """The same by one convolution a layer: for devices other than a CPU, and as a check."""
        maps = image
        for dilation, weight, bias in zip(self.dilations, self.weights, self.biases, strict=True):
            rows, columns = (
                torch.from_numpy(np.pad(np.arange(n), dilation, mode="symmetric")).to(image.device)
                for n in image.shape[-2:]
            )
            padded = maps[:, :, rows][:, :, :, columns]
            new = nn.functional.conv2d(padded, weight[None], bias[None], dilation=dilation)
            maps = torch.cat([maps, new.relu()], dim=1)
        return self.head(maps)
