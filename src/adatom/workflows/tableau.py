"""From the files of a Zemlin tableau to a table of aberrations, in a run folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from adatom.core.config import Config, read_toml
from adatom.core.errors import ImageError
from adatom.core.progress import Report, ignore_progress
from adatom.core.runs import (
    SUFFIX,
    RunRecord,
    check_run_place,
    find_checksum,
    open_run,
    write_record,
)
from adatom.optics.tableau import TableauFit
from adatom.optics.tableau_images import (
    FilmConfig,
    ProbeConfig,
    fit_film_tableau,
    fit_probe_tableau,
)


class TableauRecipe(Config):
    """How the images of a tableau were taken: [film] for diffractograms, [probe] for triples."""

    tilts: tuple[tuple[float, float], ...] = Field(
        min_length=1, description="Tilt along x and y of each image, or of each triple, mrad."
    )
    pixel_size: float | None = Field(
        None, gt=0, description="Pixel size, Å; replaces that of the files."
    )
    film: FilmConfig | None = Field(None, description="Images of an amorphous film.")
    probe: ProbeConfig | None = Field(None, description="Images of a scanned probe, three a tilt.")

    @model_validator(mode="after")
    def _is_one_kind(self) -> "TableauRecipe":
        if (self.film is None) == (self.probe is None):
            raise ValueError("one of the tables [film] and [probe] must be there")
        return self


@dataclass(frozen=True)
class TableauResult:
    """What a run found.

    Attributes
    ----------
    folder : Path
        The run folder.
    fit : TableauFit
        Coefficients with their errors.
    """

    folder: Path
    fit: TableauFit


def run_tableau(
    recipe: str | Path,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    report: Report = ignore_progress,
) -> TableauResult:
    """Find the aberrations from the images of a tableau.

    Parameters
    ----------
    recipe : str or Path
        TOML of `TableauRecipe`.
    paths : sequence of str or Path
        Images in the order of the tilts (three a tilt for a probe); movies and folders stand for
        their frames.
    out : str or Path
        Folder for the run folder, which has the name of the recipe: `aberrations.toml` (with the
        covariance) and `.csv`, the tilts as CSV and Parquet, a figure, and `run.json`.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    TableauResult
        Folder and fit.

    Raises
    ------
    ConfigError
        If the recipe breaks a rule.
    FileError
        If a file cannot be read, or the folder not written.
    ImageError
        If images and tilts do not fit together.
    """
    from adatom.core.table_files import TableWriter
    from adatom.optics.aberration_table import write_aberrations
    from adatom.plots.style import write_figure
    from adatom.plots.tableau import draw_tableau

    recipe = Path(recipe)
    config = TableauRecipe.from_mapping(read_toml(recipe), source=str(recipe))
    place = Path(out) / f"{recipe.stem}{SUFFIX}"
    check_run_place(place)
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), time.perf_counter()
    images, pixel_size = read_frames([Path(path) for path in paths], config.pixel_size)
    fit = _fit(images, pixel_size, config, report)
    with open_run(place) as folder:
        for suffix in ("toml", "csv"):
            write_aberrations(fit.table, folder / f"aberrations.{suffix}")
        units = dict.fromkeys(map(str, fit.tilts.columns), "angstrom")
        units |= {"tilt_x": "mrad", "tilt_y": "mrad"}
        with TableWriter(folder, "tilts", units=units) as writer:
            writer.append(fit.tilts)
        (folder / "figures").mkdir(exist_ok=True)
        write_figure(draw_tableau(fit), folder / "figures" / "tableau.png")
        record = RunRecord(
            task="tableau",
            started=started,
            input={"name": recipe.name, "path": str(recipe), "sha256": find_checksum(recipe)}
            | {"images": {str(path): find_checksum(path) for path in paths}},
            config=config.model_dump(),
            seed=None,
            device="cpu",
            model={},
            image={"shape": images.shape},
            calibration={"pixel_size": pixel_size},
            summary=summarize_tableau(fit),
            warnings=fit.warnings,
            timings={"all": time.perf_counter() - clock},
        )
        write_record(record, folder)
    return TableauResult(place, fit)


def summarize_tableau(fit: TableauFit) -> dict[str, object]:
    """What a tableau found, as plain values.

    Parameters
    ----------
    fit : TableauFit
        The fit.

    Returns
    -------
    dict
        `coefficients` (by name: x, y, error in Å, conditioning), `chi_square`, `n_free`,
        `quarter_angle` (mrad), `tilt_scale`, `focus_drift` (Å) and the errors of these two.
    """
    names = ("chi_square", "n_free", "quarter_angle", "tilt_scale", "tilt_scale_err")
    return {
        "coefficients": {
            name: {
                "x": value.real,
                "y": value.imag,
                "error": fit.table.errors[name],
                "conditioning": fit.conditioning[name],
            }
            for name, value in fit.table.values.items()
        }
    } | {name: getattr(fit, name) for name in (*names, "focus_drift", "focus_drift_err")}


def read_frames(paths: Sequence[Path], pixel_size: float | None) -> tuple[np.ndarray, float]:
    """Read images and movies of one shape and pixel size.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders in order.
    pixel_size : float or None
        Å per pixel; replaces that of the files.

    Returns
    -------
    (N, H, W) array
        All frames.
    float
        Å per pixel.

    Raises
    ------
    ImageError
        If two files differ in shape or pixel size, or pixels are not square.
    """
    from adatom.images.read import read_image
    from adatom.images.units import pixel_size as get_pixel_size

    frames: list[np.ndarray] = []
    sizes: list[float] = []
    for path in paths:
        image = read_image(path, pixel_size=pixel_size)
        step_y, step_x = get_pixel_size(image)
        values = image.to_numpy()
        frames += list(values if values.ndim == 3 else values[None])
        sizes += [step_y, step_x]
        if frames[-1].shape != frames[0].shape or max(sizes) > 1.001 * min(sizes):
            raise ImageError(
                f"{path}: must have the shape and pixel size of the first image, {frames[0].shape} "
                f"and {sizes[0]:g} Å along both axes (got {frames[-1].shape}, {step_y:g} and "
                f"{step_x:g} Å)"
            )
    return np.array(frames, np.float32), sizes[0]


def _fit(
    images: np.ndarray, pixel_size: float, config: TableauRecipe, report: Report
) -> TableauFit:
    tilts = np.array(config.tilts)
    wanted = len(tilts) * (1 if config.probe is None else 3)
    if len(images) != wanted:
        raise ImageError(f"images: must be {wanted} for {len(tilts)} tilts (got {len(images)})")
    if config.probe is not None:
        triples = images.reshape(-1, 3, *images.shape[1:])
        return fit_probe_tableau(triples, tilts, pixel_size, config=config.probe, report=report)
    film = config.film or FilmConfig()
    return fit_film_tableau(images, tilts, pixel_size, config=film, report=report)
