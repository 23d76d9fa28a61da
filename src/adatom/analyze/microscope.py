"""The microscope behind a focal series of an MX2 monolayer.

Aberrations that imitate other elements, or move the contrast from the columns to between them, fool
a network that sees a part of an image; few microscopes explain the mean cell of the whole lattice
in all images.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers
from scipy.optimize import OptimizeResult, least_squares

from adatom.analyze.unit_cell import N_SAMPLES, UnitCell
from adatom.core.errors import ConfigError
from adatom.core.materials import Material
from adatom.core.random import make_rng
from adatom.optics.microscope import electron_wavelength
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.hrtem import Camera
from adatom.simulate.multislice import project_potential
from adatom.simulate.planes import transform_atom
from adatom.structures.vibrations import load_amplitudes

K_MAX, K_BEAMS = 1.5, 2.0  # 1/Å, of the image and of the wave
MTF_POWER = 2.5
LEAST_ERROR = 7e-4  # of a Fourier coefficient: what the model itself is off
K_COARSE, COARSE_ERROR = 1.1, 1e-2  # while starts are chosen
N_DRAWN, N_TRIED, N_STARTS = 20000, 200, 16  # of microscopes for either side
N_FITS = 6
N_FIRST_LOOKS, N_LOOKS = 5, 40  # of a fit
TEMPERATURE = 300.0  # K, that vibrations are taken at
LEAST_ENERGY = 1e4  # eV
STEP = 1e-4  # of the derivatives, in standard deviations


class Prior(NamedTuple):
    """Middle and standard deviation of a number before the images are looked at."""

    middle: float
    spread: float


# Corrected microscopes at 50 to 80 kV, as of the recipe hrtem_mos2. Å, degrees.
PRIORS = {
    "defocus": Prior(0, 30),
    "C12_x": Prior(0, 25),
    "C12_y": Prior(0, 25),
    "C21_x": Prior(0, 150),
    "C21_y": Prior(0, 150),
    "C23_x": Prior(0, 250),
    "C23_y": Prior(0, 250),
    "C30": Prior(0, 1.2e5),
    "focal_spread": Prior(30, 8),
    "tilt_x": Prior(0, 3.5),
    "tilt_y": Prior(0, 3.5),
    "blur": Prior(0.1, 0.08),
    "log_mtf": Prior(0.3, 0.8),
    "log_contrast": Prior(0, 0.2),
    "occupancy": Prior(0.95, 0.03),
}
ORIGIN = Prior(0, 2.0)  # Å, of the metal in the cell
FOCUS_ERROR, SHIFT = Prior(0, 5), Prior(0, 0.3)  # of each image
STARTED = ("defocus", "C12_x", "C12_y", "C21_x", "C21_y", "C23_x", "C23_y", "C30")


@dataclass(frozen=True)
class MicroscopeFit:
    """A microscope that explains the mean cell of a focal series.

    Attributes
    ----------
    lens : ImagingMicroscope
        Energy, aberrations to third order, focal spread; its focal series holds the defocus of
        each image against the uppermost atoms, Å, + is underfocus.
    camera : Camera
        Blur and MTF.
    shifts : (F, 2) array
        [y, x] of each image, Å.
    tilt : float
        Of the specimen, degrees.
    contrast : float
        Over that of the simulation.
    vectors : (2, 2) array
        Lattice vectors [y, x], Å.
    metal, others : (2,) arrays
        [y, x] of the columns of both kinds in the cell, Å.
    chi_square : float
        Squared misfit over the errors, and distance from what is usual; of so many `n_data`.
    n_data : int
        Real numbers that were fitted.
    chi_square_flat : float
        Squared misfit of images without any contrast.
    """

    lens: ImagingMicroscope
    camera: Camera
    shifts: np.ndarray
    tilt: float
    contrast: float
    vectors: np.ndarray
    metal: np.ndarray
    others: np.ndarray
    chi_square: float
    n_data: int
    chi_square_flat: float


def fit_microscopes(
    cell: UnitCell,
    material: Material,
    energy_eV: float,
    focal_series: tuple[float, ...],
    *,
    rng: np.random.Generator | int = 0,
) -> list[MicroscopeFit]:
    """Fit microscopes to the mean cell of an MX2 monolayer.

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
    rng : Generator or int
        Draws the microscopes to start from.

    Returns
    -------
    list of MicroscopeFit
        What was found from several starts, the likeliest first. They started half an Å apart in
        the place of the columns in the cell, or 10 Å in the defocus.

    Raises
    ------
    ConfigError
        If there are not as many images as defoci, or the energy is below 10 keV.

    Notes
    -----
    Three planes of atoms are transmitted one after the other, as in `simulate.planes`; aberrations
    to third order, focal spread, tilt of the specimen, shifts of the images, blur and MTF are
    found by least squares with normal priors (the ranges of `hrtem_mos2`); contrast is free within
    a fifth, since that of real images is often lower than simulated. Where the metal is in the cell
    and to which side its neighbors are is not known: of 20,000 microscopes drawn for either side,
    looked at to first order, each with the origin of the highest correlation, the 200 nearest are
    simulated, the 16 nearest of these followed for some steps, and the six best of both sides to
    the end. A coefficient is taken to be off by 7e-4 at least, which the model may be: at high dose
    chi-square is then far below the number of data.
    """
    if len(cell.values) != len(focal_series):
        raise ConfigError(
            f"focal_series: must hold {len(cell.values)} defoci, one of each image "
            f"(got {len(focal_series)})"
        )
    if energy_eV < LEAST_ENERGY:
        raise ConfigError(f"energy_eV: must be {LEAST_ENERGY:g} eV at least (got {energy_eV:g})")
    rng, tried = make_rng(rng), []
    for side in (1, -1):
        model = _Model(cell, material, energy_eV, focal_series, side)
        fits = (model.fit(start, N_FIRST_LOOKS) for start in model.draw_starts(rng))
        tried += [(fit.cost, fit.x, model) for fit in fits]
    best: list[tuple[float, np.ndarray, _Model]] = []
    for trial in sorted(tried, key=lambda trial: trial[0]):
        if len(best) < N_FITS and all(_differ(trial, other) for other in best):
            best.append(trial)
    found = []
    for _, start, model in best:
        end = model.fit(start, N_LOOKS)
        found.append(model.describe(end.x, 2 * float(end.cost)))
    return sorted(found, key=lambda fit: fit.chi_square)


class _Model:
    """The mean cell as a function of the microscope, in standard deviations of its prior."""

    def __init__(
        self,
        cell: UnitCell,
        material: Material,
        energy_eV: float,
        focal_series: tuple[float, ...],
        side: int,
    ):
        order = np.fft.fftfreq(N_SAMPLES, 1 / N_SAMPLES)
        ky, kx = (order[:, None] * row[0] + order * row[1] for row in np.linalg.inv(cell.vectors))
        self.ky, self.kx, self.k = ky, kx, np.hypot(ky, kx)
        self.energy_eV, self.wavelength = energy_eV, electron_wavelength(energy_eV)
        self.w = self.wavelength * (kx + 1j * ky)
        self.focal_series, self.height = np.array(focal_series), material.thickness / 2
        self.in_band = in_band = self.k < K_BEAMS
        self.drift = in_band * np.exp(-1j * np.pi * self.wavelength * self.height * self.k**2)
        self.apart = side * cell.vectors.sum(axis=0) / 3  # from the metal to the others
        self.planes = {}
        vibrations = load_amplitudes(material.name, TEMPERATURE)
        for role, n_neighbors in (("M", 6), ("X2", 3)):
            element = dict(material.elements)[role]
            factor = transform_atom(project_potential, atomic_numbers[element], energy_eV, K_BEAMS)(
                np.minimum(self.k, K_BEAMS)
            )
            u2 = vibrations[element, n_neighbors][0]
            smeared = factor * np.exp(-2 * np.pi**2 * u2 * self.k**2) * in_band
            plane = smeared / abs(np.linalg.det(cell.vectors))
            if role == "X2":
                plane = plane * np.exp(-2j * np.pi * side * (order[:, None] + order) / 3)
            self.planes[role] = plane
        self.planes["M"][0, 0] += 1
        half = (order[:, None] > 0) | ((order[:, None] == 0) & (order > 0))
        self.seen = half & (self.k < K_MAX)
        self.known = cell.values[:, self.seen]
        self.errors = cell.errors[:, self.seen]
        self.weight = 1 / np.hypot(self.errors, LEAST_ERROR)
        n_images = len(focal_series)
        priors = [*PRIORS.values(), ORIGIN, ORIGIN, *[FOCUS_ERROR] * n_images]
        priors += [SHIFT] * 2 * n_images
        self.middle, self.spread = (np.array(part) for part in zip(*priors, strict=True))
        self.vectors, self.side = cell.vectors, side

    def split(
        self, z: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of many microscopes, (B,) each, origins, (B, 2), defoci, (B, F), shifts."""
        given, n, n_images = self.middle + self.spread * z, len(PRIORS), len(self.focal_series)
        values = dict(zip(PRIORS, given[:, :n].T, strict=True))
        defoci = values["defocus"][:, None] + self.focal_series
        defoci = defoci + given[:, n + 2 : n + 2 + n_images]
        shifts = given[:, n + 2 + n_images :].reshape(len(z), -1, 2)
        return values, given[:, n : n + 2], defoci, shifts

    def leave_specimen(
        self, tilt_y: np.ndarray, tilt_x: np.ndarray, occupancy: np.ndarray
    ) -> np.ndarray:
        """Waves behind the three planes of a tilted monolayer, (B, N, N)."""
        slope_y, slope_x = (np.tan(np.deg2rad(tilt)) for tilt in (tilt_y, tilt_x))
        moved = self.ky * slope_y[:, None, None] + self.kx * slope_x[:, None, None]
        turn = np.exp(-2j * np.pi * self.height * moved)
        below, above = (
            1.0 * (self.k == 0) + occupancy[:, None, None] * self.planes["X2"] * part
            for part in (turn, turn.conj())
        )
        wave = below
        for plane in (self.planes["M"], above):
            before = np.fft.ifft2(wave * self.drift, norm="forward")
            wave = np.fft.fft2(before * np.fft.ifft2(plane, norm="forward"), norm="forward")
        return wave * self.in_band

    def predict(self, z: np.ndarray) -> np.ndarray:
        """Fourier coefficients that are seen, (B, F, K)."""
        values, origins, defoci, shifts = self.split(z)
        v = {name: value[:, None, None] for name, value in values.items()}
        w, square = self.w, np.abs(self.w) ** 2
        path = (
            (w**2 * (v["C12_x"] - 1j * v["C12_y"])).real / 2
            + square * (w * (v["C21_x"] - 1j * v["C21_y"])).real / 3
            + (w**3 * (v["C23_x"] - 1j * v["C23_y"])).real / 3
            + square**2 * v["C30"] / 4
        )
        envelope = np.exp(-((np.pi / (2 * self.wavelength) * v["focal_spread"] * square) ** 2))
        state = np.stack([values["tilt_y"], values["tilt_x"], values["occupancy"]])
        states, which = np.unique(state, axis=1, return_inverse=True)
        scattered = self.leave_specimen(*states)[which] * envelope
        lens = path[:, None] - square * defoci[:, :, None, None] / 2
        moved = origins[:, None] + shifts
        phase = 2 * np.pi * lens / self.wavelength
        waves = np.fft.ifft2(scattered[:, None] * np.exp(-1j * phase), norm="forward")
        seen = np.fft.fft2(np.abs(waves) ** 2, norm="forward")
        blurred = np.exp(-2 * (np.pi * v["blur"] * self.k) ** 2)
        passed = blurred / (1 + (self.k / (2 * np.exp(v["log_mtf"]))) ** MTF_POWER)
        passed = passed * np.exp(v["log_contrast"])
        found = (seen / seen[..., :1, :1] * passed[:, None])[..., self.seen]
        turn = moved[..., :1] * self.ky[self.seen] + moved[..., 1:] * self.kx[self.seen]
        return found * np.exp(-2j * np.pi * turn)

    def misfit(self, z: np.ndarray) -> np.ndarray:
        """What is left over the errors, real and imaginary, and the distance from the priors."""
        z = np.atleast_2d(z)
        off = ((self.predict(z) - self.known) * self.weight).reshape(len(z), -1)
        return np.concatenate([off.real, off.imag, z], axis=1)

    def slope(self, z: np.ndarray) -> np.ndarray:
        """Derivatives of the misfit."""
        here, *there = self.misfit(np.vstack([z, z + STEP * np.eye(len(z))]))
        return ((np.array(there) - here) / STEP).T

    def fit(self, start: np.ndarray, n_looks: int) -> OptimizeResult:
        """Least squares from one start."""
        return least_squares(
            lambda z: self.misfit(z)[0], start, self.slope, ftol=1e-3, xtol=1e-3, max_nfev=n_looks
        )

    def draw_starts(self, rng: np.random.Generator) -> np.ndarray:
        """Microscopes as usual, each where it explains the images best; the best of them."""
        z = np.zeros((N_DRAWN, len(self.middle)))
        free = [place for place, name in enumerate(PRIORS) if name in STARTED]
        z[:, free] = rng.normal(0, 0.8, (N_DRAWN, len(free)))
        used = self.k[self.seen] < K_COARSE
        cost, origins = self.place(self.guess(z, used), used)
        best = np.argsort(cost + (z**2).sum(axis=1))[:N_TRIED]
        z, n = z[best], len(PRIORS)
        z[:, n : n + 2] = origins[best] / ORIGIN.spread
        cost, moved = self.place(self.predict(z), np.ones(len(used), bool))
        z[:, n : n + 2] += moved / ORIGIN.spread
        return z[np.argsort(cost + (z**2).sum(axis=1))[:N_STARTS]]

    def guess(self, z: np.ndarray, used: np.ndarray) -> np.ndarray:
        """As `predict` of some coefficients, to first order in the scattered wave, without tilt."""
        values, _, defoci, _ = self.split(z)
        nothing = np.zeros(1)
        wave = self.leave_specimen(nothing, nothing, np.ones(1))[0]
        wave = wave / wave[0, 0]
        here, there = wave[self.seen][used], np.roll(wave[::-1, ::-1], (1, 1), (0, 1)).conj()
        there = there[self.seen][used]
        w = self.w[self.seen][used]
        square = np.abs(w) ** 2
        terms = (w**2 / 2, square * w / 3, w**3 / 3)
        even, *odd = (
            np.outer(values[f"{name}_x"], term.real) + np.outer(values[f"{name}_y"], term.imag)
            for name, term in zip(("C12", "C21", "C23"), terms, strict=True)
        )
        even = even + np.outer(values["C30"], square**2 / 4)
        even = even[:, None] - defoci[..., None] * square / 2
        turn = 2j * np.pi / self.wavelength
        plus = np.exp(-turn * even)
        spread = PRIORS["focal_spread"].middle
        envelope = np.exp(-((np.pi / (2 * self.wavelength) * spread * square) ** 2))
        return (here * plus + there * plus.conj()) * (envelope * np.exp(-turn * sum(odd)))[:, None]

    def place(self, guess: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Misfit of each guess (B, F, K) where it fits best, (B,), and that origin, (B, 2), Å."""
        weight = 1 / np.hypot(self.errors[:, used], COARSE_ERROR) ** 2
        overlap = (weight * self.known[:, used] * guess.conj()).sum(axis=1)
        steps = (np.arange(N_SAMPLES) / N_SAMPLES)[:, None]
        grid = (steps[:, None] * self.vectors[0] + steps * self.vectors[1]).reshape(-1, 2)
        waves = np.stack([self.ky[self.seen][used], self.kx[self.seen][used]])
        alike = (overlap @ np.exp(2j * np.pi * (grid @ waves)).T).real
        best = alike.argmax(axis=1)
        most, own = alike.max(axis=1), (weight * np.abs(guess) ** 2).sum(axis=(1, 2))
        scale = np.clip(most / own, 0.7, 1.4)
        share = grid @ np.linalg.inv(self.vectors)
        origins = (share - np.rint(share)) @ self.vectors
        return scale**2 * own - 2 * scale * most, origins[best]

    def describe(self, z: np.ndarray, chi_square: float) -> MicroscopeFit:
        """The microscope in the words of `Lens` and `Camera`."""
        values, origins, defoci, shifts = self.split(z[None])
        v = {name: float(value[0]) for name, value in values.items()}
        found = {"C30": v["C30"], "focal_spread": abs(v["focal_spread"])}
        for name, symmetry in (("C12", 2), ("C21", 1), ("C23", 3)):
            x, y = v[f"{name}_x"], v[f"{name}_y"]
            found[name] = float(np.hypot(x, y))
            found[f"phi{name[1:]}"] = float(np.rad2deg(np.arctan2(y, x)) % 360 / symmetry)
        lens = ImagingMicroscope(
            energy_eV=self.energy_eV, focal_series=tuple(defoci[0].tolist()), **found
        )
        camera = Camera(
            blur=abs(v["blur"]), mtf_frequency=np.exp(v["log_mtf"]), mtf_power=MTF_POWER
        )
        return MicroscopeFit(
            lens=lens,
            camera=camera,
            shifts=shifts[0],
            tilt=float(np.hypot(v["tilt_x"], v["tilt_y"])),
            contrast=float(np.exp(v["log_contrast"])),
            vectors=self.vectors,
            metal=origins[0],
            others=origins[0] + self.apart,
            chi_square=chi_square,
            n_data=2 * self.known.size,
            chi_square_flat=float((np.abs(self.known * self.weight) ** 2).sum()),
        )


def _differ(
    first: tuple[float, np.ndarray, _Model], second: tuple[float, np.ndarray, _Model]
) -> bool:
    """Whether two trials are half an Å apart in the cell, or 10 Å in the defocus."""
    (_, one, model), (_, other, its) = first, second
    (_, here, foci, _), (_, there, its_foci, _) = model.split(one[None]), its.split(other[None])
    if model.side != its.side or abs((foci - its_foci).mean()) > 10:
        return True
    share = (here - there)[0] @ np.linalg.inv(model.vectors)
    return bool(np.linalg.norm((share - np.rint(share)) @ model.vectors) > 0.5)
