"""Real HAADF images restored without a tableau: `python benchmarks/real_restore.py DATA`.

The probe is fitted to the columns of the image, the gain is told by its noise. Raw images of MoS2
and graphene: is the residual noise? Single frames of a movie in which a trimer flips: how near
their restorations come to the mean of all others of the same state, laid over each other, beside
the frame itself and the frame smoothed by Gaussians.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from adatom.core.errors import AdatomError
from adatom.detect.refine import bin_image
from adatom.images.calibrate import calibrate_image
from adatom.images.read import read_image
from adatom.images.units import set_pixel_size
from adatom.networks.restorer import Restorer, load_restorer
from adatom.optics.microscope import Microscope
from adatom.plots.restoration import draw_restoration
from adatom.plots.style import write_figure
from adatom.restore.electrons import RestoreConfig
from adatom.restore.object_function import restore_image
from adatom.workflows.restore import RunConfig, fit_microscope

ENERGY, SEMI_ANGLE = 60e3, 30.0  # eV, mrad; of all images, the angle taken to be so
STILL_PIXEL, MOVIE_PIXEL = 0.078, 2 * 0.0765  # Å, of graphene by its source; two are added up
METHODS = ("wiener", "richardson-lucy", "deepstem")
WIDTHS = np.arange(0.1, 0.46, 0.05)  # Å, of the Gaussian that a frame is smoothed with
RIM = 3.0  # Å of the border that is left out
SEARCH = 0.6  # Å by which labels may be off where frames are laid over each other


class Still(NamedTuple):
    """A single image and what it shows."""

    name: str
    material: str
    image: xr.DataArray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--quick", action="store_true", help="three images and three frames")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--figures", type=Path, help="folder for pictures to look at")
    options = parser.parse_args()
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
    restorer = load_restorer("deepstem")
    stills = list_stills(options.data)
    stills = [stills[0], *stills[2:4]] if options.quick else stills
    found = pd.DataFrame(restore_still(still, restorer, options.figures) for still in stills)
    print(found.round(3).to_string(index=False), "\n")
    frames = compare_frames(options.data, restorer, 3 if options.quick else None, options.figures)
    print(frames.describe().loc[["mean", "std"]].round(3).to_string())
    if options.json:
        records = {"stills": found.to_dict("records"), "frames": frames.to_dict("records")}
        options.json.write_text(json.dumps(records, indent=1))
    return 0


def list_stills(data: Path) -> list[Still]:
    """Two raw images of MoS2, and those of graphene whose noise is that of electrons."""
    found = []
    for path in sorted((data / "mos2_raw").glob("*.npy")):
        found.append(Still(path.stem, "MoS2", read_image(path)))
    with np.load(data / "graphene_si" / "images.npz") as file:
        for number, values in enumerate(file["images"]):
            found.append(Still(f"graphene {number}", "graphene", to_image(values, STILL_PIXEL)))
    return found


def to_image(values: np.ndarray, step: float) -> xr.DataArray:
    coords = {name: step * np.arange(n) for name, n in zip("yx", values.shape, strict=True)}
    attrs = {"modality": "HAADF", "energy_eV": ENERGY}
    return xr.DataArray(values.astype(float), dims=("y", "x"), coords=coords, attrs=attrs)


def restore_still(still: Still, restorer: Restorer, figures: Path | None) -> dict[str, object]:
    """What the restoration of one image says of itself."""
    row: dict[str, object] = {"image": still.name}
    try:
        sizes = calibrate_image(still.image, material=still.material).pixel_size
        # The scan stretches images; a probe needs square pixels.
        image = set_pixel_size(still.image, [float(np.prod(sizes)) ** 0.5] * 2)
        lens = find_lens(image, still.material)
        found = restore_image(image, lens, restorer=restorer)
    except AdatomError as error:
        return row | {"refused": str(error)[:60]}
    if figures:
        write_figure(draw_restoration(found), figures / f"{still.name.replace(' ', '_')}.png")
    row |= {"pixel": float(image.x[1] - image.x[0]), "source": lens.source_size}
    row |= {name: getattr(lens, name) for name in ("defocus", "C12")}
    told = ("gain", "reduced_chi_square", "is_supported", "share_beyond")
    row |= {name: found.attrs[name] for name in told}
    row["share_structure"] = found.attrs.get("share_structure", np.nan)
    return row | {"electrons": float(found.image.mean())}


def find_lens(image: xr.DataArray, material: str) -> Microscope:
    config = RunConfig(energy=ENERGY, semi_angle=SEMI_ANGLE, material=material)
    return fit_microscope(image, config)[0]


def compare_frames(
    data: Path, restorer: Restorer, n_frames: int | None, figures: Path | None
) -> pd.DataFrame:
    """Correlation of single frames, taken and restored, with the mean of others like them."""
    movie = load_movie(data / "graphene_si_trimer_movie")
    steps, states = find_shifts(data / "graphene_si_trimer_movie", movie)
    lens = find_lens(to_image(movie[0], MOVIE_PIXEL), "graphene")
    laid = np.stack([shift(*each) for each in zip(movie, steps, strict=True)])
    inner = find_shared(steps, movie.shape[1:])
    rows = []
    for index in np.arange(len(movie))[:n_frames]:
        same = states == states[index]
        same[index] = False
        others = laid[same].mean(axis=0)[inner]
        row = {"taken": correlate(laid[index][inner], others)}
        for width in WIDTHS:
            smooth = ndimage.gaussian_filter(laid[index], width / MOVIE_PIXEL)
            row[f"smoothed {width:.2f} Å"] = correlate(smooth[inner], others)
        for method in METHODS:
            found = restore_image(
                to_image(movie[index], MOVIE_PIXEL),
                lens,
                restorer=restorer,
                config=RestoreConfig(method=method),
            )
            image = shift(found["reconvolved"].to_numpy(), steps[index])
            row[method] = correlate(image[inner], others)
            row[f"χ² {method}"] = found.attrs["reduced_chi_square"]
            if figures and index == 0:
                write_figure(draw_restoration(found), figures / f"frame_{method}.png")
        row["supported"] = found.attrs["is_supported"]
        rows.append(row)
        if figures and index == 0:
            draw_frame(laid[0], image, others, inner).savefig(figures / "frame.png", dpi=160)
    return pd.DataFrame(rows)


def load_movie(folder: Path) -> np.ndarray:
    """Frames (T, H, W) in pixels of a size that the restorer takes as it is."""
    with np.load(folder / "movie.npz") as file:
        return np.stack([bin_image(frame.astype(float), (2, 2)) for frame in file["images"]])


def find_shifts(folder: Path, movie: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By how many pixels [y, x] each frame is moved onto the first; and which way the trimer is.

    The lattice is the same at every lattice vector: the labelled atoms say which it is.
    """
    atoms = pd.read_csv(folder / "atoms.csv")
    with np.load(folder / "movie.npz") as file:
        numbers = file["frame"]
    silicon = atoms[atoms["element"] == "Si"].groupby("frame")[["y_px", "x_px"]].mean()
    rough = (silicon.loc[numbers[0]] - silicon.loc[numbers]).to_numpy() / 2
    smooth = [ndimage.gaussian_filter(frame, 0.4 / MOVIE_PIXEL) for frame in movie]
    steps = []
    for frame, start in zip(smooth, rough, strict=True):
        moved = shift(frame, start)
        rest, *_ = phase_cross_correlation(smooth[0], moved, upsample_factor=20, normalization=None)
        near = np.hypot(*rest) * MOVIE_PIXEL <= SEARCH
        steps.append(start + (rest if near else 0))
    own = atoms[atoms["element"] == "Si"].set_index("frame")
    away = own[["y_px", "x_px"]] - own.groupby("frame")[["y_px", "x_px"]].mean()
    turn = np.exp(3j * np.arctan2(away["y_px"], away["x_px"])).groupby("frame").sum().loc[numbers]
    return np.array(steps), (turn * np.conj(turn.iloc[0])).to_numpy().real > 0


def find_shared(steps: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part that all frames show when they lie on each other."""
    rim = RIM / MOVIE_PIXEL
    low, high = np.ceil(rim + steps.max(axis=0)), np.ceil(rim - steps.min(axis=0))
    return tuple(slice(int(a), n - int(b)) for a, b, n in zip(low, high, shape, strict=True))


def shift(image: np.ndarray, step: np.ndarray) -> np.ndarray:
    return ndimage.shift(image, step, order=3, mode="reflect")


def correlate(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def draw_frame(
    taken: np.ndarray, restored: np.ndarray, others: np.ndarray, inner: tuple[slice, ...]
) -> Figure:
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    panels = {
        "a frame": taken[inner],
        "restored": restored[inner],
        "mean of others like it": others,
    }
    for ax, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        ax.imshow(values, cmap="gray")
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
    return figure


if __name__ == "__main__":
    sys.exit(main())
