"""Find the hexagonal lattice of an image in its Fourier transform."""

from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage

from adatom.core.errors import CalibrationError

N_PEAKS = 60
LEAST_PEAK_SNR = 7.0
LEAST_TRIPLE_SNR = 12.5
LARGEST_EXCESS = 9.0
SMOOTH_PX = 2.0
SPREADS = 2.0
HARMONICS = np.array([(i, j) for i in range(4) for j in range(-3, 4) if (i, j) > (0, 0)])


@dataclass(frozen=True)
class Lattice:
    """The lattice of an image, in pixels.

    Attributes
    ----------
    vectors : (2, 2) array
        Two lattice vectors as rows [y, x] in pixels, about 60° apart.
    covariance : (2, 2, 2, 2) array
        Covariance of component [i, j] with component [k, l] of the vectors, pixels².
    snr : float
        Mean power of the three strongest spots over the background around them.
    n_spots : int
        Independent spots that the vectors were fitted to.
    """

    vectors: np.ndarray
    covariance: np.ndarray
    snr: float
    n_spots: int

    @property
    def vectors_err(self) -> np.ndarray:
        """Standard error of each component of the vectors, (2, 2), pixels."""
        return np.sqrt(np.einsum("ijij->ij", self.covariance))


@dataclass(frozen=True)
class _Spectrum:
    """Flattened image, its power over half a plane, and the background of noise in that."""

    values: np.ndarray
    power: np.ndarray
    background: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return (self.values.shape[0], self.values.shape[1])


def find_lattice(values: np.ndarray) -> Lattice:
    """Find the strongest hexagonal lattice of an image, which scan distortion may have sheared.

    Parameters
    ----------
    values : (H, W) array
        Image in any units, indexed [y, x]; at least about five lattice periods on each side.

    Returns
    -------
    Lattice
        Two real-space vectors and their errors, pixels.

    Raises
    ------
    CalibrationError
        If no hexagonal lattice is to be seen, or the image is smaller than 32 pixels.

    Notes
    -----
    Three spots whose wave vectors close to a triangle are looked for among the maxima of the
    power spectrum, with edges that may differ by 25 % so that unequal axes and shear are no
    obstacle. Where the shorter wave vectors at a third of their sums hold power too, those are
    the true ones: the {11} spots of a honeycomb are often stronger than its {10} spots. All
    harmonics above the noise are then located by the windowed Fourier sum at any frequency, and
    the two vectors are fitted to them, weighted by the error of the frequency of a windowed
    wave in noise (Rife and Boorstyn, IEEE Trans. Inf. Theory 20 (1974) 591).

    Examples
    --------
    >>> y, x = np.mgrid[:128, :128]
    >>> waves = [(0.1, 0), (0.05, 0.0866), (0.05, -0.0866)]
    >>> image = sum(np.cos(2 * np.pi * (ky * y + kx * x)) for ky, kx in waves)
    >>> np.linalg.norm(find_lattice(image).vectors, axis=1).round(2)
    array([11.55, 11.55])
    """
    if values.ndim != 2 or min(values.shape) < 32:
        raise CalibrationError(
            f"values: must be an image of 32 pixels or more (got shape {values.shape})"
        )
    spectrum = _transform(_flatten(np.asarray(values, np.float32)))
    waves, snr = _find_triple(spectrum)
    waves = _shorten(spectrum, waves)
    waves, waves_cov, n_spots = _fit_waves(spectrum, waves)
    vectors, covariance = _to_real_space(waves, waves_cov)
    return Lattice(vectors, covariance, snr, n_spots)


def _flatten(values: np.ndarray) -> np.ndarray:
    """Remove the slow background and cut bright clusters, whose spectrum would hide the spots."""
    width = max(min(values.shape) / 10, 4.0)
    small = ndimage.zoom(
        values, min(1.0, 128 / max(values.shape)), order=1, grid_mode=True, mode="nearest"
    )
    factors = np.array(values.shape) / small.shape
    slow = ndimage.gaussian_filter(small, width / factors.mean(), truncate=3)
    values = values - _resize(slow, values.shape)
    # A cluster stands out once pixel noise is smoothed: what it has in excess is taken off.
    smooth = ndimage.gaussian_filter(values, SMOOTH_PX, truncate=2.5)
    values = values - (smooth - _clip(smooth, SPREADS))
    values = _clip(values, 6.0)
    return values - np.mean(values)


def _clip(values: np.ndarray, n_spreads: float) -> np.ndarray:
    """Cut what lies too many robust standard deviations from the median."""
    step_y, step_x = (max(1, side // 256) for side in values.shape)
    sample = values[::step_y, ::step_x]
    middle = float(np.median(sample))
    spread = 1.48 * float(np.median(np.abs(sample - middle))) or float(np.std(sample))
    return np.clip(values, middle - n_spreads * spread, middle + n_spreads * spread)


def _resize(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Interpolate linearly to another shape, axis by axis."""
    for axis, n in enumerate(shape):
        n_small = values.shape[axis]
        at = np.clip((np.arange(n) + 0.5) * n_small / n - 0.5, 0, n_small - 1)
        low = np.minimum(at.astype(int), max(n_small - 2, 0))
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        high = np.minimum(low + 1, n_small - 1)
        values = values.take(low, axis) * (1 - part) + values.take(high, axis) * part
    return values


def _window(n: int) -> np.ndarray:
    return np.sin(np.pi * (np.arange(n) + 0.5) / n).astype(np.float32) ** 2


def _take_tiles(values: np.ndarray, n: int) -> np.ndarray:
    """Windowed tiles (n², h, w), each overlapping the next by half; one is the whole image."""
    height, width = (2 * side // (n + 1) for side in values.shape)
    starts_y, starts_x = (
        np.linspace(0, side - part, n).astype(int)
        for side, part in zip(values.shape, (height, width), strict=True)
    )
    window = _window(height)[:, None] * _window(width)
    return (
        np.stack([values[y : y + height, x : x + width] for y in starts_y for x in starts_x])
        * window
    )


def _transform(values: np.ndarray) -> _Spectrum:
    """Power of half the plane, and its background: low quartile of rings, and of the two axes."""
    n_y, n_x = values.shape
    power = np.abs(fft.rfft2(_take_tiles(values, 1)[0])) ** 2
    radius = np.hypot(fft.fftfreq(n_y)[:, None], fft.rfftfreq(n_x)[None, :]) * min(n_y, n_x)
    edges = [1.0]
    while edges[-1] < radius.max():
        edges.append(max(edges[-1] * 1.12, edges[-1] + 2))
    ring = np.searchsorted(edges, radius.ravel())
    order = np.argsort(ring, kind="stable")
    parts = np.split(
        power.ravel()[order], np.searchsorted(ring[order], np.arange(1, len(edges) + 1))
    )
    # Noise has exponential power, whose low quartile (not shifted by spots) is 0.288 of its mean.
    level = np.array([np.percentile(part, 25) / 0.288 if part.size else 0.0 for part in parts])
    middle = np.array([0.5, *(np.array(edges[:-1]) + edges[1:]) / 2, edges[-1]])
    level = np.maximum(level, 1e-9 * power.max() + np.finfo(np.float32).tiny)
    background = np.exp(np.interp(radius, middle, np.log(level))).astype(np.float32)
    # Flyback and line noise put streaks on the axes, which are no spots.
    for streak, ground in ((power[:, :2], background[:, :2]), (power[:2].T, background[:2].T)):
        smooth = ndimage.percentile_filter(streak, 25, size=(25, 1), mode="wrap") / 0.288
        np.maximum(ground, smooth, out=ground)
    return _Spectrum(values, power, background)


def _find_triple(spectrum: _Spectrum) -> tuple[np.ndarray, float]:
    """Two wave vectors (rows [y, x], cycles per pixel) of the strongest near-hexagonal triple."""
    waves, snr, power = _find_peaks(spectrum)
    bin_size = 1 / min(spectrum.shape)
    length = np.hypot(*waves.T)
    n = len(waves)
    first, second = (index.ravel() for index in np.indices((n, n)))
    third = waves[second] - waves[first]
    cross = waves[first, 1] * waves[second, 0] - waves[first, 0] * waves[second, 1]
    longest = np.maximum(np.maximum(length[first], length[second]), np.hypot(*third.T))
    shortest = np.minimum(np.minimum(length[first], length[second]), np.hypot(*third.T))
    usable = (cross > 0) & (longest < 1.3 * shortest)
    first, second, third = first[usable], second[usable], third[usable]
    if len(first) == 0:
        raise _no_lattice(None)
    distance = np.hypot(*(third[:, None] - waves[None]).transpose(2, 0, 1))
    closing = distance.argmin(axis=1)
    is_closed = distance.min(axis=1) < np.minimum(1.6 * bin_size, 0.12 * length[first])
    three = np.stack([first, second, closing], axis=1)[is_closed]
    triple_snr = np.exp(np.log(snr[three]).mean(axis=1))
    # Whitened power alone would favor high harmonics, raw power alone contamination.
    score = np.where(
        triple_snr >= LEAST_TRIPLE_SNR,
        np.log(power[three]).mean(axis=1) + np.log(triple_snr),
        -np.inf,
    )
    if len(three) == 0 or triple_snr.max() < LEAST_TRIPLE_SNR:
        raise _no_lattice(triple_snr.max() if len(three) else None)
    best = three[score.argmax()]
    return waves[best[:2]], float(snr[best].mean())


def _no_lattice(snr: float | None) -> CalibrationError:
    seen = "no three spots at about 60°" if snr is None else f"best three spots {snr:.1f}"
    return CalibrationError(
        "image: no lattice is to be seen; its Fourier transform must show three hexagonal spots "
        f"{LEAST_TRIPLE_SNR:g} times above the background (got {seen})"
    )


def _find_peaks(spectrum: _Spectrum) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Strongest local maxima in all of the plane: wave vectors, power over background, power."""
    n_y, n_x = spectrum.shape
    snr = spectrum.power / spectrum.background
    is_peak = (snr > LEAST_PEAK_SNR) & (
        spectrum.power == ndimage.maximum_filter(spectrum.power, size=3, mode=("wrap", "nearest"))
    )
    row, column = np.nonzero(is_peak)
    waves = np.stack([fft.fftfreq(n_y)[row], fft.rfftfreq(n_x)[column]], axis=1)
    length = np.hypot(*waves.T)
    is_far = (length > 4.5 / min(n_y, n_x)) & (length < 0.48)
    row, column, waves = row[is_far], column[is_far], waves[is_far]
    found_snr, found_power = snr[row, column], spectrum.power[row, column]
    strongest = np.argsort(-found_snr * np.sqrt(found_power))[:N_PEAKS]
    waves, found_snr, found_power = (part[strongest] for part in (waves, found_snr, found_power))
    mirrored = waves[:, 1] > 0.5 / n_x
    return (
        np.concatenate([waves, -waves[mirrored]]),
        np.concatenate([found_snr, found_snr[mirrored]]),
        np.concatenate([found_power, found_power[mirrored]]),
    )


def _measure(spectrum: _Spectrum, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest power within a bin of each wave vector, and the background there."""
    n_y, n_x = spectrum.shape
    waves = np.where(waves[:, 1:] < 0, -waves, waves)
    row = np.rint(waves[:, 0] * n_y).astype(int)
    column = np.rint(waves[:, 1] * n_x).astype(int)
    step = np.arange(-1, 2)
    rows = (row[:, None, None] + step[:, None]) % n_y
    columns = np.clip(column[:, None, None] + step, 0, spectrum.power.shape[1] - 1)
    power = spectrum.power[rows, columns].max(axis=(1, 2))
    return power, spectrum.background[row % n_y, np.clip(column, 0, spectrum.power.shape[1] - 1)]


def _shorten(spectrum: _Spectrum, waves: np.ndarray) -> np.ndarray:
    """Go to shorter waves of the same lattice where they hold power: {11} or {20} to {10}."""
    least = 4.5 / min(spectrum.shape)
    power, _ = _measure(spectrum, _three(waves))
    parents = (
        (np.stack([waves[0] + waves[1], 2 * waves[1] - waves[0]]) / 3, 0.08),
        (waves / 2, 0.7),
    )
    for parent, least_part in parents:
        if np.hypot(*_three(parent).T).min() < least:
            continue
        parent_power, background = _measure(spectrum, _three(parent))
        is_strong = np.mean(parent_power - background) > least_part * np.mean(power)
        # The largest of nine bins of noise is often four times its mean.
        if is_strong and np.all(parent_power > 6 * background):
            return _shorten(spectrum, parent)
    return waves


def _three(waves: np.ndarray) -> np.ndarray:
    return np.stack([waves[0], waves[1], waves[1] - waves[0]])


def _fit_waves(spectrum: _Spectrum, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Fit both wave vectors to all harmonics that rise above the noise, near ones first.

    Returns the waves (2, 2), the covariance (2, 2) between the two that holds for y and for x, as
    (axis, 2, 2), and the number of spots. Where drift smears the spots, so that they do not lie
    on one lattice, tiles of half the size give the mean lattice instead of that of the largest
    steady part.
    """
    whole = _take_tiles(spectrum.values, 1)
    for reach in (1.2, 2.1, 3.1):
        waves, covariance, n_spots, excess = _fit_once(spectrum, waves, whole, reach)
    if excess > LARGEST_EXCESS and min(spectrum.shape) * np.hypot(*_three(waves).T).min() > 9:
        tiles = _take_tiles(spectrum.values, 3)
        waves, covariance, n_spots, _ = _fit_once(spectrum, waves, tiles, 2.1)
    return waves, covariance, n_spots


def _fit_once(
    spectrum: _Spectrum, waves: np.ndarray, tiles: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, int, float]:
    """Locate the harmonics near those expected, and fit the waves to them by least squares."""
    size = np.array(tiles.shape[1:])
    index = HARMONICS[_hex_length(HARMONICS) <= reach]
    expected = index @ waves
    inside = np.abs(expected).max(axis=1) < 0.5 - 2 / size.min()
    index, expected = index[inside], expected[inside]
    power, background = _measure(spectrum, expected)
    strong = (_hex_length(index) <= 1.2) | (power > 12 * background)
    index, expected = index[strong], expected[strong]
    found, found_err = _locate(tiles, expected, (power / background)[strong])
    is_same = (np.abs(found - expected) * size).max(axis=1) < 1.5
    if is_same.sum() < 2 or np.linalg.matrix_rank(index[is_same]) < 2:
        raise _no_lattice(None)
    index, found, found_err = index[is_same], found[is_same], found_err[is_same]
    fitted, covariance, largest = np.zeros((2, 2)), np.zeros((2, 2, 2)), 0.0
    for axis in range(2):
        weighted = index / found_err[:, axis, None]
        inverse = np.linalg.inv(weighted.T @ weighted)
        fitted[:, axis] = inverse @ weighted.T @ (found[:, axis] / found_err[:, axis])
        residual = (found[:, axis] - index @ fitted[:, axis]) / found_err[:, axis]
        excess = float(residual @ residual) / max(len(index) - 2, 1)
        covariance[axis] = inverse * max(excess, 1.0)
        largest = max(largest, excess)
    return fitted, covariance, len(index), largest


def _hex_length(index: np.ndarray) -> np.ndarray:
    """Length of a harmonic of two waves 60° apart, in units of one."""
    return np.sqrt(np.sum(index**2, axis=1) + index[:, 0] * index[:, 1])


def _locate(tiles: np.ndarray, waves: np.ndarray, snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima of the power of all tiles nearest to the wave vectors given, and their errors."""
    size = np.array(tiles.shape[1:])
    places = [np.arange(n) - (n - 1) / 2 for n in size]
    offset = np.arange(-1, 2)
    waves = waves.copy()
    for step in (0.8, 0.5, 0.2):
        ky = waves[:, 0, None] + step * offset / size[0]
        kx = waves[:, 1, None] + step * offset / size[1]
        wave_y = np.exp(-2j * np.pi * ky[..., None] * places[0]).astype(np.complex64)
        wave_x = np.exp(-2j * np.pi * kx[..., None] * places[1]).astype(np.complex64)
        # Real and imaginary part apart keep the image real, which halves the time.
        parts_y = np.stack([wave_y.real, wave_y.imag]).reshape(-1, size[0])
        power = np.zeros((len(waves), 3, 3))
        for tile in tiles:
            rows = (parts_y @ tile).reshape(2, len(waves), 3, size[1])
            power += np.abs((rows[0] + 1j * rows[1]) @ wave_x.transpose(0, 2, 1)) ** 2
        level = np.log(power + 1e-30) / 2
        for axis, line in ((0, level[:, :, 1]), (1, level[:, 1, :])):
            slope = (line[:, 2] - line[:, 0]) / 2
            curvature = np.maximum(2 * line[:, 1] - line[:, 2] - line[:, 0], 1e-6)
            waves[:, axis] += np.clip(slope / curvature, -1, 1) * step / size[axis]
    errors = []
    for n, place in zip(size, places, strict=True):
        window = _window(n).astype(float)
        spread = np.sum(window * place**2) / np.sum(window)
        noise = np.sum(window**2 * place**2) / np.sum(window**2)
        errors.append(np.sqrt(noise / (2 * snr)) / spread / (2 * np.pi))
    return waves, np.stack(errors, axis=1)


def _to_real_space(waves: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real vectors, 60° apart and the first nearest to the x axis, with their covariance."""
    real = np.linalg.inv(waves).T
    candidates = np.array([(1, 0), (0, 1), (1, 1), (-1, 0), (0, -1), (-1, -1), (1, -1), (-1, 1)])
    lengths = np.linalg.norm(candidates @ real, axis=1)
    shortest = candidates[np.argsort(lengths, kind="stable")[:6]]
    angle = np.arctan2(*(shortest @ real).T)
    first = np.abs(angle).argmin()
    turn = (angle - angle[first]) % (2 * np.pi)
    second = np.where(turn > 0.3, turn, np.inf).argmin()
    choice = shortest[[first, second]]
    vectors = choice @ real
    # real = inv(waves).T, so d vectors[m, b] = -sum vectors[m, a] d waves[i, a] real[i, b].
    paths = "ma,ib,aij,na,jc->mbnc"
    return vectors, np.einsum(paths, vectors, real, covariance, vectors, real, optimize=True)
