"""Mean square displacements of atoms by element and coordination, from positions in time."""

import numpy as np
import pandas as pd
from ase import Atoms

from adatom.core.errors import ConfigError
from adatom.structures.vibrations import count_neighbors


def measure_amplitudes(
    positions: np.ndarray, structure: Atoms, *, n_blocks: int = 10
) -> pd.DataFrame:
    """Measure mean square displacements by element and coordination.

    Motion of the whole is taken out of every sample first: of its center of mass, and its turning
    about the periodic axis of a ribbon, or about all axes of what is not periodic at all.

    Parameters
    ----------
    positions : (T, N, 3) array
        Positions in time, Å, continuous; the sheet is normal to z.
    structure : Atoms
        Elements, masses, periodic directions, and the bonds that coordination is counted from.
    n_blocks : int
        Blocks of time for the errors, at least 2.

    Returns
    -------
    DataFrame
        One row per element and coordination: element, coordination, n_atoms, u2_in_plane (per
        axis), u2_out_of_plane, their standard errors u2_in_plane_err and u2_out_of_plane_err from
        blocks of time, and u2_in_plane_spread, u2_out_of_plane_spread: the standard deviation
        between the atoms of a row. All Å².

    Raises
    ------
    ConfigError
        If positions and structure do not fit, or there are fewer samples than blocks.

    Notes
    -----
    Errors by blocks: Flyvbjerg & Petersen, J. Chem. Phys. 91 (1989) 461. They hold if a block is
    longer than the slowest vibration; displacements are from the mean of all blocks.
    """
    positions = np.asarray(positions, float)
    if positions.ndim != 3 or positions.shape[1:] != (len(structure), 3):
        raise ConfigError(
            f"positions: must have the shape (T, {len(structure)}, 3) (got {positions.shape})"
        )
    if not 2 <= n_blocks <= len(positions):
        raise ConfigError(
            f"n_blocks: must be from 2 to the number of samples, {len(positions)} (got {n_blocks})"
        )
    fixed = remove_motion(positions, structure)
    squares = (fixed - fixed.mean(axis=0)) ** 2
    blocks = np.stack([block.mean(axis=0) for block in np.array_split(squares, n_blocks)])
    both = np.stack([blocks[..., :2].mean(axis=-1), blocks[..., 2]], axis=-1)  # (block, atom, 2)
    return tabulate_amplitudes(both, structure)


def find_changed_bonds(
    positions: np.ndarray, structure: Atoms, *, n_blocks: int = 10
) -> np.ndarray:
    """Find atoms whose bonds did not last: they hopped, and did not only vibrate.

    Parameters
    ----------
    positions : (T, N, 3) array
        Positions in time, Å, continuous.
    structure : Atoms
        The structure before, in the cell of the positions.
    n_blocks : int
        Blocks of time whose mean positions are looked at.

    Returns
    -------
    (N,) bool array
        Whether the coordination at the mean positions of any block differs from that before.
    """
    before = count_neighbors(structure)
    has_changed = np.zeros(len(before), bool)
    for block in np.array_split(remove_motion(positions, structure), n_blocks):
        mean = structure.copy()
        mean.positions = block.mean(axis=0)
        has_changed |= count_neighbors(mean) != before
    return has_changed


def tabulate_amplitudes(blocks: np.ndarray, structure: Atoms) -> pd.DataFrame:
    """Average mean square displacements over the atoms of each element and coordination.

    Parameters
    ----------
    blocks : (B, N, 2) array
        Mean square displacement in plane (per axis) and out of plane, by block of time and atom,
        Å². One block has no error (NaN).
    structure : Atoms
        The atoms.

    Returns
    -------
    DataFrame
        As of `measure_amplitudes`.
    """
    coordination = count_neighbors(structure)
    symbols = np.array(structure.symbols)
    rows = []
    for element, number in sorted(set(zip(symbols.tolist(), coordination.tolist(), strict=True))):
        chosen = blocks[:, (symbols == element) & (coordination == number)]
        row = {"element": element, "coordination": number, "n_atoms": chosen.shape[1]}
        for axis, name in enumerate(("u2_in_plane", "u2_out_of_plane")):
            in_time = chosen[..., axis].mean(axis=1)
            row[name] = in_time.mean()
            row[f"{name}_err"] = (
                in_time.std(ddof=1) / len(in_time) ** 0.5 if len(in_time) > 1 else np.nan
            )
            row[f"{name}_spread"] = chosen[..., axis].mean(axis=0).std()
        rows.append(row)
    return pd.DataFrame(rows)


def remove_motion(positions: np.ndarray, structure: Atoms) -> np.ndarray:
    """Take shifts and free turns of the whole out of every sample.

    Parameters
    ----------
    positions : (T, N, 3) array
        Positions in time, Å.
    structure : Atoms
        Masses, and periodic directions: a ribbon turns about its axis, a flake about all three, a
        sheet not at all.

    Returns
    -------
    (T, N, 3) array
        Positions about the center of mass, turned to fit their mean, Å.

    Notes
    -----
    Best turn by singular values: W. Kabsch, Acta Cryst. A 32 (1976) 922.
    """
    weights = structure.get_masses() / structure.get_masses().sum()
    centered = positions - np.einsum("tni,n->ti", positions, weights)[:, None]
    periodic = np.flatnonzero(structure.pbc)
    if len(periodic) > 1:
        return centered
    turning = np.setdiff1d(np.arange(3), periodic)
    flat = centered[..., turning]
    reference = flat[0]
    for _ in range(2):  # first to a sample, then to the mean that this gives
        product = np.einsum("tni,n,nj->tij", flat, weights, reference)
        left, _, right = np.linalg.svd(product)
        left[..., -1] *= np.sign(np.linalg.det(left @ right))[:, None]
        turned = flat @ (left @ right)
        reference = turned.mean(axis=0)
    centered[..., turning] = turned
    return centered
