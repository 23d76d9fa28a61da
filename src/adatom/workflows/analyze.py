"""From a microscope file to its atoms, in a run folder."""

import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import FileError
from adatom.core.journal import Journal
from adatom.core.materials import Material, get_material
from adatom.core.memory import release_memory
from adatom.core.progress import Report, ignore_progress
from adatom.core.runs import (
    SUFFIX,
    RunRecord,
    find_checksum,
    library_versions,
    open_run,
    plain_values,
    write_record,
)
from adatom.core.tables import ATOM_COLUMNS, UNITS
from adatom.workflows.doubts import collect_notes, doubt_kind, doubt_result

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from adatom.images.calibrate import Calibration
    from adatom.networks.model import Model, ModelCard

logger = logging.getLogger("adatom")
N_STEPS = 5
TABLE = "atoms.parquet"


class AnalyzeConfig(Config):
    """What to look for in an image, and what is known of it."""

    model: str | None = Field(
        None,
        description="Name of a shipped model, or the path of a card; left out, the material or the "
        "lattice of the image chooses.",
    )
    material: str | None = Field(
        None, description="Formula such as MoS2: its lattice calibrates, its elements are written."
    )
    pixel_size: float | None = Field(
        None, gt=0, description="Å per pixel; replaces the file's and the lattice's."
    )
    item: str | None = Field(None, description="Which image of a file that holds several.")
    use_lattice: bool = Field(
        True,
        description="Let the neighbors help to place a column at low dose. Off, positions have "
        "larger errors, and displacements come back whole.",
    )


DEFAULT = AnalyzeConfig()


@dataclass(frozen=True)
class RunResult:
    """What a run found, and where it lies.

    Attributes
    ----------
    folder : Path
        The run folder, with `report.html` in it.
    calibration : Calibration
        Pixel size and how it was found.
    summary : dict
        Counts, densities, fractions and errors by label, as in `run.json`.
    warnings : tuple of str
        What to know before trusting the result.
    """

    folder: Path
    calibration: "Calibration"
    summary: dict[str, Any]
    warnings: tuple[str, ...]

    @cached_property
    def atoms(self) -> "pd.DataFrame":
        """Atoms table of all frames, read from the run folder when it is first asked for."""
        import pandas as pd

        return pd.read_parquet(self.folder / TABLE)


def analyze_image(
    path: str | Path,
    out: str | Path | None = None,
    *,
    config: AnalyzeConfig = DEFAULT,
    report: Report = ignore_progress,
) -> RunResult:
    """Find the atoms of an image or a movie, and leave a run folder with a report.

    If it is interrupted or killed, the frames (or parts of a large image) that are done stay in a
    hidden folder beside the run folder, and the same call goes on from there.

    Parameters
    ----------
    path : str or Path
        Microscope file.
    out : str or Path, optional
        The run folder itself if its name ends in `.adatom`, else the folder that it is put into;
        the current one if left out.
    config : AnalyzeConfig
        What to look for, and what is known of the image.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    RunResult
        Atoms table, calibration, summary and the run folder.

    Raises
    ------
    AdatomError
        If the file cannot be read or calibrated, the run folder cannot be written, or another run
        is at work on it; nothing is left behind then.
    """
    from adatom.images.calibrate import calibrate_image
    from adatom.images.read import read_image
    from adatom.networks.model import load_model
    from adatom.report.page import write_report

    path, started = Path(path), datetime.now().astimezone().isoformat(timespec="seconds")
    material = get_material(config.material) if config.material else None
    place = choose_folders([path], out, config.item)[0]
    step, timings = _make_clock(report)
    with (
        ExitStack() as afterwards,  # left when the run folder is in its place
        open_run(place) as folder,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        with step("read"):
            image = read_image(path, config.item, pixel_size=config.pixel_size)
        with step("calibrate"):
            calibration = calibrate_image(image, material=material)
            logger.info(calibration.message)
        with step("load model"):
            name, choice = _choose_model(config, material, calibration)
            logger.info("%s: %s", name, choice)
            model = load_model(name)
        source = _describe_input(path, config.item)
        key = {"input": source["sha256"], "config": config.model_dump(), "model": name}
        key |= {"card": model.card.model_dump(mode="json"), "versions": library_versions()}
        key |= {"image": list(image.shape), "pixel_size": calibration.pixel_size}
        unfinished = place.with_name(f".{place.stem}.unfinished")
        journal = afterwards.enter_context(Journal(unfinished, plain_values(key)))
        with step("find atoms"):
            _find_in_frames(calibration.image, model, config, journal, report)
            _write_atoms(journal, image.attrs.get("units"), folder)
        card, device = model.card, str(next(model.network.parameters()).device)
        del model  # with the memory of its last image
        release_memory()
        with step("write"):
            summary, view = _write_results(calibration, card, material, folder)
        notes = collect_notes(path, image, calibration, caught) + doubt_result(summary, calibration)
        notes += doubt_kind(calibration, card, folder / TABLE)
        record = RunRecord(
            task="analyze",
            started=started,
            input=source,
            config=config.model_dump(),
            seed=None,
            device=device,
            model=card.model_dump(mode="json") | {"choice": choice},
            image=_describe_image(image) | {"view": view},
            calibration=_describe_calibration(calibration, image),
            summary=summary,
            warnings=notes,
            timings=timings,
        )
        write_record(record, folder)
        write_report(folder)
    return RunResult(place, calibration, summary, notes)


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


def _make_clock(report: Report) -> tuple[Callable[[str], Any], dict[str, float]]:
    """A context that reports, times and logs a step, and the seconds of the steps done."""
    timings: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        report(len(timings), N_STEPS, name)
        start = time.perf_counter()
        yield
        timings[name] = time.perf_counter() - start
        logger.info("%s: %.2f s", name, timings[name])

    return step, timings


def _load_frame(image: "xr.DataArray", index: int = 0) -> "xr.DataArray":
    """A frame of a movie in memory, unless it is large; a still is its only frame.

    What is large is read part by part.
    """
    from adatom.images.formats import LAZY_BYTES

    if "frame" not in image.dims:
        return image
    frame = image.isel(frame=index)
    return frame.load() if frame.nbytes <= LAZY_BYTES else frame


def _find_in_frames(
    image: "xr.DataArray",
    model: "Model",
    config: AnalyzeConfig,
    journal: Journal,
    report: Report,
) -> None:
    """Find atoms frame by frame and part by part; what the journal holds is done."""
    from adatom.detect.atoms import FindConfig, find_atoms_by_part
    from adatom.detect.parts import count_parts
    from adatom.detect.refine import RefineConfig

    finding = FindConfig(refine=RefineConfig(use_lattice=config.use_lattice))
    n_frames, n_parts = image.sizes.get("frame", 1), count_parts(image)
    n_units, unit = n_frames * n_parts, "part" if n_parts > 1 else "frame"
    if journal.n_done:
        logger.info("%d of %d %ss were done before", journal.n_done, n_units, unit)
    for index in range(n_frames):
        first, end = index * n_parts, (index + 1) * n_parts
        if journal.n_done >= end:
            continue
        frame, known = _load_frame(image, index), journal.read(first, end)
        for found in find_atoms_by_part(frame, model, config=finding, done=known):
            journal.append(found.assign(frame=_frame_number(frame)))
            if n_units > 1:
                report(journal.n_done, n_units, f"find atoms: {journal.n_done} {unit}s")
        release_memory()


def _write_atoms(journal: Journal, units: str | None, folder: Path) -> None:
    from adatom.core.table_files import TableWriter

    named = dict.fromkeys(("intensity", "intensity_err"), units) if units else {}
    with TableWriter(folder, "atoms", units={**UNITS, **named}) as writer:
        for table in journal.read(0, journal.n_done):
            writer.append(table)


def _frame_number(frame: "xr.DataArray") -> int:
    return int(frame.coords["frame"]) if "frame" in frame.coords else 0


def _find_area(image: "xr.DataArray") -> float:
    """Area of all frames, Å²."""
    area = float(image.size)
    for name in ("y", "x"):
        area *= float(image[name][-1] - image[name][0]) / (image.sizes[name] - 1)
    return abs(area)


def _choose_model(
    config: AnalyzeConfig, material: Material | None, calibration: "Calibration"
) -> tuple[str, str]:
    """Model by name, by material, or by the lattice of the image; and why."""
    from adatom.networks.model import choose_model

    if config.model is not None:
        return config.model, "The model was named."
    if material is not None:
        return choose_model(material.name), f"Chosen for {material.name}."
    seen = calibration.material
    if seen is None:
        return choose_model(None), "Chosen because the image shows the lattice of no known sheet."
    if calibration.warnings:
        why = f"pixel size and lattice do not make {seen.name} for sure"
        return choose_model(None), f"Chosen because {why}; if it is that, name the material."
    why = f"the lattice is like that of {seen.name}"
    return choose_model(seen.name), f"Chosen because {why}; if it is another, name the material."


def _write_results(
    calibration: "Calibration", card: "ModelCard", material: Material | None, folder: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write structure and figures; return the summary, and where the image lies."""
    from adatom.core.table_files import TableParts
    from adatom.images.resample import shrink_image
    from adatom.report.figures import write_figures
    from adatom.report.summary import find_neighbor_distances, summarize_atoms
    from adatom.structures.write import write_structure

    image, table = calibration.image, folder / TABLE
    distances = find_neighbor_distances(TableParts(table, ("frame", "x", "y")))
    parts = TableParts(table, (*ATOM_COLUMNS, "x_err", "y_err"))
    summary = summarize_atoms(parts, card.labels, _find_area(image), distances)
    if material is not None:
        columns = TableParts(table, tuple(ATOM_COLUMNS))
        write_structure(columns, folder / "structure.extxyz", material)
    shown = shrink_image(_load_frame(image))
    return summary, write_figures(shown, distances, calibration.material, folder)


def _describe_input(path: Path, item: str | None) -> dict[str, Any]:
    found = {"name": path.name, "path": str(path.absolute()), "item": item}
    return found | {"sha256": find_checksum(path)}


def _describe_image(image: "xr.DataArray") -> dict[str, Any]:
    known = {name: image.attrs.get(name) for name in ("modality", "energy_eV", "dose", "units")}
    first = _load_frame(image)
    return known | {
        "shape": [image.sizes["y"], image.sizes["x"]],
        "frames": image.sizes.get("frame", 1),
        "frame": _frame_number(first),
    }


def _describe_calibration(calibration: "Calibration", image: "xr.DataArray") -> dict[str, Any]:
    material, header = calibration.material, None
    if image.attrs.get("pixel_size_source") == "header":
        header = [float(image[name][1] - image[name][0]) for name in ("y", "x")]
    return {
        "pixel_size": calibration.pixel_size,
        "pixel_size_err": calibration.pixel_size_err,
        "shear_deg": calibration.shear_deg,
        "source": calibration.source,
        "message": calibration.message,
        "header": header,
        "material": material.name if material else None,
        "lattice": material.lattice if material else None,
        "neighbor_distance": material.neighbor_distance if material else None,
    }
