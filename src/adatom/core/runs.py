"""The folder that every run leaves: written beside its place, and moved there when whole."""

import hashlib
import json
import logging
import math
import os
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from adatom.core.errors import FileError

SUFFIX = ".adatom"
RECORD_NAME = "run.json"
OWN_SUFFIXES = (SUFFIX, ".part", ".unfinished")  # of folders that a run leaves or works in
LIBRARIES = ("adatom", "torch", "numpy", "scipy", "pandas", "xarray")

logger = logging.getLogger("adatom")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape a result, without importing them.

    Returns
    -------
    dict
        Version by name.
    """
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in LIBRARIES
    }


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says: enough to run it again, and to know what came out.

    Attributes
    ----------
    task : str
        Name of the workflow.
    started : str
        Local time with its offset, ISO 8601.
    input : dict
        Name, path, checksum and item of the input.
    config : dict
        Configuration of the workflow.
    seed : int or None
        Seed, None where nothing was random.
    device : str
        Where the network ran.
    model : dict
        Card of the model.
    image : dict
        Shape, frames, extent (Å), modality and units of the values.
    calibration : dict
        Pixel size (Å) with errors, where it came from, what was said about it.
    summary : dict
        Counts, densities and errors by label.
    warnings : tuple of str
        What the user should know before trusting the result.
    timings : dict
        Seconds by step.
    microscope : dict or None
        What took a focal series, where it was found, and what its columns explain.
    versions : dict
        Versions of Python and of the libraries.
    """

    task: str
    started: str
    input: dict[str, Any]
    config: dict[str, Any]
    seed: int | None
    device: str
    model: dict[str, Any]
    image: dict[str, Any]
    calibration: dict[str, Any]
    summary: dict[str, Any]
    warnings: tuple[str, ...]
    timings: dict[str, float]
    microscope: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=library_versions)


def find_checksum(path: str | Path) -> str:
    """SHA-256 of a file, or of a folder's files with their names in order, runs of adatom left out.

    Parameters
    ----------
    path : str or Path
        File, or folder (zarr).

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    path = Path(path)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for part in sorted(inner for inner in path.rglob("*") if inner.is_file()):
        if any(above.suffix in OWN_SUFFIXES for above in part.relative_to(path).parents):
            continue
        digest.update(part.relative_to(path).as_posix().encode() + b"\0")
        digest.update(bytes.fromhex(find_checksum(part)))
    return digest.hexdigest()


def is_run(folder: Path) -> bool:
    """Whether a folder was left by a run of adatom."""
    return folder.suffix == SUFFIX and (folder / RECORD_NAME).is_file()


def check_run_place(folder: Path) -> None:
    """Refuse a place that holds something else than an earlier run.

    Parameters
    ----------
    folder : Path
        Where a run folder is to be.

    Raises
    ------
    FileError
        If its name does not end in `.adatom`, or it exists and is no run folder.
    """
    if folder.suffix != SUFFIX:
        raise FileError(f"{folder}: the name of a run folder must end in {SUFFIX}")
    if (folder.exists() or folder.is_symlink()) and not is_run(folder):
        raise FileError(f"{folder}: exists and is no run folder of adatom (no {RECORD_NAME} in it)")


@contextmanager
def open_run(folder: str | Path) -> Iterator[Path]:
    """Make a run folder that appears under its name only when it is whole.

    Parameters
    ----------
    folder : str or Path
        `NAME.adatom`. An earlier run of that name is replaced; anything else is refused.

    Yields
    ------
    Path
        A temporary folder beside it to write to. `log.txt` in it holds what adatom logs meanwhile.
        After an error it is removed, and an earlier run stays.

    Raises
    ------
    FileError
        If the place is taken by something else, or cannot be written.
    """
    folder = Path(folder)
    check_run_place(folder)
    part = folder.with_name(f".{folder.stem}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        (part / "figures").mkdir()
        with _log_to(part / "log.txt"):
            yield part
        if not (part / RECORD_NAME).is_file():
            raise FileError(f"{folder}: the run wrote no {RECORD_NAME}")
        move_into_place(part, folder)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def move_into_place(part: Path, folder: Path) -> None:
    """Give a folder that is whole its name; an earlier one of that name goes only then.

    Parameters
    ----------
    part : Path
        The folder, beside its place, with a name that ends in `.part`.
    folder : Path
        Its place.
    """
    if not folder.exists():
        part.rename(folder)
        return
    old = part.with_suffix(".old")
    folder.rename(old)
    try:
        part.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def write_record(record: RunRecord, folder: Path) -> None:
    """Write `run.json`.

    Parameters
    ----------
    record : RunRecord
        What was done.
    folder : Path
        The run folder.
    """
    text = json.dumps(plain_values(asdict(record)), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / RECORD_NAME).write_text(text + "\n", encoding="utf-8")


def read_record(folder: str | Path) -> dict[str, Any]:
    """Read `run.json` of a run folder.

    Parameters
    ----------
    folder : str or Path
        The run folder.

    Returns
    -------
    dict
        What `RunRecord` holds, in plain values.

    Raises
    ------
    FileError
        If it is no run folder, or its record is damaged.
    """
    path = Path(folder) / RECORD_NAME
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise FileError(f"{path}: is no run record ({error})") from error


def plain_values(value: Any) -> Any:
    """Turn numpy numbers, tuples, paths and NaN into what JSON knows (NaN into None).

    Parameters
    ----------
    value : object
        Nested mappings and sequences of plain values.

    Returns
    -------
    object
        The same with dict, list, str, int, float, bool and None only.

    Examples
    --------
    >>> plain_values({"size": (np.float32(0.5), float("nan"))})
    {'size': [0.5, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [plain_values(item) for item in value]
    if isinstance(value, np.generic):
        return plain_values(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int | bool) or value is None:
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
