"""A data set on disk: images as zarr, truth as Parquet, the recipe beside them."""

import json
import os
import shutil
from pathlib import Path

import pandas as pd

import adatom
from adatom.core.errors import FileError
from adatom.core.progress import Report
from adatom.core.random import make_child_rng
from adatom.images.write import write_image
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import Recipe

DATASET = 3  # its images never meet those of training, validation and calibration


def simulate_dataset(
    recipe: Recipe,
    folder: str | Path,
    n_images: int,
    *,
    seed: int = 1,
    report: Report | None = None,
) -> Path:
    """Simulate a data set that its recipe and seed regenerate bit for bit.

    Parameters
    ----------
    recipe : Recipe
        What to simulate.
    folder : str or Path
        New folder: `images/NUMBER.zarr`, each of which `read_image` reads; `truth.parquet` (image,
        x, y in Å, label, intensity); `dataset.json` (seed, number of images, version, recipe).
    n_images : int
        How many images.
    seed : int
        Seed of all of them.
    report : callable, optional
        Called with (images done, images in all, text).

    Returns
    -------
    Path
        The folder, which appears only when it is whole.

    Raises
    ------
    FileError
        If the folder exists or cannot be written.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileError(f"{folder}: exists already; name a new folder")
    beside = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        (beside / "images").mkdir(parents=True)
        tables = []
        for index in range(n_images):
            example = simulate_example(recipe, make_child_rng(seed, DATASET, index))
            write_image(example.to_image(), beside / "images" / f"{index:06d}.zarr")
            tables.append(example.truth.assign(image=index))
            if report:
                report(index + 1, n_images, "images")
        truth = pd.concat(tables, ignore_index=True)[["image", "x", "y", "label", "intensity"]]
        truth.to_parquet(beside / "truth.parquet")
        made = {"seed": seed, "n_images": n_images, "adatom": adatom.__version__}
        made["recipe"] = recipe.model_dump(mode="json")
        (beside / "dataset.json").write_text(json.dumps(made, indent=1), encoding="utf-8")
        os.replace(beside, folder)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder
