"""DeepSTEM: from an image, and the probe that took it, to the object function behind it."""

import itertools

import numpy as np
import torch
from torch import nn

from adatom.networks.probe_views import (
    N_SEEN,
    ProbeViews,
    look,
    match_probe,
    reconvolve,
    view_probe,
)

DARK, DIM = 2.5, 1.0  # object and background begin at about e^-2.5 and e^-1
SHY = 3.0  # what is taken from the electrons begins at about e^-3 of it
N_STEPS = 3  # toward the electrons, between first and second drawing
LEAST = 0.02  # of the scale of an image, that is expected everywhere
MOST = 4.0  # times as bright as first drawn
N_DRAWN = 4  # maps of the first drawing that the second sees


class DeepSTEM(nn.Module):
    """Encoder-decoders whose object function, convolved with the probe, is the image.

    Parameters
    ----------
    widths : tuple of int
        Channels of each level, from fine to coarse, of both of them.

    Notes
    -----
    After Lee et al., ACS Omega 6 (2021) 21623, whose layers are not public. The probe enters
    through what the network looks at (`probe_views.look`). The object function is that of the
    specimen at the resolution of the probe: each atom is a Gaussian no narrower than a quarter of
    the shortest period that the probe transfers. No layer normalizes: images of few and of many
    electrons have statistics of their own, which a batch would mix up.

    It draws twice. The first drawing is taken some steps of Richardson and Lucy toward the
    electrons; the second one sees by how much each place would become brighter, corrects the first
    and decides how much of that it believes (unrolled steps of the physics between networks: Monga,
    Li and Eldar, IEEE Signal Process. Mag. 38 (2021) 18).
    """

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.step = 2 ** (len(widths) - 1)
        self.first = _Pyramid(N_SEEN, 2, widths)
        self.second = _Pyramid(N_SEEN + N_DRAWN, 3, widths)

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
        unit = scale * views.area / views.spot_area
        first = self.first(seen.contiguous(memory_format=torch.channels_last)).float()
        sharp, smooth = unit * _lift(first[:, 0], DARK), scale * _lift(first[:, 1], DIM)
        ratio = follow_electrons(image, (sharp, smooth), views, LEAST * scale)
        drawn = torch.stack([sharp / unit, ratio * sharp / unit, smooth / scale], 1).asinh()
        seen = torch.cat([seen, drawn, ratio[:, None]], 1)
        second = self.second(seen.contiguous(memory_format=torch.channels_last)).float()
        sharp = unit * _lift(first[:, 0] + second[:, 0], DARK)
        smooth = scale * _lift(first[:, 1] + second[:, 1], DIM)
        believed = torch.sigmoid(second[:, 2] - SHY)
        return sharp * (1 + believed * (ratio - 1)), smooth

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
        silent = {id(part.head) for part in (self.first, self.second)}
        silent |= {id(block.last) for block in self.modules() if isinstance(block, _Block)}
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d):
                    spread = 0.0 if id(layer) in silent else (2 / layer.weight[0].numel()) ** 0.5
                    drawn = spread * rng.standard_normal(tuple(layer.weight.shape))
                    layer.weight.copy_(torch.from_numpy(drawn))
                    if layer.bias is not None:
                        layer.bias.zero_()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def follow_electrons(
    image: torch.Tensor,
    drawn: tuple[torch.Tensor, torch.Tensor],
    views: ProbeViews,
    least: torch.Tensor,
) -> torch.Tensor:
    """How much brighter the electrons ask each place of a drawing to be.

    Parameters
    ----------
    image : (B, H, W) tensor
        Electrons per pixel.
    drawn : (B, H, W) tensors
        Object function and background.
    views : ProbeViews
        Of the probe.
    least : (B, 1, 1) tensor
        Expected everywhere beside them, electrons per pixel.

    Returns
    -------
    (B, H, W) tensor
        Factor of the object function, 0 to 4, after three steps of Richardson and Lucy.
    """
    sharp, smooth = drawn
    ratio = torch.ones_like(sharp)
    for _ in range(N_STEPS):
        expected = (reconvolve(ratio * sharp, views) + smooth).clamp_min(0)
        lack = match_probe((image - expected) / (expected + least), views)
        ratio = (ratio * (1 + lack)).clamp(0, MOST)
    return ratio


def _lift(values: torch.Tensor, depth: float) -> torch.Tensor:
    return nn.functional.softplus(values - depth)


class _Pyramid(nn.Module):
    """Encoder-decoder whose levels are half as fine each."""

    def __init__(self, n_seen: int, n_drawn: int, widths: tuple[int, ...]):
        super().__init__()
        pairs = list(itertools.pairwise(widths))
        self.enter = nn.Conv2d(n_seen, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(width) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.widen = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(_Block(a) for a, _ in pairs)
        self.head = nn.Conv2d(widths[0], n_drawn, 3, padding=1)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Maps of any sign, as large as what it sees."""
        maps = self.down[0](self.enter(seen))
        skips = []
        for shrink, block in zip(self.shrink, self.down[1:], strict=True):
            skips.append(maps)
            maps = block(shrink(maps))
        for widen, block in reversed(list(zip(self.widen, self.up, strict=True))):
            wide = nn.functional.interpolate(widen(maps), scale_factor=2.0, mode="nearest")
            maps = block(wide + skips.pop())
        return self.head(maps)


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
