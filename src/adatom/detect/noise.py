"""What the residual of a fit says: the noise of the image, and columns that nobody listed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage, optimize, spatial

from adatom.detect.fit import JointFit, Noise

LEVELS = 12
MOST_PIXELS = 50_000  # that tell the noise
RINGS = 24
SLOW_NOISE = 0.15
LEAST_SCORE = 5.0
LEAST_INTENSITY = 0.15
LEAST_DISTANCE_WIDTHS = 2.2
OUTSIDE_WIDTHS = 3.0


def fit_noise(fit: JointFit) -> Noise:
    """Variance of a pixel as a linear function of its expected value, from the residual.

    Parameters
    ----------
    fit : JointFit
        Columns after a few steps.

    Returns
    -------
    Noise
        Constant, slope and darkest level, in the units of the values of the fit.
    """
    used = np.flatnonzero(fit.covered)
    freedom = max(0.2, 1 - (3 * len(fit.positions) + fit.nodes.size) / max(1, len(used)))
    used = used[:: max(1, len(used) // MOST_PIXELS)]
    model = fit.model().ravel()[used]
    squares = (fit.values.ravel()[used] - model) ** 2
    edges = np.quantile(model, np.linspace(0, 1, LEVELS + 1)[1:-1])
    level = np.searchsorted(edges, model)
    counts = np.bincount(level, minlength=LEVELS)
    order = np.argsort(level, kind="stable")
    parts = np.split(squares[order], np.cumsum(counts)[:-1])
    # Medians: unlisted columns and contamination are no noise.
    variance = (
        np.array([np.median(part) / 0.4549 if len(part) else 0.0 for part in parts]) / freedom
    )
    means = np.bincount(level, weights=model, minlength=LEVELS) / np.maximum(counts, 1)
    known = variance > 0
    if not known.any():
        return Noise(max(float(squares.mean()), 1e-12), 0.0)
    lowest = float(means[known].min())
    weights = counts[known] ** 0.5 / variance[known]
    design = np.stack([np.ones(known.sum()), means[known] - lowest], axis=1) * weights[:, None]
    (constant, slope), _ = optimize.nnls(design, variance[known] * weights)
    return Noise(float(constant - slope * lowest), float(slope), lowest)


def fit_inflation(fit: JointFit) -> float:
    """Factor by which the errors exceed those of noise that is independent from pixel to pixel.

    Filters spread the noise over neighboring pixels, and a wrong model leaves a structured
    residual. The power spectrum of the residual is compared with that of white noise of the same
    variance from which the same fit was taken, at the frequencies that tell a column's position.

    Parameters
    ----------
    fit : JointFit
        Columns after the last step.

    Returns
    -------
    float
        Factor of the standard errors, at least 1.
    """
    scale = np.sqrt(fit.weights)
    noise = np.random.default_rng(0).standard_normal(fit.values.shape, np.float32)
    white = fit.project_out(noise / np.where(scale > 0, scale, 1))
    inside = scale * fit.inside_rim()
    rings = _make_rings(fit.values.shape)
    power = [rings.power(image * inside) for image in (fit.values - fit.model(), white)]
    frequency = (np.arange(RINGS) + 0.5) / RINGS * 0.5
    width = fit.profile.sigma / float(np.prod(fit.pixel_sizes)) ** 0.5
    # Ring area times squared frequency times the squared transform of a Gaussian.
    share = frequency**3 * np.exp(-((2 * np.pi * frequency * width) ** 2))
    usable = power[1] > 0
    if not usable.any():
        return 1.0
    ratio = power[0][usable] / power[1][usable]
    factor = max(1.0, float((share[usable] * ratio).sum() / share[usable].sum()) ** 0.5)
    # Below bright columns the fit takes more of slow noise than of white noise; filtered
    # simulations show by how much.
    return factor * (1 + SLOW_NOISE * (1 - 1 / factor))


@dataclass(frozen=True)
class _Rings:
    """Rings of frequency in the spectrum of a real image."""

    order: np.ndarray
    ends: np.ndarray

    def power(self, image: np.ndarray) -> np.ndarray:
        """Median power in each ring: Bragg spots are no noise."""
        spectrum = np.abs(fft.rfft2(image)) ** 2
        parts = np.split(spectrum.ravel()[self.order], self.ends)[:RINGS]
        return np.array([np.median(part) if part.size else 0.0 for part in parts])


@lru_cache(maxsize=8)
def _make_rings(shape: tuple[int, int]) -> _Rings:
    y, x = np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1])
    ring = np.minimum(np.hypot(y[:, None], x) / 0.5 * RINGS, RINGS).astype(np.uint8).ravel()
    order = np.argsort(ring, kind="stable").astype(np.int32)
    return _Rings(order, np.searchsorted(ring[order], np.arange(1, RINGS + 1)))


def find_unlisted(fit: JointFit) -> tuple[np.ndarray, np.ndarray]:
    """Columns that the residual shows, inside the image or just beyond its rim.

    They are fitted with the others, whose positions they would pull otherwise.

    Parameters
    ----------
    fit : JointFit
        Columns after a few steps.

    Returns
    -------
    (M, 2) array, (M,) array
        Positions [y, x], px, and about how bright they are.
    """
    widths = np.diagonal(fit.profile.covariance) ** 0.5 / np.array(fit.pixel_sizes)
    pad = np.ceil(OUTSIDE_WIDTHS * widths).astype(int)
    around = ((pad[0], pad[0]), (pad[1], pad[1]))
    weighted = np.pad((fit.values - fit.model()) * fit.weights, around)
    signal = ndimage.gaussian_filter(weighted, widths, mode="constant", truncate=3)
    # The square of the filter is a filter of its own: narrower, and weaker by this factor.
    power = 1 / (4 * np.pi * widths.prod())
    narrow = ndimage.gaussian_filter(
        np.pad(fit.weights, around), widths / 2**0.5, mode="constant", truncate=3
    )
    information = np.maximum(narrow * power, 0.02 * power * fit.weights.max())
    score = signal / information**0.5
    is_peak = (ndimage.maximum_filter(score, size=3) == score) & (score > LEAST_SCORE)
    typical = float(np.median(fit.intensity)) if len(fit.intensity) else 0.0
    intensity = signal / information
    is_peak &= intensity > LEAST_INTENSITY * typical
    found = np.argwhere(is_peak)[np.argsort(-score[is_peak])] - pad
    sizes = np.array(fit.pixel_sizes)
    least = LEAST_DISTANCE_WIDTHS * fit.profile.sigma
    if len(found) and len(fit.positions):
        distance, _ = spatial.cKDTree(fit.positions * sizes).query(found * sizes)
        found = found[distance > least]
    found = _keep_apart(found, sizes, least)
    y, x = (found + pad).T
    return found.astype(float), intensity[y, x].astype(float)


def _keep_apart(found: np.ndarray, sizes: np.ndarray, least: float) -> np.ndarray:
    """Drop each position that is too near to a better one (they come best first)."""
    keep = np.ones(len(found), bool)
    for first, second in (
        sorted(spatial.cKDTree(found * sizes).query_pairs(least)) if len(found) else []
    ):
        if keep[first]:
            keep[second] = False
    return found[keep]
