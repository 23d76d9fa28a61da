"""Which files a run takes, what it is called, and which model it takes."""

import glob
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adatom.core.errors import ConfigError, FileError
from adatom.core.materials import Material
from adatom.core.runs import SUFFIX, find_checksum

if TYPE_CHECKING:
    import xarray as xr

    from adatom.images.calibrate import Calibration
    from adatom.workflows.analyze import AnalyzeConfig


def find_inputs(names: list[str], *, as_movies: bool = False) -> list[Path]:
    """Turn files, folders and patterns into files, each once, in the order given.

    Parameters
    ----------
    names : list of str
        A folder stands for the images in it, a pattern for what matches it; a name that is
        neither stays, so that its error comes from reading it.
    as_movies : bool
        Whether a folder is a movie, and its files the frames.

    Returns
    -------
    list of Path
        Files, and folders that are images themselves (zarr) or movies.

    Raises
    ------
    FileError
        If a folder or a pattern holds no image.
    """
    from adatom.images.read import SUFFIXES

    found: list[Path] = []
    for name in names:
        path = Path(name)
        inside = [path]
        if path.is_dir() and path.suffix not in SUFFIXES and not as_movies:
            images = (item for item in path.iterdir() if item.suffix.lower() in SUFFIXES)
            inside = sorted(item for item in images if not item.name.startswith("."))
        elif not path.exists() and glob.has_magic(name):
            inside = [Path(item) for item in sorted(glob.glob(name, recursive=True))]
        if not inside:
            raise FileError(
                f"{name}: holds no image (known endings: {', '.join(sorted(SUFFIXES))})"
            )
        found += inside
    return list(dict.fromkeys(found))


def list_paths(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of one input: of a focal series there are several."""
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(file) for file in path]
    if not paths:
        raise FileError("path: must name a file (got none)")
    return paths


def read_input(paths: Sequence[Path], config: "AnalyzeConfig") -> "xr.DataArray":
    """Read what a run is about.

    Parameters
    ----------
    paths : sequence of Path
        A file, or those of a focal series.
    config : AnalyzeConfig
        Item, pixel size, defoci and energy.

    Returns
    -------
    DataArray
        An image or a movie; a focal series where there are defoci or several files; with
        `config.restore` the electrons that were restored.
    """
    if config.restore is None:
        image = _read_images(paths, config)
    else:
        image = _read_restored(paths, config.restore, config)
    return image if config.energy is None else image.assign_attrs(energy_eV=config.energy)


def _read_restored(paths: Sequence[Path], folder: Path, config: "AnalyzeConfig") -> "xr.DataArray":
    from adatom.workflows.restored import Restored

    for name in ("pixel_size", "item", "focus"):
        if (given := getattr(config, name)) is not None:
            raise ConfigError(
                f"{name}: is that of the restored run; leave it out with restore (got {given})"
            )
    restored = Restored(folder)
    restored.check_source("; ".join(find_checksum(path) for path in paths))
    return restored.read_electrons()


def _read_images(paths: Sequence[Path], config: "AnalyzeConfig") -> "xr.DataArray":
    from adatom.images.read import read_image
    from adatom.images.series import read_series

    focus = config.focus
    if len(paths) == 1 and (focus is None or len(focus) == 1):
        image = read_image(paths[0], config.item, pixel_size=config.pixel_size)
        if "focus" not in image.dims:
            return image if focus is None else image.assign_coords(focus=focus[0])
    return read_series(paths, config.focus, config.item, pixel_size=config.pixel_size)


def choose_folders(
    paths: Sequence[Path], out: str | Path | None, item: str | None = None
) -> list[Path]:
    """Name the run folder of each input.

    Parameters
    ----------
    paths : sequence of Path
        The inputs.
    out : str or Path, optional
        The run folder itself if it ends in `.adatom` and there is one input, else the folder that
        the run folders are put into; the current one if left out.
    item : str, optional
        Image of a file that holds several; becomes part of the name.

    Returns
    -------
    list of Path
        `NAME.adatom`; with the ending of the input's name, then also its folder's name, where
        two inputs would share one.

    Examples
    --------
    >>> inputs = [Path("a.dm3"), Path("a.tif"), Path("b.tif")]
    >>> [place.name for place in choose_folders(inputs, "out")]
    ['a.dm3.adatom', 'a.tif.adatom', 'b.adatom']
    """
    out = Path(out) if out is not None else Path()
    if out.suffix == SUFFIX and len(paths) == 1:
        return [out]
    tail = "_" + "".join(c if c.isalnum() else "-" for c in item) if item else ""
    short, long = Counter(path.stem for path in paths), Counter(path.name for path in paths)
    places = []
    for path in paths:
        name = path.stem if short[path.stem] == 1 else path.name
        if long[path.name] > 1:
            name = f"{path.absolute().parent.name}_{path.name}"
        places.append(out / f"{name}{tail}{SUFFIX}")
    shared = [place.name for place, n in Counter(places).items() if n > 1]
    if shared:
        raise FileError(f"{out}: several inputs would be written to {', '.join(shared)}")
    return places


def choose_model_for(
    named: str | None, material: Material | None, calibration: "Calibration"
) -> tuple[str, str]:
    """Choose a model by name, by material, or by the lattice of the image.

    Parameters
    ----------
    named : str or None
        Model that the user named.
    material : Material or None
        Material that the user named.
    calibration : Calibration
        The image and what its lattice says.

    Returns
    -------
    name, why : str
        The model, and one sentence.
    """
    from adatom.networks.model import choose_model

    if named is not None:
        return named, "The model was named."
    choose = partial(choose_model, n_foci=calibration.image.sizes.get("focus", 0))
    if material is not None:
        return choose(material.name), f"Chosen for {material.name}."
    seen = calibration.material
    if seen is None:
        return choose(None), "Chosen because the image shows the lattice of no known sheet."
    if calibration.warnings:
        why = f"pixel size and lattice do not make {seen.name} for sure"
        return choose(None), f"Chosen because {why}; if it is that, name the material."
    why = f"the lattice is like that of {seen.name}"
    return choose(seen.name), f"Chosen because {why}; if it is another, name the material."
