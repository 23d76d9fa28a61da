"""Particles in HRTEM images: where they are, and how their columns move from frame to frame."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from adatom.core.errors import ConfigError
from adatom.metrics.detection import match_points

WIDE = 0.8  # of the spacing: columns nearer than twice this to each other have no gap between them
RIM = 0.5  # of the spacing: how far a particle reaches beyond its outer columns
N_ALIGNMENTS = 5


def segment_particle(
    columns: pd.DataFrame, shape: tuple[int, int], pixel_size: tuple[float, float], spacing: float
) -> np.ndarray:
    """Find the area of the particle that columns belong to.

    Parameters
    ----------
    columns : DataFrame
        x, y (Å; pixel [0, 0] at 0).
    shape : (int, int)
        Height and width of the image, pixels.
    pixel_size : (float, float)
        Å per pixel along y and x.
    spacing : float
        Distance of neighboring columns, Å.

    Returns
    -------
    (H, W) bool array
        Pixels of the largest group of columns without gaps; none if there are no columns.

    Raises
    ------
    ConfigError
        If the spacing is not above 0.
    """
    if not spacing > 0:
        raise ConfigError(f"spacing: must be above 0 Å (got {spacing:g})")
    mask = np.zeros(shape, bool)
    if columns.empty:
        return mask
    # Beyond the border too: what closes the gaps must not open the particle there.
    extra = [int(np.ceil(2 * spacing / size)) for size in pixel_size]
    axes = [
        (np.arange(n + 2 * more) - more) * size
        for n, more, size in zip(shape, extra, pixel_size, strict=True)
    ]
    pixels = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    places = columns[["y", "x"]].to_numpy()
    found = cKDTree(places).query(pixels.reshape(-1, 2), distance_upper_bound=2 * spacing)
    covered = np.reshape(found[0], pixels.shape[:2]) <= WIDE * spacing
    inside = ndimage.distance_transform_edt(covered, sampling=pixel_size)
    whole = inside > (WIDE - RIM) * spacing
    groups, n_groups = ndimage.label(whole)
    if n_groups == 0:
        return mask
    sizes = ndimage.sum_labels(whole, groups, np.arange(1, n_groups + 1))
    largest = groups == 1 + int(np.argmax(sizes))
    return largest[extra[0] : extra[0] + shape[0], extra[1] : extra[1] + shape[1]]


def follow_columns(
    frames: Sequence[pd.DataFrame], spacing: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Follow the columns of a particle through a movie.

    Parameters
    ----------
    frames : sequence of DataFrame
        Columns of each frame: x, y (Å). The particle moves and turns by less than half a spacing
        from frame to frame.
    spacing : float
        Distance of neighboring columns, Å.

    Returns
    -------
    tracks : DataFrame
        frame, track, x, y (Å), and move_x, move_y (Å): how the column moved since the frame before,
        the particle's own movement taken off; NaN where it is new.
    summary : DataFrame
        frame, n_columns, n_new, n_gone, and shift_x, shift_y (Å) and turn (degrees) of the particle
        since the frame before.

    Raises
    ------
    ConfigError
        If the spacing is not above 0.
    """
    if not spacing > 0:
        raise ConfigError(f"spacing: must be above 0 Å (got {spacing:g})")
    tracks, rows = [], []
    before, names, n_names = np.empty((0, 2)), np.empty(0, int), 0
    for frame, table in enumerate(frames):
        here = table[["y", "x"]].to_numpy(float).reshape(-1, 2)
        old, new, carried = _link(before, here, spacing)
        own = np.full(len(here), -1)
        own[new] = names[old]
        is_new = own < 0
        own[is_new] = n_names + np.arange(is_new.sum())
        moves = np.full((len(here), 2), np.nan)
        moves[new] = here[new] - carried.apply(before[old])
        tracks.append(
            pd.DataFrame(
                {
                    "frame": frame,
                    "track": own,
                    "x": here[:, 1],
                    "y": here[:, 0],
                    "move_x": moves[:, 1],
                    "move_y": moves[:, 0],
                }
            )
        )
        rows.append(
            {
                "frame": frame,
                "n_columns": len(here),
                "n_new": int(is_new.sum()),
                "n_gone": len(before) - len(old),
                "shift_x": carried.shift[1],
                "shift_y": carried.shift[0],
                "turn": np.rad2deg(carried.turn),
            }
        )
        n_names += int(is_new.sum())
        before, names = here, own
    columns = ["frame", "track", "x", "y", "move_x", "move_y"]
    joined = pd.concat(tracks, ignore_index=True) if tracks else pd.DataFrame(columns=columns)
    return joined, pd.DataFrame(rows)


class _Carried:
    """How a particle moved as a whole: turned around a center, and shifted."""

    def __init__(self) -> None:
        self.center, self.shift, self.turn = np.zeros(2), np.zeros(2), 0.0

    def apply(self, places: np.ndarray) -> np.ndarray:
        """Where places [y, x] would be, (N, 2)."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return (places - self.center) @ np.array([[cos, -sin], [sin, cos]]) + (
            self.center + self.shift
        )

    def fit(self, before: np.ndarray, after: np.ndarray) -> None:
        """Find the movement by least squares, after W. Kabsch, Acta Cryst. A 32 (1976) 922."""
        self.center = before.mean(axis=0)
        self.shift = np.median(after - before, axis=0)
        if len(before) > 2:
            away, moved = before - self.center, after - after.mean(axis=0)
            self.shift = after.mean(axis=0) - self.center
            cross = away[:, 0] @ moved[:, 1] - away[:, 1] @ moved[:, 0]
            self.turn = float(np.arctan2(-cross, (away * moved).sum()))


def _link(
    before: np.ndarray, here: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray, _Carried]:
    """Columns of two frames that belong together, and how the particle moved."""
    carried = _Carried()
    matches = match_points(carried.apply(before), here, spacing / 2)
    for _ in range(N_ALIGNMENTS):
        if not len(matches.found):
            break
        carried.fit(before[matches.found], here[matches.true])
        again = match_points(carried.apply(before), here, spacing / 2)
        if np.array_equal(again.found, matches.found) and np.array_equal(again.true, matches.true):
            break
        matches = again
    return matches.found, matches.true, carried
