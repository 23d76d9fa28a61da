"""Lengths of every spelling to Å, and the pixel size of an image."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from adatom.core.errors import CalibrationError

if TYPE_CHECKING:
    import xarray as xr

ANGSTROMS = {
    "a": 1.0,
    "å": 1.0,
    "ang": 1.0,
    "angstrom": 1.0,
    "angstroms": 1.0,
    "ångström": 1.0,
    "ångstrom": 1.0,
    "pm": 0.01,
    "picometer": 0.01,
    "nm": 10.0,
    "nanometer": 10.0,
    "nanometers": 10.0,
    "um": 1e4,
    "μm": 1e4,
    "micron": 1e4,
    "microns": 1e4,
    "micrometer": 1e4,
    "mm": 1e7,
    "millimeter": 1e7,
    "cm": 1e8,
    "centimeter": 1e8,
    "m": 1e10,
    "meter": 1e10,
    "inch": 2.54e8,
}


def to_angstrom(length: float, unit: str) -> float | None:
    """Convert a length of any usual spelling to Å.

    Parameters
    ----------
    length : float
        Number in front of the unit.
    unit : str
        Unit as the file spells it: `nm`, `n_m`, `um`, `µm`, `Å`, `angstrom`, `m`, …

    Returns
    -------
    float or None
        The length in Å; None if the unit is not one of length (`1/nm`, `eV`, empty).

    Examples
    --------
    >>> to_angstrom(0.5, "n_m")
    5.0
    >>> to_angstrom(0.5, "1/nm") is None
    True
    """
    # Two code points look like µ, and two ways of writing look like Å.
    spelled = unit.strip().replace("µ", "μ").replace("\u212b", "Å").replace("_", "").lower()
    spelled = spelled.replace("a\u030a", "å").replace("metre", "meter")
    if spelled == "\\u00b5m":
        spelled = "um"
    factor = ANGSTROMS.get(spelled)
    return None if factor is None else length * factor


def pixel_size(image: "xr.DataArray") -> tuple[float, float]:
    """Pixel size of a calibrated image.

    Parameters
    ----------
    image : DataArray
        Image or movie with coordinates y and x in Å.

    Returns
    -------
    tuple of float
        Å per pixel along y and along x.

    Raises
    ------
    CalibrationError
        If the image has no coordinates, or they are not evenly spaced.
    """
    source = image.attrs.get("source", "image")
    sizes = []
    for name in ("y", "x"):
        if name not in image.coords or image.sizes[name] < 2:
            raise CalibrationError(
                f"{source}: the pixel size is not known; give it with --pixel-size (Å), or name "
                "the material with --material so that the lattice gives it"
            )
        places = np.asarray(image.coords[name], float)
        step = float(places[-1] - places[0]) / (len(places) - 1)
        even = places[0] + step * np.arange(len(places))
        if not (math.isfinite(step) and step > 0 and np.allclose(places, even, atol=0.01 * step)):
            raise CalibrationError(
                f"{source}: coordinate {name} must grow in even steps (mean step {step:g} Å)"
            )
        sizes.append(step)
    return sizes[0], sizes[1]


def set_pixel_size(image: "xr.DataArray", sizes: Sequence[float]) -> "xr.DataArray":
    """Give an image another pixel size, or its first.

    Parameters
    ----------
    image : DataArray
        Image or movie.
    sizes : sequence of float
        Å per pixel along y and x.

    Returns
    -------
    DataArray
        With coordinates y, x in Å: a crop begins at the same pixel as before, an image without
        coordinates at 0.
    """
    coords = {}
    for name, size in zip(("y", "x"), sizes, strict=True):
        old = image.coords.get(name)
        step = 1.0 if old is None else float(old[-1] - old[0]) / (old.size - 1)
        places = np.arange(image.sizes[name]) if old is None else old.to_numpy() / step
        coords[name] = (name, size * places, {"units": "angstrom"})
    return image.assign_coords(coords)


def pick_image(image: "xr.DataArray") -> "xr.DataArray":
    """The image that stands for all: of a focal series the middle one, of a movie the first.

    Parameters
    ----------
    image : DataArray
        Dims (y, x), (frame, y, x) or (focus, y, x).

    Returns
    -------
    DataArray
        Dims (y, x).
    """
    if "focus" in image.dims:
        return image.isel(focus=image.sizes["focus"] // 2)
    return image.isel(frame=0) if "frame" in image.dims else image
