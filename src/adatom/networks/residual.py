"""The U-Net of residual blocks that is published for HRTEM."""

import torch
from torch import nn

N_CONVOLUTIONS = 5  # of a block


class ResidualUNet(nn.Module):
    """U-Net of residual blocks, whose skips are added, not concatenated.

    Parameters
    ----------
    n_outputs : int
        Maps of the result.
    widths : tuple of int
        Channels of each level, from fine to coarse.
    n_inputs : int
        Channels of the input image.

    Notes
    -----
    J. Madsen et al., Adv. Theory Simul. 1 (2018) 1800037 (arXiv 1802.03008), and M. H. L. Larsen et
    al., arXiv 2302.12629: five 3×3 convolutions a block, each followed by PReLU and batch
    normalization; maximum pooling; bilinear enlargement.
    """

    def __init__(self, n_outputs: int, widths: tuple[int, ...], n_inputs: int = 1):
        super().__init__()
        self.n_inputs = n_inputs
        self.step = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(
            _Block(a, b) for a, b in zip((n_inputs, *widths[:-1]), widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        pairs = list(zip(widths[1:], widths[:-1], strict=True))[::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairs)
        self.up = nn.ModuleList(_Block(b, b) for _, b in pairs)
        self.head = nn.Conv2d(widths[0], n_outputs, 1)

    @property
    def margin(self) -> int:
        """Pixels around a tile beyond which the input has no influence, a multiple of `step`."""
        n_levels = len(self.down)
        reach = sum(2 * N_CONVOLUTIONS * 2**level for level in range(n_levels - 1))
        reach += N_CONVOLUTIONS * 2 ** (n_levels - 1)
        reach += sum(3 * 2**level for level in range(n_levels - 1))  # pooling and enlargement
        return -(-reach // self.step) * self.step

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Maps of the result.

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
        for narrow, block in zip(self.narrow, self.up, strict=True):
            wide = nn.functional.interpolate(
                narrow(image), scale_factor=2.0, mode="bilinear", align_corners=False
            )
            image = block(wide + skips.pop())
        return self.head(image)


class _Block(nn.Module):
    """Convolutions whose last adds to the first."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.first = _convolve(n_in, n_out)
        self.rest = nn.Sequential(*(_convolve(n_out, n_out) for _ in range(N_CONVOLUTIONS - 1)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The first convolution, and what the others add to it."""
        image = self.first(image)
        return image + self.rest(image)


def _convolve(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.PReLU(), nn.BatchNorm2d(n_out))
