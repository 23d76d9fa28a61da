"""Train a network to find columns on images that are simulated while it learns."""

import os
import platform
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import adatom
from adatom.core.errors import ConfigError
from adatom.core.progress import Report
from adatom.core.random import limits_of
from adatom.images.normalize import FOCAL_NORMALIZATION, NormalizeConfig
from adatom.learn.checkpoint import CHECKPOINT, TrainingState, check_folder, tell_start
from adatom.learn.loop import (
    Batch,
    Lesson,
    check_name,
    draw_batches,
    draw_weights,
    learn,
    leave_cores,
)
from adatom.learn.samples import VALIDATION, SimulatedPairs, choose_split, make_pair
from adatom.learn.targets import measure_loss, weigh_classes, weigh_maps
from adatom.networks.kinds import Network
from adatom.networks.model import Model, ModelCard, build_network
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
        Model whose weights are trained on; of the recipe's network, labels and pixel size. It is
        shown images that it did not learn from. Without it, weights are drawn.
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
    network, progress = _begin(card, start, recipe.training.seed)
    average = build_network(card)
    with leave_cores(n_workers):
        lesson = _make_lesson(recipe, card, n_workers)
        progress = learn(
            network, average, lesson, folder, progress=progress, resume=resume, report=report
        )
    card = card.model_copy(
        update={
            "n_steps": progress.best_step,
            "start": progress.start,
            "scores": {"held_out_loss": progress.best_loss},
        }
    )
    return Model(average, card)


def _make_lesson(recipe: Recipe | HrtemRecipe, card: ModelCard, n_workers: int) -> Lesson:
    """Images, their truth, and the loss between it and what a network draws."""
    held_out = _make_held_out(recipe)
    pairs = [(batch[0], batch[1]) for batch in held_out]
    weights = weigh_maps(pairs) if card.focal_series else weigh_classes(pairs, len(card.labels) + 1)
    batches = partial(_draw_batches, recipe, n_workers)
    return Lesson(recipe, recipe.training, partial(_measure, weights), batches, held_out)


def _measure(weights: torch.Tensor, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
    images = batch[0].to(memory_format=torch.channels_last)
    return measure_loss(network(images), batch[1], weights.to(images.device))


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
    check_name(recipe.training.name)
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
        draw_weights(network, np.random.default_rng(seed))
        return network, TrainingState()
    network.load_state_dict(start.network.state_dict())
    return network, TrainingState(start=tell_start(start.card))


def _check_start(start: ModelCard, card: ModelCard, resume: bool) -> None:
    """Refuse weights that mean something else than those of the recipe."""
    if resume:
        raise ConfigError("start: a stopped training goes on with its own weights; leave it out")
    for name in ("network", "focal_series", "labels", "pixel_size", "normalization"):
        given, asked = getattr(start, name), getattr(card, name)
        if given != asked:
            raise ConfigError(f"start: {name} of {start.name} must be {asked} (got {given})")


def _draw_batches(
    recipe: Recipe | HrtemRecipe, n_workers: int, progress: TrainingState
) -> Iterable[Batch]:
    """Batches from the first image on that no step has seen, nor the model it began with."""
    batch_size = recipe.training.batch_size
    samples = SimulatedPairs(recipe, progress.step * batch_size, choose_split(progress.start))
    return draw_batches(samples, batch_size, n_workers)


def _make_held_out(recipe: Recipe | HrtemRecipe) -> list[Batch]:
    pairs = [make_pair(recipe, VALIDATION, index) for index in range(recipe.training.n_validation)]
    return [
        [
            torch.from_numpy(np.stack([p[0] for p in batch])),
            torch.from_numpy(np.stack([p[1] for p in batch])),
        ]
        for batch in (pairs[i : i + 8] for i in range(0, len(pairs), 8))
    ]
