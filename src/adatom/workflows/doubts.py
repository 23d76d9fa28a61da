"""What a user should know before trusting a result."""

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from adatom.images.calibrate import Calibration
    from adatom.networks.model import ModelCard

logger = logging.getLogger("adatom")
LARGEST_MISFIT = 0.03
FOREIGN, MOST_FOREIGN = "dopant", 0.2  # label, and the largest share of columns that is likely
FOCUS_SLACK = 10.0  # Å; a focus is hardly known better


def collect_notes(
    path: Path,
    image: "xr.DataArray",
    calibration: "Calibration",
    caught: list[warnings.WarningMessage],
) -> tuple[str, ...]:
    """Collect what reading, calibration and Python warned of; the rest is only logged.

    Parameters
    ----------
    path : Path
        The input, whose name is left out of the notes.
    image : DataArray
        As read; its attribute `note` is one of them.
    calibration : Calibration
        With its warnings.
    caught : list of WarningMessage
        What Python caught meanwhile.

    Returns
    -------
    tuple of str
        Notes, each once.
    """
    for warning in caught:
        logger.info("%s: %s", warning.category.__name__, warning.message)
    notes = [*calibration.warnings, *([image.attrs["note"]] if "note" in image.attrs else [])]
    notes += [str(warning.message) for warning in caught if warning.category is UserWarning]
    return tuple(dict.fromkeys(note.removeprefix(f"{path}: ") for note in notes))


def doubt_result(summary: dict[str, Any], calibration: "Calibration") -> tuple[str, ...]:
    """Name what speaks against a result by itself.

    Parameters
    ----------
    summary : dict
        What `summarize_atoms` gives.
    calibration : Calibration
        Material and warnings.

    Returns
    -------
    tuple of str
        Nothing found, or neighbors at a wrong distance.
    """
    if summary["n_atoms"] == 0:
        return ("No columns were found: is the image of the kind that the model knows?",)
    median = summary["neighbor_distance"]["median"]
    material = calibration.material
    if material is None or median is None or calibration.warnings:
        return ()
    misfit = median / material.neighbor_distance - 1
    if abs(misfit) <= LARGEST_MISFIT:
        return ()
    return (
        f"Neighboring columns are {median:.3f} Å apart, {misfit:+.1%} off the "
        f"{material.neighbor_distance:.3f} Å of {material.name}: pixel size, material or "
        "positions are wrong.",
    )


def doubt_kind(calibration: "Calibration", card: "ModelCard", table: Path) -> tuple[str, ...]:
    """Name what makes the image another kind than those that the model learned from.

    Parameters
    ----------
    calibration : Calibration
        The image and its material.
    card : ModelCard
        What the model knows.
    table : Path
        The atoms table (Parquet).

    Returns
    -------
    tuple of str
        Another modality, material, focus or dose than in the training, more noise, or contrast
        that it takes for dopants.
    """
    from adatom.core.table_files import read_columns

    notes = []
    known = "HRTEM" if card.focal_series else "HAADF"
    modality = str(calibration.image.attrs.get("modality", known))
    if modality != known:
        notes.append(f"The file says {modality}; {card.name} knows {known} images only.")
    material = calibration.material
    if material is not None and card.materials and material.name not in card.materials:
        known = ", ".join(card.materials)
        notes.append(f"{card.name} was trained on {known}, not on {material.name}.")
    if card.focal_series:
        image = calibration.image
        return (*notes, *_doubt_focus(image, card), *_doubt_dose(calibration, card))
    columns = read_columns(table, ("label", "intensity", "intensity_err"))
    n_foreign = int((columns["label"] == FOREIGN).sum())
    if n_foreign > MOST_FOREIGN * len(columns):
        notes.append(
            f"{n_foreign / len(columns):.0%} of the columns are called dopants: the contrast of "
            "the image may be saturated or filtered. Try --model haadf-general, which tells "
            "columns by their brightness beside each other."
        )
    signal = float((columns["intensity"] / columns["intensity_err"]).median())
    if card.signal_range is not None and signal < card.signal_range[0]:
        notes.append(
            f"The image is noisier than those that {card.name} was trained on: its columns have a "
            f"signal to noise of {signal:.2g} (trained from {card.signal_range[0]:.2g})."
        )
    return tuple(notes)


def _doubt_focus(image: "xr.DataArray", card: "ModelCard") -> tuple[str, ...]:
    """Focus of a focal series against that of the training."""
    if card.defocus_range is None or "focus" not in image.coords:
        return ()
    off = float((image["focus"].to_numpy() - card.focal_series).mean())
    low, high = card.defocus_range
    if low - FOCUS_SLACK <= off <= high + FOCUS_SLACK:
        return ()
    if len(card.focal_series) == 1:
        known = f"{card.name} was trained on {low:+.0f} to {high:+.0f} Å"
        return (f"The defocus of the image is {off:+.0f} Å; {known}.",)
    known = ", ".join(f"{focus:+.0f}" for focus in card.focal_series)
    return (
        f"The focus of the series is {off:+.0f} Å off that of the training ({known} Å, each "
        f"{low:+.0f} to {high:+.0f} Å).",
    )


def _doubt_dose(calibration: "Calibration", card: "ModelCard") -> tuple[str, ...]:
    """Dose of an HRTEM image, the first of a movie, against that of the training."""
    from adatom.detect.atoms import is_counted

    image = calibration.image
    if card.dose_range is None or not is_counted(image):
        return ()
    shown = image.isel(frame=0) if "frame" in image.dims else image
    dose = float(shown.mean()) / (calibration.pixel_size[0] * calibration.pixel_size[1])
    low, high = card.dose_range
    if 0.9 * low <= dose <= 1.1 * high:
        return ()
    return (f"An image has {dose:.3g} e/Å²; {card.name} was trained on {low:.3g} to {high:.3g}.",)
