"""Atoms of the frames of an image or movie, kept as they are found."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adatom.core.journal import Journal
from adatom.core.memory import release_memory
from adatom.core.progress import Report
from adatom.core.runs import library_versions, plain_values
from adatom.workflows.record import frame_number, load_frame

if TYPE_CHECKING:
    import xarray as xr

    from adatom.detect.atoms import FindConfig
    from adatom.images.calibrate import Calibration
    from adatom.networks.model import Model, ModelCard
    from adatom.workflows.analyze import AnalyzeConfig

logger = logging.getLogger("adatom")


def open_journal(
    place: Path, key: dict[str, Any], card: "ModelCard", calibration: "Calibration"
) -> Journal:
    """Open what was found of an image by a model, beside the place of the run.

    Parameters
    ----------
    place : Path
        The run folder to be.
    key : dict
        What else must be the same for it to go on.
    card : ModelCard
        Of the model.
    calibration : Calibration
        The image and its pixel size.

    Returns
    -------
    Journal
        To be read, and written on.
    """
    key |= {"card": card.model_dump(mode="json"), "versions": library_versions()}
    key |= {"image": list(calibration.image.shape), "pixel_size": calibration.pixel_size}
    return Journal(place.with_name(f".{place.stem}.unfinished"), plain_values(key))


def find_in_frames(
    image: "xr.DataArray",
    model: "Model",
    config: "AnalyzeConfig",
    journal: Journal,
    report: Report,
) -> None:
    """Find atoms frame by frame and part by part.

    Parameters
    ----------
    image : DataArray
        An image, a movie or a focal series.
    model : Model
        That finds.
    config : AnalyzeConfig
        How.
    journal : Journal
        What it holds is done; the rest is written to it.
    report : callable
        Called with (parts done, parts in all, what is being done).
    """
    from adatom.detect.atoms import find_atoms_by_part
    from adatom.detect.parts import count_parts
    from adatom.workflows.restored import Restored

    n_frames = image.sizes.get("frame", 1)
    n_parts = 1 if model.card.focal_series else count_parts(image)
    n_units, unit = n_frames * n_parts, "part" if n_parts > 1 else "frame"
    if journal.n_done:
        logger.info("%d of %d %ss were done before", journal.n_done, n_units, unit)
    restored = None if config.restore is None else Restored(config.restore)
    for index in range(n_frames):
        first, end = index * n_parts, (index + 1) * n_parts
        if journal.n_done >= end:
            continue
        frame, known = load_frame(image, index), journal.read(first, end)
        view = None if restored is None else restored.view(frame)
        for found in find_atoms_by_part(
            frame, model, config=make_find_config(config), done=known, view=view
        ):
            journal.append(found.assign(frame=frame_number(frame)))
            if n_units > 1:
                report(journal.n_done, n_units, f"find atoms: {journal.n_done} {unit}s")
        release_memory()


def make_find_config(config: "AnalyzeConfig") -> "FindConfig":
    """Settings of a run, as `find_atoms` takes them.

    Parameters
    ----------
    config : AnalyzeConfig
        Of the run.

    Returns
    -------
    FindConfig
        What concerns the finding.
    """
    from adatom.detect.atoms import FindConfig
    from adatom.detect.refine import RefineConfig

    return FindConfig(refine=RefineConfig(use_lattice=config.use_lattice))


def pick_shown(image: "xr.DataArray", config: "AnalyzeConfig") -> "xr.DataArray":
    """The image that figures show.

    Parameters
    ----------
    image : DataArray
        An image, a movie or a focal series.
    config : AnalyzeConfig
        Of the run.

    Returns
    -------
    DataArray
        Dims (y, x), not too large for a page; what was restored, without its aberrations.
    """
    from adatom.images.resample import shrink_image
    from adatom.images.units import pick_image
    from adatom.workflows.restored import Restored

    frame = load_frame(image)
    if config.restore is not None:
        frame = Restored(config.restore).view(frame).image
    return shrink_image(pick_image(frame))
