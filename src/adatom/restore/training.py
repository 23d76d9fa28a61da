"""Train a network to restore object functions: on simulated images, and on images without truth."""

import hashlib
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch.utils.data import IterableDataset, get_worker_info

import adatom
from adatom.core.errors import ConfigError, ImageError
from adatom.core.progress import Report
from adatom.core.random import limits_of, make_child_rng
from adatom.learn.checkpoint import CHECKPOINT, TrainingState, check_folder, tell_start
from adatom.learn.loop import Batch, Lesson, check_name, draw_batches, learn, leave_cores
from adatom.learn.samples import VALIDATION, choose_split
from adatom.networks.deepstem import DeepSTEM
from adatom.networks.probe_views import blur_to_spots, measure_contrast, reconvolve, view_probe
from adatom.networks.restorer import Restorer, RestorerCard
from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_point_image
from adatom.restore.electrons import RESTORE, RestoreConfig
from adatom.restore.imaging import check_image_and_probe
from adatom.restore.object_function import count_electrons
from adatom.simulate.objects import N_PROBE, RestoreRecipe, simulate_object

RIM = 8  # pixels at the border, which atoms outside shed light into
BATCH = 8  # held-out images at a time
LEAST_KEPT, MOST_KEPT = 0.3, 0.9  # share of the electrons that it sees of an image without truth
LEAST_VARIANCE = 3e-3  # of what a loss is measured against, over the square of its level
LARGE = 0.1  # relative errors above count by their logarithm
UNKNOWN_WEIGHT = 0.2  # of images without truth


@dataclass(frozen=True)
class Frame:
    """An image without truth to learn from.

    Attributes
    ----------
    counts : (H, W) int array
        Electrons per pixel.
    probes : (K, P, P) array
        Probes that may have taken it, P = `N_PROBE`: drawn from the covariance of a tableau.
    """

    counts: np.ndarray
    probes: np.ndarray


def make_frame(
    image: xr.DataArray, microscopes: Sequence[Microscope], *, config: RestoreConfig = RESTORE
) -> Frame:
    """An image as one to learn from.

    Parameters
    ----------
    image : DataArray
        Dims (y, x), coordinates in Å.
    microscopes : sequence of Microscope
        That may have taken it, the likeliest first.
    config : RestoreConfig
        Detector.

    Returns
    -------
    Frame
        Gray levels become the nearest whole numbers of electrons.

    Raises
    ------
    ImageError
        As of `restore_image`.
    """
    counts, step, _ = count_electrons(image, microscopes[0], config=config)
    spots = [make_point_image(microscope, N_PROBE, step) for microscope in microscopes]
    return Frame(np.rint(np.maximum(counts, 0)).astype(np.int64), np.stack(spots))


def train_restorer(
    recipe: RestoreRecipe,
    folder: str | Path,
    *,
    frames: Sequence[Frame] = (),
    start: Restorer | None = None,
    resume: bool = False,
    n_workers: int = 1,
    report: Report | None = None,
) -> Restorer:
    """Train a network to restore object functions.

    Parameters
    ----------
    recipe : RestoreRecipe
        What to simulate, the network, and how it learns.
    folder : str or Path
        Where checkpoint, history.csv and the best weights go; made if missing.
    frames : sequence of Frame
        Images without truth, from which it learns too; `training.simulated` says how large the
        share of simulated images is beside them.
    start : Restorer, optional
        Model whose weights are trained on, with simulated images that it did not learn from.
        Without it, weights are drawn.
    resume : bool
        Continue the training that the folder holds.
    n_workers : int
        Processes that simulate.
    report : callable, optional
        Called with (step, steps in all, one line of text).

    Returns
    -------
    Restorer
        The averaged weights that were best on held-out images.

    Raises
    ------
    ConfigError
        If the folder holds another recipe's training, or `start` has another network.
    FileError
        If the folder holds a training and `resume` is off, or none and it is on.
    ImageError
        If a frame is no image of whole electrons, or smaller than those of the recipe.
    ModelError
        If the loss is not finite any more; the folder keeps the last checkpoint.

    Notes
    -----
    Simulated images: relative squared errors of object function, image and background, by the right
    probe also where the network is told a wrong one (`mistake` of the recipe). Images without
    truth: each electron goes to one of two images at random, which are independent; the network
    sees one, and the Poisson likelihood of the other is its loss, so noise is not learned
    (Lehtinen et al., ICML 2018, arXiv 1803.04189, with the linear image model in between). Their
    background, which the likelihood cannot tell from a smooth object, is kept smooth.
    """
    folder = Path(folder)
    _check(recipe, frames, start, resume)
    check_folder(folder / CHECKPOINT, recipe, resume)
    folder.mkdir(parents=True, exist_ok=True)
    network, average = (DeepSTEM(recipe.network.widths) for _ in range(2))
    progress = TrainingState()
    if start is None:
        network.draw_weights(np.random.default_rng(recipe.training.seed))
    else:
        network.load_state_dict(start.network.state_dict())
        progress = TrainingState(start=tell_start(start.card))
    with leave_cores(n_workers):
        lesson = _make_lesson(recipe, frames, n_workers)
        progress = learn(
            network, average, lesson, folder, progress=progress, resume=resume, report=report
        )
    card = _make_card(recipe, frames).model_copy(
        update={
            "n_steps": progress.best_step,
            "start": progress.start,
            "scores": {"held_out_loss": progress.best_loss},
        }
    )
    return Restorer(average, card)


def _check(
    recipe: RestoreRecipe, frames: Sequence[Frame], start: Restorer | None, resume: bool
) -> None:
    check_name(recipe.training.name)
    if start is not None and resume:
        raise ConfigError("start: a stopped training goes on with its own weights; leave it out")
    if start is not None and start.card.network != recipe.network:
        raise ConfigError(
            f"start: network of {start.card.name} must be {recipe.network} "
            f"(got {start.card.network})"
        )
    side = recipe.dataset.n_pixels
    for frame in frames:
        if frame.probes.shape[1:] != (N_PROBE, N_PROBE) or not len(frame.probes):
            raise ImageError(
                f"frames: probes must have {N_PROBE} × {N_PROBE} pixels each "
                f"(got shape {frame.probes.shape})"
            )
        for probe in frame.probes:
            check_image_and_probe(frame.counts, probe)
        if min(frame.counts.shape) < side or np.any(frame.counts != np.round(frame.counts)):
            raise ImageError(
                f"frames: must hold whole electrons in at least {side} × {side} pixels (got "
                f"{frame.counts.dtype} values, shape {frame.counts.shape})"
            )


def _make_card(recipe: RestoreRecipe, frames: Sequence[Frame]) -> RestorerCard:
    counted = recipe.detector.peak_electrons
    return RestorerCard(
        name=recipe.training.name,
        title=recipe.card.title,
        network=recipe.network,
        peak_electrons_range=None if counted is None else limits_of(counted),
        frames=tuple(
            hashlib.sha256(np.ascontiguousarray(f.counts, np.float32).tobytes()).hexdigest()
            for f in frames
        ),
        recipe=recipe.model_dump(mode="json", exclude_defaults=True),
        seed=recipe.training.seed,
        versions={
            "adatom": adatom.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        limits=recipe.card.limits,
    )


def _make_lesson(recipe: RestoreRecipe, frames: Sequence[Frame], n_workers: int) -> Lesson:
    samples = [
        make_sample(recipe, frames, VALIDATION, index)
        for index in range(recipe.training.n_validation)
    ]
    parts = (samples[i : i + BATCH] for i in range(0, len(samples), BATCH))
    held_out = [[torch.stack(part) for part in zip(*batch, strict=True)] for batch in parts]
    measure = partial(measure_loss, recipe.training.smoothness)
    return Lesson(
        recipe,
        recipe.training,
        measure,
        partial(_draw_batches, recipe, frames, n_workers),
        held_out,
    )


def make_sample(recipe: RestoreRecipe, frames: Sequence[Frame], split: int, index: int) -> Batch:
    """Sample number `index` of a split, always the same.

    Parameters
    ----------
    recipe : RestoreRecipe
        What to simulate.
    frames : sequence of Frame
        Images without truth.
    split : int
        Which images: see `learn.samples`.
    index : int
        Number of the sample.

    Returns
    -------
    list of tensors
        What the network sees, (N, N); what the image is expected to be, or of an image without
        truth the other electrons; object function and background (zero without truth); probe, and
        the probe that the network is told, (P, P); read noise; what the expectation of the second
        image is over that of the first, (); whether there is a truth, ().
    """
    rng = make_child_rng(recipe.training.seed, split, index)
    if not frames or rng.random() < recipe.training.simulated:
        example = simulate_object(recipe, rng)
        maps = (example.image, example.expected, example.object_function, example.background)
        numbers = (example.read_noise, 1.0, 1.0)
        return _to_tensors(maps, (example.probe, example.told_probe), numbers)
    frame, side = frames[int(rng.integers(len(frames)))], recipe.dataset.n_pixels
    top, left = (int(rng.integers(n - side + 1)) for n in frame.counts.shape)
    counts = frame.counts[top : top + side, left : left + side].astype(np.int64)
    kept = rng.uniform(LEAST_KEPT, MOST_KEPT)
    seen = rng.binomial(counts, kept)
    maps = (seen, counts - seen, np.zeros((side, side)), np.zeros((side, side)))
    probe = frame.probes[int(rng.integers(len(frame.probes)))]
    return _to_tensors(maps, (probe, probe), (0.0, (1 - kept) / kept, 0.0))


def _to_tensors(
    maps: tuple[np.ndarray, ...], probes: tuple[np.ndarray, ...], numbers: tuple[float, ...]
) -> Batch:
    arrays = [*maps, *probes, *numbers]
    return [torch.as_tensor(np.asarray(array, np.float32)) for array in arrays]


class _Samples(IterableDataset):
    """Endless samples of a split from a starting index on, shared between workers."""

    def __init__(self, recipe: RestoreRecipe, frames: Sequence[Frame], split: int, start: int):
        self.recipe, self.frames, self.split, self.start = recipe, frames, split, start

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        index, step = self.start, 1
        if worker is not None:
            index, step = index + worker.id, worker.num_workers
        while True:
            yield make_sample(self.recipe, self.frames, self.split, index)
            index += step


def _draw_batches(
    recipe: RestoreRecipe, frames: Sequence[Frame], n_workers: int, progress: TrainingState
) -> Iterable[Batch]:
    """Batches from the first sample on that no step has seen, nor the model it began with."""
    batch_size, split = recipe.training.batch_size, choose_split(progress.start)
    samples = _Samples(recipe, frames, split, progress.step * batch_size)
    return draw_batches(samples, batch_size, n_workers)


def measure_loss(smoothness: float, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Loss of what a network restores.

    Parameters
    ----------
    smoothness : float
        Weight of the slope of the background in images without truth.
    network : DeepSTEM
        The network.
    batch : list of tensors
        Of `make_sample`, stacked.

    Returns
    -------
    () tensor
        The mean over the batch.
    """
    seen, expected, points, background, probe, told, read_noise, ratio, has_truth = batch
    shape = (seen.shape[1], seen.shape[2])
    views = view_probe(told, shape)
    true_views = views._replace(transfer=view_probe(probe, shape).transfer)
    sharp, smooth = network(seen, told, read_noise)
    with torch.autocast(seen.device.type, enabled=False):
        image = (reconvolve(sharp, true_views) + smooth).clamp_min(0)
        spots = blur_to_spots(points, views)
        level = expected.mean((1, 2))
        n_pixels = expected.shape[1] * expected.shape[2]
        noise = level.clamp_min(1 / n_pixels) + read_noise**2  # one electron in all, at least
        unsure = noise / n_pixels  # variance that it leaves the level
        least = LEAST_VARIANCE * level**2 + unsure
        unit = level * (views.area / views.spot_area)[:, 0, 0]
        known = (
            _relative(sharp, spots, LEAST_VARIANCE * unit**2 + unsure)
            + _relative(image, expected, least)
            + _relative(smooth, background, least + _inside(expected).var((1, 2)))
        )
        variance = measure_contrast(seen, views, read_noise)[1][:, 0, 0]
        unknown = _deviate(ratio[:, None, None] * image, expected, ratio**2 * variance)
        unknown = unknown + smoothness * _slope(smooth, image)
        return (has_truth * known + UNKNOWN_WEIGHT * (1 - has_truth) * unknown).mean()


def _inside(values: torch.Tensor) -> torch.Tensor:
    return values[:, RIM:-RIM, RIM:-RIM]


def _relative(found: torch.Tensor, true: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """Mean square error over the variance of the truth and the least that counts, (B,).

    Images of few electrons, whose errors are large, do not outweigh all others.
    """
    found, true = _inside(found), _inside(true)
    error = ((found - true) ** 2).mean((1, 2)) / (true.var((1, 2)) + least)
    return LARGE * torch.log1p(error / LARGE)


def _deviate(expected: torch.Tensor, counts: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    """Poisson deviance over that of an even image, (B,): comparable in size to `_relative`."""
    expected, counts = _inside(expected).clamp_min(1e-6), _inside(counts)
    mean = counts.mean((1, 2)).clamp_min(1e-6)
    deviance = expected - counts * expected.log() + torch.special.xlogy(counts, counts) - counts
    return 2 * deviance.mean((1, 2)) / (variance / mean + LEAST_VARIANCE * mean)


def _slope(background: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Mean slope of the background over the spread of the image, (B,)."""
    down = background.diff(dim=1).abs().mean((1, 2))
    right = background.diff(dim=2).abs().mean((1, 2))
    return (down + right) / (image.detach().std((1, 2)) + 1e-6)
