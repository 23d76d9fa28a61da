"""A data set from a recipe, with a picture of its first examples."""

from pathlib import Path

import pandas as pd
import xarray as xr

from adatom.core.progress import Report, ignore_progress
from adatom.core.workers import count_cores

PICTURE = "examples.png"
N_SHOWN = 4


def simulate_recipe(
    recipe: str | Path,
    out: str | Path,
    n_images: int,
    *,
    seed: int = 1,
    n_workers: int | None = None,
    report: Report = ignore_progress,
) -> Path:
    """Simulate the data set of a recipe and draw some of it.

    Parameters
    ----------
    recipe : str or Path
        Name of a shipped recipe, or a TOML file.
    out : str or Path
        New folder for the data set; `examples.png` shows its first images with their columns.
    n_images : int
        How many images.
    seed : int
        Seed of all of them.
    n_workers : int, optional
        Processes that simulate; as many as there are cores if left out.
    report : callable
        Called with (parts done, parts in all, what is being done).

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    AdatomError
        If the recipe breaks a rule, or the folder exists or cannot be written.
    """
    from adatom.plots.examples import draw_examples
    from adatom.plots.style import write_figure
    from adatom.simulate.dataset import simulate_dataset
    from adatom.simulate.recipe import load_recipe

    folder = simulate_dataset(
        load_recipe(recipe),
        out,
        n_images,
        seed=seed,
        n_workers=n_workers or count_cores(),
        report=report,
    )
    write_figure(draw_examples(_load_examples(folder, min(n_images, N_SHOWN))), folder / PICTURE)
    return folder


def _load_examples(folder: Path, n: int) -> list[tuple[xr.DataArray, pd.DataFrame]]:
    from adatom.images.read import read_image
    from adatom.simulate.wave_set import WaveSet

    if (folder / "waves.zarr").exists():
        waves = WaveSet(folder)
        return [waves.draw_series(index, index) for index in range(n)]
    truth = pd.read_parquet(folder / "truth.parquet")
    return [
        (read_image(folder / "images" / f"{index:06d}.zarr"), truth[truth["image"] == index])
        for index in range(n)
    ]
