"""What a vibrating atom scatters diffusely onto the detector."""

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline

from adatom.simulate.columns import Setting
from adatom.simulate.multislice import project_potential
from adatom.simulate.planes import transform_atom

FINEST = 8.0  # 1/Å: frequencies of a wave's intensity
K_STEP = 0.05  # 1/Å
N_RADII, N_DIRECTIONS = 400, 64  # on the detector


@lru_cache(maxsize=256)
def find_diffuse_scattering(setting: Setting, number: int, vibration: float) -> CubicSpline:
    """Find how a vibrating atom scatters diffusely onto the detector.

    Parameters
    ----------
    setting : Setting
        Energy and angles.
    number : int
        Atomic number.
    vibration : float
        Thermal displacement per axis, Å.

    Returns
    -------
    CubicSpline
        Fourier transform, Å², of the share of the intensity that is scattered per place: of
        frequencies up to 8 1/Å.

    Notes
    -----
    ∫ T(k - g/2) T*(k + g/2) [D(g) - D(k - g/2) D(k + g/2)] dk over the detector; T is the transform
    of what the atom transmits, D that of its displacements (Allen et al., eq. 20 ff.).
    """
    inner, outer = setting.frequency(setting.inner_angle), setting.frequency(setting.outer_angle)
    transform = transform_atom(project_potential, number, setting.energy_eV, outer + FINEST)
    edges = np.linspace(inner, outer, N_RADII + 1)
    radius, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    turns = 2 * np.pi * (np.arange(N_DIRECTIONS) + 0.5) / N_DIRECTIONS
    along, across = np.outer(radius, np.cos(turns)), np.outer(radius, np.sin(turns))
    weight = (radius * width)[:, None] * 2 * np.pi / N_DIRECTIONS

    def damp(square: np.ndarray | float) -> np.ndarray:
        return np.asarray(np.exp(-2 * np.pi**2 * vibration**2 * np.asarray(square)))

    frequencies = np.arange(0, FINEST + K_STEP, K_STEP)
    found = []
    for g in frequencies:
        left, right = ((along + sign * g / 2) ** 2 + across**2 for sign in (-1, 1))
        product = (transform(np.sqrt(left)) * transform(np.sqrt(right)).conj()).real
        found.append((weight * product * (damp(g**2) - damp(left) * damp(right))).sum())
    return CubicSpline(frequencies, found)
