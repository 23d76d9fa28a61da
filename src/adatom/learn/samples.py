"""Training pairs: normalized images and their class maps, simulated on the fly."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from adatom.core.random import make_child_rng
from adatom.images.normalize import NormalizeConfig, normalize_image
from adatom.images.resample import resample_image
from adatom.learn.targets import make_target
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import Recipe

TRAINING, VALIDATION, CALIBRATION = 0, 1, 2


def make_pair(recipe: Recipe, split: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and class map number `index` of a split, always the same.

    Parameters
    ----------
    recipe : Recipe
        What to simulate, and the pixel size that the network works at.
    split : int
        TRAINING, VALIDATION or CALIBRATION: they never share an image.
    index : int
        Number of the image.

    Returns
    -------
    image : (1, H, W) float32 array
        Normalized image.
    target : (H, W) int64 array
        Class of every pixel, 0 is background.
    """
    training = recipe.training
    example = simulate_example(recipe, make_child_rng(training.seed, split, index))
    n_pixels = round(recipe.dataset.size / training.pixel_size)
    resampled = resample_image(example.image, (example.pixel_size,) * 2, training.pixel_size)
    lacking = [(0, max(n_pixels - n, 0)) for n in resampled.shape]
    resampled = np.pad(resampled, lacking, mode="edge")[:n_pixels, :n_pixels]
    image = normalize_image(resampled, training.pixel_size, config=NormalizeConfig())
    classes = np.array([training.labels.index(label) + 1 for label in example.truth["label"]], int)
    centers = example.truth[["y", "x"]].to_numpy() / training.pixel_size
    target = make_target(centers, classes, image.shape, training.radius / training.pixel_size)
    return image[None], target


class SimulatedPairs(IterableDataset):
    """Endless training pairs from a starting index on, shared between workers.

    Parameters
    ----------
    recipe : Recipe
        What to simulate.
    start : int
        Index of the first pair: a resumed training continues with images it has not seen.
    """

    def __init__(self, recipe: Recipe, start: int):
        self.recipe, self.start = recipe, start

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Pairs of this worker."""
        worker = get_worker_info()
        index = self.start + (worker.id if worker else 0)
        while True:
            image, target = make_pair(self.recipe, TRAINING, index)
            yield torch.from_numpy(image), torch.from_numpy(target)
            index += worker.num_workers if worker else 1
