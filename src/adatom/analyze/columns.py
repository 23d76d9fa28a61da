"""What stands in each column of a focal series, and where: a fit of all columns at once."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from ase.data import atomic_numbers
from scipy import fft, ndimage

from adatom.analyze.explain import simulate_columns
from adatom.analyze.microscope import TEMPERATURE, MicroscopeFit
from adatom.core.materials import Material, find_role
from adatom.images import pixel_size
from adatom.optics.microscope import electron_wavelength
from adatom.optics.transfer import image_transfer
from adatom.simulate.multislice import project_potential
from adatom.simulate.planes import transform_atom
from adatom.structures.vibrations import load_amplitudes

K_SLOW, K_MAX = 0.1, 1.3  # 1/Å: frequencies that are fitted
TILE, REACH = 40.0, 9.0  # Å: columns that are fitted together, and what of them sees others
SMOOTH_PX = 1.5  # of the spectrum of the noise
EDGE = 8.0  # Å at the edges that the noise is hardly taken from
USUAL, USUAL_MOVE = 1.0, 0.15  # standard deviations before a look: of occupancies; of places, Å
LEAST_SHARE = 0.05  # of the simulated contrast in an image


@dataclass(frozen=True)
class ColumnFit:
    """How much stands in each column, and where.

    Attributes
    ----------
    occupancy, occupancy_err : (N,) arrays
        1 for a metal atom or both atoms of the others, 0 for nothing, but for a few percent that
        all have in common; standard errors by the noise of the images.
    halves : (float, float)
        Occupancy that the upper, or the lower, of two atoms alone has: about a half, as the focus
        sees them.
    moved, moved_err : (N, 2) arrays or None
        [y, x] from where a column was taken to stand, Å, and standard errors; None where places
        were not fitted.
    """

    occupancy: np.ndarray
    occupancy_err: np.ndarray
    halves: tuple[float, float]
    moved: np.ndarray | None = None
    moved_err: np.ndarray | None = None


def fit_columns(
    series: xr.DataArray,
    atoms: pd.DataFrame,
    material: Material,
    fit: MicroscopeFit,
    *,
    with_places: bool = False,
) -> ColumnFit:
    """Fit how much of an MX2 column stands where each was found, and where exactly.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x), as it was taken.
    atoms : DataFrame
        Columns x, y (Å, by the coordinates of the series), label.
    material : Material
        An MX2 monolayer whose vibrations are known.
    fit : MicroscopeFit
        The microscope.
    with_places : bool
        Whether places are fitted too; it takes ten times as long.

    Returns
    -------
    ColumnFit
        Of each column.

    Notes
    -----
    One step of Gauss and Newton from a simulation of the columns by their labels: what is left of
    the images is fitted by the change of all columns at once, each answered to first order in the
    scattered wave. Least squares between 0.1 and 1.3 1/Å, so that close columns share what they
    both explain; each frequency counts by the power that is left at those around it, which is low
    where the camera blurs and high where a support scatters.
    """
    size, shape = np.array(pixel_size(series)), series.shape[1:]
    ky, kx = fft.fftfreq(shape[0], size[0])[:, None], fft.rfftfreq(shape[1], size[1])
    in_band = (np.hypot(ky, kx) > K_SLOW) & (np.hypot(ky, kx) < K_MAX)
    rest, gain = _compare(series, atoms, material, fit, in_band)
    rows, columns = np.nonzero(in_band)
    ky, kx = ky[rows, 0], kx[columns]
    metal, upper, lower = (gain * part for part in _answer(ky, kx, material, fit))
    whole = [metal, upper + lower]
    half = float((whole[1].conj() * upper).real.sum() / (np.abs(whole[1]) ** 2).sum())
    factors = [1.0, -2j * np.pi * ky, -2j * np.pi * kx] if with_places else [1.0]
    answers = [[factor * part for part in whole] for factor in factors]
    corner = np.array([float(series.y[0]), float(series.x[0])])
    places_px = (atoms[["y", "x"]].to_numpy() - corner) / size
    roles = atoms["label"].map(find_role)
    kind = (roles != "M").to_numpy().astype(int)
    before = roles.map({"M": 1.0, "X2": 1.0, "X1": half}).to_numpy(float)
    strength = [np.ones(len(before)), before, before][: len(factors)]

    def transform(spectrum: np.ndarray) -> np.ndarray:
        full = np.zeros((shape[0], shape[1] // 2 + 1), complex)
        full[rows, columns] = spectrum
        return np.asarray(ndimage.spline_filter(fft.irfft2(full, s=shape), mode="grid-wrap"))

    right = np.zeros((len(factors), len(places_px)))
    for number, one in itertools.product(range(len(factors)), (0, 1)):
        mine = kind == one
        seen = transform((rest * answers[number][one].conj()).sum(axis=0))
        right[number, mine] = _look(seen, places_px[mine])
    right *= strength
    reach_px = np.ceil((TILE + 2 * REACH) / size).astype(int)
    overlaps = {
        key: _cut(
            transform((answers[key[0]][key[2]].conj() * answers[key[1]][key[3]]).sum(axis=0)),
            reach_px,
        )
        for key in itertools.product(range(len(factors)), range(len(factors)), (0, 1), (0, 1))
    }

    def overlap(part: np.ndarray, first: int, second: int) -> np.ndarray:
        found = np.empty((len(part), len(part)))
        for one, other in itertools.product((0, 1), repeat=2):
            mine, its = (np.flatnonzero(kind[part] == number) for number in (one, other))
            away = places_px[part[mine], None] - places_px[part[its]]
            values = _look(overlaps[first, second, one, other], away.reshape(-1, 2))
            found[np.ix_(mine, its)] = values.reshape(len(mine), len(its))
        return found * np.outer(strength[first][part], strength[second][part])

    change, errors = _solve_tiles(places_px * size, right, overlap)
    moved, moved_err = (change[1:].T, errors[1:].T) if with_places else (None, None)
    return ColumnFit(before + change[0], errors[0], (half, 1 - half), moved, moved_err)


def _look(spline: np.ndarray, at_px: np.ndarray) -> np.ndarray:
    """Values of a periodic map of spline coefficients."""
    return np.asarray(
        ndimage.map_coordinates(spline, at_px.T, order=3, mode="grid-wrap", prefilter=False)
    )


def _cut(spline: np.ndarray, reach_px: np.ndarray) -> np.ndarray:
    """The part of a periodic map around its origin, periodic again; all of a small one."""
    for axis, reach in enumerate(reach_px):
        if 2 * reach + 1 < spline.shape[axis]:
            kept = np.append(np.arange(reach + 1), np.arange(-reach, 0))
            spline = np.take(spline, kept, axis=axis)
    return spline


def _compare(
    series: xr.DataArray,
    atoms: pd.DataFrame,
    material: Material,
    fit: MicroscopeFit,
    in_band: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """What a simulation leaves of the images, and what an answer counts, in errors, (F, K)."""
    size = np.array(pixel_size(series))
    images, known = (
        whole / whole.mean(axis=(1, 2), keepdims=True) - 1
        for whole in (
            np.asarray(series.values, float),
            simulate_columns(series, atoms, material, fit),
        )
    )
    data, model = (fft.rfft2(part)[:, in_band] for part in (images, known))
    both, own = (data * model.conj()).real.sum(axis=1), (np.abs(model) ** 2).sum(axis=1)
    shares = np.maximum(both / own, LEAST_SHARE)
    left = images - shares[:, None, None] * known
    error = np.sqrt(_find_noise(left, size, in_band))
    return fft.rfft2(left)[:, in_band] / error, shares[:, None] / size.prod() / error


def _solve_tiles(
    places: np.ndarray,
    right: np.ndarray,
    overlap: Callable[[np.ndarray, int, int], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Change of each number (P, N) and its standard error, tile by tile with what is around it."""
    change, errors = np.empty(right.shape), np.empty(right.shape)
    usual = np.array([USUAL, USUAL_MOVE, USUAL_MOVE])[: len(right)]
    tile = np.floor((places - places.min(axis=0)) / TILE).astype(int)
    for number in np.unique(tile, axis=0):
        mine = np.flatnonzero((tile == number).all(axis=1))
        low, high = places[mine].min(axis=0) - REACH, places[mine].max(axis=0) + REACH
        part = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        numbers = range(len(right))
        normal = np.block([[overlap(part, one, other) for other in numbers] for one in numbers])
        normal = (normal + normal.T) / 2 + np.diag(np.repeat(usual**-2, len(part)))
        inverse = np.linalg.inv(normal)
        kept = np.searchsorted(part, mine)
        solved = (inverse @ right[:, part].ravel()).reshape(len(right), -1)
        change[:, mine] = solved[:, kept]
        errors[:, mine] = np.sqrt(np.diag(inverse)).reshape(len(right), -1)[:, kept]
    return change, errors


def _find_noise(left: np.ndarray, size: np.ndarray, in_band: np.ndarray) -> np.ndarray:
    """Power of what is left of each image per pixel, (F, K), smoothed over frequencies.

    At the edges columns that lie outside of the images are left too: not looked at.
    """
    window = np.outer(*(_fade(n, step) for n, step in zip(left.shape[1:], size, strict=True)))
    modes = ("wrap", "mirror")
    covered = ndimage.gaussian_filter(in_band.astype(float), SMOOTH_PX, mode=modes)[in_band]
    found = []
    for image in left:
        power = np.abs(fft.rfft2(image * window)) ** 2 / (window**2).sum() * in_band
        found.append(ndimage.gaussian_filter(power, SMOOTH_PX, mode=modes)[in_band] / covered)
    return np.array(found)


def _fade(n: int, step: float) -> np.ndarray:
    """1 inside, 0 at the edges; a sine in between."""
    place = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) * step / min(EDGE, n * step / 2)
    return np.sin(np.pi / 2 * np.clip(place, 0, 1)) ** 2


def _answer(
    ky: np.ndarray, kx: np.ndarray, material: Material, fit: MicroscopeFit
) -> list[np.ndarray]:
    """What an atom of the metal, and an upper and a lower one of the others, adds to each image.

    Arrays (F, K), Å².
    """
    k = np.hypot(ky, kx)
    energy = float(fit.lens.energy_eV)  # type: ignore[arg-type]
    vibrations, height = load_amplitudes(material.name, TEMPERATURE), material.thickness / 2
    blur = float(fit.camera.blur)  # type: ignore[arg-type]
    passed = np.exp(-2 * (np.pi * blur * k) ** 2) * fit.camera.transfer(k)
    found = []
    for role, n_neighbors, depth in (("M", 6, height), ("X2", 3, 0.0), ("X2", 3, 2 * height)):
        element = dict(material.elements)[role]
        factor = transform_atom(project_potential, atomic_numbers[element], energy, 2.0)(k)
        factor = factor * np.exp(-2 * np.pi**2 * vibrations[element, n_neighbors][0] * k**2)
        wave = factor * np.exp(-1j * np.pi * electron_wavelength(energy) * depth * k**2)
        answer = []
        for defocus, (y, x) in zip(fit.lens.focal_series, fit.shifts, strict=True):
            lens = fit.lens.model_copy(update={"defocus": defocus})
            here, there = image_transfer(kx, ky, lens), image_transfer(-kx, -ky, lens)
            seen = here * wave + (there * wave).conj()
            answer.append(seen * passed * np.exp(-2j * np.pi * (y * ky + x * kx)))
        found.append(np.array(answer))
    return found
