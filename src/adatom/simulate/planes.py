"""Exit waves of thin sheets: transmitted at the planes of their atoms, propagated in between."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree
from scipy.special import j0

from adatom.optics.microscope import electron_wavelength, interaction_constant
from adatom.simulate.waves import ExitWave, Grid

THICKEST_PLANE = 0.6  # Å: atoms within it are transmitted together
MOST_PLANES = 12
LEAST_DISTANCE = 0.7  # Å in projection between the atoms of a plane
RADII = np.geomspace(1e-6, 12, 4000)  # Å: where the potential of an atom is looked at
K_STEP = 0.02  # 1/Å

Projected = Callable[[int, np.ndarray], np.ndarray]


def find_planes(positions: np.ndarray) -> list[np.ndarray] | None:
    """Group atoms into planes across the beam.

    Parameters
    ----------
    positions : (N, 3) array
        Atoms [x, y, z], Å.

    Returns
    -------
    list of int array, or None
        Atoms of each plane, from the lowest; None if the structure has no such planes: atoms at all
        heights, too many planes, or atoms of a plane nearer than 0.7 Å in projection.
    """
    heights = positions[:, 2]
    order = np.argsort(heights, kind="stable")
    gaps = np.flatnonzero(np.diff(heights[order]) > THICKEST_PLANE) + 1
    planes = [part for part in np.split(order, gaps) if len(part)]
    if len(planes) > MOST_PLANES:
        return None
    for part in planes:
        is_thick = np.ptp(heights[part]) > THICKEST_PLANE
        if is_thick or cKDTree(positions[part, :2]).query_pairs(LEAST_DISTANCE):
            return None
    return planes


def transmit_planes(
    positions: np.ndarray,
    numbers: np.ndarray,
    planes: list[np.ndarray],
    grid: Grid,
    energy_eV: float,
    *,
    projected: Projected,
    displacements: np.ndarray | None = None,
    exit_height: float | None = None,
    tilt: tuple[float, float] = (0.0, 0.0),
) -> ExitWave:
    """Calculate the wave behind a thin structure.

    Parameters
    ----------
    positions : (N, 3) array
        Atoms [x, y, z], Å; the beam runs along +z.
    numbers : (N,) int array
        Atomic numbers.
    planes : list of int array
        Of `find_planes`.
    grid : Grid
        Where the wave is calculated.
    energy_eV : float
        Energy of the electrons, eV.
    projected : callable
        Of an atomic number and radii (Å): projected potential of the atom, V Å.
    displacements : (N,) array, optional
        Mean square displacement of each atom along one axis, Å²: the mean over its vibration is
        taken of its transmission.
    exit_height : float, optional
        z of the plane of the wave, Å; that of the last atoms if left out.
    tilt : (float, float)
        Tilt of the specimen about y and x as the direction of the beam in it, [x, y], mrad.

    Returns
    -------
    ExitWave
        The wave in the plane asked for, in the frequencies that the grid carries.

    Notes
    -----
    A plane transmits 1 + Σ (exp(iσ v(r - r_a)) - 1): what its atoms do one by one, each between the
    pixels where it stands and cut to the band of the grid without aliasing. Left out are products
    of the tails of two neighbors (σ v is 0.008 between two Mo at 80 kV).

    Vibrating atoms that do not know of each other give this mean wave exactly; what they scatter
    diffusely is not in it.
    """
    ky, kx = grid.frequencies()
    in_band = torch.from_numpy(ky[:, None] ** 2 + kx**2 <= grid.k_max**2)
    slopes = [1e-3 * angle for angle in tilt]

    def propagate(spectrum: torch.Tensor, distance: float) -> torch.Tensor:
        curve = 0.5 * electron_wavelength(energy_eV)
        along_x, along_y = (
            torch.from_numpy(np.exp(-2j * np.pi * distance * (curve * k**2 + slope * k)))
            for k, slope in ((kx, slopes[0]), (ky, slopes[1]))
        )
        turned = spectrum * along_y.to(torch.complex64)[:, None] * along_x.to(torch.complex64)
        return turned * in_band

    factors = tabulate_atoms(projected, numbers, energy_eV, grid)
    smear = np.zeros(len(numbers)) if displacements is None else displacements
    spectrum = torch.zeros(grid.shape, dtype=torch.complex64)
    spectrum[0, 0] = 1
    height = None
    for members in planes:
        here = float(positions[members, 2].mean())
        through = transmit_plane(
            positions[members], numbers[members], smear[members], grid, factors
        )
        if height is None:
            spectrum = through
        else:
            wave = torch.fft.ifft2(propagate(spectrum, here - height), norm="forward")
            wave *= torch.fft.ifft2(through, norm="forward")
            spectrum = torch.fft.fft2(wave, norm="forward")
        height = here
    if height is not None and exit_height is not None:
        spectrum = propagate(spectrum, exit_height - height)
    return ExitWave((spectrum * in_band).numpy(), grid, energy_eV)


def tabulate_atoms(
    projected: Projected, numbers: np.ndarray, energy_eV: float, grid: Grid
) -> dict[int, torch.Tensor]:
    """What atoms transmit more than nothing, for `transmit_plane`, by atomic number.

    Parameters
    ----------
    projected, numbers, energy_eV, grid
        As of `transmit_planes`.

    Returns
    -------
    dict
        Fourier transforms over the area of the grid, in half of its band.
    """
    return {
        number: _tabulate(projected, number, energy_eV, grid)
        for number in np.unique(numbers).tolist()
    }


def transmit_plane(
    positions: np.ndarray,
    numbers: np.ndarray,
    smear: np.ndarray,
    grid: Grid,
    factors: dict[int, torch.Tensor],
) -> torch.Tensor:
    """Find what one plane transmits.

    Parameters
    ----------
    positions : (N, 3) array
        Atoms of the plane, Å.
    numbers : (N,) int array
        Atomic numbers.
    smear : (N,) array
        Mean square displacement of each along one axis, Å².
    grid : Grid
        Where it is calculated.
    factors : dict
        Of `tabulate_atoms`.

    Returns
    -------
    (H, W) complex64 tensor
        Its Fourier transform over the number of pixels, cut to the band of the grid.
    """
    ky, kx, rows = _half_plane(grid)
    right = torch.zeros((len(ky), len(kx)), dtype=torch.complex64)
    left = torch.zeros_like(right)  # at -k, where the sum over atoms is the conjugate
    kinds, kind = np.unique(np.column_stack([numbers, smear]), axis=0, return_inverse=True)
    for index, (number, width) in enumerate(kinds):
        mine = positions[kind.ravel() == index]
        sums = _turn(ky, mine[:, 1]) @ _turn(kx, mine[:, 0]).T
        factor = factors[int(number)]
        if width:
            square = torch.from_numpy(ky[:, None] ** 2 + kx**2)
            factor = factor * torch.exp(-2 * np.pi**2 * width * square).float()
        right += sums * factor
        left += sums.conj() * factor
    whole = torch.zeros(grid.shape, dtype=torch.complex64)
    whole[torch.from_numpy(rows), : len(kx)] = right
    opposite = torch.from_numpy(-rows % grid.shape[0])
    whole[opposite[:, None], torch.arange(-1, -len(kx), -1)] = left[:, 1:]
    whole[0, 0] += 1
    return whole


def _half_plane(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies ky and kx ≥ 0 in the band of the grid, 1/Å, and the rows of these ky."""
    ky, kx = grid.frequencies()
    rows = np.flatnonzero(np.abs(ky) <= grid.k_max)
    return ky[rows], kx[(kx >= 0) & (kx <= grid.k_max)], rows


def _turn(k: np.ndarray, places: np.ndarray) -> torch.Tensor:
    """exp(-2πi k x) for all frequencies and places, (K, N); whole turns are left out."""
    turns = np.outer(k, places)
    angle = torch.from_numpy((-2 * np.pi * (turns - np.rint(turns))).astype(np.float32))
    return torch.polar(torch.ones_like(angle), angle)


@lru_cache(maxsize=64)
def _tabulate(projected: Projected, number: int, energy_eV: float, grid: Grid) -> torch.Tensor:
    """Fourier transform of exp(iσ v) - 1 of one atom over the area, in the half plane."""
    ky, kx, _ = _half_plane(grid)
    k = np.hypot(ky[:, None], kx)
    transform = transform_atom(projected, number, energy_eV, grid.k_max)
    values = transform(np.minimum(k, grid.k_max)) * (k <= grid.k_max)
    return torch.from_numpy((values / (grid.length[0] * grid.length[1])).astype(np.complex64))


@lru_cache(maxsize=64)
def transform_atom(
    projected: Projected, number: int, energy_eV: float, k_max: float
) -> CubicSpline:
    """Fourier transform of what an atom transmits more than nothing.

    Parameters
    ----------
    projected : callable
        Of an atomic number and radii (Å): projected potential of the atom, V Å.
    number : int
        Atomic number.
    energy_eV : float
        Energy of the electrons, eV.
    k_max : float
        Highest frequency, 1/Å.

    Returns
    -------
    CubicSpline
        2π ∫ (exp(iσ v(r)) - 1) J0(2πkr) r dr, Å², of frequencies k.
    """
    k = np.arange(0, k_max + 2 * K_STEP, K_STEP)
    through = np.exp(1j * interaction_constant(energy_eV) * projected(number, RADII)) - 1
    step = np.log(RADII[1] / RADII[0])  # dr = r d(ln r)
    values = j0(2 * np.pi * np.outer(k, RADII)) @ (through * RADII**2)
    return CubicSpline(k, 2 * np.pi * step * values)
