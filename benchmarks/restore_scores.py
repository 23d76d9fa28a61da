"""Figures of `bench_restore.py`: how near an object function is to the truth, and the bounds."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from ase import Atoms
from scipy import fft, ndimage
from skimage.metrics import structural_similarity

from adatom.core.materials import get_material
from adatom.detect.bounds import position_bound
from adatom.detect.profile import Profile, make_profile
from adatom.optics.microscope import Microscope
from adatom.restore.support import split_band
from adatom.simulate.multislice import simulate_haadf
from adatom.structures.vibrations import load_amplitudes
from restore_images import ANGLES, PIXEL, SEMI_ANGLE, TEMPERATURE, Scene, draw_atoms, make_slices

RIM = 10  # px of the border that no figure counts
INNER = (slice(RIM, -RIM),) * 2
N_SHIFTS = 4  # steps toward the best one
WINDOW = 20  # px around a site in which one S more or less changes the image
COLUMN_PX = 41  # that the shape of a column covers
N_BOOTSTRAP = 1000
GAIN_DRAWS = 60
LEAST_SHARE = 0.05  # of the mean electrons, expected in every pixel


def see_ideally(values: np.ndarray, cutoff: float) -> np.ndarray:
    """An object as a perfect lens of this aperture would show it; nothing is left beyond the band.

    Cut sharply at 2α/λ, objects would be compared mostly where no probe transfers more than a
    few percent and no dose measures anything. By cosine transforms, as `split_band`.
    """
    ky, kx = (np.arange(n) / (2 * n * PIXEL) for n in values.shape)
    share = np.minimum(np.hypot(ky[:, None], kx) / cutoff, 1)
    transfer = 2 / np.pi * (np.arccos(share) - share * np.sqrt(1 - share**2))
    return fft.idctn(fft.dctn(values, norm="ortho") * transfer, norm="ortho")


def score_image(found: np.ndarray, scene: Scene, dose: float) -> dict[str, float]:
    """PSNR (dB) and SSIM in the band, and the share of variance beyond it.

    The dose is known, so objects are compared in electrons: no gain is fitted. The range of both
    figures is that of the true object as a perfect lens shows it. PSNR also where a common shift is
    taken off, as of positions: coma moves the whole image, and no image can show by how much.
    """
    true, seen = (see_ideally(each, scene.cutoff) for each in (scene.truth, found / dose))
    span = float(np.ptp(true[INNER]))
    _, similar = structural_similarity(true, seen, data_range=span, full=True)
    return {
        "PSNR": find_psnr(seen, true, span),
        "PSNR in place": find_psnr(put_in_place(seen, true), true, span),
        "SSIM": float(similar[INNER].mean()),
        "beyond": split_band(found, PIXEL, scene.cutoff).share_beyond,
    }


def find_psnr(seen: np.ndarray, true: np.ndarray, span: float) -> float:
    """PSNR without the rim, dB."""
    return 10 * np.log10(span**2 / float(np.mean((seen - true)[INNER] ** 2)))


def put_in_place(seen: np.ndarray, true: np.ndarray) -> np.ndarray:
    """An image in the band, moved as a whole by up to a pixel to where it is nearest the truth."""
    shift, tried = np.zeros(2), [seen]
    for _ in range(N_SHIFTS):
        slopes = np.stack([-slope[INNER].ravel() for slope in np.gradient(tried[-1])], axis=1)
        step = np.linalg.lstsq(slopes, (true - tried[-1])[INNER].ravel())[0]
        shift = np.clip(shift + step, -1, 1)
        tried.append(ndimage.shift(seen, shift, order=5, mode="reflect"))
    return min(tried, key=lambda moved: float(np.mean((moved - true)[INNER] ** 2)))


def find_inner(places: np.ndarray, shape: tuple[int, ...], rim: float = RIM) -> np.ndarray:
    """Which places [y, x] (px) are far from the border."""
    return ((places >= rim) & (places <= np.array(shape) - 1 - rim)).all(axis=1)


def make_sulfur(scene: Scene) -> tuple[Profile, float]:
    """Shape of a single S atom in the image by the linear model, and its electrons at 1 e/Å²."""
    u2 = load_amplitudes("MoS2", TEMPERATURE)["S", 3][0]
    atom = Atoms("S", [(0, 0, 0)])
    atom.set_array("u2", np.array([u2]))
    axis = PIXEL * (np.arange(COLUMN_PX) - COLUMN_PX // 2)
    scan = ((axis, np.zeros(COLUMN_PX)), axis)
    values = draw_atoms(np.zeros((1, 2)), atom, scene.microscope, scan)
    return make_profile(values, PIXEL), float(values.sum())


@cache
def find_gain(energy: float) -> float:
    """How much more two S on top of each other scatter than twice one of them, as a share."""
    height = get_material("MoS2").thickness / 2
    u2 = load_amplitudes("MoS2", TEMPERATURE)["S", 3][0]
    lens = Microscope(
        energy_eV=energy, semi_angle=SEMI_ANGLE, inner_angle=ANGLES[0], outer_angle=ANGLES[1]
    )
    totals = []
    for heights in ((0,), (-height, height)):
        column = Atoms("S" * len(heights), [(0, 0, z) for z in heights], cell=(8, 8, 8), pbc=True)
        vibration = {"displacements": np.full(len(heights), u2), "n_draws": GAIN_DRAWS}
        config = make_slices(energy)
        totals.append(simulate_haadf(column, lens, config=config, rng=0, **vibration).mean())
    return float(totals[1] / totals[0]) / 2 - 1


def find_separations(scene: Scene) -> np.ndarray:
    """How far S1 and S2 are apart at each inner S site at 1 e/Å², in standard deviations.

    Positions, probe and all other columns are known; grows with the root of the dose. The second S
    of a column scatters more than the first.
    """
    pairs = (pair for _, pair in list_hypotheses(scene))
    return np.array([np.sqrt(((two - one) ** 2 / ((one + two) / 2)).sum()) for one, two in pairs])


def list_hypotheses(
    scene: Scene,
) -> Iterator[tuple[tuple[slice, slice], tuple[np.ndarray, np.ndarray]]]:
    """Pixels around each inner S site, and their electrons at 1 e/Å² with one S and with two."""
    profile, electrons = make_sulfur(scene)
    electrons *= 1 + 2 * find_gain(float(scene.microscope.energy_eV))
    is_site = np.isin(scene.labels, ("S1", "S2")) & find_inner(scene.sites, scene.truth.shape)
    least = LEAST_SHARE * scene.expected.mean()
    for place, label in zip(scene.sites[is_site], scene.labels[is_site], strict=True):
        low = np.maximum(np.round(place).astype(int) - WINDOW, 0)
        window = (slice(low[0], low[0] + 2 * WINDOW + 1), slice(low[1], low[1] + 2 * WINDOW + 1))
        seen = scene.expected[window]
        away = [
            PIXEL * (a + np.arange(n) - c) for a, n, c in zip(low, seen.shape, place, strict=True)
        ]
        change = electrons * PIXEL**2 * profile.evaluate_grid(*away)
        both = (seen, seen + change) if label == "S1" else (seen - change, seen)
        yield window, (np.maximum(both[0], least), np.maximum(both[1], least))


def find_position_bound(scene: Scene) -> float:
    """Cramér-Rao bound of the positions of inner columns at 1 e/Å², rms of both axes, Å.

    All positions, intensities and the background are unknown; falls with the root of the dose.
    """
    profile, electrons = make_sulfur(scene)
    strength = {
        "S1": 1.0,
        "S2": 2 + 2 * find_gain(float(scene.microscope.energy_eV)),
        "Mo": 4.5,
    }  # of an S atom; σ of Mo is 4.4 to 4.6 of it
    errors = position_bound(
        scene.sites,
        electrons * np.array([strength[label] for label in scene.labels]),
        0.02 * float(scene.expected.mean()),
        profile,
        scene.expected.shape,
        PIXEL,
    )
    inner = find_inner(scene.sites, scene.truth.shape)
    return PIXEL * float(np.sqrt(np.mean(errors[inner] ** 2)))


def bootstrap(
    rows: np.ndarray, summarize: Callable[[np.ndarray], np.ndarray], seed: int = 0
) -> tuple[float, float, float]:
    """A figure of all images, and its 95 % interval where other images were drawn.

    `rows`: what is known of each image, (N, …); `summarize` takes (…, N, …) drawn rows.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(rows), size=(N_BOOTSTRAP, len(rows)))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(summarize(rows[None])[0])
        low, high = np.nanpercentile(summarize(rows[drawn]), (2.5, 97.5), method="nearest")
    return value, float(low), float(high)


def take_mean(rows: np.ndarray) -> np.ndarray:
    return rows.mean(axis=1)


def take_ratio(rows: np.ndarray) -> np.ndarray:
    """Of [:, :, 0] and [:, :, 1]."""
    sums = rows.sum(axis=1)
    return sums[:, 0] / sums[:, 1]


def take_root(rows: np.ndarray) -> np.ndarray:
    return np.sqrt(take_ratio(rows))


def take_f1(rows: np.ndarray) -> np.ndarray:
    """Of the numbers of right, found and true ones: [:, :, 0] to [:, :, 2]."""
    sums = rows.sum(axis=1)
    return 2 * sums[:, 0] / np.maximum(sums[:, 1] + sums[:, 2], 1)
