"""A compact U-Net for pixel-wise class maps."""

import torch
from torch import nn


class UNet(nn.Module):
    """U-Net with batch normalization; output has the size of the input.

    Parameters
    ----------
    n_outputs : int
        Classes, background included.
    widths : tuple of int
        Channels of each level, from fine to coarse.
    n_inputs : int
        Channels of the input image.

    Notes
    -----
    After Ronneberger, Fischer and Brox, MICCAI 2015 (arXiv 1505.04597), with padded convolutions.
    """

    def __init__(self, n_outputs: int, widths: tuple[int, ...], n_inputs: int = 1):
        super().__init__()
        self.n_inputs = n_inputs
        self.step = 2 ** (len(widths) - 1)
        before = (n_inputs, *widths[:-1])
        self.down = nn.ModuleList(_double(a, b) for a, b in zip(before, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[1:], widths[:-1], strict=True))[::-1]
        self.widen = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.up = nn.ModuleList(_double(2 * b, b) for _, b in pairs)
        self.head = nn.Conv2d(widths[0], n_outputs, 1)

    @property
    def margin(self) -> int:
        """Pixels around a tile beyond which the input has no influence, a multiple of `step`."""
        n_levels = len(self.down)
        reach = sum(2 * 2 * 2**level for level in range(n_levels - 1)) + 2 * 2 ** (n_levels - 1)
        reach += sum(2 * 2**level for level in range(n_levels - 1))  # pooling and repetition
        return -(-reach // self.step) * self.step

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Class scores before softmax.

        Parameters
        ----------
        image : (B, n_inputs, H, W) tensor
            Normalized images; H and W are multiples of `step`.

        Returns
        -------
        (B, n_outputs, H, W) tensor
            Logits.
        """
        skips = []
        for level, block in enumerate(self.down):
            image = block(image if level == 0 else self.pool(image))
            skips.append(image)
        image = skips.pop()
        for widen, block in zip(self.widen, self.up, strict=True):
            image = nn.functional.interpolate(widen(image), scale_factor=2.0, mode="nearest")
            image = block(torch.cat([skips.pop(), image], dim=1))
        return self.head(image)


def _double(n_in: int, n_out: int) -> nn.Sequential:
    """Two 3×3 convolutions, each normalized and rectified."""
    layers: list[nn.Module] = []
    for n in (n_in, n_out):
        layers += [
            nn.Conv2d(n, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
