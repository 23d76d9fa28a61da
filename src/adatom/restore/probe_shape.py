"""The probe as a function of few numbers that an image can tell."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from adatom.optics.aberrations import COEFFICIENTS
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.optics.probe import transfer_function

Term = Literal["source_size", "defocus", "C12", "C21", "C23"]

LARGEST_SOURCE = 3.0  # Å
LARGEST_PHASE = 20.0  # rad at the rim of the aperture
_TINY = 1e-9
_STEP = 1e-3  # of a derivative, in units of `scales`


@dataclass(frozen=True)
class ProbeShape:
    """The probe of a microscope, some of whose numbers are free.

    The free numbers stand in a vector: the square of the source size (Å²), of which the probe is a
    smooth function, then defocus and the parts x, y of each aberration (Å), C = x + iy of azimuth
    arg(C)/m.

    Attributes
    ----------
    microscope : Microscope
        What is known; all of its numbers fixed.
    free : tuple of str
        What is fitted.
    vibration : float
        Root mean square displacement of the atoms along one axis, Å: blurs beside the source.
    scatter : float
        Variance of the fitted positions along one axis, Å². Positions that follow the noise make
        columns look sharper by as much.
    """

    microscope: Microscope
    free: tuple[Term, ...]
    vibration: float
    scatter: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each free number."""
        parts = ([f"{t}.x", f"{t}.y"] if t[0] == "C" else [t] for t in self.free)
        return tuple(name for part in parts for name in part)

    @property
    def cutoff(self) -> float:
        """Radius of the aperture, 1/Å."""
        energy = float(self.microscope.energy_eV)  # type: ignore[arg-type]
        return float(self.microscope.semi_angle) * 1e-3 / electron_wavelength(energy)  # type: ignore[arg-type]

    @property
    def is_mirrored(self) -> bool:
        """Whether the opposite of all that is even in k gives the same probe.

        Then the sign of the defocus has no meaning: aberrations of odd order that are not fitted
        would tell it, and are all 0.
        """
        even = [name for name, (order, _) in COEFFICIENTS.items() if order % 2]
        held = [n for n in even if n != "C12" or n not in self.free]
        held += [] if "defocus" in self.free else ["defocus"]
        return all(float(getattr(self.microscope, name)) == 0 for name in held)

    @property
    def scales(self) -> np.ndarray:
        """Size of a change of each number that matters: 1 Å², or 1 rad at the rim, (P,)."""
        wavelength = electron_wavelength(float(self.microscope.energy_eV))  # type: ignore[arg-type]
        angle = wavelength * self.cutoff
        orders = {"defocus": 1} | {name: order for name, (order, _) in COEFFICIENTS.items()}
        return np.array(
            [
                1.0
                if name == "source_size"
                else wavelength / (2 * np.pi) * (n := orders[name[:7]] + 1) / angle**n
                for name in (name.removesuffix(".x").removesuffix(".y") for name in self.names)
            ]
        )

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest value of each number, (P,) each."""
        high = self.scales * LARGEST_PHASE
        low = -high
        for index, name in enumerate(self.names):
            if name == "source_size":
                low[index], high[index] = 0.0, LARGEST_SOURCE**2
            elif name == "defocus" and self.is_mirrored:
                low[index] = 0.0
        return low, high

    def read(self) -> np.ndarray:
        """The free numbers of the microscope itself, within the bounds, (P,)."""
        values = []
        for term in self.free:
            size = float(getattr(self.microscope, term))
            if term[0] == "C":
                turn = np.deg2rad(float(getattr(self.microscope, f"phi{term[1:]}")))
                part = size * np.exp(1j * COEFFICIENTS[term][1] * turn)
                values += [part.real, part.imag]
            else:
                values.append(size**2 if term == "source_size" else size)
        return np.clip(values, *self.bounds)

    def set(self, vector: np.ndarray) -> Microscope:
        """The microscope with numbers (P,) in the place of the free ones."""
        changed: dict[str, float] = {}
        numbers = dict(zip(self.names, vector.tolist(), strict=True))
        for term in self.free:
            if term[0] == "C":
                part = complex(numbers[f"{term}.x"], numbers[f"{term}.y"])
                symmetry = COEFFICIENTS[term][1]
                changed[term] = abs(part)
                changed[f"phi{term[1:]}"] = float(np.rad2deg(np.angle(part)) / symmetry)
            else:
                changed[term] = numbers[term] ** 0.5 if term == "source_size" else numbers[term]
        return self.microscope.model_copy(update=changed)

    def transfer(self, vector: np.ndarray, n_pixels: int, pixel_size: float) -> np.ndarray:
        """Transfer of a column, centered, (n, n // 2 + 1) in the order of `numpy.fft.rfft2`."""
        half = n_pixels // 2 + 1
        # A point sees the probe from the other side.
        values = transfer_function(self.set(vector), n_pixels, pixel_size)[:, :half].conj()
        # The phase of the lowest frequency is the center of mass of a probe on a ring.
        down, right = np.angle(values[1, 0]), np.angle(values[0, 1])
        steps = np.fft.fftfreq(n_pixels, 1 / n_pixels)
        ramp = np.add.outer(steps * down, np.arange(half) * right)
        k = np.fft.fftfreq(n_pixels, pixel_size)
        square = k[:, None] ** 2 + k[:half] ** 2
        blur = 2 * np.pi**2 * (self.vibration**2 - self.scatter)
        # Numbers that are nearly 0 in single precision are slow.
        values = np.where(np.abs(values) > _TINY, values, 0)
        return values * np.exp(-1j * ramp - blur * square)

    def slopes(self, vector: np.ndarray, n_pixels: int, pixel_size: float) -> np.ndarray:
        """Derivatives of `transfer` by the free numbers, (P, n, n // 2 + 1)."""
        here, (_, high) = self.transfer(vector, n_pixels, pixel_size), self.bounds
        slopes = []
        for index, size in enumerate(_STEP * self.scales):
            step = size if vector[index] + size <= high[index] else -size
            moved = vector + step * (np.arange(len(vector)) == index)
            slopes.append((self.transfer(moved, n_pixels, pixel_size) - here) / step)
        return np.array(slopes)
