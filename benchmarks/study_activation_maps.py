"""Class activation maps beside atoms and rules: `python benchmarks/study_activation_maps.py`.

A small classifier learns from labels of whole images which of five kinds of defects are in them;
its class activation maps (Zhou et al., CVPR 2016, 2921) say where. The same images, with kinds that
it knows and with others, go to `haadf-graphene` and the rules of chemistry. Places are right within
2.5 Å; a map has as many defects as it has peaks above a quarter of its highest.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.feature import peak_local_max
from torch import nn

import adatom
from adatom.analyze.defects import find_defects
from adatom.core.progress import Report, show_progress
from adatom.core.random import make_child_rng
from adatom.optics.microscope import Microscope
from adatom.plots.style import draw_scale_bar
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect
from bench_defects import (
    CHEMISTRY,
    GRAPHENE,
    NEAR,
    NEW,
    SIDE,
    TRAINED,
    TUNED,
    expose,
    see,
)

STRIDE = 2  # pixels of 0.08 Å that are added up for the classifier
POOLED = 4  # its pixels in one of a map
CROP, INSIDE = 72, 16  # its pixels: 11.5 and 2.6 Å
APART = 4.0  # Å between peaks of a map
N_TRAINED, N_STEPS, BATCH, RATE = 600, 1500, 16, 2e-3
ELECTRONS = (1, 3, 10, 30)
KNOWN, UNKNOWN, SEVERAL = "one of the five", "one of five others", "two of the five"
NOTHING = "none"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--specimens", type=int, default=8, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="few images, hardly trained")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where rules are not better")
    parser.add_argument("--figure", type=Path, help="a picture of maps and rules")
    options = parser.parse_args()
    n_trained, n_steps = (40, 60) if options.quick else (N_TRAINED, N_STEPS)
    instrument = Microscope.model_validate(TUNED)
    with show_progress() as report:
        images = []
        for number in range(n_trained):
            images.append(plant(number, choose(number), instrument))
            report(number, n_trained, "images to learn from")
        network = train(images, n_steps, report)
        rows = compare(network, 1 if options.quick else options.specimens, instrument, report)
    table = rows.groupby(["what", "electrons"])[[*RULES, *MAPS]].mean()
    print(table.round(2).to_string())
    if options.figure:
        draw(network, instrument).savefig(options.figure, dpi=160, bbox_inches="tight")
    if options.json:
        options.json.write_text(json.dumps(table.reset_index().to_dict("records"), indent=1))
    worse = (table["rules: kind"] < table["maps: kind"]).sum()
    print(f"\nrows in which maps name more than rules: {worse}")
    return int(options.check and worse > 0)


def choose(number: int) -> tuple[str, ...]:
    """Kinds to learn from, in turns; every sixth image has none."""
    turn = number % (len(TRAINED) + 1)
    return (TRAINED[turn],) if turn < len(TRAINED) else ()


RULES = ("rules: found", "rules: place", "rules: kind", "rules: count")
MAPS = ("maps: found", "maps: place", "maps: kind", "maps: count")


def plant(seed: int, kinds: tuple[str, ...], instrument: Microscope) -> tuple:
    """An image without noise, and kind and place [y, x] of each of its defects, Å."""
    rng = make_child_rng(17, seed)
    sheet = make_sheet(GRAPHENE, (SIDE, SIDE), angle=float(rng.uniform(0, 60)))
    shift = rng.uniform(-5, 5, 2) if len(kinds) < 2 else np.zeros(2)
    apart = [0.0] if len(kinds) < 2 else [-8.0, 8.0]
    places = [tuple(SIDE / 2 + shift + [x, 0.0]) for x in apart[: len(kinds)]]
    for kind, place in zip(kinds, places, strict=True):
        sheet = insert_defect(sheet, kind, place, rng)
    image = see(sheet, instrument, rng)
    return image, [(kind, (y, x)) for kind, (x, y) in zip(kinds, places, strict=True)]


def shrink(counts: np.ndarray) -> np.ndarray:
    """Pixels added up, with mean 0 and deviation 1."""
    n_y, n_x = (n // STRIDE for n in counts.shape)
    small = counts[: n_y * STRIDE, : n_x * STRIDE].reshape(n_y, STRIDE, n_x, STRIDE).sum((1, 3))
    return ((small - small.mean()) / small.std()).astype(np.float32)


class Classifier(nn.Module):
    """Convolutions, the mean over the image, and one weight per channel and kind."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 64, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (n_in, n_out) in enumerate(zip((1, *widths[:-1]), widths, strict=True)):
            layers += [nn.Conv2d(n_in, n_out, 5 if number == 0 else 3, padding="same")]
            layers += [nn.BatchNorm2d(n_out), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if number < 2 else []
        self.features = nn.Sequential(*layers)
        self.weights = nn.Linear(widths[-1], len(TRAINED))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logit of each kind."""
        return self.weights(self.features(images).mean(dim=(2, 3)))

    def map(self, images: torch.Tensor) -> torch.Tensor:
        """Class activation maps: what each place adds to the logits."""
        features = self.features(images)
        return torch.einsum("bcyx,kc->bkyx", features, self.weights.weight)


def train(images: list, n_steps: int, report: Report) -> Classifier:
    torch.manual_seed(0)
    rng = make_child_rng(18, 0)
    network = Classifier()
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=n_steps)
    for step in range(n_steps):
        crops, labels = zip(*(draw_crop(images, rng) for _ in range(BATCH)), strict=True)
        given = torch.from_numpy(np.stack(crops))[:, None]
        loss = nn.functional.binary_cross_entropy_with_logits(
            network(given), torch.from_numpy(np.stack(labels))
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        report(step, n_steps, f"learn: loss {loss.item():.3f}")
    return network.eval()


def draw_crop(images: list, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Part of an image with noise, and which kinds are well inside; half of them hold none."""
    image, defects = images[rng.integers(len(images))]
    small = shrink(expose(image, 10 ** rng.uniform(0, 1.5), rng).to_numpy())
    step = STRIDE * float(image["y"][1] - image["y"][0])
    label = np.zeros(len(TRAINED), np.float32)
    is_wanted, corner = rng.random() < 0.5, np.zeros(2, int)
    for _ in range(200):
        corner = np.array([rng.integers(0, n - CROP + 1) for n in small.shape])
        label[:], is_cut = 0, False
        for kind, place in defects:
            middle = (np.array(place) - float(image["y"][0])) / step - corner
            if ((middle > INSIDE) & (middle < CROP - INSIDE)).all():
                label[TRAINED.index(kind)] = 1
            elif ((middle > -INSIDE) & (middle < CROP + INSIDE)).all():
                is_cut = True
        if not is_cut and (not defects or label.any() == is_wanted):
            break
    crop = small[corner[0] : corner[0] + CROP, corner[1] : corner[1] + CROP]
    crop = np.rot90(crop.T if rng.random() < 0.5 else crop, rng.integers(4))
    return np.ascontiguousarray(crop), label


def compare(
    network: Classifier, n_specimens: int, instrument: Microscope, report: Report
) -> pd.DataFrame:
    """What maps and rules say of the same images."""
    groups = [(KNOWN, (kind,)) for kind in TRAINED] + [(UNKNOWN, (kind,)) for kind in NEW]
    groups += [(SEVERAL, pair) for pair in zip(TRAINED, TRAINED[1:] + TRAINED[:1], strict=True)]
    groups += [(NOTHING, ())] * len(TRAINED)
    model, rows = adatom.load_model("haadf-graphene"), []
    jobs = [(n, *group) for n in range(n_specimens) for group in groups]
    for number, (_, what, kinds) in enumerate(jobs):
        image, truth = plant(1_000_000 + number, kinds, instrument)
        for electrons in ELECTRONS:
            rng = make_child_rng(19, number, electrons)
            seen = expose(image, electrons, rng)
            row = {"what": what, "electrons": electrons}
            row |= score(RULES, find_by_rules(seen, model), truth)
            rows.append(row | score(MAPS, find_by_maps(seen, network)[0], truth))
        report(number, len(jobs), "images to compare on")
    return pd.DataFrame(rows)


def find_by_rules(image: xr.DataArray, model: adatom.Model) -> list:
    """Name and place [y, x] of every defect, Å."""
    area = np.array([[float(image[axis][end]) for axis in ("y", "x")] for end in (0, -1)])
    atoms = adatom.find_atoms(image, model)
    table = find_defects(atoms, CHEMISTRY, material=GRAPHENE, area=area).table
    told = table[~table["is_cut"]]
    return list(zip(told["name"], told[["y", "x"]].to_numpy(), strict=True))


def find_by_maps(image: xr.DataArray, network: Classifier) -> tuple[list, np.ndarray]:
    """The same by the maps: their peaks in windows that hold a defect; and the maps."""
    with torch.inference_mode():
        maps = network.map(torch.from_numpy(shrink(image.to_numpy()))[None, None])[0].numpy()
    bias = network.weights.bias.detach().numpy()[:, None, None]
    window = CROP // POOLED
    logits = uniform_filter(maps, (0, window, window), mode="constant") + bias
    best = logits.max(axis=0)
    smooth = gaussian_filter(maps, (0, 1, 1))
    step = POOLED * STRIDE * float(image["y"][1] - image["y"][0])
    found = []
    strength = np.where(best > 0, smooth.max(axis=0), 0)
    peaks = peak_local_max(strength, min_distance=int(APART / step), threshold_rel=0.25)
    for peak in peaks:
        kind = TRAINED[int(logits[:, peak[0], peak[1]].argmax())]
        place = (peak + 0.5) * step + [float(image["y"][0]), float(image["x"][0])]
        found.append((kind, place))
    return found, maps


def score(names: tuple[str, ...], found: list, truth: list) -> dict[str, float]:
    """Whether something was found, where, as what, and how many; means over the planted ones."""
    places, kinds = [], []
    for kind, place in truth:
        away = [float(np.hypot(*(np.array(other) - place))) for _, other in found]
        near = int(np.argmin(away)) if away else -1
        places.append(near >= 0 and away[near] < NEAR)
        kinds.append(places[-1] and found[near][0] == kind)
    is_right = [bool(found) == bool(truth), *(np.mean(each) if truth else np.nan
                for each in (places, kinds)), len(found) == len(truth)]  # fmt: skip
    return dict(zip(names, map(float, is_right), strict=True))


def draw(network: Classifier, instrument: Microscope) -> Figure:
    """Three images at ten electrons, with the strongest map and the names by rules."""
    shown = [("Si1C3",), ("V_C", "Si1C3"), ("555-777",)]
    figure = Figure(figsize=(7.2, 4.9), layout="constrained")
    axes = figure.subplots(2, len(shown))
    model = adatom.load_model("haadf-graphene")
    for column, kinds in enumerate(shown):
        image, _ = plant(2_000_000 + column, kinds, instrument)
        seen = expose(image, 10, make_child_rng(20, column))
        y, x = seen["y"].to_numpy(), seen["x"].to_numpy()
        box = (x[0], x[-1], y[-1], y[0])
        found, maps = find_by_maps(seen, network)
        rows = (("maps", found), ("rules", find_by_rules(seen, model)))
        for ax, (name, told) in zip(axes[:, column], rows, strict=True):
            ax.imshow(gaussian_filter(seen.to_numpy(), 1.5), cmap="gray", extent=box)
            if name == "maps":
                strength = np.clip(maps.max(axis=0) / maps.max(), 0, 1)
                ax.imshow(strength, cmap="inferno", alpha=0.7 * strength, extent=box)
            for kind, place in told:
                ax.plot(place[1], place[0], "o", mfc="none", mec="#56B4E9", ms=16, mew=1.6)
                ax.annotate(kind, (place[1], place[0] - 3.2), color="white", size=9, ha="center")
            ax.set_title(f"{name}; planted {' and '.join(kinds)}", fontsize=9)
            ax.set_axis_off()
            draw_scale_bar(ax, x[0], y[-1], x[-1] - x[0])
    return figure


if __name__ == "__main__":
    sys.exit(main())
