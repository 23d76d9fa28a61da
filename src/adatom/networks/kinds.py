"""Kinds of networks, as configurations."""

from typing import Annotated, Literal

from pydantic import Field

from adatom.core.config import Config
from adatom.networks.msdnet import MSDNet
from adatom.networks.residual import ResidualUNet
from adatom.networks.unet import UNet

Width = Annotated[int, Field(ge=1, le=1024)]


class UNetConfig(Config):
    """Compact U-Net."""

    kind: Literal["unet"] = Field(description="Compact U-Net.")
    widths: tuple[Width, ...] = Field(
        (16, 32, 64, 128), min_length=2, max_length=6, description="Channels per level."
    )

    @property
    def step(self) -> int:
        """Pixels that the sides of an image are a multiple of."""
        return 2 ** (len(self.widths) - 1)


class ResidualUNetConfig(Config):
    """U-Net of residual blocks with added skips, as published for HRTEM."""

    kind: Literal["residual"] = Field(description="U-Net of residual blocks.")
    widths: tuple[Width, ...] = Field(
        (32, 64, 128, 256), min_length=2, max_length=6, description="Channels per level."
    )

    @property
    def step(self) -> int:
        """Pixels that the sides of an image are a multiple of."""
        return 2 ** (len(self.widths) - 1)


class MSDNetConfig(Config):
    """Mixed-scale dense network."""

    kind: Literal["msdnet"] = Field(description="Mixed-scale dense network.")
    depth: int = Field(100, ge=1, le=500, description="Layers.")

    @property
    def step(self) -> int:
        """Pixels that the sides of an image are a multiple of."""
        return 1


class DeepSTEMConfig(Config):
    """Encoder-decoder that restores object functions."""

    kind: Literal["deepstem"] = Field(description="Encoder-decoder for object functions.")
    widths: tuple[Width, ...] = Field(
        (24, 48, 96), min_length=2, max_length=6, description="Channels per level."
    )

    @property
    def step(self) -> int:
        """Pixels that the sides of an image are a multiple of."""
        return 2 ** (len(self.widths) - 1)


NetworkConfig = Annotated[
    UNetConfig | ResidualUNetConfig | MSDNetConfig, Field(discriminator="kind")
]
Network = UNet | ResidualUNet | MSDNet


def make_network(config: NetworkConfig, n_inputs: int, n_outputs: int) -> Network:
    """Make a network with fresh weights.

    Parameters
    ----------
    config : NetworkConfig
        Its kind and size.
    n_inputs, n_outputs : int
        Channels of the image, and maps of the result.

    Returns
    -------
    Module
        From (B, n_inputs, H, W) to (B, n_outputs, H, W).
    """
    if isinstance(config, MSDNetConfig):
        return MSDNet(n_outputs, config.depth, n_inputs)
    if isinstance(config, ResidualUNetConfig):
        return ResidualUNet(n_outputs, config.widths, n_inputs)
    return UNet(n_outputs, config.widths, n_inputs)
