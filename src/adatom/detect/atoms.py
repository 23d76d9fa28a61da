"""The whole step from an image to its atoms table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ImageError, ModelError
from adatom.core.memory import release_memory
from adatom.core.tables import make_atoms, score_columns
from adatom.core.threads import limit_blas
from adatom.detect.parts import Part, Seams, is_cut, split_image
from adatom.detect.peaks import Peaks, find_peaks
from adatom.detect.predict import predict_classes
from adatom.detect.profile import Profile
from adatom.detect.refine import RefineConfig, Refined, refine_positions
from adatom.detect.scores import calibrate_column, calibrate_labels, measure_evidence
from adatom.detect.series import find_series_atoms
from adatom.images import pixel_size
from adatom.images.normalize import measure_contrast, normalize_image
from adatom.images.resample import resample_image
from adatom.networks.model import Model, ModelCard

COUNT_UNITS = ("electrons", "e", "electron")


class FindConfig(Config):
    """How atoms are found."""

    threshold: float = Field(
        0.5, ge=0, le=1, description="Lowest score of any column that is kept."
    )
    refine: RefineConfig = Field(RefineConfig(), description="How positions are fitted.")


DEFAULT = FindConfig()


@dataclass(frozen=True)
class View:
    """What the network looks at in place of an image as it was taken.

    Attributes
    ----------
    image : DataArray
        Dims (y, x), pixel by pixel the scene of the image, as another lens would show it.
    profile : Profile
        Shape of a column in the image as it was taken, to which positions are fitted.
    """

    image: xr.DataArray
    profile: Profile


def find_atoms(
    image: xr.DataArray, model: Model, *, config: FindConfig = DEFAULT, view: View | None = None
) -> pd.DataFrame:
    """Find the atoms, or atomic columns, of one image or one focal series.

    Parameters
    ----------
    image : DataArray
        One image with dims (y, x) and their coordinates in Å. Where `units` is "electrons", the
        values are taken for counts with Poisson noise. A large one is read part by part, unless
        the model is of HRTEM. Or a focal series, dims (focus, y, x), for models that take these.
    model : Model
        What `load_model` gives.
    config : FindConfig
        Thresholds.
    view : View, optional
        What the network looks at instead, of a single image.

    Returns
    -------
    DataFrame
        Atoms table: frame, atom, x, y (Å), label, score, score_<label>…, score_none, x_err, y_err
        (Å), intensity (electrons, or value·Å²; nan in focal series), intensity_err. No rows if
        nothing is found.

    Raises
    ------
    CalibrationError
        If the image has no pixel size.
    ImageError
        If it is not one image, its values are not finite, or its pixels are outside the model's
        range; if the view has other pixels.
    """
    tables = list(find_atoms_by_part(image, model, config=config, view=view))
    return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)


def find_atoms_by_part(
    image: xr.DataArray,
    model: Model,
    *,
    config: FindConfig = DEFAULT,
    done: Iterable[pd.DataFrame] = (),
    view: View | None = None,
) -> Iterator[pd.DataFrame]:
    """Find the atoms of an image or a focal series, a large image part by part.

    Parameters
    ----------
    image, model, config, view
        As of `find_atoms`.
    done : iterable of DataFrame
        Tables of the first parts, if these were found before.

    Yields
    ------
    DataFrame
        Atoms table of one part after the other that is not done; `atom` counts on. Without `done`
        at least one, perhaps empty.
    """
    card = model.card
    if image.dims not in {("y", "x"), ("focus", "y", "x")}:
        rule = "must have dims (y, x) or (focus, y, x)"
        raise ImageError(f"image: {rule} (got {image.dims}); take one frame at a time")
    seen = image if view is None else view.image
    if seen.shape != image.shape or (view is not None and len(seen.shape) != 2):
        raise ImageError(
            f"view: must have the pixels of one image {image.shape} (got {seen.shape})"
        )
    frame = int(image.frame) if "frame" in image.coords else 0
    if "focus" in image.dims or len(card.focal_series) == 1:
        if not list(done):
            found = find_series_atoms(image, model, threshold=config.threshold)
            yield found.assign(frame=frame)
        return
    size = pixel_size(image)
    if card.focal_series:
        raise ModelError(f"model: must take single images ({card.name} takes focal series)")
    if not all(card.pixel_size_range[0] <= s <= card.pixel_size_range[1] for s in size):
        low, high = card.pixel_size_range
        raise ImageError(
            f"image: pixel size must be {low:g} to {high:g} Å for {card.name} "
            f"(got {size[0]:.4g} × {size[1]:.4g} Å)"
        )
    parts = zip(split_image(image), split_image(seen), strict=True)
    seams, n_found = Seams(), 0
    for table, (part, _) in zip(done, parts, strict=False):
        seams.note(part, table["y"].to_numpy(), table["x"].to_numpy())
        n_found += len(table)
    contrast = _measure_whole(seen, size, card) if is_cut(image) else None
    profile = None if view is None else view.profile
    for part, looked in parts:
        with limit_blas():
            peaks = propose_columns(_load(looked), size, model, contrast=contrast)
            fitted = _fit_in_part(part, peaks, size, card, config, profile=profile)
            columns = seams.drop_repeated(part, fitted)
        yield make_atoms(columns, card.labels, frame=frame, first=n_found)
        n_found += len(columns["x"])
        if contrast is not None:
            release_memory()


def _measure_whole(image: xr.DataArray, size: tuple[float, float], card: ModelCard) -> float:
    """Contrast of an image that is read in parts: an empty part must not be taken for dim atoms."""
    squares, weights = [], []
    for part in split_image(image):
        values = resample_image(_load(part), size, card.pixel_size)
        contrast = measure_contrast(values, card.pixel_size, config=card.normalization)
        squares.append(contrast**2)
        weights.append(values.size)
    return float(np.sqrt(np.average(squares, weights=weights)))


def _load(part: Part) -> np.ndarray:
    return np.asarray(part.image.values, np.float32)


def _fit_in_part(
    part: Part,
    peaks: Peaks,
    size: tuple[float, float],
    card: ModelCard,
    config: FindConfig,
    *,
    profile: Profile | None,
) -> dict[str, np.ndarray]:
    """Columns of the atoms table for the candidates of one part."""
    image = part.image
    is_column = calibrate_column(peaks.column, card.calibration)
    kept = is_column >= config.threshold
    is_column, shares = is_column[kept], peaks.shares[kept]
    start = peaks.positions[kept] * card.pixel_size / np.array(size)
    refined = refine_positions(
        _load(part),
        start,
        size,
        is_counts=is_counted(image),
        profile=profile,
        config=config.refine,
    )
    evidence = weigh_labels(shares, refined, size, card)
    label_scores = calibrate_labels(evidence, is_column, card.calibration)
    best = label_scores.argmax(axis=1) if len(label_scores) else np.empty(0, int)
    columns = {
        "x": float(image.x[0]) + refined.positions[:, 1] * size[1],
        "y": float(image.y[0]) + refined.positions[:, 0] * size[0],
        "label": np.array(card.labels)[best],
        "score": label_scores[np.arange(len(best)), best],
        **dict(zip(score_columns(card.labels), label_scores.T, strict=True)),
        "score_none": 1 - is_column,
        "x_err": refined.errors[:, 1] * size[1],
        "y_err": refined.errors[:, 0] * size[0],
        "intensity": refined.intensity,
        "intensity_err": refined.intensity_err,
    }
    mine = part.holds(columns["y"], columns["x"])
    return {name: values[mine] for name, values in columns.items()}


def propose_columns(
    values: np.ndarray,
    pixel_size: tuple[float, float],
    model: Model,
    *,
    contrast: float | None = None,
) -> Peaks:
    """Candidate columns of an image, as the network sees them.

    Parameters
    ----------
    values : (H, W) array
        The image.
    pixel_size : tuple of float
        Å per pixel along y and x.
    model : Model
        Network and card.
    contrast : float, optional
        Contrast of the whole image that this is a part of.

    Returns
    -------
    Peaks
        Candidates in pixels of the network, with uncalibrated scores.
    """
    card = model.card
    resampled = resample_image(values, pixel_size, card.pixel_size)
    normalized = normalize_image(
        resampled, card.pixel_size, config=card.normalization, contrast=contrast
    )
    return find_peaks(
        predict_classes(normalized, model.network, compiled=model.compiled),
        card.pixel_size,
        threshold=card.threshold,
        min_distance=card.min_distance,
    )


def weigh_labels(
    shares: np.ndarray, refined: Refined, pixel_size: tuple[float, float], card: ModelCard
) -> np.ndarray:
    """Evidence for the label of each column, (N, n_features): network and fitted brightness."""
    families = [[card.labels.index(label) for label in family] for family in card.families]
    positions = refined.positions * np.array(pixel_size)
    return measure_evidence(shares, positions, refined.intensity, refined.intensity_err, families)


def is_counted(image: xr.DataArray) -> bool:
    """Whether the values of an image are electrons, so that their noise is Poisson's."""
    return str(image.attrs.get("units", "")) in COUNT_UNITS
