"""How to restore, and from gray levels to electrons: what noise beyond the band limit says."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ImageError

LEAST_SPARE = 1.15  # of the highest frequency of the pixels over the band limit
MARGIN = 1.05  # over the band limit, from where on there is noise alone
LEVELS = 16
WHITE = (0.6, 1.6)  # power near the highest frequency over that near the band limit
WIDTH = 0.4  # Å, over which level and noise are averaged


class RestoreConfig(Config):
    """How an image becomes an object function."""

    method: Literal["deepstem", "wiener", "richardson-lucy", "total-variation"] = Field(
        "deepstem", description="Network, or classical method."
    )
    gain: float | None = Field(
        None, gt=0, description="Gray levels per electron (from the noise of the image)."
    )
    offset: float = Field(0.0, description="Gray level of no electron; where the gain is given.")
    read_noise: float = Field(0.0, ge=0, description="Noise of a pixel of no electrons, rms, e.")


RESTORE = RestoreConfig()


@dataclass(frozen=True)
class Gain:
    """How gray levels count electrons: level = offset + gain · electrons.

    Attributes
    ----------
    gain : float
        Gray levels per electron.
    offset : float
        Gray level of no electron.
    is_poisson : bool
        Whether the noise grows with the level, as that of electrons does; else gain and offset
        are such that noise and contrast agree on average.
    is_white : bool
        Whether the noise is about as strong at all frequencies, so that it is that of the detector
        and not what a filter left of it.
    """

    gain: float
    offset: float
    is_poisson: bool
    is_white: bool

    def count(self, image: np.ndarray) -> np.ndarray:
        """Electrons of gray levels, of any shape."""
        return (np.asarray(image, float) - self.offset) / self.gain


def fit_gain(image: np.ndarray, pixel_size: float, cutoff: float) -> Gain:
    """Find how gray levels count electrons, from one image.

    Parameters
    ----------
    image : (H, W) array
        Gray levels.
    pixel_size : float
        Å per pixel.
    cutoff : float
        Band limit 2α/λ of the probe, 1/Å: what varies faster is noise.

    Returns
    -------
    Gain
        Gain and offset.

    Raises
    ------
    ImageError
        If the pixels are too coarse to see noise beyond the band limit, or there is none.

    Notes
    -----
    The variance of the electrons is their mean: the variance of the noise beyond the band limit,
    scaled up to all frequencies, against the local mean, is a line of slope gain through the
    offset (J. R. Janesick, Photon Transfer, SPIE Press 2007, for one image and no flat field).
    """
    from scipy import fft, ndimage

    highest = 0.5 / pixel_size
    if highest < LEAST_SPARE * cutoff:
        raise ImageError(
            f"image: pixels of {pixel_size:.3g} Å hide the noise beyond the band limit of "
            f"{cutoff:.3g} 1/Å, which tells how gray levels count electrons; they must be at most "
            f"{0.5 / (LEAST_SPARE * cutoff):.3g} Å, or the gain be given"
        )
    image = np.asarray(image, float)
    ky, kx = (np.arange(n) / (2 * n * pixel_size) for n in image.shape)
    k = np.hypot(ky[:, None], kx)
    spectrum = fft.dctn(image, norm="ortho")
    is_noise = k > MARGIN * cutoff
    noise = fft.idctn(np.where(is_noise, spectrum, 0), norm="ortho")
    if not noise.any():
        raise ImageError("image: must have noise to tell its gain (got none beyond the band limit)")
    sigma = WIDTH / pixel_size
    mean = ndimage.gaussian_filter(image, sigma, mode="reflect")
    variance = ndimage.gaussian_filter(noise**2 / is_noise.mean(), sigma, mode="reflect")
    gain, offset, is_poisson = _fit_line(mean, variance)
    middle = (MARGIN * cutoff + highest) / 2
    power = [
        float(np.median(spectrum[is_noise & (k <= highest) & side] ** 2))
        for side in (k < middle, k >= middle)
    ]
    return Gain(gain, offset, is_poisson, WHITE[0] < power[1] / power[0] < WHITE[1])


def _fit_line(mean: np.ndarray, variance: np.ndarray) -> tuple[float, float, bool]:
    """Gain and offset of the line of variance against mean."""
    edges = np.quantile(mean, np.linspace(0, 1, LEVELS + 1)[1:-1])
    level = np.searchsorted(edges, mean.ravel())
    counts = np.bincount(level, minlength=LEVELS)
    known = counts > 0
    x, y = (
        np.bincount(level, values.ravel(), LEVELS)[known] / counts[known]
        for values in (mean, variance)
    )
    typical = float(y.mean())
    slope, constant = np.polyfit(x, y, 1, w=1 / np.maximum(y, 0.1 * typical))
    darkest = float(np.quantile(mean, 0.005))
    rise = slope * (x.max() - x.min())
    if rise > 0.3 * typical:
        # No electron is darker than the darkest place.
        return float(slope), float(min(-constant / slope, darkest)), True
    gain = typical / max(float(x.mean()) - darkest, 1e-12)
    return gain, darkest, False
