"""The mean unit cell of a two-dimensional crystal, in all images of a focal series."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import fft, ndimage

from adatom.core.errors import ImageError
from adatom.images import pixel_size

N_SAMPLES = 16  # along each vector of a cell
FEWEST_CELLS = 12
K_MAX = 1.2  # 1/Å: spots beyond are not looked at
LARGE_PX = 1024  # larger images need no finer spectrum
MOST_CELLS = 3000
ORDERS = np.array([(1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2)])  # first and second spots
FARTHER = np.array([(2, 0), (0, 2), (2, 2), (3, 1), (3, 2), (2, 3), (1, 3), (2, -1), (1, -2)])
LARGEST_MISFIT = 0.1  # of the lattice constant that is found
SCALES = np.linspace(0.93, 1.07, 29)
ANGLES = np.deg2rad(np.arange(0, 60, 0.5))
LEAST_SIGNAL, CLIP = 4.0, 30.0  # mean and highest amplitude of the spots, over the background
QUIETEST = 1e-4  # background over the highest spot: lower ones are its feet
LEAST_POWER, LEAST_SHARE = 100.0, 2e-3  # of a spot that is fitted: over the background, the highest
BLOCK = 4.0  # Å, over which displacements are averaged
SMOOTH = 1.2  # blocks
USUAL_DISPLACEMENT = 0.2  # Å, rms
LEAST_LIKENESS = 0.5  # of a cell with the mean of all
MARGIN = 2  # pixels at the border that are not sampled


@dataclass(frozen=True)
class UnitCell:
    """The mean cell of the strongest lattice.

    Attributes
    ----------
    vectors : (2, 2) array
        Lattice vectors [y, x], Å, 60° apart.
    values : (F, N, N) complex array
        Fourier coefficients of each image, in the order of `numpy.fft.fft2`, over the mean.
    errors : (F, N, N) array
        Standard error of their real or imaginary part.
    origins : (M, 2) array
        [y, x] of the origin of each cell of the mean, by the coordinates of the series, Å.
    """

    vectors: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    origins: np.ndarray


def average_cells(series: xr.DataArray, lattice_constant: float) -> UnitCell | None:
    """Find the strongest hexagonal lattice of a focal series, and its mean cell.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x).
    lattice_constant : float
        Å; that of the images may differ by 7 %.

    Returns
    -------
    UnitCell or None
        None where no such lattice is seen, it has fewer than 12 whole cells, or an image has no
        contrast, or no positive mean to compare with.

    Raises
    ------
    ImageError
        If an image is not finite.

    Notes
    -----
    Orientation and size are those of the highest sum of amplitudes at the first twelve spots of
    all images; the vectors follow from where the spots are. Slow displacements come from the
    phases of the spots, block after block (geometric phase analysis, Hÿtch, Snoeck and Kilaas,
    Ultramicroscopy 74 (1998) 131), and cells are sampled where they then lie. Cells that do not
    look like the others (holes, edges, another grain) are left out.
    """
    if not np.isfinite(series).all():
        raise ImageError("series: must be finite (it holds NaN or infinite values)")
    means, spreads = series.mean(("y", "x")).to_numpy(), series.std(("y", "x")).to_numpy()
    if not ((means > 0) & (spreads > 0)).all():
        return None
    images = np.asarray(series.values, float) / means[:, None, None] - 1
    size = np.array(pixel_size(series))
    waves = find_waves(images, size, lattice_constant)
    if waves is None:
        return None
    vectors = np.linalg.inv(waves).T
    displaced = _follow_displacements(images, size, waves)
    corner = np.array([float(series.y[0]), float(series.x[0])])
    origins = _place_cells(vectors, displaced, size, images.shape[1:])
    cells, inside = _sample(images, origins, vectors, size)
    origins = origins[inside]
    if len(cells) < FEWEST_CELLS:
        return None
    is_alike = np.ones(len(cells), bool)
    for _ in range(3):
        usual = cells[is_alike].mean(axis=0)
        usual[:, 0, 0] = 0
        likeness = (cells * usual.conj()).real.sum(axis=(1, 2, 3)) / (np.abs(usual) ** 2).sum()
        is_alike = likeness > LEAST_LIKENESS
        if is_alike.sum() < FEWEST_CELLS:
            return None
    return _summarize(cells[is_alike], vectors, corner + origins[is_alike])


def find_waves(
    images: np.ndarray, pixel_size: np.ndarray, lattice_constant: float
) -> np.ndarray | None:
    """Find the wave vectors of the strongest hexagonal lattice.

    Parameters
    ----------
    images : (F, H, W) array
        Contrast, mean zero.
    pixel_size : (2,) array
        Along y and x, Å.
    lattice_constant : float
        Å.

    Returns
    -------
    (2, 2) array or None
        Two wave vectors [y, x], 1/Å, 120° apart: those of lattice vectors 60° apart. None where
        no lattice stands out.
    """
    window = np.sqrt(np.outer(*(np.hanning(n + 2)[1:-1] for n in images.shape[1:])))
    finer = 2 if max(images.shape) < LARGE_PX else 1
    whole = [fft.next_fast_len(finer * n) for n in images.shape[1:]]
    spacing = 1 / (np.array(whole) * pixel_size)
    seen = np.ix_(
        *(np.abs(fft.fftfreq(n, step)) < K_MAX for n, step in zip(whole, pixel_size, strict=True))
    )
    spectra = (fft.fft2(image * window, whole)[seen] / image.std() for image in images)
    power = np.sum([np.abs(spectrum) ** 2 for spectrum in spectra], axis=0)
    shape = power.shape
    amplitude = np.sqrt(power / _find_background(power, spacing))

    def look(waves: np.ndarray, values: np.ndarray) -> np.ndarray:
        places = np.rint(waves / spacing).astype(int)
        return values[places[..., 0] % shape[0], places[..., 1] % shape[1]]

    first = 2 / (3**0.5 * lattice_constant)
    angles, scales = np.meshgrid(ANGLES, SCALES, indexing="ij")
    turned = np.stack([angles, angles + 2 * np.pi / 3], axis=-1)
    pairs = first / scales[..., None, None] * np.stack([np.sin(turned), np.cos(turned)], axis=-1)
    near = ndimage.maximum_filter(amplitude, 5, mode="wrap")
    signal = look(np.einsum("nk,abkj->abnj", ORDERS, pairs), np.minimum(near, CLIP)).sum(axis=-1)
    if signal.max() < LEAST_SIGNAL * len(ORDERS):
        return None
    waves = pairs[np.unravel_index(signal.argmax(), signal.shape)]
    for orders in (ORDERS, np.vstack([ORDERS, FARTHER]), np.vstack([ORDERS, FARTHER])):
        waves = _refine_waves(waves, orders, amplitude, spacing)
    off = np.linalg.norm(np.linalg.inv(waves).T, axis=1) / lattice_constant - 1
    return waves if np.abs(off).max() < LARGEST_MISFIT else None


def _find_background(power: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Median of the power at as high frequencies."""
    ky, kx = (np.fft.fftfreq(n, 1 / n) * step for n, step in zip(power.shape, spacing, strict=True))
    ring = np.rint(np.hypot(ky[:, None], kx) / (4 * spacing.max())).astype(int)
    medians = ndimage.median(power, ring, np.arange(ring.max() + 1))
    return np.maximum(medians, QUIETEST * power.max())[ring]


def _refine_waves(
    waves: np.ndarray, orders: np.ndarray, amplitude: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    """Wave vectors that lie best on the centers of mass of the spots near them."""
    reach = np.arange(-2, 3)
    around = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1)
    nearest = np.rint(orders @ waves / spacing).astype(int)
    places = nearest[:, None, None] + around
    found = amplitude[places[..., 0] % amplitude.shape[0], places[..., 1] % amplitude.shape[1]]
    weight = np.maximum(found**2 - 4.0, 0)
    total = weight.sum(axis=(1, 2))
    seen = total > max(LEAST_POWER, LEAST_SHARE * total.max())
    if seen.sum() < 3:
        return waves
    centers = (weight[..., None] * places).sum(axis=(1, 2))[seen] / total[seen, None] * spacing
    pull = total[seen, None] ** 0.25
    fitted, _, rank, _ = np.linalg.lstsq(orders[seen] * pull, centers * pull, rcond=None)
    return fitted if rank == 2 else waves


def _follow_displacements(images: np.ndarray, size: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Displacement [y, x] of the lattice in each block, (2, By, Bx), Å."""
    block = np.maximum(np.rint(BLOCK / size).astype(int), 1)
    n_blocks = np.array(images.shape[1:]) // block
    cut = images[:, : n_blocks[0] * block[0], : n_blocks[1] * block[1]]
    y, x = (np.arange(n) * s for n, s in zip(cut.shape[1:], size, strict=True))
    normal = np.zeros((*n_blocks, 2, 2))
    right = np.zeros((*n_blocks, 2))
    variance = images.var(axis=(1, 2)) / block.prod()
    for wave in ORDERS @ waves:
        turn = np.exp(-2j * np.pi * (wave[0] * y[:, None] + wave[1] * x))
        for image, noise in zip(cut, variance, strict=True):
            blocks = (image * turn).reshape(n_blocks[0], block[0], n_blocks[1], block[1])
            local = blocks.mean(axis=(1, 3))
            smooth = _smooth(local)
            phase = np.angle(smooth * smooth.mean().conj())
            weight = np.abs(smooth) ** 2 / noise
            direction = -2 * np.pi * wave
            normal += weight[..., None, None] * np.outer(direction, direction)
            right += (weight * phase)[..., None] * direction
    normal += np.eye(2) / USUAL_DISPLACEMENT**2
    return np.moveaxis(np.linalg.solve(normal, right[..., None])[..., 0], -1, 0)


def _smooth(values: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(values.real, SMOOTH) + 1j * ndimage.gaussian_filter(
        values.imag, SMOOTH
    )


def _place_cells(
    vectors: np.ndarray, displaced: np.ndarray, size: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Origins of the cells of the image, (M, 2), Å from its first pixel."""
    extent = np.array(shape) * size
    corners = np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * extent @ np.linalg.inv(vectors)
    low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
    first, second = (np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
    points = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2) @ vectors
    points = points[((points >= 0) & (points <= extent)).all(axis=1)]
    if len(points) > MOST_CELLS:
        points = points[np.linspace(0, len(points) - 1, MOST_CELLS).astype(int)]
    block = extent / displaced.shape[1:]
    places = (points / block - 0.5).T
    moved = [ndimage.map_coordinates(part, places, order=1, mode="nearest") for part in displaced]
    return points + np.stack(moved, axis=-1)


def _sample(
    images: np.ndarray, origins: np.ndarray, vectors: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fourier coefficients of the cells inside the image, (n, F, N, N), and which these are."""
    steps = np.arange(N_SAMPLES) / N_SAMPLES - 0.5
    grid = steps[:, None, None] * vectors[0] + steps[:, None] * vectors[1]
    pixels = (origins[:, None, None] + grid) / size
    last = np.array(images.shape[1:]) - 1 - MARGIN
    inside = np.flatnonzero(((pixels >= MARGIN) & (pixels <= last)).all(axis=(1, 2, 3)))
    places = np.moveaxis(pixels[inside], -1, 0)
    values = [ndimage.map_coordinates(image, places, order=3) for image in images]
    order = np.fft.fftfreq(N_SAMPLES, 1 / N_SAMPLES)
    to_origin = np.where((order[:, None] + order) % 2, -1, 1)
    return np.fft.fft2(np.stack(values, axis=1), norm="forward") * to_origin, inside


def _summarize(cells: np.ndarray, vectors: np.ndarray, origins: np.ndarray) -> UnitCell:
    mean = cells.mean(axis=0)
    level = 1 + mean[:, :1, :1].real
    spread = np.sqrt((np.abs(cells - mean) ** 2).sum(axis=0) / (2 * (len(cells) - 1)))
    return UnitCell(vectors, mean / level, spread / level / len(cells) ** 0.5, origins)
