"""HAADF images of crystals along a zone axis, by what each column scatters onto the detector.

The beams of the aperture go through the perfect crystal once. What an atom scatters onto the
detector follows from the waves where it stands. So every column has an image of its own at every
thickness, with the channeling along it and the cross-talk of its neighbors, for any aberrations of
the probe; the image of the perfect crystal is their sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len

from adatom.optics.aberrations import aberration_phase
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.simulate.columns import Setting, source_variance
from adatom.simulate.diffuse import FINEST, find_diffuse_scattering
from adatom.simulate.linear import Transfer, finish_transfer, make_frequencies
from adatom.simulate.multislice import project_potential
from adatom.simulate.planes import tabulate_atoms, transmit_plane
from adatom.simulate.waves import Grid
from adatom.structures.crystals import Projection

LEAST_SIDE = 9.0  # Å of the periodic box, in which the probe must not meet itself
PIXEL = 0.1  # Å
REACH = 1.0  # Å around an atom, from where electrons reach the detector
MOST_MODES = 48
FAINTEST_MODE = 1e-4  # of the sum of all modes
BATCH = 64  # waves at a time
SEED = 21


@dataclass(frozen=True)
class CrystalResponse:
    """How the columns of a crystal scatter the beams of an aperture onto the detector.

    Attributes
    ----------
    beams : (Q, 2) array
        Frequencies [y, x] in the frame of the crystal, 1/Å.
    length : (float, float)
        Period (y, x) of the box that it was calculated in, Å.
    thicknesses : (T,) array
        Those of whole periods of the crystal, Å.
    modes : tuple over columns of tuple over thicknesses of (M, Q) complex64 arrays
        Of the columns of the projection, each seen from its center: the share of the beam on the
        detector is Σ |Σ m(q) p(q)|² over modes m, where p is the probe.
    """

    beams: np.ndarray
    length: tuple[float, float]
    thicknesses: np.ndarray
    modes: tuple[tuple[np.ndarray, ...], ...]

    def weigh(self, thickness: np.ndarray) -> np.ndarray:
        """Weights of the thicknesses, (T, N), in a linear interpolation to N others (Å)."""
        step, n_levels = self.thicknesses[0], len(self.thicknesses)
        place = np.clip(thickness / step, 0, n_levels)
        return np.clip(1 - np.abs(place - np.arange(1, n_levels + 1)[:, None]), 0, None)


@lru_cache(maxsize=32)
def slice_crystal(
    setting: Setting, projection: Projection, vibration: float, thickness: float
) -> CrystalResponse:
    """Send the beams of an aperture through a crystal.

    Parameters
    ----------
    setting : Setting
        Energy and angles.
    projection : Projection
        With its atoms in depth.
    vibration : float
        Thermal displacement of every atom per axis, Å.
    thickness : float
        The largest that is asked for, Å.

    Returns
    -------
    CrystalResponse
        Of its columns. Columns too light to be seen share what they scatter among the nearest.

    Notes
    -----
    Multislice of the mean wave; thermal diffuse scattering onto the detector by a local
    cross-section (L. J. Allen et al., Ultramicroscopy 96 (2003) 47). What was scattered is not
    followed any further, and coherent scattering onto the detector is left out.
    """
    crystal = _Crystal.of(projection)
    ky, kx = crystal.grid.frequencies()
    k = np.hypot(ky[:, None], kx)
    rows, columns = np.nonzero(k < setting.frequency(setting.semi_angle) + crystal.step / 2)
    beams = np.column_stack([ky[rows], kx[columns]])
    n_periods = int(np.ceil(thickness / projection.period))
    found = torch.zeros((crystal.n_own, len(beams), len(beams)), dtype=torch.complex64)
    levels = []
    waves = torch.zeros((len(beams), *crystal.grid.shape), dtype=torch.complex64)
    waves[torch.arange(len(beams)), torch.from_numpy(rows), torch.from_numpy(columns)] = 1
    layers = list(crystal.layers(setting, vibration))
    for _ in range(n_periods):
        for turn, through, atoms in layers:
            for start in range(0, len(beams), BATCH):
                part = waves[start : start + BATCH]
                waves[start : start + BATCH] = torch.fft.ifft2(part * turn, norm="forward")
            for atom, pixels, density in atoms:
                near = waves.flatten(1)[:, pixels]
                found[atom] += (near * density) @ near.conj().T
            for start in range(0, len(beams), BATCH):
                part = waves[start : start + BATCH]
                waves[start : start + BATCH] = torch.fft.fft2(part * through, norm="forward")
        levels.append(_gather_columns(found.numpy(), beams, projection))
    thicknesses = np.arange(1, n_periods + 1) * projection.period
    modes = tuple(zip(*levels, strict=True))
    return CrystalResponse(beams, crystal.grid.length, thicknesses, modes)


@dataclass(frozen=True)
class _Crystal:
    """A periodic box of a crystal; its first cell is the one whose atoms are looked at."""

    grid: Grid
    positions: np.ndarray
    numbers: np.ndarray
    n_own: int
    period: float

    @classmethod
    def of(cls, projection: Projection) -> "_Crystal":
        a, b, _ = projection.cell
        repeats = int(np.ceil(LEAST_SIDE / a)), int(np.ceil(LEAST_SIDE / b))
        length = repeats[1] * b, repeats[0] * a
        shape = [2 * next_fast_len(int(np.ceil(side / PIXEL / 2))) for side in length]
        cells = np.stack(np.meshgrid(*map(np.arange, repeats), [0], indexing="ij"), -1)
        places = np.array([place for _, *place in projection.atoms])
        positions = (cells.reshape(-1, 1, 3) + places) * (a, b, projection.period)
        numbers = np.tile([atom[0] for atom in projection.atoms], len(positions))
        grid = Grid((shape[0], shape[1]), length)
        return cls(grid, positions.reshape(-1, 3), numbers, len(places), projection.period)

    @property
    def step(self) -> float:
        """Mean distance of the frequencies along an axis, 1/Å."""
        return 1 / float(np.sqrt(self.grid.length[0] * self.grid.length[1]))

    def layers(
        self, setting: Setting, vibration: float
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[tuple[int, torch.Tensor, torch.Tensor]]]]:
        """Planes of a period: way from the one before, transmission, and the atoms looked at."""
        ky, kx = self.grid.frequencies()
        k = np.hypot(ky[:, None], kx)
        in_band = k <= self.grid.k_max
        curve = -1j * np.pi * electron_wavelength(setting.energy_eV) * k**2
        factors = tabulate_atoms(project_potential, self.numbers, setting.energy_eV, self.grid)
        smear = np.full(len(self.numbers), vibration**2)
        heights = np.unique(self.positions[:, 2].round(6))
        for height, before in zip(heights, np.roll(heights, 1), strict=True):
            mine = np.flatnonzero(np.abs(self.positions[:, 2] - height) < 1e-5)
            place = self.positions[mine], self.numbers[mine], smear[mine]
            through = transmit_plane(*place, self.grid, factors)
            way = (height - before) % self.period or self.period
            turn = torch.from_numpy((np.exp(curve * way) * in_band).astype(np.complex64))
            seen = [
                (atom, *self._look_around(atom, setting, vibration))
                for atom in mine[mine < self.n_own].tolist()
            ]
            yield turn, torch.fft.ifft2(through, norm="forward"), seen

    def _look_around(
        self, atom: int, setting: Setting, vibration: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels around an atom, and the share of a wave in each that it sends to the detector."""
        ky, kx = self.grid.frequencies()
        k = np.hypot(ky[:, None], kx)
        x, y, _ = self.positions[atom]
        area = self.grid.length[0] * self.grid.length[1]
        table = find_diffuse_scattering(setting, int(self.numbers[atom]), vibration)
        values = np.where(k <= FINEST, table(np.minimum(k, FINEST)), 0) / area**2
        values = values * np.exp(-2j * np.pi * (ky[:, None] * y + kx * x))
        density = np.fft.ifft2(values, norm="forward").real * area / values.size
        away = [
            (np.arange(n) * side / n - at + side / 2) % side - side / 2
            for n, side, at in zip(self.grid.shape, self.grid.length, (y, x), strict=True)
        ]
        pixels = np.flatnonzero(np.hypot(away[0][:, None], away[1]) < REACH)
        weights = density.ravel()[pixels].astype(np.float32)
        return torch.from_numpy(pixels), torch.from_numpy(weights)


def _gather_columns(
    found: np.ndarray, beams: np.ndarray, projection: Projection
) -> list[np.ndarray]:
    """Modes of the columns from the matrices over pairs of beams of the atoms of a cell."""
    a, b, _ = projection.cell
    columns = np.array([(y * b, x * a) for *_, x, y in projection.columns])
    atoms = np.array([(y * b, x * a) for _, x, y, _ in projection.atoms])
    cells = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), -1).reshape(-1, 2) * (b, a)
    matrices = np.zeros((len(columns), *found.shape[1:]), np.complex64)
    for place, matrix in zip(atoms, found, strict=True):
        away = place - (columns[:, None] + cells)
        distance = np.hypot(away[..., 0], away[..., 1])
        nearest = np.argwhere(distance < distance.min() + 0.01)
        for column, cell in nearest:
            phase = np.exp(2j * np.pi * (beams @ (away[column, cell] - place)))
            matrices[column] += matrix * np.outer(phase, phase.conj()) / len(nearest)
    return [_find_modes(matrix) for matrix in matrices]


def _find_modes(matrix: np.ndarray) -> np.ndarray:
    """The strongest eigenvectors, as long as their eigenvalues, (M, Q)."""
    rng = np.random.default_rng(SEED)
    basis = rng.standard_normal((len(matrix), min(MOST_MODES + 8, len(matrix))))
    for _ in range(2):
        basis, _ = np.linalg.qr(matrix @ basis)
    values, vectors = np.linalg.eigh(basis.conj().T @ matrix @ basis)
    order = np.argsort(values)[::-1][:MOST_MODES]
    kept = order[values[order] > FAINTEST_MODE * np.trace(matrix).real]
    modes = (basis @ vectors[:, kept]) * np.sqrt(values[kept])
    return np.ascontiguousarray(modes.T).astype(np.complex64)


class CrystalLens:
    """Turns what the columns of a crystal scatter into their images, for one probe.

    Parameters
    ----------
    response : CrystalResponse
        Of a setting whose semi-angle is that of the microscope at least.
    microscope : Microscope
        All of its numbers fixed. Its defocus is counted from where the beam comes in.
    size : (float, float)
        Height and width of the image, Å.
    angle : float
        How the crystal is turned in the image, degrees.
    """

    def __init__(
        self,
        response: CrystalResponse,
        microscope: Microscope,
        size: tuple[float, float],
        angle: float,
    ) -> None:
        turn = np.deg2rad(angle)
        ky = response.beams[:, 0] * np.cos(turn) + response.beams[:, 1] * np.sin(turn)
        kx = response.beams[:, 1] * np.cos(turn) - response.beams[:, 0] * np.sin(turn)
        wavelength = electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
        aperture = 1e-3 * float(microscope.semi_angle) / wavelength  # type: ignore[arg-type]
        per_step = np.sqrt(response.length[0] * response.length[1])
        probe = np.clip((aperture - np.hypot(ky, kx)) * per_step + 0.5, 0, 1) * np.exp(
            -1j * aberration_phase(kx, ky, microscope)
        )
        probe /= np.linalg.norm(probe)
        radius = min(response.length) / 2
        spacing = 1 / (4.4 * aperture)  # the image carries twice the frequencies of the aperture
        n = int(radius / spacing)
        line = np.arange(-n, n + 1) * spacing
        distance = np.hypot(line[:, None], line)
        self._inside = distance < radius
        self._window = np.clip((radius - distance[self._inside]) / 1.0, 0, 1)
        y, x = (axis[self._inside] for axis in np.meshgrid(line, line, indexing="ij"))
        self._waves = (np.exp(-2j * np.pi * (np.outer(y, ky) + np.outer(x, kx))) * probe).astype(
            np.complex64
        )
        self._frequencies = make_frequencies(size, 2 * aperture)
        self._to_y, self._to_x = (
            spacing * np.exp(-2j * np.pi * np.outer(k, line)) for k in self._frequencies[:2]
        )
        # Coma moves the whole image, which no image can show: the center of mass goes to zero.
        seen = np.abs(self._waves.sum(1)) ** 2
        turns = 2 * np.pi / (2 * radius)
        self._center = (
            float(np.angle(seen @ np.exp(1j * turns * y))) / turns,
            float(np.angle(seen @ np.exp(1j * turns * x))) / turns,
        )
        self._variance = source_variance(microscope)

    def image(self, modes: np.ndarray, *, tail: tuple[float, float] = (0.0, 1.0)) -> Transfer:
        """Transfer of a column.

        Parameters
        ----------
        modes : (M, Q) array
            Of a `CrystalResponse`.
        tail : (float, float)
            Share of the intensity in wide Gaussian tails and their standard deviation, Å.

        Returns
        -------
        Transfer
            Its value at zero frequency is the cross-section, Å².
        """
        seen = np.zeros(self._inside.shape, np.float32)
        seen[self._inside] = (np.abs(self._waves @ modes.T) ** 2).sum(1) * self._window
        values = self._to_y @ seen @ self._to_x.T
        return finish_transfer(values, self._frequencies, self._center, self._variance, tail)
