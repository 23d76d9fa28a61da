"""Training pairs: normalized images and their class maps, simulated on the fly."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch.utils.data import IterableDataset, get_worker_info

from adatom.core.random import make_child_rng
from adatom.images.normalize import FOCAL_NORMALIZATION, NormalizeConfig, normalize_image
from adatom.images.resample import resample_image
from adatom.learn.targets import make_maps, make_target
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import HrtemRecipe, Recipe
from adatom.simulate.wave_set import (
    StoredWave,
    look_at,
    simulate_series,
    simulate_small_wave,
)

TRAINING, VALIDATION, CALIBRATION = 0, 1, 2
N_KEPT = 16  # specimens that are looked at in turn
_FIRST_FURTHER = 16  # split; those below are the same for all trainings of a seed


def choose_split(start: dict[str, Any]) -> int:
    """Split of the images that a training learns from: others than the model it goes on from.

    Parameters
    ----------
    start : dict
        What the card says of that model; empty: drawn weights.

    Returns
    -------
    int
        TRAINING for drawn weights; else a number of its own for each model.
    """
    if not start:
        return TRAINING
    told = hashlib.sha256(json.dumps(start, sort_keys=True).encode()).digest()
    return _FIRST_FURTHER + int.from_bytes(told[:7])


def make_pair(
    recipe: Recipe | HrtemRecipe, split: int, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Image and target number `index` of a split, always the same.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        What to simulate.
    split : int
        TRAINING, VALIDATION, CALIBRATION or one of `choose_split`: they never share an image.
    index : int
        Number of the image.

    Returns
    -------
    image : (1, H, W) or (F, H, W) float32 array
        Normalized image, or those of a focal series.
    target : (H, W) int64 or (C, H, W) float32 array
        Class of every pixel, 0 is background; or a map of each label.
    """
    rng = make_child_rng(recipe.training.seed, split, index)
    if isinstance(recipe, HrtemRecipe):
        return _show_columns(recipe, *simulate_series(recipe, recipe.n_field, rng), rng)
    return _make_haadf_pair(recipe, rng)


def _make_haadf_pair(recipe: Recipe, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """At the pixel size that the network works at."""
    training = recipe.training
    example = simulate_example(recipe, rng)
    n_pixels = round(recipe.dataset.size / training.pixel_size)
    resampled = resample_image(example.image, (example.pixel_size,) * 2, training.pixel_size)
    lacking = [(0, max(n_pixels - n, 0)) for n in resampled.shape]
    resampled = np.pad(resampled, lacking, mode="edge")[:n_pixels, :n_pixels]
    image = normalize_image(resampled, training.pixel_size, config=NormalizeConfig())
    classes = np.array([training.labels.index(label) + 1 for label in example.truth["label"]], int)
    centers = example.truth[["y", "x"]].to_numpy() / training.pixel_size
    target = make_target(centers, classes, image.shape, training.radius / training.pixel_size)
    return image[None], target


def _show_columns(
    recipe: HrtemRecipe, series: xr.DataArray, truth: pd.DataFrame, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """At the pixel size of the camera; of a large image a part, around a column if it has one."""
    training = recipe.training
    pixel_size = float(series.y[1] - series.y[0])
    images = [
        normalize_image(image, pixel_size, config=FOCAL_NORMALIZATION) for image in series.values
    ]
    shown = truth[truth["label"].isin(recipe.labels)]
    classes = np.array([recipe.labels.index(label) for label in shown["label"]], int)
    corner = float(series.y[0]), float(series.x[0])
    centers = (shown[["y", "x"]].to_numpy() - corner) / pixel_size
    shape = (len(recipe.labels), recipe.n_field, recipe.n_field)
    maps = make_maps(centers, classes, shape, training.width / pixel_size)
    spare = recipe.n_field - training.n_pixels
    if spare == 0:
        return np.stack(images), maps
    seen = centers[((centers >= 0) & (centers <= recipe.n_field - 1)).all(axis=1)]
    column = rng.choice(seen) if len(seen) else np.full(2, recipe.n_field / 2)
    first = column - rng.uniform(1, training.n_pixels - 1, 2)
    top, left = np.clip(np.ceil(first), 0, spare).astype(int)
    part = np.s_[:, top : top + training.n_pixels, left : left + training.n_pixels]
    return np.stack(images)[part], maps[part]


def turn_pair(
    image: np.ndarray, target: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Turn image and target by quarters, and mirror them or not.

    Parameters
    ----------
    image, target : (F, N, N), (C, N, N) arrays
        They belong together.
    rng : Generator
        Draws one of the eight ways.

    Returns
    -------
    image, target : arrays
        As if specimen and microscope had been turned and mirrored.
    """
    n_turns, step = int(rng.integers(4)), int(rng.choice([-1, 1]))
    image, target = (np.rot90(maps, n_turns, axes=(1, 2))[..., ::step] for maps in (image, target))
    return np.ascontiguousarray(image), np.ascontiguousarray(target)


class SimulatedPairs(IterableDataset):
    """Endless training pairs from a starting index on, shared between workers.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        What to simulate. With several views, each specimen is looked at by that many microscopes,
        turned and mirrored at random; specimens then depend on the number of workers.
    start : int
        Index of the first pair: a resumed training continues with images it has not seen.
    split : int
        TRAINING, or one of `choose_split`.
    """

    def __init__(self, recipe: Recipe | HrtemRecipe, start: int, split: int = TRAINING):
        self.recipe, self.start, self.split = recipe, start, split
        self._waves: dict[int, StoredWave] = {}

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs of this worker."""
        worker = get_worker_info()
        index, n_workers = self.start, 1
        if worker is not None:
            index, n_workers = index + worker.id, worker.num_workers
        while True:
            image, target = self.make_view(index, n_workers)
            yield torch.from_numpy(image), torch.from_numpy(target)
            index += n_workers

    def make_view(self, index: int, n_workers: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and target number `index`.

        Parameters
        ----------
        index : int
            Number of the pair.
        n_workers : int
            Workers that the pairs are shared out to.

        Returns
        -------
        image, target
            As of `make_pair`.
        """
        recipe = self.recipe
        if not isinstance(recipe, HrtemRecipe) or recipe.training.n_views == 1:
            return make_pair(recipe, self.split, index)
        rng = make_child_rng(recipe.training.seed, self.split, index)
        stored = self._find_wave(recipe, index, n_workers)
        pair = _show_columns(recipe, *look_at(stored, recipe, recipe.n_field, rng), rng)
        return turn_pair(*pair, rng)

    def _find_wave(self, recipe: HrtemRecipe, index: int, n_workers: int) -> StoredWave:
        """Wave of the specimen of a pair; those of a batch differ, each worker has its own."""
        training = recipe.training
        turn, lane = divmod(index, n_workers)
        first = turn // (N_KEPT * training.n_views) * N_KEPT
        number = (first + turn % N_KEPT) * n_workers + lane
        if number not in self._waves:
            kept = self._waves.items()
            self._waves = {old: wave for old, wave in kept if old >= first * n_workers}
            rng = make_child_rng(training.seed, self.split, number, 0)
            self._waves[number] = simulate_small_wave(recipe, recipe.n_field, rng)
        return self._waves[number]
