"""HAADF images of the columns of a sheet by multislice, for any aberrations of the probe.

How an atom scatters each beam of the aperture onto the detector does not depend on the lens: it is
calculated once, as a matrix over pairs of beams, and every probe after that is a weighted sum over
these pairs. Two atoms on top of each other scatter somewhat more than twice one of them, which is a
factor; a sheet is the sum of its columns.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from scipy.fft import next_fast_len

from adatom.optics.aberrations import aberration_phase
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.simulate.linear import Transfer, finish_transfer, make_frequencies
from adatom.simulate.multislice import project_potential
from adatom.simulate.planes import transform_atom

WIDEST = 1.4  # frequencies of waves on their way, over the highest one on the detector
SMEAR = 0.006  # Å²: mean square displacement along an axis, of the atoms of a pair
BATCH = 16  # waves at a time
SEED = 20


@dataclass(frozen=True)
class Setting:
    """What decides how a column scatters: all of a microscope but its aberrations.

    Attributes
    ----------
    energy_eV : float
        Energy of the electrons, eV.
    semi_angle : float
        Largest semi-angle of the probe, mrad.
    inner_angle, outer_angle : float
        Angles of the detector, mrad.
    """

    energy_eV: float
    semi_angle: float
    inner_angle: float
    outer_angle: float

    @property
    def length(self) -> float:
        """Side of the periodic box around a column, Å: wide enough for the probe."""
        return float(np.clip(7.5 / self.frequency(self.semi_angle), 9.0, 16.0))

    def frequency(self, angle: float) -> float:
        """Spatial frequency of an angle (mrad), 1/Å."""
        return 1e-3 * angle / electron_wavelength(self.energy_eV)

    @cached_property
    def beams(self) -> np.ndarray:
        """Beams of the aperture [y, x], (Q, 2), in steps of 1 / length."""
        return self._ring(0, self.frequency(self.semi_angle))[0]

    @cached_property
    def detected(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies on the detector, (K, 2), and the share of each that it covers, (K,)."""
        return self._ring(self.frequency(self.inner_angle), self.frequency(self.outer_angle))

    def _ring(self, inner: float, outer: float) -> tuple[np.ndarray, np.ndarray]:
        reach = int(np.ceil(outer * self.length)) + 1
        steps = np.arange(-reach, reach + 1)
        points = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
        radius = np.hypot(*points.T)
        covered = np.clip(outer * self.length - radius + 0.5, 0, 1)
        if inner > 0:
            covered *= np.clip(radius - inner * self.length + 0.5, 0, 1)
        return points[covered > 0], covered[covered > 0]


@lru_cache(maxsize=256)
def respond_atom(setting: Setting, number: int) -> np.ndarray:
    """How one atom at rest scatters pairs of beams onto the detector.

    Parameters
    ----------
    setting : Setting
        Energy and angles.
    number : int
        Atomic number.

    Returns
    -------
    (Q, Q) complex64 array
        Σ S(k, q) S*(k, q') over the frequencies k of the detector, S the amplitude that beam q
        scatters into k.
    """
    ring, covered = setting.detected
    reach = np.abs(ring).max() + np.abs(setting.beams).max()
    steps = np.arange(-reach, reach + 1)
    k = np.hypot(steps[:, None], steps) / setting.length
    transform = transform_atom(project_potential, number, setting.energy_eV, float(k.max()))
    table = (transform(k) / setting.length**2).astype(np.complex64)
    moved = ring[:, None] - setting.beams + reach
    amplitude = table[moved[..., 0], moved[..., 1]]
    amplitude *= np.sqrt(covered)[:, None].astype(np.float32)
    return amplitude.T @ amplitude.conj()


@lru_cache(maxsize=256)
def find_pair_gain(
    setting: Setting, number: int, distance: float, smear: float = SMEAR, n_draws: int = 1024
) -> float:
    """How much more two atoms on top of each other scatter than twice one of them.

    Parameters
    ----------
    setting : Setting
        Energy and angles.
    number : int
        Atomic number of both.
    distance : float
        Along the beam, Å.
    smear : float
        Mean square displacement of each atom along an axis, Å².
    n_draws : int
        Frozen phonons, each with a beam of its own.

    Returns
    -------
    float
        Relative excess of the electrons on the detector. It comes from the interference of both
        at small angles, and from the upper atom, which gathers electrons on the lower one; the
        shape of the image changes by less than one part in a hundred.
    """
    ring, covered = setting.detected
    n = 2 * next_fast_len(int(np.ceil(1.5 * WIDEST * np.abs(ring).max())))
    steps = np.fft.fftfreq(n, 1 / n)
    k = np.hypot(steps[:, None], steps) / setting.length
    in_band = k <= n / 3 / setting.length
    transform = transform_atom(project_potential, number, setting.energy_eV, float(k.max()))
    still = torch.from_numpy((transform(k) * in_band / setting.length**2).astype(np.complex64))
    curve = -np.pi * electron_wavelength(setting.energy_eV) * k**2
    rng = np.random.default_rng(SEED)
    alone = respond_atom(setting, number).diagonal().real
    rows, columns = torch.from_numpy(ring % n).T
    weights = torch.from_numpy(covered.astype(np.float32))
    found = expected = 0.0
    for start in range(0, n_draws, BATCH):
        n_waves = min(BATCH, n_draws - start)
        chosen = rng.integers(len(setting.beams), size=n_waves)
        waves = torch.zeros((n_waves, n, n), dtype=torch.complex64)
        waves[torch.arange(n_waves), *torch.from_numpy(setting.beams[chosen] % n).T] = 1
        for step in (-distance / 2, distance):
            away = rng.standard_normal((2, n_waves)) * np.sqrt(smear) / setting.length
            along_y, along_x = (
                torch.from_numpy(np.exp(-2j * np.pi * np.outer(shift, steps)).astype(np.complex64))
                for shift in away
            )
            through = still * along_y[:, :, None] * along_x[:, None, :]
            through[:, 0, 0] += 1
            waves *= torch.from_numpy((np.exp(1j * curve * step) * in_band).astype(np.complex64))
            waves = torch.fft.ifft2(waves, norm="forward")
            waves *= torch.fft.ifft2(through, norm="forward")
            waves = torch.fft.fft2(waves, norm="forward")
        found += float((waves[:, rows, columns].abs().square() @ weights).sum())
        expected += 2 * float(alone[chosen].sum())
    return found / expected - 1


def source_variance(microscope: Microscope) -> float:
    """Variance of the size of the source along an axis, Å²."""
    return (float(microscope.source_size) / (2 * np.sqrt(2 * np.log(2)))) ** 2  # type: ignore[arg-type]


class ColumnLens:
    """Turns what columns scatter into their images, for one probe.

    Parameters
    ----------
    setting : Setting
        Its semi-angle must be that of the microscope at least.
    microscope : Microscope
        All of its numbers fixed.
    size : (float, float)
        Height and width of the image, Å.
    """

    def __init__(self, setting: Setting, microscope: Microscope, size: tuple[float, float]) -> None:
        self._length = setting.length
        beams = setting.beams
        k = beams / setting.length
        aperture = setting.frequency(float(microscope.semi_angle))  # type: ignore[arg-type]
        covered = (aperture - np.hypot(*k.T)) * setting.length + 0.5
        waves = np.clip(covered, 0, 1) * np.exp(
            -1j * aberration_phase(k[:, 1], k[:, 0], microscope)
        )
        waves /= np.linalg.norm(waves)
        self._pairs = np.outer(waves, waves.conj())
        reach = 2 * int(np.abs(beams).max())
        self._shape = (2 * reach + 1,) * 2
        rows, columns = np.moveaxis(beams[None] - beams[:, None] + reach, -1, 0)
        self._bin = (rows * self._shape[1] + columns).ravel()
        self._frequencies = make_frequencies(size, 2 * aperture)
        ky, kx, _ = self._frequencies
        # To the frequencies of the image by way of the box around the column.
        places = (np.arange(2 * reach + 2) / (2 * reach + 2) - 0.5) * setting.length
        steps = np.arange(-reach, reach + 1) / setting.length
        inner = np.exp(2j * np.pi * np.outer(places, steps))
        window = np.clip((setting.length / 2 - np.abs(places)) / 1.0, 0, 1)[:, None] * inner
        area = setting.length / len(places)
        self._to_y = area * np.exp(-2j * np.pi * np.outer(ky, places)) @ window
        self._to_x = area * np.exp(-2j * np.pi * np.outer(kx, places)) @ window
        probe = self._gather(np.ones((len(beams),) * 2))
        # Coma moves the whole image, which no image can show: the center of mass goes to zero.
        ahead = -setting.length / (2 * np.pi)
        self._center = (
            ahead * float(np.angle(probe[reach + 1, reach])),
            ahead * float(np.angle(probe[reach, reach + 1])),
        )
        self._source = source_variance(microscope)

    def image(
        self, response: np.ndarray, smear: float, *, tail: tuple[float, float] = (0.0, 1.0)
    ) -> Transfer:
        """Transfer of a column.

        Parameters
        ----------
        response : (Q, Q) array
            Of `respond_atom`.
        smear : float
            Variance along an axis of a Gaussian that widens its image besides the source, Å².
        tail : (float, float)
            Share of the intensity in wide Gaussian tails and their standard deviation, Å.

        Returns
        -------
        Transfer
            Its value at zero frequency is the cross-section, Å².
        """
        values = self._to_y @ self._gather(response) @ self._to_x.T
        variance = self._source + smear
        return finish_transfer(values, self._frequencies, self._center, variance, tail)

    def _gather(self, response: np.ndarray) -> np.ndarray:
        """Fourier coefficients of the image in the box, by difference of beams."""
        product = (self._pairs * response).ravel()
        size = self._shape[0] * self._shape[1]
        parts = [np.bincount(self._bin, part, size) for part in (product.real, product.imag)]
        return (parts[0] + 1j * parts[1]).reshape(self._shape)
