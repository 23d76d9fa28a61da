"""The mean of many cuts of an image, and how much they differ."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import xarray as xr
from scipy.ndimage import map_coordinates

from adatom.analyze.placement import Placement

N_ROUNDS = 3  # of the mean, and the gain and weight of every image by it


def average_images(
    read: Callable[[], Iterable[xr.DataArray]],
    placements: list[Placement],
    symmetries: list[Placement],
    *,
    step: float,
    radius: float,
) -> xr.Dataset:
    """Average images laid over each other: each has gain and offset of the mean, and its weight.

    Parameters
    ----------
    read : callable
        Gives the images, dims y, x (Å from the middle), NaN where they end; called three times.
    placements : list of Placement
        How each lies over the mean.
    symmetries : list of Placement
        How the mean lies over itself: it is averaged over these.
    step : float
        Pixel of the mean, Å.
    radius : float
        Of the circle that is averaged, Å.

    Returns
    -------
    Dataset
        `mean` and `spread` (from image to image) over dims y, x (Å); NaN outside.
    """
    half = int(radius / step)
    axis = step * np.arange(-half, half + 1)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    inside = np.hypot(*np.moveaxis(grid, -1, 0)) < radius
    mean = np.full(inside.shape, np.nan)
    for _ in range(N_ROUNDS):
        weight, total, squares = (np.zeros(inside.shape) for _ in range(3))
        for image, placement in zip(read(), placements, strict=True):
            values, strength = _match_gain(sample_image(image, placement.undo(grid)), mean, inside)
            is_there = np.isfinite(values)
            weight += strength * is_there
            total += np.where(is_there, strength * values, 0)
            squares += np.where(is_there, strength * values**2, 0)
        known = np.where(weight > 0, weight, np.nan)
        mean = total / known
        variance = squares / known - mean**2
    around = [xr.DataArray(part, dims=("y", "x"), coords={"y": axis, "x": axis})
              for part in (mean, variance + mean**2)]  # fmt: skip
    sums = []
    for part in around:
        ways = [sample_image(part, symmetry.undo(grid)) for symmetry in symmetries]
        sums.append(np.ma.masked_invalid(ways).mean(axis=0).filled(np.nan))
    mean, spread = sums[0], np.sqrt(np.maximum(sums[1] - sums[0] ** 2, 0))
    parts = {"mean": mean, "spread": spread}
    return xr.Dataset(
        {name: (("y", "x"), np.where(inside, part, np.nan)) for name, part in parts.items()},
        coords={name: (name, axis, {"units": "angstrom"}) for name in ("y", "x")},
    )


def sample_image(image: xr.DataArray, places: np.ndarray) -> np.ndarray:
    """Values of an image between its pixels.

    Parameters
    ----------
    image : DataArray
        Dims y, x with even coordinates, Å; may hold NaN.
    places : (..., 2) array
        [y, x], Å.

    Returns
    -------
    (...) array
        By cubic splines; NaN outside, and beside NaN.
    """
    values = image.to_numpy()
    origin = np.array([float(image["y"][0]), float(image["x"][0])])
    step = np.array([float(image[name][1] - image[name][0]) for name in ("y", "x")])
    index = np.moveaxis((places - origin) / step, -1, 0)
    is_there = np.isfinite(values)
    filled = np.where(is_there, values, np.median(values[is_there]))
    found = map_coordinates(filled, index, order=3, mode="nearest")
    known = map_coordinates(is_there.astype(float), index, order=1, cval=0.0)
    return np.where(known > 0.99, found, np.nan)


def _match_gain(
    values: np.ndarray, mean: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, float]:
    """Bring an image to gain and offset of the mean, and weigh it by what it tells.

    Alone it gets mean 0 and deviation 1. What does not look like the mean has weight 0.
    """
    values = np.where(inside, values, np.nan)
    both = np.isfinite(values) & np.isfinite(mean)
    if not both.any():
        return (values - np.nanmean(values)) / max(float(np.nanstd(values)), 1e-30), 1.0
    gain, offset = np.polyfit(mean[both], values[both], 1)  # the mean has the lesser noise
    noise = float(np.var(values[both] - gain * mean[both] - offset))
    if gain <= 0:
        return np.full(values.shape, np.nan), 0.0
    return (values - offset) / gain, gain**2 / max(noise, 1e-6 * gain**2)


def scale_image(image: xr.Dataset, atoms: pd.DataFrame) -> xr.Dataset:
    """Scale a mean image.

    Parameters
    ----------
    image : Dataset
        Of `average_images`.
    atoms : DataFrame
        `x`, `y` (Å), `label`, `is_member`.

    Returns
    -------
    Dataset
        1 at the atoms around the defect of the label that differs most from the background, -1 if
        they are dark; the background, 0, is where they differ most from.
    """
    around = atoms[~atoms["is_member"]] if (~atoms["is_member"]).any() else atoms
    middle = float(image["mean"].median())
    levels = [
        float(np.nanmedian(sample_image(image["mean"], mine[["y", "x"]].to_numpy())))
        for _, mine in around.groupby("label")
    ]
    high = max(levels, key=lambda level: abs(level - middle))
    low = float(image["mean"].quantile(0.01 if high > middle else 0.99))
    height = abs(high - low)
    return xr.Dataset({"mean": (image["mean"] - low) / height, "spread": image["spread"] / height})
