"""Data sets on disk: made in parts by several processes, resumable, whole or hidden."""

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from filelock import FileLock, Timeout

import adatom
from adatom.core.errors import ConfigError, FileError
from adatom.core.progress import Report, ignore_progress
from adatom.core.random import make_child_rng
from adatom.core.workers import run_jobs
from adatom.images.write import write_image
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import HrtemRecipe, Recipe
from adatom.simulate.specimen import box_side
from adatom.simulate.wave_set import StoredWave, simulate_wave
from adatom.simulate.waves import count_frequencies

DATASET = 3  # its images never meet those of training, validation and calibration
PART = 20  # images that one job makes
TRUTH, IMAGES, WAVES, MADE = "truth.parquet", "images.parquet", "waves.zarr", "dataset.json"


def simulate_dataset(
    recipe: Recipe | HrtemRecipe,
    folder: str | Path,
    n_images: int,
    *,
    seed: int = 1,
    n_workers: int = 1,
    report: Report = ignore_progress,
) -> Path:
    """Simulate a data set that its recipe and seed regenerate bit for bit.

    Parameters
    ----------
    recipe : Recipe or HrtemRecipe
        What to simulate.
    folder : str or Path
        New folder: `truth.parquet` (image, x, y in Å, label, intensity or n_atoms);
        `dataset.json` (seed, number of images, version, recipe); of HAADF images
        `images/NUMBER.zarr`, each of which `read_image` reads; of HRTEM `waves.zarr` with the waves
        behind the specimens (`wave_set.WaveSet`) and `images.parquet` (energy_eV, scale).
    n_images : int
        How many images.
    seed : int
        Seed of all of them.
    n_workers : int
        Processes that simulate; their number changes no bit.
    report : callable
        Called with (parts done, parts in all, text).

    Returns
    -------
    Path
        The folder, which appears only when it is whole. Until then its parts lie in a hidden folder
        beside it, and the same call goes on with them (those of another recipe or number stay).

    Raises
    ------
    ConfigError
        If the number of images is below 1.
    FileError
        If the folder exists or cannot be written, or another process is at work on it.
    """
    folder = Path(folder)
    if n_images < 1:
        raise ConfigError(f"n_images: must be 1 at least (got {n_images})")
    made = {"seed": seed, "n_images": n_images, "adatom": adatom.__version__}
    made["recipe"] = recipe.model_dump(mode="json")
    note = json.dumps(made, indent=1)
    # Of its content: processes that outlived another run cannot write into this one.
    key = hashlib.sha256(note.encode()).hexdigest()[:12]
    beside = folder.with_name(f".{folder.name}.{key}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock"), blocking=False) as lock:
            if folder.exists():
                raise FileError(f"{folder}: exists already; name a new folder")
            _prepare(beside, recipe, note)
            starts = range(0, n_images, PART)
            missing = [start for start in starts if not _is_whole(_place(beside, start))]
            jobs = [(recipe, beside, seed, start, min(start + PART, n_images)) for start in missing]
            run_jobs(_make_part, jobs, n_workers=n_workers, text="parts", report=report)
            _join(beside, [_place(beside, start) for start in starts])
            os.replace(beside, folder)
            shutil.rmtree(folder / "parts")
            Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise FileError(f"{folder}: another process is at work on it") from error
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return folder


def _prepare(beside: Path, recipe: Recipe | HrtemRecipe, note: str) -> None:
    """Make the hidden folder, unless a run was stopped after that."""
    if (beside / MADE).is_file():
        return
    shutil.rmtree(beside, ignore_errors=True)
    (beside / "parts").mkdir(parents=True)
    n_images = json.loads(note)["n_images"]
    if isinstance(recipe, HrtemRecipe):
        side = box_side(recipe.dataset.size)
        shape = count_frequencies((side, side), recipe.dataset.k_max)
        waves = zarr.create_array(
            beside / WAVES,
            shape=(n_images, *shape, 2),
            chunks=(min(PART, n_images), *shape, 2),
            dtype="float16",
        )
        waves.attrs["description"] = (
            "Fourier transforms of exit waves, numpy.fft.fft2 over the number of pixels, times the "
            "scale of images.parquet; axes image, ky, kx (numpy.fft.fftfreq), real and imaginary"
        )
        waves.attrs["length"] = [side, side]
    else:
        (beside / "images").mkdir()
    (beside / MADE).write_text(note, encoding="utf-8")


def _make_part(recipe: Recipe | HrtemRecipe, beside: Path, seed: int, start: int, end: int) -> None:
    """Simulate some images; the table that says that they are whole is written last."""
    rngs = [make_child_rng(seed, DATASET, index) for index in range(start, end)]
    if isinstance(recipe, HrtemRecipe):
        stored = [simulate_wave(recipe, rng) for rng in rngs]
        waves = zarr.open_array(beside / WAVES, mode="r+")
        waves[start:end] = np.stack([wave.values for wave in stored])
        _write_images(beside, start, stored)
        truths = [wave.truth for wave in stored]
    else:
        truths = []
        for index, rng in enumerate(rngs, start):
            example = simulate_example(recipe, rng)
            write_image(example.to_image(), beside / "images" / f"{index:06d}.zarr")
            truths.append(example.truth)
    truth = pd.concat([table.assign(image=i) for i, table in enumerate(truths, start)])
    last = "n_atoms" if isinstance(recipe, HrtemRecipe) else "intensity"
    _write_table(truth[["image", "x", "y", "label", last]], _place(beside, start))


def _write_images(beside: Path, start: int, stored: list[StoredWave]) -> None:
    rows = [
        {"image": index, "energy_eV": wave.energy_eV, "scale": wave.scale}
        for index, wave in enumerate(stored, start)
    ]
    _write_table(pd.DataFrame(rows), beside / "parts" / f"images_{start:06d}.parquet")


def _write_table(table: pd.DataFrame, path: Path) -> None:
    written = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with written.open("wb") as file:
        table.reset_index(drop=True).to_parquet(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(written, path)


def _place(beside: Path, start: int) -> Path:
    return beside / "parts" / f"truth_{start:06d}.parquet"


def _is_whole(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid):
        return False
    return True


def _join(beside: Path, places: list[Path]) -> None:
    """One table of all parts; what killed processes left half-written goes."""
    _write_table(pd.concat(map(pd.read_parquet, places)), beside / TRUTH)
    images = sorted((beside / "parts").glob("images_*.parquet"))
    if images:
        _write_table(pd.concat(map(pd.read_parquet, images)), beside / IMAGES)
    for left in [
        *beside.glob(".*"),
        *beside.glob("images/.*"),
        *beside.glob("waves.zarr/**/*.partial"),
    ]:
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
