"""Exit waves by multislice: abTEM for any structure, planes of atoms for thin sheets."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import ase
import numpy as np
import xarray as xr
from ase.data import chemical_symbols

from adatom.core.errors import ConfigError
from adatom.core.random import make_rng
from adatom.optics.aberrations import COEFFICIENTS
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.simulate.beams import scan_planes
from adatom.simulate.planes import find_planes, transmit_planes
from adatom.simulate.waves import BAND, ExitWave, Grid, SliceConfig, resize_spectrum

FLAT = 1e-6  # Å: off-diagonal elements of a cell that is taken for a box
DEFAULT = SliceConfig()
# A plan of transforms that was measured differs between processes, and with it the last bits.
_SETTINGS = {"diagnostics.progress_bar": False, "fftw.planning_effort": "FFTW_ESTIMATE"}


def make_grid(structure: ase.Atoms, pixel_size: float) -> Grid:
    """Lay a grid over the cell of a structure.

    Parameters
    ----------
    structure : Atoms
        Its cell is a box, periodic across the beam (z).
    pixel_size : float
        Largest pixel, Å.

    Returns
    -------
    Grid
        With even numbers of pixels that transform fast.

    Raises
    ------
    ConfigError
        If the cell is no box with height.
    """
    from scipy.fft import next_fast_len

    cell = np.asarray(structure.cell)
    length = np.diag(cell)
    if np.abs(cell - np.diag(length)).max() > FLAT or (length <= 0).any():
        raise ConfigError(
            f"structure: its cell must be a box along x, y and z (got {cell.round(3).tolist()})"
        )
    shape = [2 * next_fast_len(int(np.ceil(side / pixel_size / 2))) for side in length[[1, 0]]]
    return Grid((shape[0], shape[1]), (float(length[1]), float(length[0])))


def simulate_exit_wave(
    structure: ase.Atoms,
    energy_eV: float,
    *,
    displacements: np.ndarray | None = None,
    tilt: tuple[float, float] = (0.0, 0.0),
    config: SliceConfig = DEFAULT,
) -> ExitWave:
    """Calculate the wave behind a structure.

    Parameters
    ----------
    structure : Atoms
        Periodic across the beam, which runs along z; its cell is a box.
    energy_eV : float
        Energy of the electrons, eV.
    displacements : (N,) array, optional
        Mean square displacement of each atom along one axis, Å²: the mean over its vibration is
        taken of what it transmits; where the atoms do not lie in planes, of its potential, and
        atoms of one element must vibrate alike.
    tilt : (float, float)
        Direction of the beam in the specimen [x, y], mrad: small tilts of the specimen about y
        and x.
    config : SliceConfig
        How finely it is calculated.

    Returns
    -------
    ExitWave
        At the upper end of the cell. Atoms in a few planes across the beam are transmitted exactly
        at these; any other structure goes through abTEM.

    Raises
    ------
    ConfigError
        If the cell is no box, or a rule of the configuration is broken.
    """
    grid = make_grid(structure, config.pixel_size)
    _check(structure, energy_eV, displacements)
    planes = find_planes(structure.positions)
    if planes is None:
        return slice_exit_wave(
            structure,
            energy_eV,
            grid,
            tilt,
            config.slice_thickness,
            spreads=_spread_elements(structure, displacements),
        )
    return transmit_planes(
        structure.positions,
        structure.numbers,
        planes,
        grid,
        energy_eV,
        projected=project_potential,
        displacements=displacements,
        exit_height=float(structure.cell[2, 2]),
        tilt=tilt,
    )


def _check(structure: ase.Atoms, energy_eV: float, displacements: np.ndarray | None) -> None:
    if not energy_eV > 0:
        raise ConfigError(f"energy_eV: must be above 0 (got {energy_eV:g})")
    if (structure.numbers < 1).any():
        raise ConfigError("structure: must hold elements only (got X)")
    if displacements is None:
        return
    if np.shape(displacements) != (len(structure),) or (np.asarray(displacements) < 0).any():
        raise ConfigError(
            f"displacements: must be {len(structure)} numbers, one for each atom, none below 0 "
            f"(got shape {np.shape(displacements)})"
        )


def _spread_elements(structure: ase.Atoms, displacements: np.ndarray | None) -> dict[str, float]:
    """Root mean square displacement of each element, Å."""
    if displacements is None:
        return {}
    spreads = {}
    for number in np.unique(structure.numbers):
        found = np.unique(displacements[structure.numbers == number])
        symbol = chemical_symbols[number]
        if len(found) > 1:
            raise ConfigError(
                f"displacements: must be one for all atoms of an element, where these do not lie "
                f"in planes (got {found[0]:g} to {found[-1]:g} Å² of {symbol})"
            )
        spreads[symbol] = float(np.sqrt(found[0]))
    return spreads


def slice_exit_wave(
    structure: ase.Atoms,
    energy_eV: float,
    grid: Grid,
    tilt: tuple[float, float],
    slice_thickness: float,
    *,
    spreads: dict[str, float] | None = None,
) -> ExitWave:
    """Calculate the wave behind a structure by abTEM's multislice.

    Parameters
    ----------
    structure, energy_eV, tilt
        As of `simulate_exit_wave`.
    grid : Grid
        Of `make_grid`.
    slice_thickness : float
        Å.
    spreads : dict, optional
        Root mean square displacement along one axis (Å) by element: smears the potentials.

    Returns
    -------
    ExitWave
        At the upper end of the cell.
    """
    import abtem
    from abtem.parametrizations import LobatoParametrization

    pixels = grid.shape[::-1]  # abTEM's arrays are [x, y]
    with warnings.catch_warnings(), abtem.config.set(_SETTINGS):
        warnings.simplefilter("ignore")
        potential = abtem.Potential(
            structure,
            gpts=pixels,
            slice_thickness=slice_thickness,
            parametrization=LobatoParametrization(sigmas=spreads or {}),
        )
        beam = abtem.PlaneWave(energy=energy_eV, tilt=tilt)
        wave: Any = beam.multislice(potential, lazy=False)
    ky, kx = grid.frequencies()
    spectrum = np.fft.fft2(wave.array.T, norm="forward")
    spectrum *= ky[:, None] ** 2 + kx**2 <= grid.k_max**2
    return ExitWave(spectrum.astype(np.complex64), grid, energy_eV)


def simulate_haadf(
    structure: ase.Atoms,
    microscope: Microscope,
    *,
    pixel_size: float = 0.2,
    displacements: np.ndarray | None = None,
    n_draws: int = 20,
    rng: np.random.Generator | int = 0,
    config: SliceConfig = DEFAULT,
) -> xr.DataArray:
    """Simulate a HAADF image of a periodic cell by its scattering matrix.

    Parameters
    ----------
    structure : Atoms
        Periodic across the beam, which runs along z; its cell is a box.
    microscope : Microscope
        All of its numbers fixed.
    pixel_size : float
        Largest pixel of the image, Å.
    displacements : (N,) array, optional
        Mean square displacement of each atom along one axis, Å²: frozen phonons.
    n_draws : int
        Draws of these that are averaged.
    rng : Generator or int
        For the draws.
    config : SliceConfig
        How finely the waves are calculated.

    Returns
    -------
    DataArray
        Dims (y, x) in Å: the share of the beam on the detector.

    Raises
    ------
    ConfigError
        If the cell is no box, the probe has a focal spread, or the detector reaches beyond the
        angles that the grid holds (which abTEM would cut in silence).

    Notes
    -----
    The image carries no frequency above twice the aperture's: it is scanned just finely enough for
    these and resampled exactly; the source's size is applied there.
    """
    grid = make_grid(structure, config.pixel_size)
    _check_microscope(microscope, grid, config.pixel_size)
    _check(structure, float(microscope.energy_eV), displacements)  # type: ignore[arg-type]
    rng = make_rng(rng)
    planes = find_planes(structure.positions)
    images = []
    for _ in range(1 if displacements is None else n_draws):
        drawn = structure.copy()
        if displacements is not None:
            moves = rng.standard_normal((len(drawn), 2)) * np.sqrt(displacements)[:, None]
            drawn.positions[:, :2] += moves
        if planes is None:
            images.append(scan_slices(drawn, microscope, grid, config.slice_thickness))
        else:
            place = (drawn.positions, drawn.numbers, planes)
            images.append(scan_planes(*place, grid, microscope, projected=project_potential))
    shape = tuple(int(np.ceil(side / pixel_size)) for side in grid.length)
    values = _see_with_source(np.mean(images, axis=0), shape, grid, microscope)
    coords = {
        name: (name, np.arange(n) * side / n, {"units": "angstrom"})
        for name, n, side in zip(("y", "x"), shape, grid.length, strict=True)
    }
    attrs = {"modality": "HAADF", "energy_eV": float(microscope.energy_eV), "units": "share"}  # type: ignore[arg-type]
    return xr.DataArray(values, dims=("y", "x"), coords=coords, attrs=attrs)


def _check_microscope(microscope: Microscope, grid: Grid, pixel_size: float) -> None:
    """Refuse a detector that reaches beyond what the grid holds, and a focal spread."""
    spread = float(microscope.focal_spread)  # type: ignore[arg-type]
    if spread:
        raise ConfigError(f"microscope: focal_spread must be 0 for multislice (got {spread:g} Å)")
    wavelength = electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    widest = 1e3 * wavelength * grid.k_max
    outer = float(microscope.outer_angle)  # type: ignore[arg-type]
    if outer > widest:
        finest = BAND / 2 * 1e3 * wavelength / outer
        raise ConfigError(
            f"microscope: outer_angle must be at most {widest:.0f} mrad for pixels of "
            f"{pixel_size:g} Å; take pixels of {finest:.3f} Å (got {outer:g})"
        )


def _see_with_source(
    image: np.ndarray, shape: tuple[int, ...], grid: Grid, microscope: Microscope
) -> np.ndarray:
    """Resample an image exactly, and blur it by the size of the source."""
    spectrum = resize_spectrum(np.fft.fft2(image, norm="forward"), shape)
    ky, kx = Grid((shape[0], shape[1]), grid.length).frequencies()
    sigma = float(microscope.source_size) / (2 * np.sqrt(2 * np.log(2)))  # type: ignore[arg-type]
    spectrum *= np.exp(-2 * (np.pi * sigma) ** 2 * (ky[:, None] ** 2 + kx**2))
    return np.fft.ifft2(spectrum, norm="forward").real.astype(np.float32)


def scan_slices(
    structure: ase.Atoms, microscope: Microscope, grid: Grid, slice_thickness: float
) -> np.ndarray:
    """Scan a structure by abTEM's scattering matrix.

    Parameters
    ----------
    structure, microscope
        As of `simulate_haadf`; the structure as it stands.
    grid : Grid
        Of `make_grid`.
    slice_thickness : float
        Å.

    Returns
    -------
    (H, W) array
        Share of the beam on the detector at the probe positions that the aperture asks for.
    """
    import abtem

    energy, angle = float(microscope.energy_eV), float(microscope.semi_angle)  # type: ignore[arg-type]
    k_aperture = 1e-3 * angle / electron_wavelength(energy)
    # One more than twice the highest frequency, 2 k, of the image.
    n_y, n_x = (int(np.ceil(4 * k_aperture * side)) + 2 for side in grid.length)
    names = [name for name in COEFFICIENTS if getattr(microscope, name)]
    aberrations = {name: float(getattr(microscope, name)) for name in names}
    for name in names:
        turn = getattr(microscope, f"phi{name[1:]}", None)
        aberrations |= {} if turn is None else {f"phi{name[1:]}": float(np.deg2rad(turn))}
    with warnings.catch_warnings(), abtem.config.set(_SETTINGS):
        warnings.simplefilter("ignore")
        potential = abtem.Potential(
            structure, gpts=grid.shape[::-1], slice_thickness=slice_thickness
        )
        matrix = abtem.SMatrix(angle, energy, potential=potential)
        lens = abtem.CTF(
            semiangle_cutoff=angle,
            energy=energy,
            defocus=float(microscope.defocus),  # type: ignore[arg-type]
            aberration_coefficients=aberrations,
        )
        scan = abtem.GridScan((0, 0), grid.length[::-1], gpts=(n_x, n_y))
        detector = abtem.AnnularDetector(
            float(microscope.inner_angle),  # type: ignore[arg-type]
            float(microscope.outer_angle),  # type: ignore[arg-type]
        )
        found: Any = matrix.scan(scan=scan, detectors=detector, ctf=lens, lazy=False)
    return np.asarray(found.array).T


@cache
def _projected(number: int) -> Callable[[np.ndarray], np.ndarray]:
    from abtem.parametrizations import LobatoParametrization

    return LobatoParametrization().projected_potential(chemical_symbols[number])


def project_potential(number: int, radius: np.ndarray) -> np.ndarray:
    """Projected potential of an atom.

    Parameters
    ----------
    number : int
        Atomic number.
    radius : array
        Distances from the atom, Å.

    Returns
    -------
    array
        V Å.

    Notes
    -----
    I. Lobato and D. Van Dyck, Acta Cryst. A 70 (2014) 636, as abTEM tabulates it.
    """
    return np.asarray(_projected(number)(radius))
