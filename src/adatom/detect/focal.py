"""Find the columns of HRTEM focal series."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import Field
from scipy import ndimage

from adatom.core.config import Config
from adatom.core.errors import ImageError, ModelError
from adatom.detect.peaks import drop_close, find_vertex
from adatom.detect.predict import predict_maps
from adatom.images import pixel_size
from adatom.images.normalize import normalize_image
from adatom.images.resample import resample_image
from adatom.networks.model import Model, ModelCard
from adatom.networks.msdnet import MSDNet


class PeakConfig(Config):
    """What counts as a column on the maps of a network."""

    threshold: float = Field(0.6, ge=0, le=1, description="Lowest height of a peak.")
    min_distance_same: float = Field(2.0, gt=0, description="Between columns of one label, Å.")
    min_distance: float = Field(0.9, gt=0, description="Between any two columns, Å.")


DEFAULT = PeakConfig()
NEAR = 0.1  # pixels this near to those of the network are taken as they are
SQUARE = 0.01  # if they are square
FOCUS_STEP = 20.0  # Å that a step of the focus may differ from that of the training


@dataclass(frozen=True)
class SeriesMaps:
    """What a network draws of a focal series.

    Attributes
    ----------
    values : (C, H, W) array
        A map of each label, 0 to 1.
    pixel_size : (2,) array, Å
        Along y and x.
    corner : (2,) array, Å
        [y, x] of the first pixel.
    """

    values: np.ndarray
    pixel_size: np.ndarray
    corner: np.ndarray


def find_columns(
    series: xr.DataArray, model: Model, *, config: PeakConfig = DEFAULT
) -> pd.DataFrame:
    """Find the columns of a focal series by the published rule: peaks above a height.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x), as many images as the model takes, from the lowest defocus.
    model : Model
        For focal series.
    config : PeakConfig
        What counts as a column.

    Returns
    -------
    DataFrame
        x, y (Å, by the coordinates of the series), label, height (of the peak, 0 to 1; no
        calibrated score), the highest first.

    Raises
    ------
    ImageError, ModelError
        As of `draw_maps`.
    """
    return pick_columns(draw_maps(series, model), model.card, config=config)


def pick_columns(
    maps: SeriesMaps, card: ModelCard, *, config: PeakConfig = DEFAULT
) -> pd.DataFrame:
    """Columns of a focal series from its maps, as of `find_columns`.

    Parameters
    ----------
    maps : SeriesMaps
        Of the series.
    card : ModelCard
        Names of the labels.
    config : PeakConfig
        What counts as a column.

    Returns
    -------
    DataFrame
        x, y (Å), label, height.
    """
    places, kinds, heights = find_map_peaks(maps.values, maps.pixel_size[0], config)
    places = maps.corner + places * maps.pixel_size
    label = np.array(card.labels)[kinds]
    return pd.DataFrame({"x": places[:, 1], "y": places[:, 0], "label": label, "height": heights})


def draw_maps(series: xr.DataArray, model: Model) -> SeriesMaps:
    """Run the network of a model over a focal series.

    Parameters
    ----------
    series : DataArray
        Dims (focus, y, x), as many images as the model takes, from the lowest defocus; for a model
        of one image (y, x) will do.
    model : Model
        For focal series.

    Returns
    -------
    SeriesMaps
        A map of each label.

    Raises
    ------
    ImageError
        If the series does not fit the model.
    ModelError
        If the model takes single images.
    """
    card = model.card
    if not card.focal_series:
        raise ModelError(f"model: must take focal series ({card.name} takes single images)")
    if series.dims == ("y", "x") and len(card.focal_series) == 1:
        series = series.expand_dims("focus")
    if series.dims != ("focus", "y", "x") or len(series) != len(card.focal_series):
        raise ImageError(
            f"series: must have dims (focus, y, x) and {len(card.focal_series)} images for "
            f"{card.name} (got {dict(series.sizes)})"
        )
    _check_focus(series, card)
    size = pixel_size(series)
    low, high = card.pixel_size_range
    if not all(low <= s <= high for s in size):
        raise ImageError(
            f"series: pixel size must be {low:g} to {high:g} Å for {card.name} "
            f"(got {size[0]:.4g} × {size[1]:.4g} Å)"
        )
    is_near = abs(size[0] / card.pixel_size - 1) < NEAR and abs(size[0] / size[1] - 1) < SQUARE
    images = [
        image if is_near else resample_image(image, size, card.pixel_size)
        for image in np.asarray(series.values, np.float32)
    ]
    pixel = size if is_near else (card.pixel_size,) * 2
    smallest = max(model.network.dilations) if isinstance(model.network, MSDNet) else 1
    if min(images[0].shape) < smallest:
        raise ImageError(
            f"series: must be {smallest} pixels of {pixel[0]:.3g} Å wide and high at least for "
            f"{card.name} (got {images[0].shape})"
        )
    normalized = [normalize_image(image, pixel[0], config=card.normalization) for image in images]
    maps = predict_maps(np.stack(normalized), model.network)
    corner = np.array([float(series.y[0]), float(series.x[0])])
    return SeriesMaps(maps, np.array(pixel), corner)


def _check_focus(series: xr.DataArray, card: ModelCard) -> None:
    """Refuse images in another order, or in other steps, than those of the training."""
    if "focus" not in series.coords:
        return
    if not np.isfinite(series["focus"].values).all():
        raise ImageError(f"series: focus must be finite (got {series['focus'].values.tolist()})")
    steps, known = np.diff(series["focus"].values), np.diff(card.focal_series)
    if np.abs(steps - known).max(initial=0) > FOCUS_STEP:
        raise ImageError(
            f"series: focus must rise in steps of about {known.tolist()} Å for {card.name} "
            f"(got {steps.tolist()})"
        )


def find_map_peaks(
    maps: np.ndarray, pixel_size: float, config: PeakConfig = DEFAULT
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peaks of the maps of all labels; of peaks too near to each other the highest stays.

    Parameters
    ----------
    maps : (C, H, W) array
        0 to 1.
    pixel_size : float
        Å.
    config : PeakConfig
        Least height and distances.

    Returns
    -------
    places : (N, 2) array
        [y, x], pixels, to a part of one.
    kinds : (N,) int array
        Label of each.
    heights : (N,) array
        Falling.
    """
    places, kinds, heights = [], [], []
    for kind, values in enumerate(maps):
        is_peak = values == ndimage.maximum_filter(values, size=3, mode="nearest")
        y, x = np.nonzero(is_peak & (values >= config.threshold))
        order = np.argsort(-values[y, x], kind="stable")
        y, x = y[order], x[order]
        kept = drop_close(np.column_stack([y, x]), config.min_distance_same / pixel_size)
        y, x = y[kept], x[kept]
        places.append(np.column_stack([find_vertex(values, y, x, axis) for axis in (0, 1)]))
        kinds.append(np.full(len(y), kind))
        heights.append(values[y, x])
    found = np.concatenate(places), np.concatenate(kinds), np.concatenate(heights)
    order = np.argsort(-found[2], kind="stable")
    order = order[drop_close(found[0][order], config.min_distance / pixel_size)]
    return found[0][order], found[1][order], found[2][order]
