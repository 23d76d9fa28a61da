"""Exit waves of thin sheets: transmitted at the planes of their atoms, propagated in between."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from adatom.optics.microscope import electron_wavelength, interaction_constant
from adatom.simulate.waves import ExitWave, Grid

THICKEST_PLANE = 0.6  # Å: atoms within it are transmitted together
MOST_PLANES = 12

Scattering = Callable[[int, np.ndarray], np.ndarray]


def find_planes(heights: np.ndarray) -> list[np.ndarray] | None:
    """Group atoms into planes across the beam.

    Parameters
    ----------
    heights : (N,) array
        z of the atoms, Å.

    Returns
    -------
    list of int array, or None
        Atoms of each plane, from the lowest; None if the structure has no such planes: atoms at all
        heights, or too many.
    """
    order = np.argsort(heights, kind="stable")
    gaps = np.flatnonzero(np.diff(heights[order]) > THICKEST_PLANE) + 1
    planes = [part for part in np.split(order, gaps) if len(part)]
    if len(planes) > MOST_PLANES:
        return None
    return planes if all(np.ptp(heights[part]) <= THICKEST_PLANE for part in planes) else None


def transmit_planes(
    positions: np.ndarray,
    numbers: np.ndarray,
    grid: Grid,
    energy_eV: float,
    scattering: Scattering,
    *,
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
    grid : Grid
        Where the wave is calculated.
    energy_eV : float
        Energy of the electrons, eV.
    scattering : callable
        Of an atomic number and squares of frequencies (1/Å²): Fourier transform of the projected
        potential of the atom, V Å³.
    displacements : (N,) array, optional
        Mean square displacement of each atom along one axis, Å²: smears its potential.
    exit_height : float, optional
        z of the plane of the wave, Å; that of the last atoms if left out.
    tilt : (float, float)
        Tilt of the specimen about y and x as the direction of the beam in it, [x, y], mrad.

    Returns
    -------
    ExitWave
        The wave in the plane asked for.

    Raises
    ------
    ValueError
        If the atoms do not lie in planes.

    Notes
    -----
    The projected potentials are sums of exact phase factors, and every plane stands at its own
    height, so that no slice is too thick and no atom between two pixels.

    Smeared potentials give the mean wave of light atoms, not quite that of heavy ones (for MoS2 of
    ⟨u²⟩ = 0.013 Å², 8 % of the scattered amplitude off instead of 20 % without any), and not what
    scatters diffusely.
    """
    planes = find_planes(positions[:, 2])
    if planes is None:
        raise ValueError("positions: the atoms must lie in planes across the beam")
    ky, kx = (torch.from_numpy(k) for k in grid.frequencies())
    square = ky[:, None] ** 2 + kx**2
    in_band = (square <= grid.k_max**2).float()
    slopes = [1e-3 * angle for angle in tilt]

    def propagate(spectrum: torch.Tensor, distance: float) -> torch.Tensor:
        phase = -np.pi * electron_wavelength(energy_eV) * distance * square
        phase = phase - 2 * np.pi * distance * (slopes[0] * kx + slopes[1] * ky[:, None])
        return spectrum * torch.polar(in_band, phase.float())

    constant = interaction_constant(energy_eV)
    smear = np.zeros(len(numbers)) if displacements is None else displacements
    spectrum = torch.zeros(grid.shape, dtype=torch.complex64)
    spectrum[0, 0] = 1
    height = None
    for members in planes:
        here = float(positions[members, 2].mean())
        if height is not None:
            spectrum = propagate(spectrum, here - height)
        height = here
        potential = _project(positions[members], numbers[members], smear[members], grid, scattering)
        through = torch.polar(torch.ones_like(potential), constant * potential)
        # Without the frequencies that would be aliased in the product with the wave.
        through = torch.fft.ifft2(torch.fft.fft2(through) * in_band)
        wave = torch.fft.ifft2(spectrum, norm="forward") * through
        spectrum = torch.fft.fft2(wave, norm="forward")
    if height is not None and exit_height is not None:
        spectrum = propagate(spectrum, exit_height - height)
    return ExitWave((spectrum * in_band).numpy(), grid, energy_eV)


def _project(
    positions: np.ndarray,
    numbers: np.ndarray,
    smear: np.ndarray,
    grid: Grid,
    scattering: Scattering,
) -> torch.Tensor:
    """Projected potential of a plane, (H, W), V Å."""
    ky, kx, rows = _half_plane(grid)
    total = torch.zeros((len(ky), len(kx)), dtype=torch.complex64)
    kinds, kind = np.unique(np.column_stack([numbers, smear]), axis=0, return_inverse=True)
    for index, (number, width) in enumerate(kinds):
        mine = positions[kind.ravel() == index]
        sums = _turn(ky, mine[:, 1]) @ _turn(kx, mine[:, 0]).T
        factor = _tabulate(scattering, int(number), grid)
        if width:
            square = torch.from_numpy(ky[:, None] ** 2 + kx**2)
            factor = factor * torch.exp(-2 * np.pi**2 * width * square).float()
        total += sums * factor
    whole = torch.zeros((grid.shape[0], grid.shape[1] // 2 + 1), dtype=torch.complex64)
    whole[torch.from_numpy(rows), : len(kx)] = total
    area = grid.length[0] * grid.length[1]
    return torch.fft.irfft2(whole, s=grid.shape, norm="forward") / area


def _half_plane(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies ky and kx ≥ 0 of the potential, 1/Å, and the rows of these ky.

    All that the grid holds: the exponential brings high ones down.
    """
    ky, kx = grid.frequencies()
    rows = np.flatnonzero(np.arange(len(ky)) != len(ky) / 2)
    return ky[rows], kx[: (len(kx) + 1) // 2], rows


def _turn(k: np.ndarray, places: np.ndarray) -> torch.Tensor:
    """exp(-2πi k x) for all frequencies and places, (K, N); whole turns are left out."""
    turns = np.outer(k, places)
    angle = torch.from_numpy((-2 * np.pi * (turns - np.rint(turns))).astype(np.float32))
    return torch.polar(torch.ones_like(angle), angle)


@lru_cache(maxsize=16)
def _tabulate(scattering: Scattering, number: int, grid: Grid) -> torch.Tensor:
    ky, kx, _ = _half_plane(grid)
    return torch.from_numpy(scattering(number, ky[:, None] ** 2 + kx**2).astype(np.float32))
