"""HAADF images of thin sheets: every beam of the aperture on its way through planes of atoms."""

import numpy as np
import torch

from adatom.optics.aberrations import aberration_phase
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.simulate.planes import Projected, tabulate_atoms, transmit_plane
from adatom.simulate.waves import Grid

BATCH = 24  # beams at a time


def scan_planes(
    positions: np.ndarray,
    numbers: np.ndarray,
    planes: list[np.ndarray],
    grid: Grid,
    microscope: Microscope,
    *,
    projected: Projected,
) -> np.ndarray:
    """Share of the beam on the detector, at as few probe positions as the aperture asks for.

    Parameters
    ----------
    positions : (N, 3) array
        Atoms [x, y, z], Å; the beam runs along +z and comes in at z = 0.
    numbers : (N,) int array
        Atomic numbers.
    planes : list of int array
        Of `find_planes`.
    grid : Grid
        Whose band holds the angles of the detector.
    microscope : Microscope
        All of its numbers fixed.
    projected : callable
        Of an atomic number and radii (Å): projected potential of the atom, V Å.

    Returns
    -------
    (H, W) array
        Over the period of the grid.

    Notes
    -----
    The scattering matrix of Ophus (Advanced Structural and Chemical Imaging 3 (2017) 13) without
    its interpolation. The image is a sum over pairs of beams, and carries their differences.

    The matrix is held in memory: 8 bytes for each beam and each frequency on the detector, which is
    20 MB for a cell of 10 Å at 60 kV and 1 GB for one of 40 Å.
    """
    energy = float(microscope.energy_eV)  # type: ignore[arg-type]
    wavelength = electron_wavelength(energy)
    ky, kx = grid.frequencies()
    k = np.hypot(ky[:, None], kx)
    step = 1 / np.sqrt(grid.length[0] * grid.length[1])
    angles = (microscope.semi_angle, microscope.inner_angle, microscope.outer_angle)
    aperture, inner, outer = (1e-3 * float(angle) / wavelength for angle in angles)  # type: ignore[arg-type]
    covered = np.clip((aperture - k) / step + 0.5, 0, 1)
    rows, columns = np.nonzero(covered)
    ring = np.clip((k - inner) / step + 0.5, 0, 1) * np.clip((outer - k) / step + 0.5, 0, 1)
    seen = torch.from_numpy(np.flatnonzero(ring))
    weights = torch.from_numpy(np.sqrt(ring[ring > 0]).astype(np.float32))
    factors = tabulate_atoms(projected, numbers, energy, grid)
    still = np.zeros(len(numbers))
    layers = []
    for members in planes:
        through = transmit_plane(
            positions[members], numbers[members], still[members], grid, factors
        )
        layers.append(
            (float(positions[members, 2].mean()), torch.fft.ifft2(through, norm="forward"))
        )
    in_band = k <= grid.k_max
    amplitudes = torch.empty((len(rows), len(seen)), dtype=torch.complex64)
    for start in range(0, len(rows), BATCH):
        mine = slice(start, start + BATCH)
        n_waves = len(rows[mine])
        waves = torch.zeros((n_waves, *grid.shape), dtype=torch.complex64)
        waves[torch.arange(n_waves), rows[mine], columns[mine]] = 1
        here = 0.0
        for height, plane in layers:
            turn = np.exp(-1j * np.pi * wavelength * (height - here) * k**2) * in_band
            waves = torch.fft.ifft2(waves * torch.from_numpy(turn.astype(np.complex64)))
            waves = torch.fft.fft2(waves * plane)
            here = height
        amplitudes[mine] = waves.flatten(1)[:, seen] * weights
    phase = aberration_phase(kx[columns], ky[rows], microscope)
    probe = covered[rows, columns] * np.exp(-1j * phase)
    probe /= np.linalg.norm(probe)
    amplitudes *= torch.from_numpy(probe.astype(np.complex64))[:, None]
    orders = [
        np.rint(axis[at] * side).astype(int)
        for axis, at, side in zip((ky, kx), (rows, columns), grid.length, strict=True)
    ]
    return _add_pairs((amplitudes @ amplitudes.conj().T).numpy(), orders)


def _add_pairs(pairs: np.ndarray, orders: list[np.ndarray]) -> np.ndarray:
    """Image from the pairs of beams: (q, q') turns by exp(2πi (q' - q) R) at a probe position R."""
    shape = tuple(4 * int(np.abs(order).max()) + 1 for order in orders)
    bins = [(order[None] - order[:, None]) % n for order, n in zip(orders, shape, strict=True)]
    index = (bins[0] * shape[1] + bins[1]).ravel()
    size = shape[0] * shape[1]
    real, imaginary = (np.bincount(index, part.ravel(), size) for part in (pairs.real, pairs.imag))
    spectrum = (real + 1j * imaginary).reshape(shape)
    return np.fft.ifft2(spectrum, norm="forward").real
