"""The linear image model on a grid that reaches beyond the image."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, signal

from adatom.core.errors import ImageError
from adatom.networks.probe_views import WIDTH

Shape = tuple[int, int]
MOST_SHARPENING = 2 * (np.pi * WIDTH) ** 2  # exponent, at the highest frequency that counts


@dataclass(frozen=True)
class LinearImaging:
    """Convolution of an object with a probe, seen through the window of the image.

    The object's grid is larger than the image by the probe, so that atoms just outside the image
    shed light into it, and nothing wraps around.

    Attributes
    ----------
    transfer : (H', W'') complex array
        Fourier transform of the probe on the object's grid.
    image_shape, probe_shape, grid_shape : (int, int)
        Height and width, px.
    """

    transfer: np.ndarray
    image_shape: Shape
    probe_shape: Shape
    grid_shape: Shape

    @classmethod
    def from_probe(cls, probe: np.ndarray, image_shape: Shape) -> "LinearImaging":
        """The model of images of a shape, by the image of a point as of `make_point_image`."""
        height, width = (
            fft.next_fast_len(n + m - 1, real=True)
            for n, m in zip(image_shape, probe.shape, strict=True)
        )
        transfer = fft.rfft2(probe, (height, width))
        return cls(transfer, image_shape, (probe.shape[0], probe.shape[1]), (height, width))

    def apply(self, grid: np.ndarray) -> np.ndarray:
        """Image (H, W) of an object on the grid (H', W')."""
        image = fft.irfft2(fft.rfft2(grid) * self.transfer, self.grid_shape)
        return image[self._window()]

    def transpose(self, image: np.ndarray) -> np.ndarray:
        """Adjoint of `apply`: what each cell of the grid (H', W') shares with an image (H, W)."""
        padded = np.zeros(self.grid_shape)
        padded[self._window()] = image
        return fft.irfft2(fft.rfft2(padded) * self.transfer.conj(), self.grid_shape)

    def crop(self, grid: np.ndarray) -> np.ndarray:
        """The part (H, W) of the grid that the image shows."""
        corner = (n - 1 - n // 2 for n in self.probe_shape)
        return grid[tuple(slice(c, c + n) for c, n in zip(corner, self.image_shape, strict=True))]

    def _window(self) -> tuple[slice, ...]:
        return tuple(
            slice(m - 1, m - 1 + n) for m, n in zip(self.probe_shape, self.image_shape, strict=True)
        )


@dataclass(frozen=True)
class Restoration:
    """An object function and the image that it stands for.

    Attributes
    ----------
    object_function : (H, W) array
        Scattering of each pixel, in the units of the image: the sum over an atom is the number of
        electrons that it scattered to the detector.
    reconvolved : (H, W) array
        What the image should be: object convolved with the image of a point, plus background.
    background : (H, W) array or float
        What comes from no column.
    n_iterations : int
        Iterations that were run; 1 where there are none.
    weight : float or None
        Weight of the total variation where there is one.
    spot_px : float
        Standard deviation of the Gaussian through which the object function is seen, pixels.
    """

    object_function: np.ndarray
    reconvolved: np.ndarray
    background: np.ndarray | float = 0.0
    n_iterations: int = 1
    weight: float | None = None
    spot_px: float = 0.0

    def sharpen(self) -> np.ndarray:
        """The object function without that Gaussian, as far as the probe transfers, (H, W)."""
        if self.spot_px == 0:
            return self.object_function
        ky, kx = (np.arange(n) / (2 * n) for n in self.object_function.shape)
        square = 2 * (np.pi * self.spot_px) ** 2 * (ky[:, None] ** 2 + kx**2)
        gain = np.exp(np.minimum(square, MOST_SHARPENING))
        spectrum = fft.dctn(self.object_function, norm="ortho")
        return fft.idctn(spectrum * gain, norm="ortho")


def show_object(
    object_function: np.ndarray, background: np.ndarray | float, spot: np.ndarray
) -> np.ndarray:
    """What another lens would show of a restored object.

    Parameters
    ----------
    object_function : (H, W) array
        Goes on by reflection.
    background : (H, W) array or float
        What comes from no column, whatever the lens.
    spot : (P, P) array
        Image of a point by that lens, P odd.

    Returns
    -------
    (H, W) array
        Its image without noise.
    """
    half = spot.shape[0] // 2
    mode = "reflect" if half < min(object_function.shape) else "edge"
    padded = np.pad(object_function, half, mode=mode)  # type: ignore[call-overload]
    return signal.fftconvolve(padded, spot, mode="valid") + background


def check_image_and_probe(image: np.ndarray, probe: np.ndarray) -> None:
    """Refuse what is no image, or no probe.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel, or gray levels.
    probe : (h, w) array
        Image of a point, its center at pixel [h//2, w//2].

    Raises
    ------
    ImageError
        If the image is not of finite numbers along two axes, or the probe not of numbers from 0
        on whose sum is 1.
    """
    if image.ndim != 2 or not np.isfinite(image).all():
        raise ImageError(f"image: must be finite, with axes y, x (got shape {image.shape})")
    lowest, total = float(probe.min(initial=0)), float(probe.sum())
    if probe.ndim != 2 or not np.isfinite(total) or abs(total - 1) > 1e-3 or lowest < -1e-6:
        raise ImageError(
            f"probe: must not be negative, with axes y, x and sum 1 (got shape {probe.shape}, "
            f"sum {total:.4g}, minimum {lowest:.3g})"
        )
