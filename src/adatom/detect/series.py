"""The whole step from a focal series to its atoms table."""

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logit

from adatom.core.tables import make_atoms, score_columns
from adatom.detect.focal import PeakConfig, SeriesMaps, draw_maps, find_map_peaks
from adatom.detect.neighbors import agree_with_neighbors
from adatom.detect.peaks import Peaks
from adatom.detect.scores import calibrate_column, calibrate_labels, measure_evidence
from adatom.networks.model import Model, ModelCard


def find_series_atoms(series: xr.DataArray, model: Model, *, threshold: float) -> pd.DataFrame:
    """Find the columns of a focal series with scores that mean what they say.

    Parameters
    ----------
    series : DataArray
        As of `find_columns`.
    model : Model
        For focal series, calibrated.
    threshold : float
        Lowest score of any column that is kept.

    Returns
    -------
    DataFrame
        Atoms table as of `find_atoms`. Position errors are those that held-out simulation has at
        such raw scores. A column has no intensity: its contrast changes sign with the focus.

    Raises
    ------
    ImageError, ModelError
        As of `draw_maps`.
    """
    return pick_atoms(draw_maps(series, model), model.card, threshold=threshold)


def pick_atoms(maps: SeriesMaps, card: ModelCard, *, threshold: float) -> pd.DataFrame:
    """Atoms table of a focal series from its maps, as of `find_series_atoms`.

    Parameters
    ----------
    maps : SeriesMaps
        Of the series.
    card : ModelCard
        Of a calibrated model.
    threshold : float
        Lowest score of any column that is kept.

    Returns
    -------
    DataFrame
        Atoms table.
    """
    peaks = propose_map_columns(maps, card)
    is_column = calibrate_column(peaks.column, card.calibration)
    kept = is_column >= threshold
    is_column, shares, raw = is_column[kept], peaks.shares[kept], peaks.column[kept]
    places = maps.corner + peaks.positions[kept] * maps.pixel_size
    nothing = np.full(len(places), np.nan)
    evidence = measure_evidence(shares, places, nothing, nothing, ())
    scores = calibrate_labels(evidence, is_column, card.calibration)
    best = scores.argmax(axis=1) if len(scores) else np.empty(0, int)
    error = predict_error(raw, card.calibration.position) if card.calibration.position else nothing
    columns = {
        "x": places[:, 1],
        "y": places[:, 0],
        "label": np.array(card.labels)[best],
        "score": scores[np.arange(len(best)), best],
        **dict(zip(score_columns(card.labels), scores.T, strict=True)),
        "score_none": 1 - is_column,
        "x_err": error,
        "y_err": error,
        "intensity": nothing,
        "intensity_err": nothing,
    }
    return make_atoms(columns, card.labels)


def predict_error(raw: np.ndarray, position: tuple[float, float]) -> np.ndarray:
    """Error of a position along an axis, (N,), Å.

    Parameters
    ----------
    raw : (N,) array
        Raw score of the columns.
    position : tuple of float
        `position` of the calibration.

    Returns
    -------
    (N,) array
        One standard deviation.
    """
    offset, slope = position
    return np.exp(offset + slope * weigh_raw(raw))


def weigh_raw(raw: np.ndarray) -> np.ndarray:
    """Logit of raw scores, (N,), within what calibrations tell apart."""
    return logit(np.clip(raw, 0.02, 0.995))


def propose_map_columns(maps: SeriesMaps, card: ModelCard) -> Peaks:
    """Candidate columns of a focal series, ambiguous ones too.

    Parameters
    ----------
    maps : SeriesMaps
        Of the series.
    card : ModelCard
        Threshold and least distance.

    Returns
    -------
    Peaks
        `column` is the sum of the maps at the place (at most 1), `shares` how it is shared, as
        the neighbors allow.
    """
    least = {"min_distance_same": card.min_distance, "min_distance": card.min_distance}
    total = maps.values.sum(axis=0, keepdims=True)
    config = PeakConfig(threshold=card.threshold, **least)
    places, _, heights = find_map_peaks(total, float(maps.pixel_size[0]), config)
    y, x = np.clip(places.round().astype(int), 0, np.array(total.shape[1:]) - 1).T
    shares = maps.values[:, y, x].T
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-12)
    column = np.minimum(heights, 1.0)
    if card.sublattices:
        first, second = (tuple(map(card.labels.index, part)) for part in card.sublattices)
        shares = agree_with_neighbors(shares, column, places * maps.pixel_size, (first, second))
    return Peaks(places, column, shares)
