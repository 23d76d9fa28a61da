"""The training loop: steps, a moving average of the weights, looks at held-out images, resume."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch.utils.data import DataLoader, IterableDataset

from adatom.core.config import Config
from adatom.core.errors import ConfigError, ModelError
from adatom.core.progress import Report
from adatom.core.workers import count_cores
from adatom.learn.checkpoint import (
    BEST,
    CHECKPOINT,
    HISTORY,
    TrainingState,
    load_checkpoint,
    save_checkpoint,
    save_whole,
    write_history,
)
from adatom.networks.msdnet import MSDNet
from adatom.networks.precision import has_fast_bf16
from adatom.simulate.learning import LearningConfig

Batch = list[torch.Tensor]
Measure = Callable[[torch.nn.Module, Batch], torch.Tensor]


@dataclass(frozen=True)
class Lesson:
    """What a network learns from.

    Attributes
    ----------
    recipe : Config
        Written into the checkpoint: only the same recipe may go on with it.
    training : LearningConfig
        How it learns.
    measure : callable
        Loss of a network on a batch.
    draw_batches : callable
        Batches from where a training stands on, those that no step before it has seen.
    held_out : list of batches
        What no step sees.
    """

    recipe: Config
    training: LearningConfig
    measure: Measure
    draw_batches: Callable[[TrainingState], Iterable[Batch]]
    held_out: list[Batch]


def learn(
    network: torch.nn.Module,
    average: torch.nn.Module,
    lesson: Lesson,
    folder: Path,
    *,
    progress: TrainingState,
    resume: bool = False,
    report: Report | None = None,
) -> TrainingState:
    """Train a network; its average ends with the weights that were best on held-out images.

    Parameters
    ----------
    network : Module
        With its first weights; changed in place.
    average : Module
        Another of the same kind, for the moving average; changed in place.
    lesson : Lesson
        What it learns from.
    folder : Path
        Existing folder for checkpoint, history.csv and the best weights.
    progress : TrainingState
        Of a training that begins.
    resume : bool
        Continue the training that the folder holds.
    report : callable, optional
        Called with (step, steps in all, one line of text).

    Returns
    -------
    TrainingState
        Where the training stands at its end.

    Raises
    ------
    ModelError
        If the loss is not finite any more; the folder keeps the last checkpoint.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    accelerator = Accelerator(mixed_precision="bf16" if has_fast_bf16(device) else "no")
    training = lesson.training
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(
        network.parameters(), training.learning_rate, weight_decay=training.weight_decay
    )
    if resume:
        progress = load_checkpoint(folder / CHECKPOINT, network, average, optimizer)
    network, optimizer = accelerator.prepare(network, optimizer)
    parts = _Parts(accelerator, network, average, optimizer)
    _run_steps(parts, lesson, folder, progress, report)
    average.load_state_dict(load_file(folder / BEST))
    average.eval()
    return progress


@dataclass(frozen=True)
class _Parts:
    """What a training works with."""

    accelerator: Accelerator
    network: torch.nn.Module
    average: torch.nn.Module
    optimizer: torch.optim.Optimizer


def _run_steps(
    parts: _Parts, lesson: Lesson, folder: Path, progress: TrainingState, report: Report | None
) -> None:
    """Take steps until all are done or nothing improves; look at held-out images in between."""
    training, running = lesson.training, math.nan
    bare = parts.accelerator.unwrap_model(parts.network)
    for batch in lesson.draw_batches(progress):
        if progress.step >= training.n_steps:
            break
        if _is_stuck(progress, training):
            if report:
                line = f"stopped, for nothing was better since step {progress.best_step}"
                report(progress.step, training.n_steps, line)
            break
        latest = _take_step(parts, lesson, batch, _learning_rate(progress.step, training))
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
            held_out_loss = _evaluate(parts.average, lesson)
            if held_out_loss < progress.best_loss:
                progress.best_loss, progress.best_step = held_out_loss, progress.step
                save_whole(parts.average.state_dict(), folder / BEST)
            write_history(folder, progress.step, running, held_out_loss)
            state = (bare, parts.average, parts.optimizer, progress)
            save_checkpoint(folder / CHECKPOINT, lesson.recipe, *state)


def _take_step(parts: _Parts, lesson: Lesson, batch: Batch, rate: float) -> float:
    """One step of the optimizer; gives the loss before it."""
    accelerator = parts.accelerator
    for group in parts.optimizer.param_groups:
        group["lr"] = rate
    with accelerator.autocast():
        loss = lesson.measure(parts.network, [part.to(accelerator.device) for part in batch])
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(parts.network.parameters(), 1.0)
    parts.optimizer.step()
    parts.optimizer.zero_grad()
    return float(loss.detach())


def _evaluate(network: torch.nn.Module, lesson: Lesson) -> float:
    """Mean loss on held-out images."""
    network.eval()
    with torch.inference_mode():
        return float(np.mean([float(lesson.measure(network, batch)) for batch in lesson.held_out]))


def _update_average(
    average: torch.nn.Module, network: torch.nn.Module, step: int, decay: float
) -> None:
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


def _learning_rate(step: int, training: LearningConfig) -> float:
    """Short warm-up, then a cosine to zero; restarts after Loshchilov & Hutter, ICLR 2017."""
    length = _cycle_length(training)
    step %= length
    warm = min(1.0, (step + 1) / min(200, math.ceil(length / 3)))
    return training.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / length))


def _cycle_length(training: LearningConfig) -> int:
    return math.ceil(training.n_steps / training.n_cycles)


def _is_stuck(progress: TrainingState, training: LearningConfig) -> bool:
    """Whether no look at the held-out images was better for long.

    Only the second half of each cycle counts: while the rate is high, good weights get worse first.
    """
    length = _cycle_length(training)
    first = progress.step - progress.step % length + length // 2
    waited = progress.step - max(progress.best_step, first)
    return waited >= training.patience * training.validate_every


def check_name(name: str) -> None:
    """Refuse a name of a model whose files would be those of its training.

    Parameters
    ----------
    name : str
        By the recipe.

    Raises
    ------
    ConfigError
        If it is taken.
    """
    names = [Path(file).stem for file in (BEST, CHECKPOINT, HISTORY)]
    if name in names:
        raise ConfigError(f"training.name: must be none of {', '.join(names)} (got {name!r})")


def draw_batches(samples: IterableDataset, batch_size: int, n_workers: int) -> Iterable[Batch]:
    """Batches of endless samples.

    Parameters
    ----------
    samples : IterableDataset
        Shared out between workers by itself.
    batch_size : int
        Samples of a batch.
    n_workers : int
        Processes that make them.

    Returns
    -------
    iterable of list of tensors
        Stacked.
    """
    return DataLoader(
        samples,
        batch_size,
        num_workers=n_workers,
        prefetch_factor=4 if n_workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


@contextmanager
def leave_cores(n_workers: int) -> Iterator[None]:
    """No more threads than cores are left: one more waits for the simulation, all others for it.

    Parameters
    ----------
    n_workers : int
        Processes that simulate meanwhile.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, count_cores() - n_workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draw_weights(network: torch.nn.Module, rng: np.random.Generator) -> None:
    """First weights after He et al., ICCV 2015 (arXiv 1502.01852), or as the network has them.

    Parameters
    ----------
    network : Module
        Changed in place.
    rng : Generator
        Draws them.
    """
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
