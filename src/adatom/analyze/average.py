"""The mean of many defects of one kind: image, structure, spread, and strain of its bonds."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import compress

import numpy as np
import pandas as pd
import xarray as xr
from scipy.spatial import cKDTree

from adatom.analyze.library import WIDTH, Library
from adatom.analyze.mean_image import average_images, scale_image
from adatom.analyze.placement import (
    Pattern,
    Placement,
    find_symmetries,
    improve_placement,
    place_pattern,
)
from adatom.core.errors import ConfigError

RADIUS = WIDTH / 2 - 1.0  # Å around the middle: atoms and pixels that are averaged
MARGIN = 0.8  # Å beyond: where the partners of atoms at the rim may be
FEWEST_ATOMS = 3
REACH = 0.45  # distances of neighbors: how far an atom may be from its partner
N_ROUNDS, N_SEARCHES = 4, 2  # of laying all over the mean; of them, with every turn tried
FINEST = 0.05  # Å, pixel of a mean image

Part = tuple[pd.DataFrame, pd.DataFrame]  # atoms and bonds of one defect


@dataclass(frozen=True)
class MeanDefect:
    """What defects of one name have in common.

    Attributes
    ----------
    name : str
        Their name.
    entries : DataFrame
        Those that were averaged.
    n_left_out : int
        Of this name, but cut by the border of the image, with other atoms or bonds around, or not
        to be laid over the mean.
    symmetries : list of Placement
        Ways to lay the mean over itself. It is averaged over them, as noise would choose otherwise:
        a distortion that breaks the symmetry is in `chi`, not in the mean.
    atoms : DataFrame
        `x`, `y` (Å from the middle), `label`, `is_member`, `is_shell`, `n` (defects that have it),
        `x_err`, `y_err` (of the mean), `spread` (rms per axis of one defect, Å), `chi` (that, over
        what the errors of the atoms explain); these are NaN of a single defect. Images are scaled
        to the lattice constant of the material, where it is known.
    bonds : DataFrame
        `one`, `other` (rows of `atoms`), `n`, `length`, `length_err`, `spread` (Å).
    places : (E, A, 2) array
        Every atom of every defect laid over the mean, NaN where it has none.
    image : Dataset
        `mean` and `spread` over dims y, x (Å); 1 is a usual atom around, 0 the darkest.
    """

    name: str
    entries: pd.DataFrame
    n_left_out: int
    symmetries: list[Placement]
    atoms: pd.DataFrame
    bonds: pd.DataFrame
    places: np.ndarray
    image: xr.Dataset


def average_defects(library: Library, name: str) -> MeanDefect:
    """Average all defects of one name.

    Parameters
    ----------
    library : Library
        Where they are.
    name : str
        Their name, as `adatom library list` gives it.

    Returns
    -------
    MeanDefect
        Of those of the commonest material and modality with the commonest graph: the same atoms,
        neighbors and next neighbors.

    Raises
    ------
    ConfigError
        If the library has none of this name that is whole, or with too few atoms to lay it.

    Notes
    -----
    Libraries of atomic defects: Ziatdinov et al., Sci. Adv. 5 (2019) eaaw8989.
    """
    entries = library.entries
    named = entries[entries["name"] == name]
    if named.empty:
        names = ", ".join(entries["name"].value_counts().index[:12]) or "nothing"
        raise ConfigError(f"name: {library.folder} holds {names} (got {name!r})")
    whole = named[~named["is_cut"].astype(bool)]
    if whole.empty:
        raise ConfigError(
            f"name: all {len(named)} {name} of {library.folder} are cut by the border"
        )
    chosen = _choose_alike(whole)
    read = zip(library.read_atoms(chosen), chosen["scale"], strict=True)
    parts = [(_trim(atoms, scale), bonds) for (atoms, bonds), scale in read]
    found = _average_places(parts, chosen["score"].to_numpy(float))
    if found is None:
        raise ConfigError(f"name: {name} has too few atoms around it to be laid over another")
    chosen = chosen[found.is_laid].reset_index(drop=True)
    parts = list(compress(parts, found.is_laid))
    tables = [atoms for atoms, _ in parts]
    atoms, turned = _describe_atoms(found, [_make_pattern(table) for table in tables], tables)
    step = max(FINEST, float(chosen[["dy", "dx"]].to_numpy().mean()))
    image = average_images(
        lambda: _scale_images(library, chosen),
        found.placements,
        found.symmetries,
        step=step,
        radius=RADIUS,
    )
    return MeanDefect(
        name=name,
        entries=chosen,
        n_left_out=len(named) - len(chosen),
        symmetries=found.symmetries,
        atoms=atoms,
        bonds=_measure_bonds(turned, found.bonds),
        places=turned[:, 0],
        image=scale_image(image, atoms),
    )


def _choose_alike(entries: pd.DataFrame) -> pd.DataFrame:
    """Those of the commonest material and modality, and of these with the commonest graph."""
    for names in (["material", "modality"], ["hash"]):
        groups = entries.groupby(names, dropna=False, sort=False)["entry"].transform("size")
        first = entries[names].iloc[int(np.argmax(groups))]
        same = (entries[names] == first) | (entries[names].isna() & first.isna())
        entries = entries[same.all(axis=1)]
    return entries


def _trim(atoms: pd.DataFrame, scale: float) -> pd.DataFrame:
    """Atoms near the middle, in units of the lattice of the material."""
    lengths = ["x", "y", "x_err", "y_err"]
    scaled = atoms.assign(**{name: atoms[name] / scale for name in lengths})
    near = np.hypot(scaled["x"], scaled["y"]) < RADIUS + MARGIN
    return scaled[near].reset_index(drop=True)


def _scale_images(library: Library, chosen: pd.DataFrame) -> Iterator[xr.DataArray]:
    for image, scale in zip(library.read_images(chosen), chosen["scale"], strict=True):
        yield image.assign_coords(y=image["y"] / scale, x=image["x"] / scale)


def _make_pattern(atoms: pd.DataFrame) -> Pattern:
    return Pattern(atoms[["y", "x"]].to_numpy(), atoms["label"].to_numpy(str))


@dataclass(frozen=True)
class _Average:
    """Mean atoms and bonds, which defects are laid over them, how, and how they themselves."""

    mean: Pattern
    is_member: np.ndarray
    is_shell: np.ndarray
    bonds: np.ndarray
    is_laid: np.ndarray
    placements: list[Placement]
    symmetries: list[Placement]


def _average_places(parts: list[Part], score: np.ndarray) -> _Average | None:
    """Lay all over that of the highest score, then over the mean of all, again and again."""
    patterns = [_make_pattern(atoms) for atoms, _ in parts]
    sizes = np.array([len(pattern.labels) for pattern in patterns])
    first = int(np.argmax(score - (sizes < np.median(sizes))))
    near = np.hypot(*patterns[first].places.T) < RADIUS
    if near.sum() < FEWEST_ATOMS:
        return None
    mean = Pattern(patterns[first].places[near], patterns[first].labels[near])
    is_member, is_shell = (parts[first][0][name].to_numpy(bool)[near]
                           for name in ("is_member", "is_shell"))  # fmt: skip
    reach = REACH * float(np.median(cKDTree(mean.places).query(mean.places, k=2)[0][:, 1]))
    laid: dict[int, Placement] = {}
    for number in range(N_ROUNDS):
        if number < N_SEARCHES:
            tried = [place_pattern(pattern, mean, reach=reach) for pattern in patterns]
            known = {row: one for row, one in enumerate(tried) if one is not None}
        else:
            known = {row: improve_placement(patterns[row], mean, one, reach=reach)
                     for row, one in laid.items()}  # fmt: skip
        laid = {row: one for row, one in known.items() if (one.partner[is_member] >= 0).all()}
        over = _lay([patterns[row] for row in laid], list(laid.values()))
        kept = (np.isfinite(over[..., 0]).mean(axis=0) > 0.5) | is_member
        bonds = _count_bonds([parts[row] for row in laid], list(laid.values()), kept)
        mean = Pattern(_find_mean(over[:, None, kept]), mean.labels[kept])
        is_member, is_shell = is_member[kept], is_shell[kept]
        symmetries = find_symmetries(mean, bonds, reach=reach)
        mean = Pattern(_find_mean(_turn(mean.places[None], symmetries)), mean.labels)
    is_laid = np.isin(np.arange(len(parts)), list(laid))
    found = [improve_placement(patterns[row], mean, one, reach=reach) for row, one in laid.items()]
    return _Average(mean, is_member, is_shell, bonds, is_laid, found, symmetries)


def _lay(patterns: list[Pattern], placements: list[Placement]) -> np.ndarray:
    """Places of all atoms over the mean, (E, A, 2), NaN where there are none."""
    return np.array([
        np.where((one.partner >= 0)[:, None], one.apply(pattern.places)[one.partner], np.nan)
        for pattern, one in zip(patterns, placements, strict=True)
    ])  # fmt: skip


def _turn(laid: np.ndarray, symmetries: list[Placement]) -> np.ndarray:
    """The same laid in all ways over themselves, (E, G, A, 2)."""
    ways = []
    for symmetry in symmetries:
        moved = symmetry.apply(laid[:, symmetry.partner])
        ways.append(np.where((symmetry.partner >= 0)[:, None], moved, np.nan))
    return np.stack(ways, axis=1)


def _describe_atoms(
    found: _Average, patterns: list[Pattern], tables: list[pd.DataFrame]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Mean atoms with errors and spread, and all in all ways over them, (E, G, A, 2)."""
    turned = _turn(_lay(patterns, found.placements), found.symmetries)
    squares = [(table["x_err"] ** 2 + table["y_err"] ** 2).to_numpy() for table in tables]
    stated = np.array(
        [square[one.partner] for square, one in zip(squares, found.placements, strict=True)]
    )
    stated = np.stack([stated[:, way.partner] for way in found.symmetries], axis=1)
    mean, error = _find_mean(turned), _find_error(turned)
    n = np.isfinite(turned[:, 0, :, 0]).sum(axis=0)
    away = ((turned - mean) ** 2).sum(axis=-1) * _count_freedom(turned)
    atoms = pd.DataFrame(
        {
            "x": mean[:, 1],
            "y": mean[:, 0],
            "label": found.mean.labels,
            "is_member": found.is_member,
            "is_shell": found.is_shell,
            "n": n,
            "x_err": error[:, 1],
            "y_err": error[:, 0],
            "spread": np.where(n > 1, np.sqrt(_find_mean(away) / 2), np.nan),
            "chi": np.where(n > 1, np.sqrt(_find_mean(away / stated)), np.nan),
        }
    )
    return atoms, turned


def _find_mean(values: np.ndarray) -> np.ndarray:
    """Mean over defects and ways, (E, G, ...) to (...), NaN where there is nothing."""
    return np.ma.masked_invalid(values).mean(axis=(0, 1)).filled(np.nan)


def _find_error(values: np.ndarray) -> np.ndarray:
    """Error of that mean: the defects are independent, the ways are not."""
    one = np.ma.masked_invalid(values).mean(axis=1)
    n = one.count(axis=0)
    error = one.std(axis=0).filled(np.nan) / np.sqrt(np.maximum(n - 1, 1))
    return np.where(n > 1, error, np.nan)


def _count_freedom(values: np.ndarray) -> float:
    """What squares about a mean lack, as the mean follows them: n / (n - 1)."""
    n = values.shape[0] * values.shape[1]
    return n / max(n - 1, 1)


def _count_bonds(parts: list[Part], placements: list[Placement], kept: np.ndarray) -> np.ndarray:
    """Pairs of atoms that are kept and bonded in more than half of the defects, (B, 2)."""
    row_of = np.cumsum(kept) - 1
    count = np.zeros((kept.sum(), kept.sum()), int)
    for (atoms, bonds), placement in zip(parts, placements, strict=True):
        is_met = kept & (placement.partner >= 0)
        names = atoms["atom"].to_numpy()[placement.partner[is_met]]
        number = pd.Series(row_of[is_met], index=names)
        number = number[~number.index.duplicated()]
        ends = np.stack(
            [bonds[end].map(number).to_numpy(float) for end in ("one", "other")], axis=1
        )
        ends = np.sort(ends[np.isfinite(ends).all(axis=1)].astype(int), axis=1)
        count[tuple(ends.T)] += 1
    return np.argwhere(count > len(parts) / 2)


def _measure_bonds(turned: np.ndarray, pairs: np.ndarray) -> pd.DataFrame:
    """Length of every bond between mean atoms, its error, and its spread from defect to defect.

    The mean of noisy lengths is longer than the length.
    """
    step = turned[:, :, pairs[:, 0]] - turned[:, :, pairs[:, 1]]
    length = np.linalg.norm(step, axis=-1)  # (E, G, B)
    spread = np.sqrt(_find_mean((length - _find_mean(length)) ** 2) * _count_freedom(length))
    n = np.isfinite(length[:, 0]).sum(axis=0)
    return pd.DataFrame(
        {
            "one": pairs[:, 0],
            "other": pairs[:, 1],
            "n": n,
            "length": np.linalg.norm(_find_mean(step), axis=-1),
            "length_err": _find_error(length),
            "spread": np.where(n > 1, spread, np.nan),
        }
    )
