"""From microscope files to their atoms, in a run folder."""

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ConfigError
from adatom.core.journal import Journal
from adatom.core.materials import Material, get_material
from adatom.core.memory import release_memory
from adatom.core.progress import Report, ignore_progress
from adatom.core.runs import (
    RunRecord,
    open_run,
    write_record,
)
from adatom.core.tables import ATOM_COLUMNS, UNITS
from adatom.workflows.choose import choose_folders, choose_model_for, list_paths, read_input
from adatom.workflows.correct import correct_table
from adatom.workflows.doubts import collect_notes, doubt_kind, doubt_result
from adatom.workflows.frames import find_in_frames, make_find_config, open_journal, pick_shown
from adatom.workflows.record import (
    describe_calibration,
    describe_image,
    describe_input,
    describe_microscope,
    frame_number,
    load_frame,
)

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from adatom.core.chemistry import Chemistry
    from adatom.images.calibrate import Calibration
    from adatom.networks.model import Model, ModelCard
    from adatom.workflows.correct import Correction
    from adatom.workflows.defects import DefectRun

logger = logging.getLogger("adatom")
N_STEPS = 6
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
    focus: tuple[float, ...] | None = Field(
        None,
        min_length=1,
        description="Defoci of a focal series, Å (+ is underfocus), in the order of its files or "
        "of its stack; separated by spaces, after the files.",
    )
    energy: float | None = Field(
        None, ge=1e4, description="Energy of the electrons, eV (60e3); replaces the file's."
    )
    rules: Path | None = Field(
        None,
        description="TOML file with rules of chemistry (longest bonds, most neighbors) for the "
        "defects; what it leaves out is that of the material.",
    )
    restore: Path | None = Field(
        None,
        description="Run folder of `adatom restore` of the same image: columns are looked for in "
        "its object function, and fitted to the electrons with its probe.",
    )
    use_lattice: bool = Field(
        True,
        description="Let the neighbors help to place a column of a HAADF image at low dose. Off, "
        "positions have larger errors, and displacements come back whole.",
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
    path: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    config: AnalyzeConfig = DEFAULT,
    report: Report = ignore_progress,
) -> RunResult:
    """Find the atoms of an image, a movie or a focal series, and leave a run folder with a report.

    If it is interrupted or killed, the frames (or parts of a large image) that are done stay in a
    hidden folder beside the run folder, and the same call goes on from there.

    Parameters
    ----------
    path : str, Path or sequence of them
        Microscope file, or the files of one focal series.
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
    from adatom.report.page import write_report

    started = datetime.now().astimezone().isoformat(timespec="seconds")
    paths = list_paths(path)
    material = get_material(config.material) if config.material else None
    place = choose_folders(paths[:1], out, config.item)[0]
    config = _keep_restored(config, place)
    step, timings = _make_clock(report)
    with (
        ExitStack() as afterwards,  # left when the run folder is in its place
        open_run(place) as folder,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        with step("read"):
            image = read_input(paths, config)
        with step("calibrate"):
            calibration = calibrate_image(image, material=material)
            logger.info(calibration.message)
        with step("load model"):
            name, choice, model = _load_model(config, material, calibration)
        rules = _read_rules(config, material or calibration.material)
        source = describe_input(paths, config.item)
        key = {"input": source["sha256"], "config": config.model_dump(), "model": name}
        journal = afterwards.enter_context(open_journal(place, key, model.card, calibration))
        with step("find atoms"):
            find_in_frames(calibration.image, model, config, journal, report)
            said, corrected = _write_atoms(journal, calibration.image, model, config, folder)
        card, device = model.card, str(next(model.network.parameters()).device)
        del model  # with the memory of its last image
        release_memory()
        with step("find defects"):
            defects = _find_defects(calibration, card, material, rules, folder)
        with step("write"):
            summary, view = _write_results(calibration, card, corrected, config, folder)
            summary |= _show_defects(calibration, material, defects, config, folder)
        notes = collect_notes(paths[0], image, calibration, caught)
        notes += doubt_result(summary, calibration)
        notes += doubt_kind(calibration, card, folder / TABLE) + said
        notes += defects.notes if defects else ()
        record = RunRecord(
            task="analyze",
            started=started,
            input=source,
            config=config.model_dump(),
            seed=None,
            device=device,
            model=card.model_dump(mode="json") | {"choice": choice},
            image=describe_image(image) | {"view": view},
            calibration=describe_calibration(calibration, image),
            summary=summary,
            microscope=describe_microscope(corrected),
            warnings=notes,
            timings=timings,
        )
        write_record(record, folder)
        write_report(folder)
    return RunResult(place, calibration, summary, notes)


def _keep_restored(config: AnalyzeConfig, place: Path) -> AnalyzeConfig:
    """The same with the whole path of what was restored, which the run must not replace."""
    if config.restore is None:
        return config
    whole = config.restore.resolve()
    if place.resolve() == whole:
        raise ConfigError(f"restore: {place} would be replaced by what is found in it; give --out")
    return config.model_copy(update={"restore": whole})


def _load_model(
    config: AnalyzeConfig, material: Material | None, calibration: "Calibration"
) -> tuple[str, str, "Model"]:
    """Name of the model, why it was chosen, and the model."""
    from adatom.networks.model import load_model

    name, choice = choose_model_for(config.model, material, calibration)
    logger.info("%s: %s", name, choice)
    return name, choice, load_model(name)


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


def _write_atoms(
    journal: Journal,
    image: "xr.DataArray",
    model: "Model",
    config: AnalyzeConfig,
    folder: Path,
) -> tuple[tuple[str, ...], "Correction | None"]:
    """Write what was found; gives what to say of it, and the microscope of a focal series."""
    from adatom.core.table_files import TableWriter

    units = _name_intensities(image)
    notes: tuple[str, ...] = ()
    corrected = None
    named = dict.fromkeys(("intensity", "intensity_err"), units) if units else {}
    with TableWriter(folder, "atoms", units={**UNITS, **named}) as writer:
        for found in journal.read(0, journal.n_done):
            table, said, corrected = correct_table(image, found, model, make_find_config(config))
            writer.append(table)
            notes += said
    return notes, corrected


def _name_intensities(image: "xr.DataArray") -> str | None:
    """Units of intensities; in a focal series they are occupancies."""
    return "whole columns" if "focus" in image.dims else image.attrs.get("units")


def _find_area(image: "xr.DataArray") -> float:
    """Area of all frames, Å²; the images of a focal series show one."""
    area = float(image.size) / image.sizes.get("focus", 1)
    for name in ("y", "x"):
        area *= float(image[name][-1] - image[name][0]) / (image.sizes[name] - 1)
    return abs(area)


def _read_rules(config: AnalyzeConfig, material: Material | None) -> "Chemistry | None":
    from adatom.core.chemistry import read_chemistry

    return None if config.rules is None else read_chemistry(config.rules, material)


def _find_defects(
    calibration: "Calibration",
    card: "ModelCard",
    material: Material | None,
    rules: "Chemistry | None",
    folder: Path,
) -> "DefectRun | None":
    """Lattice and defects of all frames; None where there are no atoms to judge by."""
    from adatom.workflows.defects import find_rules, write_defects

    image = calibration.image
    material = material or calibration.material
    shown = frame_number(load_frame(image))
    if rules is not None:
        return write_defects(folder, image, shown, rules, material)
    found = find_rules(material, card.labels, folder / TABLE)
    return None if found is None else write_defects(folder, image, shown, *found)


def _show_defects(
    calibration: "Calibration",
    material: Material | None,
    defects: "DefectRun | None",
    config: AnalyzeConfig,
    folder: Path,
) -> dict[str, Any]:
    """Write structure and figures of the defects; return what the summary says of them."""
    from adatom.core.table_files import TableParts
    from adatom.report.figures import write_defect_figures
    from adatom.structures.write import write_structure
    from adatom.workflows.defects import NamedAtoms

    if material is not None:
        columns: Iterable[pd.DataFrame] = TableParts(folder / TABLE, tuple(ATOM_COLUMNS))
        if defects:
            columns = NamedAtoms(folder, tuple(ATOM_COLUMNS), defects.absent)
        write_structure(columns, folder / "structure.extxyz", material)
    if defects is None:
        return {"defects": [], "grains": [], "strain": {}, "rules": None}
    if defects.shown is not None:
        shown = pick_shown(calibration.image, config)
        write_defect_figures(shown, defects.shown, defects.strain, folder)
    return defects.summary


def _write_results(
    calibration: "Calibration",
    card: "ModelCard",
    corrected: "Correction | None",
    config: AnalyzeConfig,
    folder: Path,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write the figures; return the summary, and where the image lies."""
    from adatom.core.table_files import TableParts
    from adatom.images.resample import shrink_image
    from adatom.images.units import pick_image
    from adatom.report.figures import write_figures
    from adatom.report.summary import find_neighbor_distances, summarize_atoms

    image, table = calibration.image, folder / TABLE
    distances = find_neighbor_distances(TableParts(table, ("frame", "x", "y")))
    parts = TableParts(table, (*ATOM_COLUMNS, "x_err", "y_err"))
    summary = summarize_atoms(parts, card.labels, _find_area(image), distances)
    shown = pick_shown(image, config)
    shown = shown.assign_attrs(units=_name_intensities(image) or "")
    better = None if corrected is None else shrink_image(pick_image(corrected.series))
    view = write_figures(shown, distances, calibration.material, folder, corrected=better)
    return summary, view
