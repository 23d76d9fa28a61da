"""Bring an image to another pixel size."""

import numpy as np
import xarray as xr
from scipy import ndimage

LARGEST_SHOWN = 4096  # pixels along an axis of an image that is drawn


def resample_image(
    values: np.ndarray, pixel_size: tuple[float, float], target: float
) -> np.ndarray:
    """Resample an image to square pixels of a given size.

    Parameters
    ----------
    values : (H, W) array
        Image, indexed [y, x].
    pixel_size : tuple of float
        Å per pixel along y and x.
    target : float
        Å per pixel of the result.

    Returns
    -------
    (h, w) float32 array
        Pixel [0, 0] keeps its place: pixel i of the result lies at i·target/pixel_size of the
        input. Finer images are averaged over the new pixel first.

    Examples
    --------
    >>> resample_image(np.ones((10, 10)), (0.1, 0.1), 0.2).shape
    (5, 5)
    """
    values = np.asarray(values, np.float32)
    scale = np.array([target / size for size in pixel_size])
    shape = tuple(
        max(int(np.floor((n - 1) / s + 1e-6)) + 1, 1)
        for n, s in zip(values.shape, scale, strict=True)
    )
    if np.allclose(scale, 1, atol=0.5 / max(values.shape)):
        return values
    # A pixel of the result averages over its area: the width that its box adds to the old one.
    blur = np.sqrt(np.maximum(scale**2 - 1, 0) / 12)
    if blur.max() > 0.1:
        values = ndimage.gaussian_filter(values, blur, truncate=3, mode="nearest")
    return ndimage.affine_transform(values, scale, output_shape=shape, order=1, mode="nearest")


def shrink_image(image: xr.DataArray) -> xr.DataArray:
    """Average blocks of pixels of a large image, so that it can be drawn.

    Parameters
    ----------
    image : DataArray
        Dims (y, x) with coordinates in Å; lazy ones are read block by block.

    Returns
    -------
    DataArray
        In memory, at most 4096 pixels along an axis, with the coordinates of the block centers.
    """
    step = -(-max(image.shape) // LARGEST_SHOWN)
    if step == 1:
        return image.load()
    steps = {name: max(min(step, n // 2), 1) for name, n in image.sizes.items()}
    blocks = image.astype(np.float32).coarsen(steps, boundary="trim").mean()
    return blocks.assign_attrs(image.attrs).compute()
