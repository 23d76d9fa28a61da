"""From the files of a Zemlin tableau to a table of aberrations, in a run folder."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from adatom.core.config import Config, read_toml
from adatom.core.errors import ConfigError, ImageError
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

if TYPE_CHECKING:
    from adatom.report.brief import Brief


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
        If the recipe breaks a rule, or neither it nor an image says the electron energy.
    FileError
        If a file cannot be read, or the folder not written.
    ImageError
        If images and tilts do not fit together.
    """
    from adatom.core.table_files import TableWriter
    from adatom.optics.aberration_table import write_aberrations
    from adatom.plots.style import write_figure
    from adatom.plots.tableau import draw_tableau
    from adatom.report.brief import write_brief

    recipe = Path(recipe)
    config = TableauRecipe.from_mapping(read_toml(recipe), source=str(recipe))
    place = Path(out) / f"{recipe.stem}{SUFFIX}"
    check_run_place(place)
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), time.perf_counter()
    frames = read_frames([Path(path) for path in paths], config)
    _check_count(frames.values, config)
    config = _choose_energy(config, frames.energy, recipe)
    fit = _fit(frames, config, report)
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
            image={"shape": frames.values.shape},
            calibration={"pixel_size": frames.pixel_size},
            summary=summarize_tableau(fit),
            warnings=fit.warnings,
            timings={"all": time.perf_counter() - clock},
        )
        write_record(record, folder)
        write_brief(folder, _make_brief(fit, recipe.stem, len(frames.values)))
    return TableauResult(place, fit)


def _make_brief(fit: TableauFit, name: str, n_images: int) -> "Brief":
    """What the page says."""
    import pandas as pd

    from adatom.optics.ceos import write_polar
    from adatom.report.brief import Brief, BriefTable

    rows = []
    for key, value in fit.table.values.items():
        size, angle = write_polar(key, value)
        rows.append((key, size, fit.table.errors[key], angle, fit.conditioning[key]))
    columns = ["coefficient", "size (Å)", "1σ (Å)", "azimuth (°)", "conditioning"]
    tilts = fit.tilts.rename(columns=lambda name: str(name).replace("_", " "))
    return Brief(
        kind="Aberrations measured",
        title=name,
        result=f"From {n_images} images; χ² {fit.chi_square:.1f} for {fit.n_free} degrees of "
        f"freedom, π/4 angle {fit.quarter_angle:.1f} mrad (without C1 and A1).",
        figures=(("tableau", "Tilts, aberrations and phase"),),
        tables=(
            BriefTable(
                "Coefficients",
                pd.DataFrame(rows, columns=columns),
                "Haider's notation. Conditioning: how much larger the error is than if all others "
                "were known.",
            ),
            BriefTable("Tilts", tilts, "Tilts in mrad, all else in Å."),
        ),
        files="aberrations (.toml with the covariance, .csv), tilts (.csv and .parquet)",
    )


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


@dataclass(frozen=True)
class Frames:
    """The images of a tableau.

    Attributes
    ----------
    values : (N, H, W) array
        All frames in order.
    pixel_size : float
        Å per pixel.
    energy : float or None
        Electron energy, eV, where the files say it.
    """

    values: np.ndarray
    pixel_size: float
    energy: float | None


def read_frames(paths: Sequence[Path], config: TableauRecipe) -> Frames:
    """Read images and movies of one shape, pixel size and energy.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders in order.
    config : TableauRecipe
        Its pixel size replaces that of the files; its focal series must be that of the files.

    Returns
    -------
    Frames
        What was read.

    Raises
    ------
    FileError
        If a file cannot be read.
    ImageError
        If two files differ in shape, pixel size or energy, pixels are not square, or a file's
        defoci are not those of the recipe.
    """
    from adatom.images.read import read_image
    from adatom.images.units import pixel_size as get_pixel_size

    frames: list[np.ndarray] = []
    sizes: list[float] = []
    energies: list[float] = []
    for path in paths:
        image = read_image(path, pixel_size=config.pixel_size)
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
        if "focus" in image.dims and "focus" in image.coords:
            _check_focus(path, image.coords["focus"].to_numpy(), config)
        if image.attrs.get("energy_eV", 0) > 0:
            energies.append(float(image.attrs["energy_eV"]))
            if abs(energies[-1] - energies[0]) > 0.01 * energies[0]:
                raise ImageError(
                    f"{path}: must have the electron energy of the first image, {energies[0]:g} eV "
                    f"(got {energies[-1]:g} eV)"
                )
    return Frames(np.array(frames, np.float32), sizes[0], energies[0] if energies else None)


def _check_focus(path: Path, foci: np.ndarray, config: TableauRecipe) -> None:
    """Refuse a focal series that is another than the recipe says."""
    if config.probe is None:
        raise ImageError(f"{path}: must not be a focal series for [film] (got {len(foci)} foci)")
    wanted = np.array(config.probe.focal_series)
    if len(foci) != 3 or np.abs(foci - foci[1] - wanted).max() > 0.05 * np.ptp(wanted):
        raise ImageError(
            f"{path}: must have the probe.focal_series of the recipe, {wanted.tolist()} Å from its "
            f"middle image (got defoci of {foci.tolist()} Å)"
        )


def _choose_energy(config: TableauRecipe, found: float | None, recipe: Path) -> TableauRecipe:
    """The recipe with the energy of the files where it does not say one itself."""
    name, kind = ("film", config.film) if config.film is not None else ("probe", config.probe)
    if kind is None or "energy_eV" in kind.model_fields_set:
        return config
    if found is None:
        raise ConfigError(f"{recipe}: {name}.energy_eV must be given, as no image says it")
    return config.model_copy(update={name: kind.model_copy(update={"energy_eV": found})})


def _check_count(images: np.ndarray, config: TableauRecipe) -> None:
    n_tilts = len(config.tilts)
    wanted = n_tilts * (1 if config.probe is None else 3)
    if len(images) != wanted:
        raise ImageError(f"images: must be {wanted} for {n_tilts} tilts (got {len(images)})")


def _fit(frames: Frames, config: TableauRecipe, report: Report) -> TableauFit:
    tilts, images = np.array(config.tilts), frames.values
    if config.probe is not None:
        triples = images.reshape(-1, 3, *images.shape[1:])
        return fit_probe_tableau(
            triples, tilts, frames.pixel_size, config=config.probe, report=report
        )
    film = config.film or FilmConfig()
    return fit_film_tableau(images, tilts, frames.pixel_size, config=film, report=report)
