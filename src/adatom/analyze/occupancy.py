"""How much of its atoms stands in each column of a focal series: a fit of all columns at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from ase.data import atomic_numbers
from scipy import fft, ndimage
from scipy.special import logsumexp, softmax

from adatom.analyze.explain import simulate_columns
from adatom.analyze.microscope import MicroscopeFit
from adatom.core.materials import Material, find_role
from adatom.core.tables import make_atoms, score_columns
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
USUAL = 1.0  # standard deviation of what an occupancy differs by, before the images are looked at
LEAST_SHARE = 0.05  # of the simulated contrast in an image
LEAST_SCATTER = 0.03  # of occupancies: what the model is off
RAREST = 0.01  # share of a label, of columns that are none


@dataclass(frozen=True)
class Occupancies:
    """How much stands in each column.

    Attributes
    ----------
    values, errors : (N,) arrays
        1 for a metal atom or both atoms of the others, 0 for nothing, but for a few percent that
        all have in common; standard errors by the noise of the images.
    halves : (float, float)
        Occupancy that the upper, or the lower, of two atoms alone has: about a half, as the focus
        sees them.
    """

    values: np.ndarray
    errors: np.ndarray
    halves: tuple[float, float]


def fit_occupancies(
    series: xr.DataArray, atoms: pd.DataFrame, material: Material, fit: MicroscopeFit
) -> Occupancies:
    """Fit how much of an MX2 column stands where each was found.

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

    Returns
    -------
    Occupancies
        Of each column.

    Notes
    -----
    One step of Gauss and Newton from a simulation of the columns by their labels: what is left of
    the images is fitted by the change of all occupancies at once, each answered to first order in
    the scattered wave. Least squares between 0.1 and 1.3 1/Å, so that close columns share what they
    both explain; each frequency counts by the power that is left at those around it, which is low
    where the camera blurs and high where a support scatters.
    """
    size, shape = np.array(pixel_size(series)), series.shape[1:]
    ky, kx = fft.fftfreq(shape[0], size[0])[:, None], fft.rfftfreq(shape[1], size[1])
    in_band = (np.hypot(ky, kx) > K_SLOW) & (np.hypot(ky, kx) < K_MAX)
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
    strength = np.sqrt(_find_noise(left, size, in_band))
    rest = fft.rfft2(left)[:, in_band] / strength
    gain = shares[:, None] / size.prod() / strength
    metal, upper, lower = (gain * part for part in _answer(ky, kx, in_band, material, fit))
    answers = [metal, upper + lower]
    half = float((answers[1].conj() * upper).real.sum() / (np.abs(answers[1]) ** 2).sum())
    corner = np.array([float(series.y[0]), float(series.x[0])])
    places = (atoms[["y", "x"]].to_numpy() - corner) / size
    roles = atoms["label"].map(find_role)
    kind = (roles != "M").to_numpy().astype(int)

    def look(spectrum: np.ndarray, at: np.ndarray) -> np.ndarray:
        whole = np.zeros(in_band.shape, complex)
        whole[in_band] = spectrum
        values = fft.irfft2(whole, s=shape)
        return np.asarray(ndimage.map_coordinates(values, at.T, order=3, mode="grid-wrap"))

    right = np.zeros(len(places))
    for one in (0, 1):
        mine = kind == one
        right[mine] = look((rest * answers[one].conj()).sum(axis=0), places[mine])

    def overlap(rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), len(rows)))
        for one in (0, 1):
            for other in (0, 1):
                first, second = (np.flatnonzero(kind[rows] == number) for number in (one, other))
                away = places[rows[first], None] - places[rows[second]]
                both = (answers[one].conj() * answers[other]).sum(axis=0)
                values = look(both, away.reshape(-1, 2))
                found[np.ix_(first, second)] = values.reshape(len(first), len(second))
        return found

    change, errors = _solve_tiles(places * size, right, overlap)
    before = roles.map({"M": 1.0, "X2": 1.0, "X1": half}).to_numpy(float)
    return Occupancies(before + change, errors, (half, 1 - half))


def _solve_tiles(
    places: np.ndarray, right: np.ndarray, overlap: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Change of each occupancy and its standard error, tile by tile with what is around it."""
    change, errors = np.empty(len(places)), np.empty(len(places))
    tile = np.floor((places - places.min(axis=0)) / TILE).astype(int)
    for number in np.unique(tile, axis=0):
        mine = np.flatnonzero((tile == number).all(axis=1))
        low, high = places[mine].min(axis=0) - REACH, places[mine].max(axis=0) + REACH
        rows = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        normal = overlap(rows) + np.eye(len(rows)) / USUAL**2
        inverse = np.linalg.inv((normal + normal.T) / 2)
        kept = np.searchsorted(rows, mine)
        change[mine] = (inverse @ right[rows])[kept]
        errors[mine] = np.sqrt(np.diag(inverse)[kept])
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
    ky: np.ndarray, kx: np.ndarray, in_band: np.ndarray, material: Material, fit: MicroscopeFit
) -> list[np.ndarray]:
    """What an atom of the metal, and an upper and a lower one of the others, adds to each image.

    Arrays (F, K), Å².
    """
    rows, columns = np.nonzero(in_band)
    ky, kx = ky[rows, 0], kx[columns]
    k = np.hypot(ky, kx)
    energy = float(fit.lens.energy_eV)  # type: ignore[arg-type]
    vibrations, height = load_amplitudes(material.name, 300.0), material.thickness / 2
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


def weigh_labels(
    atoms: pd.DataFrame,
    found: Occupancies,
    sublattices: Sequence[tuple[str, ...]],
    *,
    threshold: float,
) -> pd.DataFrame:
    """Tell labels of one sublattice, and columns from nothing, by the occupancy.

    Parameters
    ----------
    atoms : DataFrame
        Atoms table of an MX2 monolayer, a row at least.
    found : Occupancies
        Of its columns.
    sublattices : sequence of two tuples of str
        Labels of the metal, and of the others.
    threshold : float
        Lowest score of any column that is kept.

    Returns
    -------
    DataFrame
        The table with new scores and labels, `intensity` and `intensity_err` the occupancies (1 is
        the median of whole columns of the sublattice); columns that are likelier none are left out.

    Notes
    -----
    Normal likelihoods around 1, around what either of two atoms alone has, and around 0. Their
    width is the error and, in quadrature, what the metal atoms scatter more than that; labels are
    as frequent as they were, a percent at least. How likely a column is of one sublattice or the
    other stays as it was.
    """
    table = atoms.copy()
    labels = [label for part in sublattices for label in part]
    scores = table[[*score_columns(labels), "score_none"]].to_numpy(float, copy=True)
    mine = np.array([table["label"].isin(part) for part in sublattices])
    occupancy, error = found.values.copy(), found.errors.copy()
    for rows in mine:
        whole = rows & ~table["label"].map(find_role).eq("X1").to_numpy()
        if whole.any():
            usual = float(np.median(occupancy[whole]))
            occupancy[rows], error[rows] = occupancy[rows] / usual, error[rows] / usual
    metal = mine[0] if mine[0].any() else np.ones(len(table), bool)
    off = occupancy[metal] - 1
    excess = (1.4826 * np.median(np.abs(off))) ** 2 - np.median(error[metal] ** 2)
    width = np.sqrt(error**2 + max(excess, LEAST_SCATTER**2))
    for part, rows in zip(sublattices, mine, strict=True):
        columns = [labels.index(label) for label in part]
        share = [max(float((table["label"][rows] == label).mean()), RAREST) for label in part]
        middles = [found.halves if find_role(label) == "X1" else (1.0,) for label in part]
        odds = _compare(occupancy[rows], width[rows], [*middles, (0.0,)], [*share, RAREST])
        others = [n for n in range(len(labels)) if n not in columns]
        of_others = scores[rows][:, others]
        kept = 1 - of_others.sum(axis=1, keepdims=True) / scores[rows].sum(axis=1, keepdims=True)
        new = np.zeros((rows.sum(), len(labels) + 1))
        new[:, columns], new[:, -1:] = odds[:, :-1] * kept, odds[:, -1:]
        new[:, others] = of_others * (1 - odds[:, -1:])
        scores[rows] = new / new.sum(axis=1, keepdims=True)
    names = [*score_columns(labels), "score_none"]
    table[names] = scores
    best = scores[:, :-1].argmax(axis=1)
    table["label"] = np.array(labels)[best]
    table["score"] = scores[np.arange(len(scores)), best]
    table["intensity"], table["intensity_err"] = occupancy, error
    kept = table[table["score_none"] <= 1 - threshold]
    filled = {str(name): kept[name].to_numpy() for name in kept if name not in {"frame", "atom"}}
    return make_atoms(filled, labels, frame=int(atoms["frame"].iloc[0]))


def _compare(
    occupancy: np.ndarray, width: np.ndarray, middles: list[tuple[float, ...]], share: list[float]
) -> np.ndarray:
    """Posterior of each kind, (N, K): a mean of normal likelihoods around its middles each."""
    log = [
        np.log(part / len(around))
        + logsumexp(-0.5 * ((occupancy[:, None] - around) / width[:, None]) ** 2, axis=1)
        for around, part in zip(middles, share, strict=True)
    ]
    return np.asarray(softmax(np.array(log), axis=0).T)
