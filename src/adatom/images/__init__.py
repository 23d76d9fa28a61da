"""Images: read, write, calibrate, normalize."""

from adatom.images.units import pixel_size

__all__ = ["pixel_size"]
