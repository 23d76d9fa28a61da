"""The microscope behind a focal series of an MX2 monolayer, and which sublattice is the metal's.

Aberrations that imitate the difference of two elements fool a network that sees a part of an image;
a microscope that explains the mean cell of the whole lattice in all images is harder to come by.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers
from scipy.optimize import OptimizeResult, least_squares

from adatom.analyze.unit_cell import N_SAMPLES, UnitCell
from adatom.core.materials import Material
from adatom.optics.microscope import electron_wavelength
from adatom.simulate.multislice import project_potential
from adatom.simulate.planes import transform_atom
from adatom.structures.vibrations import load_amplitudes

K_MAX, K_BEAMS = 1.5, 2.0  # 1/Å, of the image and of the wave
MTF_POWER = 2.5
LEAST_ERROR = 1.5e-3  # of a Fourier coefficient: what the model itself is off
N_STARTS = 4
STEP = 1e-4  # of the derivatives, in standard deviations


class Prior(NamedTuple):
    """Middle and standard deviation of a number before the images are looked at."""

    middle: float
    spread: float


# Corrected microscopes at 50 to 80 kV, as of the recipe hrtem_mos2. Å, degrees.
PRIORS = {
    "defocus": Prior(0, 50),
    "C12_x": Prior(0, 40),
    "C12_y": Prior(0, 40),
    "C21_x": Prior(0, 240),
    "C21_y": Prior(0, 240),
    "C23_x": Prior(0, 400),
    "C23_y": Prior(0, 400),
    "C30": Prior(0, 1.6e5),
    "focal_spread": Prior(30, 8),
    "tilt_x": Prior(0, 3.5),
    "tilt_y": Prior(0, 3.5),
    "blur": Prior(0.1, 0.08),
    "log_mtf": Prior(0.3, 0.8),
    "log_contrast": Prior(0, 0.2),
}
FOCUS_ERROR, SHIFT = Prior(0, 5), Prior(0, 0.3)  # of each image
STARTED = ("defocus", "C12_x", "C12_y", "C21_x", "C21_y", "C23_x", "C23_y", "C30")


@dataclass(frozen=True)
class MicroscopeFit:
    """A microscope that explains the mean cell of a focal series.

    Attributes
    ----------
    metal_first : bool
        Whether the metal is on the first sublattice of the cell.
    chi_square : float
        Squared misfit over the errors, and distance from what is usual; of so many `n_data`.
    n_data : int
        Real numbers that were fitted.
    chi_square_flat : float
        Squared misfit of images without any contrast.
    defoci : (F,) array
        Defocus of each image against the uppermost atoms, Å, + is underfocus.
    shifts : (F, 2) array
        [y, x] of each image, Å.
    values : dict
        C12, C21, C23, C30 (Å) and their azimuths phi12, phi21, phi23 (degrees), focal_spread and
        blur (Å), mtf_frequency (1/Å, as of `Camera`), contrast (over that of the simulation), tilt
        (degrees).
    """

    metal_first: bool
    chi_square: float
    n_data: int
    chi_square_flat: float
    defoci: np.ndarray
    shifts: np.ndarray
    values: dict[str, float]


def fit_microscope(
    cell: UnitCell,
    material: Material,
    energy_eV: float,
    focal_series: tuple[float, ...],
    *,
    metal_first: bool,
    temperature: float = 300.0,
) -> MicroscopeFit:
    """Fit the microscope to the mean cell of an MX2 monolayer.

    Parameters
    ----------
    cell : UnitCell
        Of `average_cells`.
    material : Material
        An MX2 monolayer whose vibrations are known.
    energy_eV : float
        Energy of the electrons, eV.
    focal_series : tuple of float
        Defocus of each image as it was meant, Å.
    metal_first : bool
        Whether the metal is taken to be on the first sublattice.
    temperature : float
        Of the specimen, K.

    Returns
    -------
    MicroscopeFit
        The best of several starts.

    Notes
    -----
    Three planes of atoms are transmitted one after the other, as in `simulate.planes`; aberrations
    to third order, focal spread, tilt of the specimen, shifts of the images, blur and MTF are
    found by least squares with normal priors (the ranges of `hrtem_mos2`); contrast is free within
    a fifth, since that of real images is often lower than simulated. The misfits of the two
    assignments differ by twice the logarithm of their odds, as far as errors are normal and the
    model is off by a thousandth or two, independently in each coefficient.
    """
    model = _Model(cell, material, energy_eV, focal_series, metal_first, temperature)
    rng = np.random.default_rng(0)
    best = min((model.fit(start) for start in model.draw_starts(rng)), key=lambda fit: fit.cost)
    return model.describe(best.x, 2 * float(best.cost))


class _Model:
    """The mean cell as a function of the microscope, in standard deviations of its prior."""

    def __init__(  # noqa: PLR0917
        self,
        cell: UnitCell,
        material: Material,
        energy_eV: float,
        focal_series: tuple[float, ...],
        metal_first: bool,
        temperature: float,
    ):
        order = np.fft.fftfreq(N_SAMPLES, 1 / N_SAMPLES)
        ky, kx = (order[:, None] * row[0] + order * row[1] for row in np.linalg.inv(cell.vectors))
        self.ky, self.kx, self.k = ky, kx, np.hypot(ky, kx)
        self.w = electron_wavelength(energy_eV) * (kx + 1j * ky)
        self.wavelength, self.focal_series = electron_wavelength(energy_eV), np.array(focal_series)
        self.metal_first, self.height = metal_first, material.thickness / 2
        self.in_band = in_band = self.k < K_BEAMS
        self.drift = in_band * np.exp(-1j * np.pi * self.wavelength * self.height * self.k**2)
        self.planes = {}
        vibrations = load_amplitudes(material.name, temperature)
        to_second = np.exp(-2j * np.pi * (order[:, None] + order) / 3)
        for role, n_neighbors in (("M", 6), ("X2", 3)):
            element = dict(material.elements)[role]
            factor = transform_atom(project_potential, atomic_numbers[element], energy_eV, K_BEAMS)(
                np.minimum(self.k, K_BEAMS)
            )
            u2 = vibrations[element, n_neighbors][0]
            smeared = factor * np.exp(-2 * np.pi**2 * u2 * self.k**2) * in_band
            plane = smeared / abs(np.linalg.det(cell.vectors))
            if (role == "M") != metal_first:
                plane = plane * to_second
            plane[0, 0] += 1
            self.planes[role] = plane
        half = (order[:, None] > 0) | ((order[:, None] == 0) & (order > 0))
        self.seen = half & (self.k < K_MAX)
        self.known = cell.values[:, self.seen]
        self.weight = 1 / np.hypot(cell.errors[:, self.seen], LEAST_ERROR)
        n_images = len(focal_series)
        priors = [*PRIORS.values(), *[FOCUS_ERROR] * n_images, *[SHIFT] * 2 * n_images]
        self.middle, self.spread = (np.array(part) for part in zip(*priors, strict=True))

    def split(self, z: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Numbers of many microscopes, (B,) each, their defoci, (B, F), and shifts, (B, F, 2)."""
        given, n = self.middle + self.spread * z, len(PRIORS)
        values = dict(zip(PRIORS, given[:, :n].T, strict=True))
        end = n + len(self.focal_series)
        defoci = values["defocus"][:, None] + self.focal_series + given[:, n:end]
        return values, defoci, given[:, end:].reshape(len(z), -1, 2)

    def leave_specimen(self, tilt_y: np.ndarray, tilt_x: np.ndarray) -> np.ndarray:
        """Waves behind the three planes of a tilted monolayer, (B, N, N)."""
        slope_y, slope_x = (np.tan(np.deg2rad(tilt)) for tilt in (tilt_y, tilt_x))
        moved = self.ky * slope_y[:, None, None] + self.kx * slope_x[:, None, None]
        turn = np.exp(-2j * np.pi * self.height * moved)
        wave = self.planes["X2"] * turn
        for plane in (self.planes["M"], self.planes["X2"] * turn.conj()):
            before = np.fft.ifft2(wave * self.drift, norm="forward")
            wave = np.fft.fft2(before * np.fft.ifft2(plane, norm="forward"), norm="forward")
        return wave * self.in_band

    def predict(self, z: np.ndarray) -> np.ndarray:
        """Fourier coefficients that are seen, (B, F, K)."""
        values, defoci, shifts = self.split(z)
        v = {name: value[:, None, None] for name, value in values.items()}
        w, square = self.w, np.abs(self.w) ** 2
        path = (
            (w**2 * (v["C12_x"] - 1j * v["C12_y"])).real / 2
            + square * (w * (v["C21_x"] - 1j * v["C21_y"])).real / 3
            + (w**3 * (v["C23_x"] - 1j * v["C23_y"])).real / 3
            + square**2 * v["C30"] / 4
        )
        envelope = np.exp(-((np.pi / (2 * self.wavelength) * v["focal_spread"] * square) ** 2))
        scattered = self.leave_specimen(values["tilt_y"], values["tilt_x"]) * envelope
        lens = path[:, None] - square * defoci[:, :, None, None] / 2
        moved = self.ky * shifts[..., :1, None] + self.kx * shifts[..., 1:, None]
        phase = 2 * np.pi * (lens / self.wavelength + moved)
        waves = np.fft.ifft2(scattered[:, None] * np.exp(-1j * phase), norm="forward")
        seen = np.fft.fft2(np.abs(waves) ** 2, norm="forward")
        blurred = np.exp(-2 * (np.pi * v["blur"] * self.k) ** 2)
        passed = blurred / (1 + (self.k / (2 * np.exp(v["log_mtf"]))) ** MTF_POWER)
        passed = passed * np.exp(v["log_contrast"])
        return (seen / seen[..., :1, :1] * passed[:, None])[..., self.seen]

    def misfit(self, z: np.ndarray) -> np.ndarray:
        """What is left over the errors, real and imaginary, and the distance from the priors."""
        z = np.atleast_2d(z)
        off = ((self.predict(z) - self.known) * self.weight).reshape(len(z), -1)
        return np.concatenate([off.real, off.imag, z], axis=1)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """Derivatives of the misfit."""
        here, *there = self.misfit(np.vstack([z, z + STEP * np.eye(len(z))]))
        return ((np.array(there) - here) / STEP).T

    def fit(self, start: np.ndarray) -> OptimizeResult:
        """Least squares from one start."""
        return least_squares(
            lambda z: self.misfit(z)[0], start, self.slope, ftol=1e-3, xtol=1e-3, max_nfev=40
        )

    def draw_starts(self, rng: np.random.Generator) -> np.ndarray:
        """Where to start from: defocus and aberrations within a standard deviation."""
        starts = np.zeros((N_STARTS, len(self.middle)))
        free = [place for place, name in enumerate(PRIORS) if name in STARTED]
        starts[:, free] = rng.uniform(-1, 1, (N_STARTS, len(free)))
        return starts

    def describe(self, z: np.ndarray, chi_square: float) -> MicroscopeFit:
        """The microscope in the words of `Lens` and `Camera`."""
        values, defoci, shifts = self.split(z[None])
        v = {name: float(value[0]) for name, value in values.items()}
        found = {"C30": v["C30"], "focal_spread": abs(v["focal_spread"]), "blur": abs(v["blur"])}
        for name, symmetry in (("C12", 2), ("C21", 1), ("C23", 3)):
            x, y = v[f"{name}_x"], v[f"{name}_y"]
            found[name] = float(np.hypot(x, y))
            found[f"phi{name[1:]}"] = float(np.rad2deg(np.arctan2(y, x)) / symmetry)
        found["mtf_frequency"], found["contrast"] = np.exp(
            [v["log_mtf"], v["log_contrast"]]
        ).tolist()
        found["tilt"] = float(np.hypot(v["tilt_x"], v["tilt_y"]))
        flat = float((np.abs(self.known * self.weight) ** 2).sum())
        n_data = 2 * self.known.size
        return MicroscopeFit(
            self.metal_first, chi_square, n_data, flat, defoci[0], shifts[0], found
        )
