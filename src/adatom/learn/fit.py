"""Train a network on simulated images: resumable, with a moving average of the weights."""

import math
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch.utils.data import DataLoader

import adatom
from adatom.core.errors import ConfigError, ModelError
from adatom.core.progress import Report
from adatom.core.random import limits_of
from adatom.core.workers import count_cores
from adatom.images.normalize import FOCAL_NORMALIZATION, NormalizeConfig
from adatom.learn.checkpoint import (
    BEST,
    CHECKPOINT,
    HISTORY,
    TrainingState,
    check_folder,
    load_checkpoint,
    save_checkpoint,
    save_whole,
    write_history,
)
from adatom.learn.samples import VALIDATION, SimulatedPairs, make_pair
from adatom.learn.targets import measure_loss, weigh_classes, weigh_maps
from adatom.networks.kinds import Network
from adatom.networks.model import Model, ModelCard, build_network
from adatom.networks.msdnet import MSDNet
from adatom.networks.precision import has_fast_bf16
from adatom.simulate.recipe import FocalTrainingConfig, HrtemRecipe, Recipe


def train_model(
    recipe: Recipe | HrtemRecipe,
    folder: str | Path,
    *,
    start: Model | None = None,
    resume: bool = False,
    n_workers: int = 1,
    report: Report | None = None,
) -> Model:
    """Train the network of a recipe on images simulated while it learns.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        What to simulate, the network, and how it learns.
    folder : str or Path
        Where checkpoint, history.csv and the best weights go; made if missing.
    start : Model, optional
        Model whose weights are trained on; of the recipe's network, labels and pixel size. Without
        it, weights are drawn.
    resume : bool
        Continue the training that the folder holds.
    n_workers : int
        Processes that simulate.
    report : callable, optional
        Called with (step, steps in all, one line of text).

    Returns
    -------
    Model
        The averaged weights that were best on held-out images, with an uncalibrated card.

    Raises
    ------
    ConfigError
        If the images do not fit the network, the folder holds another recipe's training, or
        `start` is another kind of model or given together with `resume`.
    FileError
        If the folder holds a training and `resume` is off, or none and it is on.
    ModelError
        If the loss is not finite any more; the folder keeps the last checkpoint.
    """
    folder = Path(folder)
    checkpoint = folder / CHECKPOINT
    _check_training(recipe)
    check_folder(checkpoint, recipe, resume)
    card = make_card(recipe)
    if start is not None:
        _check_start(start.card, card, resume)
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    accelerator = Accelerator(mixed_precision="bf16" if has_fast_bf16(device) else "no")
    training = recipe.training
    network, progress = _begin(card, start, training.seed)
    average = build_network(card)
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(
        network.parameters(), training.learning_rate, weight_decay=training.weight_decay
    )
    if resume:
        progress = load_checkpoint(checkpoint, network, average, optimizer)
    loader = _make_loader(recipe, progress.step, n_workers)
    network, optimizer = accelerator.prepare(network, optimizer)
    held_out = _make_held_out(recipe)
    weights = (
        weigh_maps(held_out) if card.focal_series else weigh_classes(held_out, len(card.labels) + 1)
    )
    parts = _Parts(accelerator, network, average, optimizer, held_out, weights)
    with _leave_cores(n_workers):
        _run_steps(parts, loader, recipe, folder, progress, report)
    average.load_state_dict(load_file(folder / BEST))
    card = card.model_copy(
        update={
            "n_steps": progress.best_step,
            "start": progress.start,
            "scores": {"held_out_loss": progress.best_loss},
        }
    )
    return Model(average.eval(), card)


@dataclass(frozen=True)
class _Parts:
    """What a training works with."""

    accelerator: Accelerator
    network: torch.nn.Module
    average: Network
    optimizer: torch.optim.Optimizer
    held_out: list[tuple[torch.Tensor, torch.Tensor]]
    weights: torch.Tensor


def _run_steps(  # noqa: PLR0917
    parts: _Parts,
    loader: DataLoader,
    recipe: Recipe | HrtemRecipe,
    folder: Path,
    progress: TrainingState,
    report: Report | None,
) -> None:
    """Take steps until all are done or nothing improves; look at held-out images in between."""
    training, running = recipe.training, math.nan
    bare = parts.accelerator.unwrap_model(parts.network)
    for batch in loader:
        if progress.step >= training.n_steps or _is_stuck(progress, recipe):
            break
        latest = _take_step(parts, batch, _learning_rate(progress.step, recipe))
        progress.step += 1
        if not math.isfinite(latest):
            raise ModelError(
                f"{folder}: the loss is {latest} at step {progress.step}; lower "
                f"training.learning_rate (got {training.learning_rate:g})"
            )
        _update_average(parts.average, bare, progress.step, training.average)
        running = latest if math.isnan(running) else 0.98 * running + 0.02 * latest
        if report and progress.step % 10 == 0:
            line = f"loss {running:.4f}, held out {progress.best_loss:.4f}"
            report(progress.step, training.n_steps, line)
        if progress.step % training.validate_every == 0 or progress.step == training.n_steps:
            held_out_loss = _evaluate(parts.average, parts.held_out, parts.weights)
            if held_out_loss < progress.best_loss:
                progress.best_loss, progress.best_step = held_out_loss, progress.step
                save_whole(parts.average.state_dict(), folder / BEST)
            write_history(folder, progress.step, running, held_out_loss)
            save_checkpoint(
                folder / CHECKPOINT, recipe, bare, parts.average, parts.optimizer, progress
            )


def make_card(recipe: Recipe | HrtemRecipe) -> ModelCard:
    """Card of the model that a recipe trains, before it is calibrated.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        The recipe.

    Returns
    -------
    ModelCard
        With what the recipe knows.
    """
    training, kinds = recipe.training, [getattr(k, "materials", None) for k in recipe.structure]
    materials = [name for names in kinds for name in names or ()] if all(kinds) else []
    of_kind = _describe_focal(recipe) if isinstance(recipe, HrtemRecipe) else _describe(recipe)
    return ModelCard(
        name=training.name,
        title=recipe.card.title,
        columns=recipe.card.columns,
        limits=recipe.card.limits,
        materials=tuple(dict.fromkeys(materials)),
        network=recipe.network,
        recipe=recipe.model_dump(mode="json", exclude_defaults=True),
        seed=training.seed,
        versions={
            "adatom": adatom.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        **of_kind,
    )


def _describe(recipe: Recipe) -> dict[str, Any]:
    """What the card says of HAADF images."""
    pixel_size, counted = recipe.training.pixel_size, recipe.detector.peak_electrons
    return {
        "labels": recipe.training.labels,
        "families": recipe.training.families,
        "pixel_size": pixel_size,
        "pixel_size_range": (0.03, 1.4 * pixel_size),
        "dose_range": limits_of(recipe.detector.dose) if counted is None else None,
        "peak_electrons_range": None if counted is None else limits_of(counted),
        "normalization": NormalizeConfig(),
    }


def _describe_focal(recipe: HrtemRecipe) -> dict[str, Any]:
    """What the card says of focal series."""
    low, high = limits_of(recipe.detector.pixel_size)
    return {
        "labels": recipe.labels,
        "focal_series": recipe.microscope.focal_series,
        "pixel_size": (low + high) / 2,
        "pixel_size_range": (low / 2, 1.2 * high),
        "defocus_range": limits_of(recipe.microscope.defocus),
        "dose_range": limits_of(recipe.detector.dose),
        "normalization": FOCAL_NORMALIZATION,
        "sublattices": recipe.sublattices,
    }


def _check_training(recipe: Recipe | HrtemRecipe) -> None:
    """Refuse what would fail after hours: images that the network cannot halve, taken names."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(f"training: runs in one process (got {os.environ['WORLD_SIZE']})")
    names = [Path(file).stem for file in (BEST, CHECKPOINT, HISTORY)]
    if recipe.training.name in names:
        taken = ", ".join(names)
        raise ConfigError(f"training.name: must be none of {taken} (got {recipe.training.name!r})")
    step, training = recipe.network.step, recipe.training
    if isinstance(training, FocalTrainingConfig):
        if training.n_pixels % step:
            raise ConfigError(
                f"training.n_pixels: must be a multiple of {step} (got {training.n_pixels})"
            )
        return
    n_pixels = round(recipe.dataset.size / training.pixel_size)
    if n_pixels == 0 or n_pixels % step:
        raise ConfigError(
            f"dataset.size: must be a multiple of {step} pixels of {training.pixel_size:g} Å"
            f" (got {n_pixels})"
        )


def _begin(card: ModelCard, start: Model | None, seed: int) -> tuple[Network, TrainingState]:
    """Network with its first weights, and what the card will say of them."""
    network = build_network(card)
    if start is None:
        _draw_weights(network, np.random.default_rng(seed))
        return network, TrainingState()
    network.load_state_dict(start.network.state_dict())
    told = {"name", "checksum", "recipe", "start"}
    origin = start.card.model_dump(mode="json", include=told, exclude_defaults=True)
    return network, TrainingState(start=origin)


def _check_start(start: ModelCard, card: ModelCard, resume: bool) -> None:
    """Refuse weights that mean something else than those of the recipe."""
    if resume:
        raise ConfigError("start: a stopped training goes on with its own weights; leave it out")
    for name in ("network", "focal_series", "labels", "pixel_size", "normalization"):
        given, asked = getattr(start, name), getattr(card, name)
        if given != asked:
            raise ConfigError(f"start: {name} of {start.name} must be {asked} (got {given})")


def _make_loader(recipe: Recipe | HrtemRecipe, n_steps_done: int, n_workers: int) -> DataLoader:
    """Batches from the first image on that no step has seen."""
    batch_size = recipe.training.batch_size
    return DataLoader(
        SimulatedPairs(recipe, n_steps_done * batch_size),
        batch_size,
        num_workers=n_workers,
        prefetch_factor=4 if n_workers else None,
        worker_init_fn=_one_thread,
    )


@contextmanager
def _leave_cores(n_workers: int) -> Iterator[None]:
    """No more threads than cores are left: one more waits for the simulation, all others for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, count_cores() - n_workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _draw_weights(network: Network, rng: np.random.Generator) -> None:
    """First weights after He et al., ICCV 2015 (arXiv 1502.01852), or as the network has them."""
    if isinstance(network, MSDNet):
        network.draw_weights(rng)
        return
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            shape = tuple(layer.weight.shape)
            spread = (2 / np.prod(shape[1:])) ** 0.5
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(spread * rng.standard_normal(shape)))
                if layer.bias is not None:
                    layer.bias.zero_()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _take_step(parts: _Parts, batch: list[torch.Tensor], rate: float) -> float:
    """One step of the optimizer; gives the loss before it."""
    accelerator, network = parts.accelerator, parts.network
    for group in parts.optimizer.param_groups:
        group["lr"] = rate
    images = batch[0].to(accelerator.device, memory_format=torch.channels_last)
    targets, weights = (part.to(accelerator.device) for part in (batch[1], parts.weights))
    with accelerator.autocast():
        loss = measure_loss(network(images), targets, weights)
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(network.parameters(), 1.0)
    parts.optimizer.step()
    parts.optimizer.zero_grad()
    return float(loss.detach())


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _make_held_out(recipe: Recipe | HrtemRecipe) -> list[tuple[torch.Tensor, torch.Tensor]]:
    pairs = [make_pair(recipe, VALIDATION, index) for index in range(recipe.training.n_validation)]
    return [
        (
            torch.from_numpy(np.stack([p[0] for p in batch])),
            torch.from_numpy(np.stack([p[1] for p in batch])),
        )
        for batch in (pairs[i : i + 8] for i in range(0, len(pairs), 8))
    ]


def _evaluate(
    network: Network, held_out: list[tuple[torch.Tensor, torch.Tensor]], weights: torch.Tensor
) -> float:
    """Mean loss on held-out images."""
    network.eval()
    with torch.inference_mode():
        losses = [
            float(
                measure_loss(
                    network(images.to(memory_format=torch.channels_last)), targets, weights
                )
            )
            for images, targets in held_out
        ]
    return float(np.mean(losses))


def _learning_rate(step: int, recipe: Recipe | HrtemRecipe) -> float:
    """Short warm-up, then a cosine to zero; restarts after Loshchilov & Hutter, ICLR 2017."""
    training = recipe.training
    length = _cycle_length(recipe)
    step %= length
    warm = min(1.0, (step + 1) / min(200, math.ceil(length / 3)))
    return training.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / length))


def _cycle_length(recipe: Recipe | HrtemRecipe) -> int:
    return math.ceil(recipe.training.n_steps / recipe.training.n_cycles)


def _is_stuck(progress: TrainingState, recipe: Recipe | HrtemRecipe) -> bool:
    """Whether no look at the held-out images was better for long; each cycle has its own time."""
    first = progress.step - progress.step % _cycle_length(recipe)
    waited = progress.step - max(progress.best_step, first)
    return waited >= recipe.training.patience * recipe.training.validate_every


def _update_average(average: Network, network: Network, step: int, decay: float) -> None:
    """Moving average of the weights; young averages forget faster."""
    keep = min(decay, step / (step + 10))
    with torch.no_grad():
        for mean, new in zip(
            average.state_dict().values(), network.state_dict().values(), strict=True
        ):
            if mean.is_floating_point():
                mean.lerp_(new.to(mean.device), 1 - keep)
            else:
                mean.copy_(new)
