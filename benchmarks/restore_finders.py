"""Finders of `bench_restore.py`: one classical, and a small network for each method.

Classical: peaks of the Laplacian of a Gaussian, and the intensity in a Gaussian window at the known
S sites. Network: a U-Net that learns on what its method makes of images by the linear model. What
counts as a peak or as a vacancy is a threshold: that of highest F1 on the other half of the images.
Peaks are looked for in the object; window and network look at it as a lens without aberrations
would show it (`restore_methods.Found`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from safetensors.torch import load_file, save_file
from scipy import ndimage

from adatom.core.random import make_child_rng
from adatom.detect.atoms import FindConfig, View, find_atoms
from adatom.detect.peaks import drop_close, find_peaks, find_vertex
from adatom.detect.profile import make_profile
from adatom.learn.targets import make_target, measure_loss, weigh_classes
from adatom.metrics.detection import match_points
from adatom.networks.model import Model
from adatom.networks.unet import UNet
from adatom.simulate.scan import draw_scan
from adatom.workflows.restored import ATOM
from restore_images import (
    PIXEL,
    PROBE_PX,
    SCAN,
    SEED,
    Field,
    Scene,
    draw_atoms,
    draw_microscope,
    list_columns,
    make_kernel,
    make_whole,
    place_atoms,
)
from restore_methods import Found, Method, look
from restore_scores import find_inner, list_hypotheses

FINDER = "haadf-mx2"
N_NETWORKS = 3  # of a method, lest the chances of learning decide which is ahead
LABELS, SHIPPED = ("Mo", "S2", "S1"), ("M", "X2", "X1")  # of the networks made here; of that one
BLOB, SITE = 0.5, 0.4  # Å: Gaussians of the peaks and of the window at a site
TOLERANCE, MIN_DISTANCE = 0.6, 1.0  # Å
WIDTHS, BATCH, RATE, CROP = (8, 16, 32), 8, 4e-3, 64
DISC = 0.5  # Å
TRAIN_DOSES = (1e2, 1e5)
EMPTY = 8  # images of which one has no columns
LINEAR = 10  # key of the random numbers of the images that networks learn on


@dataclass(frozen=True)
class Training:
    """How long the network of a method learns, and on how many images."""

    n_images: int
    n_steps: int


@dataclass(frozen=True)
class Votes:
    """What a finder says in one image: a score for each thing that it may have found."""

    scores: np.ndarray
    are_right: np.ndarray
    n_true: int

    def count(self, threshold: float) -> tuple[int, int, int]:
        """Right, found and true ones."""
        is_found = self.scores >= threshold
        return int(self.are_right[is_found].sum()), int(is_found.sum()), self.n_true


@dataclass(frozen=True)
class Columns:
    """Columns found in one image, and the true ones that they are."""

    places: np.ndarray  # [y, x], px
    scores: np.ndarray
    shares: np.ndarray  # of LABELS; equal where the finder knows none
    truth: np.ndarray  # row of the true column, -1 for none

    def keep(self, threshold: float) -> "Columns":
        """Those of at least this score."""
        kept = self.scores >= threshold
        return Columns(
            *(each[kept] for each in (self.places, self.scores, self.shares, self.truth))
        )


def choose_threshold(votes: list[Votes]) -> float:
    """That of highest F1 over all images."""
    scores = np.concatenate([vote.scores for vote in votes])
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(np.concatenate([vote.are_right for vote in votes])[order])
    n_found, n_true = np.arange(1, len(scores) + 1), sum(vote.n_true for vote in votes)
    f1 = 2 * right / (n_found + n_true)
    is_last = np.append(np.diff(scores[order]) < 0, True)  # of those of the same score
    return float(scores[order][np.argmax(np.where(is_last, f1, -1))])


def cross_validate(votes: list[Votes]) -> tuple[np.ndarray, np.ndarray]:
    """Threshold of every image by the other half of the images; right, found, true, (N, 3)."""
    halves = [choose_threshold(votes[1 - half :: 2] or votes) for half in (0, 1)]
    thresholds = np.array([halves[number % 2] for number in range(len(votes))])
    counts = [vote.count(level) for vote, level in zip(votes, thresholds, strict=True)]
    return thresholds, np.array(counts)


def find_blobs(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Peaks [y, x] (px) of minus the Laplacian of a Gaussian, and their heights."""
    response = -ndimage.gaussian_laplace(found, BLOB / PIXEL)
    is_peak = (response == ndimage.maximum_filter(response, 3)) & (response > 0)
    y, x = np.nonzero(is_peak)
    order = np.argsort(-response[y, x], kind="stable")
    kept = order[drop_close(np.column_stack([y, x])[order], MIN_DISTANCE / PIXEL)]
    y, x = y[kept], x[kept]
    places = np.column_stack([find_vertex(response, y, x, axis) for axis in (0, 1)])
    return places, response[y, x]


def measure_sites(view: np.ndarray, scene: Scene) -> Votes:
    """Lack of intensity at the known S sites, in units of the median site."""
    smooth = ndimage.gaussian_filter(view, SITE / PIXEL)
    is_site = np.isin(scene.labels, ("S1", "S2")) & find_inner(scene.sites, view.shape)
    values = ndimage.map_coordinates(smooth, scene.sites[is_site].T, order=1)
    is_vacancy = scene.labels[is_site] == "S1"
    return Votes(-values / max(np.median(values), 1e-12), is_vacancy, int(is_vacancy.sum()))


def vote_ratio(counts: np.ndarray, scene: Scene, dose: float) -> Votes:
    """Log-likelihood of one S over that of two at each inner S site, if all else is known."""
    ratios = [
        (counts[window] * np.log(one / two)).sum() - dose * (one - two).sum()
        for window, (one, two) in list_hypotheses(scene)
    ]
    is_site = np.isin(scene.labels, ("S1", "S2")) & find_inner(scene.sites, scene.truth.shape)
    is_vacancy = scene.labels[is_site] == "S1"
    return Votes(np.array(ratios), is_vacancy, int(is_vacancy.sum()))


def match_columns(
    places: np.ndarray, scores: np.ndarray, shares: np.ndarray, scene: Scene
) -> Columns:
    """Tell which true columns were found; what belongs to the border is left out."""
    matches = match_points(places * PIXEL, scene.sites * PIXEL, TOLERANCE)
    truth = np.full(len(places), -1)
    truth[matches.found] = matches.true
    inner = find_inner(scene.sites, scene.truth.shape)
    counts = np.where(
        truth >= 0, np.append(inner, False)[truth], find_inner(places, scene.truth.shape)
    )
    return Columns(places[counts], scores[counts], shares[counts], truth[counts])


def find_classical(found: np.ndarray, scene: Scene) -> Columns:
    """Peaks of all heights, which count in units of the dose."""
    places, heights = find_blobs(found)
    return match_columns(places, heights, np.full((len(places), 3), 1 / 3), scene)


def find_shipped(
    model: Model, counts: np.ndarray, scene: Scene, found: Found | None = None
) -> Columns:
    """Columns by the finder that is shipped, at all scores: in the image, or in what is restored.

    As `adatom analyze` and `adatom analyze --restore` look for them, with free thresholds; columns
    of foreign elements count as none of the three.
    """
    axes = {name: (name, PIXEL * np.arange(n)) for name, n in zip("yx", counts.shape, strict=True)}
    image = xr.DataArray(counts, dims=("y", "x"), coords=axes, attrs={"units": "electrons"})
    view = None
    if found is not None:
        spot = ndimage.gaussian_filter(scene.probe, ATOM / PIXEL)
        view = View(image.copy(data=found.view), make_profile(spot, PIXEL))
    atoms = find_atoms(image, model, config=FindConfig(threshold=0.1), view=view)
    shares = atoms[[f"score_{label}" for label in SHIPPED]].to_numpy()
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    places = atoms[["y", "x"]].to_numpy() / PIXEL
    return match_columns(places, atoms["score"].to_numpy(), shares, scene)


def keep_likely(
    found: list[Columns], scenes: list[Scene]
) -> tuple[np.ndarray, list[Columns], list[Votes]]:
    """Threshold of the columns of each image, those above it, and which of them lack an S."""
    pairs = zip(found, scenes, strict=True)
    levels, _ = cross_validate([vote_columns(*pair) for pair in pairs])
    kept = [each.keep(level) for each, level in zip(found, levels, strict=True)]
    return levels, kept, [vote_vacancies(*pair) for pair in zip(kept, scenes, strict=True)]


def vote_columns(columns: Columns, scene: Scene) -> Votes:
    """Every column that was found, by its score."""
    n_true = int(find_inner(scene.sites, scene.truth.shape).sum())
    return Votes(columns.scores, columns.truth >= 0, n_true)


def vote_sulfur(columns: Columns, scene: Scene) -> Votes:
    """Every column that was found and is not Mo: whether it is a site of S with an S atom."""
    labels = np.append(scene.labels, "none")[columns.truth]
    is_sulfur = labels != "Mo"
    inner = find_inner(scene.sites, scene.truth.shape)
    n_true = int(np.isin(scene.labels[inner], ("S1", "S2")).sum())
    return Votes(columns.scores[is_sulfur], labels[is_sulfur] != "none", n_true)


def vote_vacancies(columns: Columns, scene: Scene) -> Votes:
    """Every column that is said to be S, by how likely it has one S."""
    is_sulfur = columns.shares[:, 0] < 0.5
    scores = columns.shares[:, 2] / np.maximum(columns.shares[:, 1:].sum(axis=1), 1e-9)
    labels = np.append(scene.labels, "none")[columns.truth]
    is_true = (scene.labels == "S1") & find_inner(scene.sites, scene.truth.shape)
    return Votes(scores[is_sulfur], labels[is_sulfur] == "S1", int(is_true.sum()))


def count_invented(columns: Columns, scene: Scene, threshold: float) -> tuple[int, int]:
    """S atoms that are not there, and all true ones: at no column, or two where one is."""
    is_sulfur = columns.shares[:, 0] < 0.5
    scores = columns.shares[:, 2] / np.maximum(columns.shares[:, 1:].sum(axis=1), 1e-9)
    claimed = np.where(scores >= threshold, 1, 2)[is_sulfur]
    atoms = {"Mo": 2, "S2": 2, "S1": 1, "none": 0, "C": 0}  # Mo for S is no invention
    there = [atoms[label] for label in np.append(scene.labels, "none")[columns.truth[is_sulfur]]]
    inner = find_inner(scene.sites, scene.truth.shape)
    n_true = sum(atoms[label] for label in scene.labels[inner] if label != "Mo")
    return int(np.maximum(claimed - there, 0).sum()), n_true


def square_errors(columns: Columns, scene: Scene, threshold: float) -> tuple[float, float]:
    """Sum of squared errors along both axes, Å², and their number; a common shift is taken off."""
    kept = (columns.truth >= 0) & (columns.scores >= threshold)
    if kept.sum() < 2:
        return 0.0, 0.0
    away = PIXEL * (columns.places[kept] - scene.sites[columns.truth[kept]])
    return float(((away - away.mean(axis=0)) ** 2).sum()), 2.0 * (len(away) - 1)


def make_linear(number: int, field: Field) -> tuple[Scene, float]:
    """An image by the linear model, to learn on, and its dose; one in eight has no columns."""
    rng = make_child_rng(SEED, LINEAR, number)
    lens = draw_microscope(rng)
    structure = make_whole(field, rng)
    origin = rng.uniform(0, structure.cell.lengths()[:2])
    atoms = place_atoms(
        structure, (rng.uniform(0, 2 * np.pi), origin, field.side * PIXEL / 2), field
    )
    scan = draw_scan((field.side, field.side), PIXEL, SCAN, rng)
    places = atoms.positions[:, 1::-1]
    expected = draw_atoms(places, atoms, lens, ((scan.y, scan.shift), scan.x))
    sites, labels = list_columns(scan.image_positions(places), atoms.symbols)
    kernel = make_kernel(lens, PROBE_PX)
    if number % EMPTY == EMPTY - 1:
        expected = np.full_like(expected, rng.uniform(0, 1) * expected.mean())
        sites, labels = sites[:0], labels[:0]
    scene = Scene(np.maximum(expected, 0), expected, sites, labels, kernel, kernel, lens)
    return scene, float(np.exp(rng.uniform(*np.log(TRAIN_DOSES))))


def normalize(view: np.ndarray, dose: float) -> np.ndarray:
    """View of mean 0 and variance 1, and the dose as an image of its own, (2, H, W)."""
    level = np.full(view.shape, np.log10(dose) - 3.5)
    return np.stack([(view - view.mean()) / max(view.std(), 1e-12), level]).astype(np.float32)


class Finder(torch.nn.ModuleList):
    """Networks whose probabilities are averaged."""

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        """Probability of each class, (N, classes, H, W)."""
        return torch.stack([torch.softmax(network(views), 1) for network in self]).mean(0)


def load_finder(
    name: str, method: Method, folder: Path, field: Field, training: Training
) -> Finder:
    """Networks of a method from their files; learned and kept there if they are missing."""
    finder = Finder()
    for number in range(N_NETWORKS):
        torch.manual_seed(SEED + number)
        network = UNet(1 + len(LABELS), WIDTHS, n_inputs=2)
        path = folder / f"{name}_{number}.safetensors"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            examples = make_examples(name, method, folder, field, training)
            learn(network, *examples, training.n_steps, seed=SEED + number)
            part = path.with_suffix(".part")
            save_file(network.state_dict(), part)
            part.rename(path)
        network.load_state_dict(load_file(path))
        finder.append(network)
    return finder.eval()


def make_examples(
    name: str, method: Method, folder: Path, field: Field, training: Training
) -> tuple[np.ndarray, np.ndarray]:
    """What a method makes of images by the linear model, (N, 2, H, W), and class maps."""
    inputs, targets = [], []
    path = folder / f"{name}_examples.npy"
    done = np.load(path) if path.exists() else np.zeros((0, field.side, field.side), np.float32)
    for number in range(training.n_images):
        scene, dose = make_linear(number, field)
        if number >= len(done):
            counts = scene.count(dose, LINEAR, number, 0)
            view = look(name, method(counts, scene.probe), counts, scene).view
            done = np.concatenate([done, view[None].astype(np.float32)])
            if number % 20 == 19 or number == training.n_images - 1:
                np.save(part := path.with_suffix(".part.npy"), done)
                part.rename(path)
        inputs.append(normalize(done[number], dose))
        classes = np.array([1 + LABELS.index(label) for label in scene.labels], int)
        targets.append(make_target(scene.sites, classes, done[number].shape, DISC / PIXEL))
    return np.array(inputs), np.array(targets)


def learn(
    network: UNet, inputs: np.ndarray, targets: np.ndarray, n_steps: int, *, seed: int
) -> None:
    """Train on parts of the examples, flipped and turned."""
    rng = make_child_rng(seed, LINEAR)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=n_steps)
    pairs = torch.from_numpy(inputs), torch.from_numpy(targets)
    weights = weigh_classes([pairs], 1 + len(LABELS))
    network.train()
    for _ in range(n_steps):
        chosen = torch.from_numpy(rng.integers(len(inputs), size=BATCH))
        turn, flip = int(rng.integers(4)), [-1] if rng.random() < 0.5 else []
        y, x = rng.integers(max(inputs.shape[-1] - CROP, 0) + 1, size=2)
        parts = (each[chosen][..., y : y + CROP, x : x + CROP] for each in pairs)
        batch, truth = (torch.rot90(part, turn, (-2, -1)).flip(flip) for part in parts)
        loss = measure_loss(network(batch), truth, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def find_learned(finder: Finder, view: np.ndarray, dose: float, scene: Scene) -> Columns:
    """Columns by the networks of a method."""
    with torch.inference_mode():
        maps = finder(torch.from_numpy(normalize(view, dose))[None])[0].numpy()
    peaks = find_peaks(maps, PIXEL, threshold=0.3, min_distance=MIN_DISTANCE)
    return match_columns(peaks.positions, peaks.column, peaks.shares, scene)
