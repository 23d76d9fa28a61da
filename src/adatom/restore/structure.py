"""Where the electrons of an image tell columns from a mean, and where they do not."""

import numpy as np
from scipy.ndimage import gaussian_filter

WINDOW = 2.0  # Å, standard deviation: about a column and its neighbors
COLUMN = 1.0  # Å, the same for one column
UNTOLD, TOLD = 0.3, 1.0  # log-likelihood ratios between which what is shown fades in
MOST = 6 * TOLD  # of a window of strong columns, of which one alone has a third
LEAST_SHARE = 1e-3  # of the mean electrons of a pixel


def weigh_structure(
    counts: np.ndarray,
    expected: np.ndarray,
    background: np.ndarray,
    pixel_size: float,
    *,
    read_noise: float = 0.0,
) -> np.ndarray:
    """Log-likelihood ratio of the columns of an object to their mean, in a window around a pixel.

    Parameters
    ----------
    counts : (H, W) array
        Electrons per pixel.
    expected : (H, W) array
        What they should be by object and background: `Restoration.reconvolved`.
    background : (H, W) array
        What comes from no column, electrons per pixel.
    pixel_size : float
        Å per pixel.
    read_noise : float
        Of a pixel, rms, electrons.

    Returns
    -------
    (H, W) array
        The lower of the ratio of these electrons, and of those that the object lets expect; at most
        6.

    Notes
    -----
    A pixel of n electrons adds n ln(μ/m) - μ + m, with μ expected and m the background and the mean
    of all else in a Gaussian window of 2 Å (standard deviation); if the object is right, n is μ on
    average. Both are summed in that window, of weight 1 in its middle, which ends at the border of
    the image. Read noise σ counts as σ² more electrons in n, μ and m, of which the Poisson
    distribution has the same variance (Snyder et al., J. Opt. Soc. Am. A 10 (1993) 1014).

    Structure k standard deviations above the noise gives k²/2 in both, less what its own mean
    holds of it. Invented structure lets a ratio be expected that its electrons do not have. An
    object that follows a little of all noise has the ratio of these electrons, but lets none be
    expected from its faint traces. (An object that was fitted to the electrons as far as it goes,
    as by classical methods, has both: to be judged by electrons that it has not seen.)

    Where columns tell more than 6 in a window they weigh less, lest those at the edge of a sheet
    speak for all the vacuum beside it.
    """
    sigma, more = WINDOW / pixel_size, read_noise**2
    least = LEAST_SHARE * max(float(counts.mean()), 0.0) + 1e-12
    mean, smooth = (
        np.maximum(each, least) + more
        for each in (expected, background + _average(expected - background, sigma))
    )
    ratio, lost = np.log(mean / smooth), mean - smooth
    told, foretold = (counts + more) * ratio - lost, mean * ratio - lost
    area = 2 * np.pi * sigma**2
    most = np.maximum(_average(foretold, COLUMN / pixel_size) * area, MOST)
    sums = (
        gaussian_filter(each * MOST / most, sigma, mode="constant") for each in (told, foretold)
    )
    return np.minimum(*sums) * area


def hide_untold(view: np.ndarray, log_ratio: np.ndarray, pixel_size: float) -> np.ndarray:
    """Show the mean where the electrons do not tell structure from it.

    Parameters
    ----------
    view : (H, W) array
        What a lens would show of an object.
    log_ratio : (H, W) array
        Of `weigh_structure`.
    pixel_size : float
        Å per pixel.

    Returns
    -------
    (H, W) array
        The view where the ratio is above 1, its mean in a Gaussian window of 2 Å below 0.3, and
        between the two a mixture.
    """
    share = np.clip((log_ratio - UNTOLD) / (TOLD - UNTOLD), 0, 1)
    return share * view + (1 - share) * _average(view, WINDOW / pixel_size)


def _average(values: np.ndarray, sigma: float) -> np.ndarray:
    """Mean in a Gaussian window that ends at the border."""
    weight = gaussian_filter(np.ones(values.shape), sigma, mode="constant")
    return gaussian_filter(values, sigma, mode="constant") / weight
