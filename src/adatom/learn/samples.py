"""Training pairs: normalized images and their class maps, simulated on the fly."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from adatom.core.random import make_child_rng
from adatom.images.normalize import FOCAL_NORMALIZATION, NormalizeConfig, normalize_image
from adatom.images.resample import resample_image
from adatom.learn.targets import make_maps, make_target
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import HrtemRecipe, Recipe
from adatom.simulate.wave_set import simulate_series

TRAINING, VALIDATION, CALIBRATION = 0, 1, 2


def make_pair(
    recipe: Recipe | HrtemRecipe, split: int, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Image and target number `index` of a split, always the same.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        What to simulate.
    split : int
        TRAINING, VALIDATION or CALIBRATION: they never share an image.
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
        return _make_focal_pair(recipe, rng)
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


def _make_focal_pair(
    recipe: HrtemRecipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """At the pixel size of the camera."""
    training = recipe.training
    series, truth = simulate_series(recipe, training.n_pixels, rng)
    pixel_size = float(series.y[1] - series.y[0])
    images = [
        normalize_image(image, pixel_size, config=FOCAL_NORMALIZATION) for image in series.values
    ]
    shown = truth[truth["label"].isin(recipe.labels)]
    classes = np.array([recipe.labels.index(label) for label in shown["label"]], int)
    corner = float(series.y[0]), float(series.x[0])
    centers = (shown[["y", "x"]].to_numpy() - corner) / pixel_size
    shape = (len(recipe.labels), training.n_pixels, training.n_pixels)
    return np.stack(images), make_maps(centers, classes, shape, training.width / pixel_size)


class SimulatedPairs(IterableDataset):
    """Endless training pairs from a starting index on, shared between workers.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        What to simulate.
    start : int
        Index of the first pair: a resumed training continues with images it has not seen.
    """

    def __init__(self, recipe: Recipe | HrtemRecipe, start: int):
        self.recipe, self.start = recipe, start

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs of this worker."""
        worker = get_worker_info()
        index = self.start + (worker.id if worker else 0)
        while True:
            image, target = make_pair(self.recipe, TRAINING, index)
            yield torch.from_numpy(image), torch.from_numpy(target)
            index += worker.num_workers if worker else 1
