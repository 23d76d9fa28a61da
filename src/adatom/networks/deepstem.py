"""DeepSTEM: from an image, and the probe that took it, to the object function behind it."""

import itertools

import numpy as np
import torch
from torch import nn

from adatom.networks.probe_views import N_SEEN, look, view_probe

DARK, DIM = 2.5, 1.0  # object and background begin at about e^-2.5 and e^-1


class DeepSTEM(nn.Module):
    """Encoder-decoder whose object function, convolved with the probe, is the image.

    Parameters
    ----------
    widths : tuple of int
        Channels of each level, from fine to coarse.

    Notes
    -----
    After Lee et al., ACS Omega 6 (2021) 21623, whose layers are not public. The probe enters
    through what the network looks at (`probe_views.look`). The object function is that of the
    specimen at the resolution of the probe: each atom is a Gaussian no narrower than a quarter of
    the shortest period that the probe transfers. No layer normalizes: images of few and of many
    electrons have statistics of their own, which a batch would mix up.
    """

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.step = 2 ** (len(widths) - 1)
        pairs = list(itertools.pairwise(widths))
        self.enter = nn.Conv2d(N_SEEN, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(width) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.widen = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(_Block(a) for a, _ in pairs)
        self.head = nn.Conv2d(widths[0], 2, 3, padding=1)

    def forward(
        self, image: torch.Tensor, probe: torch.Tensor, read_noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Object function and background.

        Parameters
        ----------
        image : (B, H, W) tensor
            Electrons per pixel; H and W are multiples of `step`.
        probe : (B, P, P) tensor
            Share of a point's light in each pixel, P odd and at most 2 min(H, W) - 1, its axis in
            the middle.
        read_noise : (B,) tensor
            Of a pixel, rms, electrons.

        Returns
        -------
        object_function, background : (B, H, W) tensors
            Electrons per pixel, not negative: the image is expected to be the object function
            convolved by `reconvolve`, plus the background.
        """
        views = view_probe(probe, (image.shape[1], image.shape[2]))
        seen, scale = look(image, views, read_noise)
        drawn = self.draw(seen.contiguous(memory_format=torch.channels_last)).float()
        sharp = nn.functional.softplus(drawn[:, 0] - DARK)
        smooth = nn.functional.softplus(drawn[:, 1] - DIM)
        return scale * views.area / views.spot_area * sharp, scale * smooth

    def draw(self, seen: torch.Tensor) -> torch.Tensor:
        """Maps of object function and background before they are scaled.

        Parameters
        ----------
        seen : (B, 7, H, W) tensor
            Of `look`.

        Returns
        -------
        (B, 2, H, W) tensor
            Of any sign.
        """
        maps = self.down[0](self.enter(seen))
        skips = []
        for shrink, block in zip(self.shrink, self.down[1:], strict=True):
            skips.append(maps)
            maps = block(shrink(maps))
        for widen, block in reversed(list(zip(self.widen, self.up, strict=True))):
            wide = nn.functional.interpolate(widen(maps), scale_factor=2.0, mode="nearest")
            maps = block(wide + skips.pop())
        return self.head(maps)

    def draw_weights(self, rng: np.random.Generator) -> None:
        """First weights after He et al., ICCV 2015; what a block adds begins at zero.

        Parameters
        ----------
        rng : Generator
            Draws them.

        Notes
        -----
        Blocks that begin as the identity train without normalization: H. Zhang, Y. N. Dauphin and
        T. Ma, ICLR 2019 (arXiv 1901.09321).
        """
        silent = {id(self.head)} | {id(block.last) for block in (*self.down, *self.up)}
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    spread = 0.0 if id(layer) in silent else (2 / layer.weight[0].numel()) ** 0.5
                    drawn = spread * rng.standard_normal(tuple(layer.weight.shape))
                    layer.weight.copy_(torch.from_numpy(drawn))
                    if layer.bias is not None:
                        layer.bias.zero_()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class _Block(nn.Module):
    """Two convolutions that add to what goes in."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps of the same shape."""
        added = self.last(torch.relu(self.first(torch.relu(maps))))
        return maps + added
