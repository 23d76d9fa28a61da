"""Images of known truth for `bench_restore.py`: frozen-phonon multislice of sheets and films.

Each image has its own specimen, microscope, rotation and scan. The multislice image of a periodic
cell has no frequency above 2α/λ: its Fourier sum gives it exactly at every place that a rotated,
drifting, jittering scan visits. The image of a point is the probe turned by 180°: where the beam
is at R, an atom at r is hit by P(r - R).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
from ase import Atoms

from adatom.core.materials import get_material
from adatom.core.random import Draw, make_child_rng
from adatom.optics.ceos import find_symmetry, from_krivanek, to_krivanek
from adatom.optics.microscope import Microscope, electron_wavelength
from adatom.optics.probe import make_probe, transfer_function
from adatom.optics.tableau import TYPICAL, TableauConfig, fit_aberrations
from adatom.optics.tilt import (
    PARTS,
    TiltMeasurement,
    pack_parts,
    shift_coefficients,
    unpack_parts,
)
from adatom.simulate.linear import Transfer, grid_length, simulate_shapes
from adatom.simulate.multislice import simulate_haadf
from adatom.simulate.scan import Scan, ScanConfig, draw_scan
from adatom.simulate.waves import BAND, SliceConfig
from adatom.structures.sheets import make_sheet
from adatom.structures.vibrations import assign_amplitudes, load_amplitudes

SEED, NOISE = 83, 20  # and key of the random numbers of all exposures
PIXEL, PROBE_PX = 0.2, 65
ENERGIES, ANGLES, SEMI_ANGLE = (60e3, 80e3), (60.0, 150.0), 30.0
SOURCE, VACANCIES = (0.6, 1.1), (0.03, 0.10)
SCAN = ScanConfig(
    jitter=Draw(min=0.02, max=0.12),
    jitter_lines=1.5,
    flyback=Draw(min=0.0, max=0.3),
    drift_y=Draw(min=-0.5, max=0.5),
    drift_x=Draw(min=-0.5, max=0.5),
)
TEMPERATURE, STRETCH = 300.0, 1.15
RINGS, TILT_NOISE = {17: 6, 34: 12}, (5.0, 0.01)  # of the tableau: mrad: tilts; Å and share
FILM = {"n_layers": 8, "spacing": 1.2, "density": 0.12, "distance": 1.4}  # amorphous carbon, Å
MARGIN = 6.0  # Å around the image, in which columns still shed light into it
ATOM_CELL, ATOM_REACH = 12.8, 1.0  # Å; 1/Å


@dataclass(frozen=True)
class Field:
    """Size of an image, and of the periodic cell that it shows."""

    side: int  # px
    cell: tuple[int, int]  # rectangular cells along y and x


FULL, SMALL = Field(120, (5, 8)), Field(56, (2, 4))


@dataclass(frozen=True)
class Scene:
    """An image without noise, and all that is true of it."""

    expected: np.ndarray  # electrons per pixel at 1 e/Å²
    truth: np.ndarray  # object function, in the same units
    sites: np.ndarray  # columns [y, x], px
    labels: np.ndarray  # Mo, S2, S1; C in a film
    probe: np.ndarray  # as the image of a point shows it
    wrong_probe: np.ndarray  # the same, by a tableau of twice its errors
    microscope: Microscope

    @property
    def cutoff(self) -> float:
        """Band limit 2α/λ, 1/Å."""
        return 2e-3 * SEMI_ANGLE / electron_wavelength(float(self.microscope.energy_eV))

    def count(self, dose: float, *keys: int) -> np.ndarray:
        """Electrons of one exposure at `dose` e/Å²; others for other keys."""
        return make_child_rng(SEED, NOISE, round(dose), *keys).poisson(dose * self.expected)


def load_scene(folder: Path, kind: str, number: int, field: Field) -> Scene:
    """One image from its file, which is made if it is missing."""
    path = folder / f"{kind}_{number:03}.npz"
    if not path.exists():
        scene = make_scene(kind, number, field)
        values = asdict(scene) | {"microscope": scene.microscope.model_dump_json()}
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **values)
        part.rename(path)
    with np.load(path) as file:
        values = {field.name: file[field.name] for field in fields(Scene)}
    told = json.loads(str(values["microscope"]))
    return Scene(**values | {"microscope": Microscope.from_mapping(told, source=path.name)})


def make_scene(kind: str, number: int, field: Field) -> Scene:
    """Multislice of one specimen, seen by one microscope and one scan."""
    rng = make_child_rng(SEED, list(SPECIMENS).index(kind), number)
    microscope = draw_microscope(rng)
    structure = SPECIMENS[kind](field, rng)
    turn = rng.uniform(0, 2 * np.pi)
    origin = rng.uniform(0, structure.cell.lengths()[:2])
    if kind == "edge":
        origin[1] = structure.cell[1, 1] / 2  # its scan is centered on an edge
        turn = rng.uniform(-0.4, 0.4)
    values = simulate_cell(structure, rotate_lens(microscope, turn), rng)
    scan = draw_scan((field.side, field.side), PIXEL, SCAN, rng)
    middle = field.side * PIXEL / 2
    expected = PIXEL**2 * sample_cell(values, structure, scan, (turn, origin, middle))
    atoms = place_atoms(structure, (turn, origin, middle), field)
    places = scan.image_positions(atoms.positions[:, 1::-1])
    truth = draw_object(places * PIXEL, atoms, float(microscope.energy_eV), field.side)
    sites, labels = list_columns(places, atoms.symbols)
    kernel, wrong = (
        make_kernel(lens, PROBE_PX) for lens in (microscope, mistake_lens(microscope, rng))
    )
    return Scene(np.maximum(expected, 0), truth, sites, labels, kernel, wrong, microscope)


def draw_microscope(rng: np.random.Generator) -> Microscope:
    """A tuned probe corrector with what is left of its aberrations."""
    values = {}
    for name, size in TYPICAL.items():
        x, y = rng.normal(0, size, 2)
        values[name] = complex(x, y) / 2**0.5 if find_symmetry(name) else complex(x)
    lens = Microscope(
        energy_eV=float(rng.choice(ENERGIES)),
        semi_angle=SEMI_ANGLE,
        source_size=rng.uniform(*SOURCE),
        inner_angle=ANGLES[0],
        outer_angle=ANGLES[1],
    )
    return lens.model_copy(update=to_krivanek(values))


def rotate_lens(microscope: Microscope, turn: float) -> Microscope:
    """The same lens in coordinates in which a scan line points along the angle `turn`."""
    values = from_krivanek(microscope)
    turned = {name: v * np.exp(1j * find_symmetry(name) * turn) for name, v in values.items()}
    return microscope.model_copy(update=to_krivanek(turned))


def mistake_lens(
    microscope: Microscope, rng: np.random.Generator, *, scale: float = 2
) -> Microscope:
    """The lens by a tableau whose errors are `scale` times those that it states."""
    truth = pack_parts(from_krivanek(microscope))
    energy = float(microscope.energy_eV)
    covariance = find_covariance(energy)
    unit = np.sqrt(np.diag(covariance))  # the coefficients differ by six powers of ten
    root = np.linalg.cholesky(covariance / np.outer(unit, unit) + 1e-9 * np.eye(len(unit)))
    error = scale * unit * (root @ rng.standard_normal(len(unit)))
    return microscope.model_copy(update=to_krivanek(unpack_parts(truth + error)))


@cache
def find_covariance(energy: float) -> np.ndarray:
    """Covariance of the coefficients of a tableau to 34 mrad, (25, 25)."""
    rings = [angle * np.exp(2j * np.pi * np.arange(n) / n) for angle, n in RINGS.items()]
    seen = []
    for tilt in 1e-3 * np.concatenate([[0], *rings]):
        values = shift_coefficients(tilt)[:3] @ pack_parts({"C1": 15, "A1": 15, "C3": 4e3})
        noise = np.hypot(TILT_NOISE[0], TILT_NOISE[1] * values)
        seen.append(TiltMeasurement(tilt, values, np.diag(noise**2), np.zeros((3, len(PARTS)))))
    return fit_aberrations(seen, config=TableauConfig(energy_eV=energy)).table.covariance


def make_kernel(microscope: Microscope, n_pixels: int) -> np.ndarray:
    """What the image shows of a point: the probe turned by 180°; `n_pixels` is odd."""
    probe = np.maximum(make_probe(microscope, n_pixels, PIXEL), 0)[::-1, ::-1]
    return probe / probe.sum()


def make_lattice(field: Field, lattice: float, rng: np.random.Generator) -> Atoms:
    """A periodic sheet of MoS2, 3 to 10 % of its S pairs with one S missing; Mo at z = 0."""
    material = replace(get_material("MoS2"), lattice=lattice)
    size = (field.cell[0] * 3**0.5 * lattice, field.cell[1] * lattice)
    sheet = make_sheet(material, size, offset=(0.1, 0.1))
    sheet.pbc = (True, True, False)
    upper = np.flatnonzero(sheet.positions[:, 2] > 1)
    lower = np.flatnonzero(sheet.positions[:, 2] < -1)  # in the order of the upper ones
    n_missing = max(1, round(rng.uniform(*VACANCIES) * len(upper)))
    missing = rng.choice(len(upper), n_missing, replace=False)
    del sheet[np.where(rng.random(len(missing)) < 0.5, upper[missing], lower[missing])]
    return sheet


def make_whole(field: Field, rng: np.random.Generator) -> Atoms:
    return make_lattice(field, get_material("MoS2").lattice, rng)


def make_stretched(field: Field, rng: np.random.Generator) -> Atoms:
    """A lattice that no finder and no network was shown."""
    cell = (max(field.cell[0] - 1, 2), field.cell[1] - 1)
    return make_lattice(replace(field, cell=cell), STRETCH * get_material("MoS2").lattice, rng)


def make_edge(field: Field, rng: np.random.Generator) -> Atoms:
    """Half of the cell is empty."""
    sheet = make_whole(field, rng)
    return sheet[sheet.positions[:, 1] < sheet.cell[1, 1] / 2]


def make_film(field: Field, rng: np.random.Generator) -> Atoms:
    """Layers of carbon atoms at random places, about 1 nm thick."""
    cell = make_whole(field, rng).cell
    area = cell.lengths()[:2]
    places = []
    for layer in range(FILM["n_layers"]):
        chosen = np.zeros((0, 2))
        while len(chosen) < FILM["density"] * area.prod():
            place = rng.uniform(0, area)
            away = (chosen - place + area / 2) % area - area / 2
            if (np.hypot(*away.T) > FILM["distance"]).all():
                chosen = np.vstack([chosen, place])
        height = (layer - (FILM["n_layers"] - 1) / 2) * FILM["spacing"]
        places.append(np.column_stack([chosen, np.full(len(chosen), height)]))
    places = np.concatenate(places)
    return Atoms(f"C{len(places)}", places, cell=cell, pbc=(True, True, False))


SPECIMENS: dict[str, Callable[[Field, np.random.Generator], Atoms]] = {
    "sheet": make_whole,
    "edge": make_edge,
    "stretched": make_stretched,
    "film": make_film,
}


def simulate_cell(structure: Atoms, microscope: Microscope, rng: np.random.Generator) -> np.ndarray:
    """Mean image over frozen phonons: each atom at four places around its own.

    They lie on a cross of a random direction, so that the mean image shows every atom where the
    truth has it; the lengths of its two bars are drawn from both halves of the distribution of a
    vibration. Each atom takes the places in its own order. It leaves 2.6 % rms of the contrast
    where 20 random draws leave 4.2 %.
    """
    angle = rng.uniform(0, 2 * np.pi, len(structure))
    draws = (np.arange(2) + rng.random((len(structure), 2))) / 2
    size = np.sqrt(-2 * np.log1p(-draws) * find_displacements(structure)[:, None])
    order = rng.permuted(np.tile(np.arange(4), (len(structure), 1)), axis=1)
    config = make_slices(float(microscope.energy_eV))
    images = []
    for arm in order.T:
        moved = structure.copy()
        direction = angle + arm * np.pi / 2
        length = size[np.arange(len(arm)), arm % 2]
        moved.positions[:, 0] += length * np.cos(direction)
        moved.positions[:, 1] += length * np.sin(direction)
        images.append(simulate_haadf(moved, microscope, config=config).to_numpy())
    return np.mean(images, axis=0, dtype=float)


def make_slices(energy: float) -> SliceConfig:
    """The coarsest grid that holds the angles of the detector."""
    wavelength = electron_wavelength(energy)
    return SliceConfig(pixel_size=0.999 * BAND / 2 * 1e3 * wavelength / ANGLES[1])


def find_displacements(structure: Atoms) -> np.ndarray:
    """Mean square displacement of each atom along one axis, Å²."""
    if "Mo" in structure.symbols:
        return assign_amplitudes(structure, "MoS2", TEMPERATURE)[:, 0]
    return np.full(len(structure), load_amplitudes("graphene", TEMPERATURE)["C", 2][0])


def sample_cell(
    values: np.ndarray, structure: Atoms, scan: Scan, view: tuple[float, np.ndarray, float]
) -> np.ndarray:
    """A periodic image where a scan goes, by its Fourier sum.

    `view`: direction of the lines, the place [x, y] of the specimen in the middle of the image, and
    where this middle is in the image, Å.
    """
    turn, origin, middle = view
    sides = structure.cell.lengths()[1::-1]
    ky, kx = (np.fft.fftfreq(n, side / n) for n, side in zip(values.shape, sides, strict=True))
    ky, kx = (k.ravel() for k in np.meshgrid(ky, kx, indexing="ij"))
    spectrum = np.fft.fft2(values, norm="forward").ravel()
    kept = np.abs(spectrum) > 1e-9 * np.abs(spectrum).max()
    ky, kx, spectrum = ky[kept], kx[kept], spectrum[kept]
    along_x = np.cos(turn) * kx + np.sin(turn) * ky
    along_y = -np.sin(turn) * kx + np.cos(turn) * ky
    phase = kx * origin[0] + ky * origin[1]
    lines = np.outer(scan.y - middle, along_y) + np.outer(scan.shift - middle, along_x) + phase
    points = np.outer(along_x, scan.x)
    return ((spectrum * np.exp(2j * np.pi * lines)) @ np.exp(2j * np.pi * points)).real


def place_atoms(structure: Atoms, view: tuple[float, np.ndarray, float], field: Field) -> Atoms:
    """All periodic copies of the atoms in the image and around it, in its coordinates."""
    turn, origin, middle = view
    copies = structure.repeat((5, 5, 1))
    copies.set_array("u2", np.tile(find_displacements(structure), 25))
    away = copies.positions[:, :2] - 2 * structure.cell.lengths()[:2] - origin
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    copies.positions[:, :2] = away @ rotation + middle
    size, xy = field.side * PIXEL, copies.positions[:, :2]
    return copies[((xy > -MARGIN) & (xy < size + MARGIN)).all(axis=1)]


def list_columns(places: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and their labels: two S at one place are S2."""
    symbols = np.array(list(symbols))
    order = np.lexsort(places.round(3).T)
    kept, labels = [], []
    for atom in order:
        is_second = kept and np.hypot(*(places[atom] - places[kept[-1]])) < 0.1
        if is_second and symbols[atom] == "S":
            labels[-1] = "S2"
        else:
            kept.append(atom)
            labels.append({"S": "S1"}.get(symbols[atom], symbols[atom]))
    return places[kept], np.array(labels)


@cache
def respond(symbol: str, energy: float) -> tuple[float, float, float]:
    """Single atom by multislice: cross-section σ (Å²), and a, b of its shape exp(-a k - b k²).

    From the image of a still atom without aberrations, over the transfer of its probe.
    """
    lens = Microscope(
        energy_eV=energy,
        semi_angle=SEMI_ANGLE,
        source_size=0,
        inner_angle=ANGLES[0],
        outer_angle=ANGLES[1],
    )
    atom = Atoms(symbol, [(0, 0, 0)], cell=(ATOM_CELL, ATOM_CELL, 5), pbc=True)
    image = simulate_haadf(atom, lens, config=make_slices(energy)).to_numpy()
    transfer = transfer_function(lens, len(image), ATOM_CELL / len(image)).real
    k = np.fft.fftfreq(len(image), ATOM_CELL / len(image))
    k = np.hypot(k[:, None], k)
    section = float(image.mean()) * ATOM_CELL**2
    near = (k > 0) & (k < ATOM_REACH)
    shape = np.fft.fft2(image).real[near] / image.sum() / transfer[near]
    a, b = np.linalg.lstsq(np.stack([k[near], k[near] ** 2], 1), -np.log(shape), rcond=None)[0]
    return section, float(a), float(b)


def make_transfers(
    groups: list[tuple[str, float]], lens: Microscope | float, side: int
) -> list[Transfer]:
    """Shapes of single atoms of (element, mean square displacement) as a microscope sees them.

    As an infinitely sharp probe sees them if `lens` is just an energy. Each sums to its
    cross-section.
    """
    is_sharp = isinstance(lens, float)
    energy = lens if is_sharp else float(lens.energy_eV)
    length = grid_length((side * PIXEL, side * PIXEL))
    n = round(length[0] / PIXEL)
    k = np.fft.fftfreq(n, PIXEL)
    reach = n // 2 - 1
    rows = np.arange(-reach, reach + 1)
    kept = np.ix_(rows, rows[reach:])
    size = np.hypot(k[:, None], k)[kept]
    optics = 1.0 if is_sharp else transfer_function(lens, n, PIXEL).conj()[kept]
    found = []
    for symbol, displacement in groups:
        section, a, b = respond(symbol, energy)
        values = section * np.exp(-a * size - (b + 2 * np.pi**2 * displacement) * size**2) * optics
        found.append(Transfer(values.astype(np.complex64), k[rows], k[rows[reach:]], length))
    return found


def draw_atoms(
    places: np.ndarray,
    atoms: Atoms,
    lens: Microscope | float,
    scan: tuple[tuple[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Electrons per pixel at 1 e/Å² by the linear model, of atoms [y, x] in Å."""
    keys = list(zip(atoms.symbols, atoms.arrays["u2"], strict=True))
    groups = sorted(set(keys))
    shapes = make_transfers(groups, lens, len(scan[1]))
    parts = []
    for group, shape in zip(groups, shapes, strict=True):
        mine = np.array([key == group for key in keys])
        parts.append((places[mine], np.ones(mine.sum()), shape))
    return PIXEL**2 * simulate_shapes(parts, *scan)


def draw_object(places: np.ndarray, atoms: Atoms, energy: float, side: int) -> np.ndarray:
    """The true object: the sum of what single atoms scatter, each widened by its vibration."""
    axis = PIXEL * np.arange(side)
    return draw_atoms(places, atoms, energy, ((axis, np.zeros(side)), axis))
