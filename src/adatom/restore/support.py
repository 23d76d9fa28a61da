"""What an image says of an object function: the part beyond its band limit, and the residual."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field
from scipy import fft, signal, stats

from adatom.core.config import Config
from adatom.core.errors import ConfigError, ImageError
from adatom.restore.imaging import check_image_and_probe

_LEAST_MEAN = 1e-3  # electrons; so that a pixel of less is not taken for one of no noise
_TESTS = 3
_TINY = 1e-12


@dataclass(frozen=True)
class Band:
    """An object function, split where the probe stops to transfer.

    Attributes
    ----------
    inside : (H, W) array
        What the image could measure.
    beyond : (H, W) array
        What came from prior knowledge alone; the two add up to the object function.
    share_beyond : float
        Share of the variance of the object function that lies beyond.
    """

    inside: np.ndarray
    beyond: np.ndarray
    share_beyond: float


def split_band(object_function: np.ndarray, pixel_size: float, cutoff: float) -> Band:
    """Split an object function at the band limit of the probe.

    Parameters
    ----------
    object_function : (H, W) array
        The object function, indexed [y, x].
    pixel_size : float
        Å per pixel.
    cutoff : float
        Band limit 2α/λ, 1/Å, for convergence semi-angle α and wavelength λ.

    Returns
    -------
    Band
        Its parts.

    Raises
    ------
    ConfigError
        If pixel size or cutoff are not above 0.

    Notes
    -----
    By cosine transforms, which continue the image by reflection: the jump from one border to the
    other, which a Fourier transform sees, would count as power beyond.
    """
    for name, value in (("pixel_size", pixel_size), ("cutoff", cutoff)):
        if not 0 < value < np.inf:
            raise ConfigError(f"{name}: must be a number above 0 (got {value})")
    ky, kx = (np.arange(n) / (2 * n * pixel_size) for n in object_function.shape)
    spectrum = fft.dctn(object_function, norm="ortho")
    is_inside = np.hypot(ky[:, None], kx) <= cutoff
    inside = fft.idctn(np.where(is_inside, spectrum, 0), norm="ortho")
    power = spectrum**2
    power[0, 0] = 0
    total = float(power.sum())
    share = float(power[~is_inside].sum()) / total if total > 0 else 0.0
    return Band(inside, object_function - inside, share)


class SupportConfig(Config):
    """Noise of the image, and how sure a contradiction must be."""

    read_noise: float = Field(0.0, ge=0, description="Noise of a pixel of no electrons, rms, e.")
    level: float = Field(
        0.01, gt=0, lt=1, description="Share of right results that may be called unsupported."
    )


SUPPORT = SupportConfig()


@dataclass(frozen=True)
class Support:
    """How an image and what it should be by a result agree.

    Attributes
    ----------
    residual : (H, W) array
        Image minus expectation, in standard deviations of the noise.
    reduced_chi_square : float
        Mean square of the residual, 1 on average where the expectation is right; pixels count by
        how well they tell it.
    autocorrelation : float
        Mean correlation of the residual with its neighborhood, weighted as the probe correlates
        neighbors; 0 on average where the expectation is right.
    largest_local : float
        Least likely excess (+) or lack (-) of electrons in a window of the probe's shape, in
        standard deviations.
    p_chi_square, p_autocorrelation, p_local : float
        Chance of values at least as large if the expectation is right.
    is_supported : bool
        Whether none of the three is below a third of the level.
    """

    residual: np.ndarray
    reduced_chi_square: float
    autocorrelation: float
    largest_local: float
    p_chi_square: float
    p_autocorrelation: float
    p_local: float
    is_supported: bool


def judge_support(
    image: np.ndarray,
    expected: np.ndarray,
    probe: np.ndarray,
    *,
    config: SupportConfig = SUPPORT,
) -> Support:
    """Judge by its residual whether an image supports a result.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel.
    expected : (H, W) array
        What the image should be by the result: `Restoration.reconvolved`.
    probe : (h, w) array
        Image of a point as of `make_point_image`.
    config : SupportConfig
        Read noise and level.

    Returns
    -------
    Support
        The residual, its statistics, and the verdict.

    Raises
    ------
    ImageError
        If image and expectation differ in shape, or are not what they must be.

    Notes
    -----
    The noise is Poisson's plus read noise σ: variance v = μ + σ². Three tests, each at a third of
    the level (Bonferroni):

    1. χ²: Σ w (r² - 1)/√(Σ w), standard normal, r the residual; r² of a pixel has variance
       1/w = 2 + μ/v².
    2. Autocorrelation: Σ a(l) C(l) over all lags l but 0, C that of r, a that of the probe. A wrong
       expectation differs from the image in what the probe can transfer, which is correlated so.
       Independent r give variance 2 Σ a² n(l), n(l) the pairs at that lag, and skewness
       8 tr A³/(2 tr A²)^(3/2) for the matrix A of all a: Pearson's distribution of type III.
    3. Local: the residual in a window of the probe's shape, at every pixel, by the distribution of
       type III with its variance and skewness; two sides and all pixels counted as tests of their
       own, which is more than they are.

    A result that was fitted to the same electrons has absorbed some of the noise: the tests then
    raise fewer false alarms than the level, and miss more.
    """
    check_image_and_probe(image, probe)
    if expected.shape != image.shape or not np.isfinite(expected).all():
        raise ImageError(
            f"expected: must be finite, of the shape {image.shape} of the image "
            f"(got {expected.shape})"
        )
    mean = np.maximum(expected, _LEAST_MEAN)
    variance = mean + config.read_noise**2
    residual = (image - expected) / np.sqrt(variance)
    chi_square, p_chi_square = _test_chi_square(residual, mean, variance)
    autocorrelation, p_autocorrelation = _test_autocorrelation(residual, probe)
    largest, p_local = _test_locally(image - expected, mean, variance, probe)
    return Support(
        residual,
        chi_square,
        autocorrelation,
        largest,
        p_chi_square,
        p_autocorrelation,
        p_local,
        min(p_chi_square, p_autocorrelation, p_local) >= config.level / _TESTS,
    )


def _test_chi_square(
    residual: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[float, float]:
    weight = 1 / (2 + mean / variance**2)
    total = float(weight.sum())
    chi_square = float((weight * residual**2).sum()) / total
    return chi_square, float(stats.norm.sf((chi_square - 1) * total**0.5))


def _test_autocorrelation(residual: np.ndarray, probe: np.ndarray) -> tuple[float, float]:
    sides = [2 * max(n, m) for n, m in zip(residual.shape, probe.shape, strict=True)]
    lags = _correlate(residual, sides)
    pairs = np.round(_correlate(np.ones(residual.shape), sides))
    weight = np.where(pairs > 0, _correlate(probe, sides), 0.0)
    weight[0, 0] = 0
    second = float((weight**2 * pairs).sum())
    if second == 0:  # a probe of one pixel correlates no neighbors
        return 0.0, 1.0
    per_frequency = residual.size / weight.size
    third = per_frequency * float((np.fft.fft2(weight).real ** 3).sum())
    skew = 8 * third / (2 * second) ** 1.5
    score = float((weight * lags).sum()) / (2 * second) ** 0.5
    p_value = float(stats.pearson3.sf(score, skew))
    mean_square = max(float(np.mean(residual**2)), _TINY)
    return float((weight * lags).sum() / (weight * pairs).sum()) / mean_square, p_value


def _correlate(values: np.ndarray, sides: list[int]) -> np.ndarray:
    """Autocorrelation by lag, in the order of `numpy.fft.fftfreq`, without wrapping around."""
    return fft.irfft2(np.abs(fft.rfft2(values, sides)) ** 2, sides)


def _test_locally(
    difference: np.ndarray, mean: np.ndarray, variance: np.ndarray, probe: np.ndarray
) -> tuple[float, float]:
    window = probe[::-1, ::-1]
    spread = np.sqrt(np.maximum(_blur(variance, window**2), _TINY))
    skew = np.maximum(_blur(mean, window**3), 0) / spread**3
    score = _blur(difference, window) / spread
    tail = np.minimum(stats.pearson3.sf(score, skew), stats.pearson3.cdf(score, skew))
    place = int(np.argmin(tail))
    return float(score.flat[place]), min(1.0, 2 * score.size * float(tail.flat[place]))


def _blur(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    return signal.fftconvolve(values, window, mode="same")
