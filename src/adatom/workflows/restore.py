"""From a file and a probe to object functions, in a run folder."""

import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from adatom.core.errors import ConfigError, ImageError
from adatom.core.progress import Report, ignore_progress
from adatom.core.runs import SUFFIX, RunRecord, check_run_place, open_run, write_record
from adatom.optics.microscope import Microscope
from adatom.restore.electrons import RestoreConfig
from adatom.workflows.record import describe_image, describe_input, frame_number, load_frame

if TYPE_CHECKING:
    import xarray as xr

    from adatom.networks.restorer import Restorer
    from adatom.report.brief import Brief

MODEL = "deepstem"
N_DRAWN = 8  # probes from the covariance of a tableau
N_STEPS = 600  # on the user's own images
LEAST_STRUCTURE = 0.05  # of an image, below which a user is warned
N_LEARNT = 16  # frames of a movie that are learned from


class RunConfig(RestoreConfig):
    """Probe, method and detector."""

    probe: Path | None = Field(
        None,
        description="Table of aberrations: TOML of `adatom tableau`, text or CSV (without one, the "
        "probe is fitted to the columns of the image).",
    )
    semi_angle: float = Field(gt=0, description="Convergence semi-angle, mrad.")
    energy: float | None = Field(
        None, gt=0, description="Energy of the electrons, eV (from the file)."
    )
    source_size: float = Field(0.8, ge=0, description="Source size, full width at half maximum, Å.")
    defocus: float | None = Field(
        None, description="Defocus of the image, Å; replaces that of the table."
    )
    material: str | None = Field(
        None, description="Formula; chooses who finds the columns that the probe is fitted to."
    )
    model: str = Field(MODEL, description="Restorer: a shipped one's name, or a card.")
    train: bool = Field(False, description="Train it on the images themselves before.")
    pixel_size: float | None = Field(
        None, gt=0, description="Pixel size, Å; replaces that of the file."
    )
    item: str | None = Field(None, description="Name of the image in a file that holds several.")
    seed: int = Field(0, ge=0, description="Seed of whatever is drawn.")


@dataclass(frozen=True)
class RestoreResult:
    """What a run found.

    Attributes
    ----------
    folder : Path
        The run folder.
    summary : dict
        Figures of the first frame, and how many there are.
    warnings : tuple of str
        What a user should know.
    """

    folder: Path
    summary: dict[str, object]
    warnings: tuple[str, ...]


def run_restore(
    path: str | Path,
    out: str | Path,
    *,
    config: RunConfig,
    report: Report = ignore_progress,
) -> RestoreResult:
    """Restore the object functions of an image or a movie.

    Parameters
    ----------
    path : str or Path
        A microscope file.
    out : str or Path
        Folder for the run folder `NAME.adatom`: `maps/FRAME.zarr` (all that `restore_image` gives),
        `object_function.tif` of a single image, a figure, the restorer if it was trained, and
        `run.json`.
    config : RunConfig
        Probe, method and detector.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    RestoreResult
        Folder, figures and warnings.

    Raises
    ------
    FileError
        If a file cannot be read, or the folder not written.
    ImageError
        If the image cannot be restored (see `restore_image`).
    ConfigError
        If the table of aberrations breaks a rule, or the energy is neither given nor in the file.
    """
    from adatom.images.read import read_image
    from adatom.images.write import write_image
    from adatom.plots.restoration import draw_restoration
    from adatom.plots.style import write_figure
    from adatom.report.brief import write_brief
    from adatom.restore.object_function import restore_image

    path = Path(path)
    place = Path(out) / f"{path.stem}{SUFFIX}"
    check_run_place(place)
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), time.perf_counter()
    image = read_image(path, item=config.item, pixel_size=config.pixel_size)
    config = config.model_copy(update={"energy": _find_energy(image, config, path)})
    microscope, others, doubts = _find_probe(image, config)
    n_frames, results = image.sizes.get("frame", 1), []
    with open_run(place) as folder:
        restorer = _find_restorer(image, (microscope, *others), config, folder, report)
        (folder / "maps").mkdir()
        for index in range(n_frames):
            frame = load_frame(image, index)
            found = restore_image(
                frame, microscope, restorer=restorer, others=others, config=config, rng=config.seed
            )
            found.to_zarr(folder / "maps" / f"{frame_number(frame):06d}.zarr", consolidated=False)
            results.append(_summarize(found))
            if index == 0:
                write_figure(draw_restoration(found), folder / "figures" / "restoration.png")
                if n_frames == 1:
                    write_image(found["object_function"], folder / "object_function.tif")
            report(index + 1, n_frames, "frames restored")
        warnings = (*doubts, *_find_doubts(results))
        summary = results[0] | {"n_frames": n_frames}
        record = RunRecord(
            task="restore",
            started=started,
            input=describe_input([path], config.item),
            config=config.model_dump(mode="json"),
            seed=config.seed,
            device="cpu",
            model={} if restorer is None else restorer.card.model_dump(mode="json"),
            image=describe_image(image),
            calibration={"pixel_size": float(found["y"][1] - found["y"][0])},
            summary=summary | {"frames": results},
            warnings=warnings,
            timings={"all": time.perf_counter() - clock},
            microscope=microscope.model_dump(mode="json"),
        )
        write_record(record, folder)
        write_brief(folder, _make_brief(image, results, microscope, config.method))
    return RestoreResult(place, summary, warnings)


def _find_probe(
    image: "xr.DataArray", config: RunConfig
) -> tuple[Microscope, tuple[Microscope, ...], tuple[str, ...]]:
    """The microscope, others that may have been it, and doubts, of a table or of the image."""
    if config.probe is not None:
        return *find_microscopes(config), ()
    microscope, doubt = fit_microscope(load_frame(image), config)
    return microscope, (), (doubt,)


def find_microscopes(config: RunConfig) -> tuple[Microscope, tuple[Microscope, ...]]:
    """The microscope by its table of aberrations, and others drawn from the errors of the table.

    Parameters
    ----------
    config : RunConfig
        Table and settings.

    Returns
    -------
    Microscope
        The likeliest.
    tuple of Microscope
        Drawn; none if the table has no errors.

    Raises
    ------
    ConfigError
        If no table is given, or it breaks a rule.
    FileError
        If it cannot be read.
    """
    from adatom.optics.aberration_table import draw_aberrations, read_aberrations
    from adatom.optics.ceos import to_krivanek

    if config.probe is None:
        raise ConfigError("probe: must be a table of aberrations (got None)")
    bare, table = _set_up(config), read_aberrations(config.probe)
    kept = {} if config.defocus is None else {"defocus": config.defocus}
    values = [table.values, *draw_aberrations(table, N_DRAWN, config.seed)]
    first, *others = (bare.model_copy(update=to_krivanek(each) | kept) for each in values)
    return first, tuple(others)


def fit_microscope(image: "xr.DataArray", config: RunConfig) -> tuple[Microscope, str]:
    """The microscope whose probe explains the columns of an image best.

    Parameters
    ----------
    image : DataArray
        Dims (y, x), coordinates in Å.
    config : RunConfig
        Settings; its source size and defocus are where the fit begins.

    Returns
    -------
    Microscope
        With fitted source size, defocus and two-fold astigmatism.
    str
        What was found, and how sure it is.

    Raises
    ------
    ImageError
        If the image shows too few columns.
    """
    from adatom.detect.atoms import find_atoms
    from adatom.images.units import pixel_size
    from adatom.networks.model import choose_model, load_model
    from adatom.restore.probe_fit import fit_probe

    atoms = find_atoms(image, load_model(choose_model(config.material)))
    corner = [float(image[axis][0]) for axis in ("y", "x")]
    places = atoms[["y", "x"]].to_numpy() - corner
    step = float(np.sqrt(np.prod(pixel_size(image))))
    fit = fit_probe(image.to_numpy(), step, places, _set_up(config))
    numbers = zip(fit.names, fit.values, fit.errors, strict=True)
    told = ", ".join(f"{name} {value:.3g} ± {error:.2g}" for name, value, error in numbers)
    doubt = (
        f"the probe was fitted to {fit.n_columns} columns of the image: {told} Å; it explains "
        "them, and need not be that of the microscope"
    )
    return fit.microscope, doubt


def _find_energy(image: "xr.DataArray", config: RunConfig, path: Path) -> float:
    """Energy that is given, or that of the file, eV."""
    modality, energy = image.attrs.get("modality"), config.energy or image.attrs.get("energy_eV")
    if modality not in {None, "HAADF"}:
        raise ImageError(f"{path}: must be a HAADF image to be restored (got {modality})")
    if energy is None:
        raise ConfigError(f"energy: must be given, for {path} does not say it (got None)")
    return float(energy)


def _set_up(config: RunConfig) -> Microscope:
    """What is known of the microscope without a table."""
    if config.energy is None:
        raise ConfigError("energy: must be given (got None)")
    return Microscope(
        energy_eV=config.energy,
        semi_angle=config.semi_angle,
        source_size=config.source_size,
        defocus=config.defocus or 0.0,
    )


def _find_restorer(
    image: "xr.DataArray",
    microscopes: tuple[Microscope, ...],
    config: RunConfig,
    folder: Path,
    report: Report,
) -> "Restorer | None":
    """The network, trained on the images themselves if that is asked for."""
    from adatom.networks.restorer import load_restorer, save_restorer

    if config.method != "deepstem":
        if config.train:
            raise ConfigError(f"train: only deepstem learns (got method {config.method})")
        return None
    restorer = load_restorer(config.model)
    if not config.train:
        return restorer
    from adatom.restore.training import make_frame, train_restorer
    from adatom.simulate.objects import RestoreRecipe

    values = dict(restorer.card.recipe)
    values["training"] = values.get("training", {}) | {
        "name": f"{restorer.card.name}-own",
        "n_steps": N_STEPS,
        "seed": config.seed,
        "learning_rate": 1e-3,
    }
    recipe = RestoreRecipe.from_mapping(values, source=f"recipe of {restorer.card.name}")
    chosen = np.unique(np.linspace(0, image.sizes.get("frame", 1) - 1, N_LEARNT).astype(int))
    frames = [make_frame(load_frame(image, int(i)), microscopes, config=config) for i in chosen]
    trained = train_restorer(
        recipe, folder / "training", frames=frames, start=restorer, report=report
    )
    save_restorer(trained, folder)
    return trained


def _summarize(found: "xr.Dataset") -> dict[str, Any]:
    names = ("gain", "offset", "reduced_chi_square", "is_supported", "share_beyond", "cutoff")
    return {name: found.attrs[name] for name in (*names, "share_structure") if name in found.attrs}


def _make_brief(
    image: "xr.DataArray", results: list[dict[str, Any]], microscope: Microscope, method: str
) -> "Brief":
    """What the page says."""
    import pandas as pd

    from adatom.report.brief import Brief, BriefTable

    chi = [found["reduced_chi_square"] for found in results]
    of = f"{len(results)} frames" if len(results) > 1 else "The object function"
    lens = {name: value for name, value in microscope.model_dump().items() if value}
    table = pd.DataFrame(results).rename(columns=lambda key: str(key).replace("_", " "))
    table.insert(0, "frame", image["frame"].to_numpy() if "frame" in image.dims else 0)
    return Brief(
        kind=f"Restored by {method}",
        title=Path(image.attrs["source"]).name,
        result=f"{of}; reduced χ² of the residual {np.median(chi):.3f}"
        f"{' (median)' if len(chi) > 1 else ''}.",
        figures=(
            ("restoration", "Image, object function, that convolved again, and the residual"),
        ),
        tables=(
            BriefTable(
                "Frames",
                table,
                "Gain: gray levels per electron; supported: 1 if the residual is noise alone, -1 "
                "if the noise tells nothing; share beyond: of the power, beyond the band limit "
                "(cutoff, 1/Å); share structure: of the image, where electrons tell columns from "
                "their mean.",
            ),
            BriefTable(
                "Microscope",
                pd.DataFrame(
                    {"parameter": list(lens), "value": pd.Series(lens.values(), dtype=object)}
                ),
                "In Å, mrad, eV and degrees; what is left out is 0.",
            ),
        ),
        files="maps (.zarr of every frame), object_function.tif of a single image",
    )


def _find_doubts(results: list[dict[str, Any]]) -> tuple[str, ...]:
    """What a user should know before trusting the result."""
    n_frames, warnings = len(results), []
    of = "" if n_frames == 1 else f" in {{}} of {n_frames} frames"
    n_wrong = sum(found["is_supported"] == 0 for found in results)
    n_unknown = sum(found["is_supported"] == -1 for found in results)
    shares = [found.get("share_structure", 1.0) for found in results]
    if n_wrong:
        warnings.append(
            "the residual is more than noise: probe or object function are not what the image "
            "shows" + of.format(n_wrong)
        )
    if n_unknown:
        warnings.append(
            "the noise is not that of counted electrons, as of a filtered image: no verdict of the "
            "residual" + of.format(n_unknown)
        )
    if min(shares) < LEAST_STRUCTURE:
        n_few = sum(share < LEAST_STRUCTURE for share in shares)
        warnings.append(
            f"the electrons tell structure from its mean in {min(shares):.1%} of the image; the "
            "rest of the object function is a guess" + of.format(n_few)
        )
    return tuple(warnings)
