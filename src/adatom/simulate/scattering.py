"""How strongly the columns of an image scatter, and what shape each has."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms

from adatom.core.materials import Material
from adatom.core.random import Draw, draw_value, limits_of
from adatom.optics.microscope import Microscope, electron_wavelength, haadf_cross_section
from adatom.optics.probe import transfer_function
from adatom.simulate.channeling import CrystalLens, slice_crystal
from adatom.simulate.columns import ColumnLens, Setting, find_pair_gain, respond_atom
from adatom.simulate.drawing import Host
from adatom.simulate.linear import Transfer, gaussian_transfer, grid_length
from adatom.simulate.recipe import ColumnConfig, Recipe
from adatom.simulate.structure import CrystalConfig, StructureConfig

THICKEST = 1.5  # over the largest mean thickness: columns that are thicker are taken for this


@dataclass(frozen=True)
class Specimen:
    """What stands in the beam.

    Attributes
    ----------
    config : StructureConfig
        The kind of structure.
    host : Host
        Whose element brightness is measured against.
    structure : Atoms
        The structure.
    column_of_atom : (n_atoms,) int array
        Column of each atom.
    thickness : (n_columns,) array
        At each column, over its mean.
    """

    config: StructureConfig
    host: Host
    structure: Atoms
    column_of_atom: np.ndarray
    thickness: np.ndarray


@dataclass(frozen=True)
class Scattering:
    """What the columns of an image scatter.

    Attributes
    ----------
    parts : list of ((n_columns,) array, Transfer)
        Strengths of all columns with one shape, and this shape.
    peak : float
        Height of a column of the host at the mean thickness, 1 for the whole beam.
    """

    parts: list[tuple[np.ndarray, Transfer]]
    peak: float


def draw_scattering(
    recipe: Recipe,
    specimen: Specimen,
    optics: tuple[Microscope, float],
    *,
    size: tuple[float, float],
    rng: np.random.Generator,
) -> Scattering:
    """Draw the shape of the columns, and find what each scatters.

    Parameters
    ----------
    recipe : Recipe
        Its ranges.
    specimen : Specimen
        What stands in the beam.
    optics : (Microscope, float)
        All of its numbers fixed; and the power of Z that point columns follow.
    size : tuple of float
        Height and width of the image, Å.
    rng : Generator
        Draws shapes.

    Returns
    -------
    Scattering
        By the linear model or by multislice, as the recipe says.
    """
    microscope, exponent = optics
    config = recipe.columns
    vibration = float(draw_value(config.vibration, rng))
    tail = (float(draw_value(config.tail_weight, rng)), float(draw_value(config.tail_sigma, rng)))
    gaussian = _draw_gaussian(config, tail, size, rng)
    if gaussian is None and specimen.host.has_depth and _happens(recipe.specimen.multislice, rng):
        setting = Setting(
            float(microscope.energy_eV),  # type: ignore[arg-type]
            limits_of(recipe.microscope.semi_angle)[1],
            float(microscope.inner_angle),  # type: ignore[arg-type]
            float(microscope.outer_angle),  # type: ignore[arg-type]
        )
        if isinstance(specimen.config, CrystalConfig):
            mean = float(draw_value(specimen.config.thickness, rng))
            varies = limits_of(recipe.specimen.thickness)[1] > 0
            thickest = limits_of(specimen.config.thickness)[1] * (THICKEST if varies else 1)
            widths = (vibration, mean, thickest, tail)
            return _slice_columns(specimen, setting, microscope, widths, size)
        return _slice_sheet(specimen, setting, microscope, (vibration, tail), size)
    shape = gaussian or probe_transfer(microscope, size, vibration=vibration, tail=tail)
    structure, column_of_atom = specimen.structure, specimen.column_of_atom
    sections = haadf_cross_section(structure.numbers, microscope, exponent)
    sections = sections * structure.arrays.get("weight", 1.0)
    strengths = np.bincount(column_of_atom, sections, _count(column_of_atom))
    host = np.array([specimen.host.number])
    section = float(haadf_cross_section(host, microscope, exponent)[0])
    return Scattering([(strengths * specimen.thickness, shape)], peak_of(shape) * section)


def _slice_sheet(
    specimen: Specimen,
    setting: Setting,
    microscope: Microscope,
    widths: tuple[float, tuple[float, float]],
    size: tuple[float, float],
) -> Scattering:
    """Columns of single atoms and pairs; vibration, and share and width of tails."""
    vibration, tail = widths
    host = specimen.host
    lens = ColumnLens(setting, microscope, size)
    counts = count_atoms(specimen.structure, specimen.column_of_atom, host.material, setting)
    shapes = {
        number: lens.image(respond_atom(setting, number), vibration**2, tail=tail)
        for number in {host.number, *counts}
    }
    parts = [(count * specimen.thickness, shapes[number]) for number, count in counts.items()]
    return Scattering(parts or [(np.zeros(0), shapes[host.number])], peak_of(shapes[host.number]))


def _slice_columns(
    specimen: Specimen,
    setting: Setting,
    microscope: Microscope,
    widths: tuple[float, float, float, tuple[float, float]],
    size: tuple[float, float],
) -> Scattering:
    """Columns of a crystal; vibration, mean and largest thickness, share and width of tails."""
    vibration, mean, thickest, tail = widths
    projection = specimen.host.projection
    if projection is None:
        raise ValueError("host must be a crystal")
    response = slice_crystal(setting, projection, vibration, thickest)
    weights = response.weigh(mean * specimen.thickness)
    arrays = specimen.structure.arrays
    _, first = np.unique(specimen.column_of_atom, return_index=True)
    kind, angle = arrays["kind"][first], arrays["angle"][first]
    angles = np.unique(angle) if len(angle) else np.zeros(1)
    lenses = [CrystalLens(response, microscope, size, float(turn)) for turn in angles]

    @cache
    def draw(number: int, index: int, level: int) -> Transfer:
        return lenses[number].image(response.modes[index][level], tail=tail)

    parts = []
    for number, turn in enumerate(angles):
        for index in range(len(response.modes)):
            mine = (kind == index) & (angle == turn)
            for level, share in enumerate(weights):
                if (mine & (share > 0)).any():
                    parts.append((mine * share, draw(number, index, level)))
    shares = response.weigh(np.array([mean]))[:, 0]
    levels = np.flatnonzero(shares)
    # The height of a peak does not depend on the direction.
    peaks = [
        sum(shares[level] * peak_of(draw(0, index, level)) for level in levels)
        for index in range(len(response.modes))
    ]
    return Scattering(parts or [(np.zeros(len(kind)), draw(0, 0, 0))], float(max(peaks)))


def _happens(chance: float | Draw, rng: np.random.Generator) -> bool:
    """Whether something of this chance happens; nothing is drawn where it cannot."""
    return limits_of(chance)[1] > 0 and rng.random() < float(draw_value(chance, rng))


def count_atoms(
    structure: Atoms, column_of_atom: np.ndarray, material: Material | None, setting: Setting
) -> dict[int, np.ndarray]:
    """Count the atoms of each element in each column.

    Parameters
    ----------
    structure : Atoms
        A sheet.
    column_of_atom : (n_atoms,) int array
        Column of each atom.
    material : Material or None
        Whose thickness is the distance of two atoms of one column.
    setting : Setting
        Energy and angles.

    Returns
    -------
    dict
        By atomic number: (n_columns,) array, where two atoms count as much more than 2 as they
        scatter more than twice one.
    """
    found = {}
    for number in np.unique(structure.numbers).tolist():
        mine = structure.numbers == number
        count = np.bincount(column_of_atom, mine, _count(column_of_atom))
        if material is not None and material.thickness > 0 and (count == 2).any():
            count[count == 2] *= 1 + find_pair_gain(setting, number, material.thickness)
        found[number] = count
    return found


def _count(column_of_atom: np.ndarray) -> int:
    return int(column_of_atom.max(initial=-1)) + 1


def _draw_gaussian(
    config: ColumnConfig,
    tail: tuple[float, float],
    size: tuple[float, float],
    rng: np.random.Generator,
) -> Transfer | None:
    """A Gaussian column in place of the real probe, as often as the recipe says."""
    sigma, split = float(draw_value(config.sigma, rng)), float(draw_value(config.split, rng))
    angle = rng.uniform(0, np.pi)
    if rng.random() >= float(draw_value(config.gaussian, rng)):
        return None
    direction = np.array([np.sin(angle), np.cos(angle)])
    core = sigma**2 * np.eye(2) + split**2 * np.outer(direction, direction)
    parts = [(1 - tail[0], core, (0.0, 0.0)), (tail[0], tail[1] ** 2 * np.eye(2), (0.0, 0.0))]
    return gaussian_transfer(size, parts)


def probe_transfer(
    microscope: Microscope,
    size: tuple[float, float],
    *,
    vibration: float = 0.0,
    tail: tuple[float, float] = (0.0, 1.0),
) -> Transfer:
    """Transfer of the real probe, with thermal motion and tails.

    Parameters
    ----------
    microscope : Microscope
        Energy, aperture, aberrations and source size, all of them numbers.
    size : tuple of float
        Height and width of the image, Å.
    vibration : float
        Thermal displacement per axis, Å.
    tail : (float, float)
        Share of the intensity in wide Gaussian tails and their standard deviation, Å.

    Returns
    -------
    Transfer
        For `simulate_linear`.
    """
    cutoff = float(microscope.semi_angle) * 1e-3 / electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    pixel_size = min(0.2, 1 / (4.2 * cutoff))  # the intensity reaches twice the cutoff
    n_pixels = 2 * int(np.ceil(max(grid_length(size)) / pixel_size / 2))
    full = transfer_function(microscope, n_pixels, pixel_size)
    k = np.fft.fftfreq(n_pixels, pixel_size)
    # Coma moves the whole image, which no image can show: the center of mass goes to zero.
    ramp = np.angle(full[1, 0]) / k[1] * k[:, None] + np.angle(full[0, 1]) / k[1] * k[None, :]
    full = full * np.exp(-1j * ramp)
    square = k[:, None] ** 2 + k[None, :] ** 2
    full = full * np.exp(-2 * (np.pi * vibration) ** 2 * square)
    full = (1 - tail[0]) * full + tail[0] * np.exp(-2 * (np.pi * tail[1]) ** 2 * square)
    reach = int(np.flatnonzero(np.abs(full).max(axis=0)[: n_pixels // 2] > 2e-5)[-1]) + 1
    reach = min(reach, n_pixels // 2 - 1)
    rows = np.arange(-reach, reach + 1)
    length = n_pixels * pixel_size
    return Transfer(
        full[np.ix_(rows, rows[reach:])].astype(np.complex64),
        rows / length,
        rows[reach:] / length,
        (length, length),
    )


def peak_of(transfer: Transfer) -> float:
    """Height of a column of unit strength, 1/Å²."""
    total = transfer.values[:, 0].real.sum() + 2 * transfer.values[:, 1:].real.sum()
    return float(total / (transfer.length[0] * transfer.length[1]))
