"""Draw the picture of docs/restoration.md: `python docs/restoration_figure.py`."""

from pathlib import Path

import numpy as np
from ase import Atoms

from adatom.networks.restorer import load_restorer
from adatom.optics.microscope import Microscope
from adatom.plots.restoration import draw_restoration
from adatom.plots.style import write_figure
from adatom.restore.object_function import restore_image
from adatom.simulate.multislice import simulate_haadf
from adatom.simulate.waves import SliceConfig

SEED, DOSE, PIXEL, LATTICE, HALF = 4, 1e4, 0.18, 3.16, 1.56  # e/Å², Å
N_X, N_Y, SHARE, VIBRATION = 8, 5, 0.06, 0.0064  # cells, vacancies, Å²
ABERRATIONS = {"defocus": 30, "C12": 20, "phi12": 25, "C21": 600, "phi21": 60, "C23": 300}


def main() -> None:
    """MoS2 with vacancies by frozen-phonon multislice, with coma, and what DeepSTEM makes of it."""
    rng = np.random.default_rng(SEED)
    microscope = Microscope(
        energy_eV=60e3, semi_angle=30, source_size=0.8, inner_angle=60, outer_angle=150
    ).model_copy(update=ABERRATIONS)
    sheet = make_sheet(rng)
    image = simulate_haadf(
        sheet,
        microscope,
        pixel_size=PIXEL,
        displacements=np.full(len(sheet), VIBRATION),
        n_draws=6,
        rng=rng,
        config=SliceConfig(pixel_size=0.1),
    )
    counts = rng.poisson(DOSE * PIXEL**2 * np.maximum(image.to_numpy(), 0)).astype(float)
    seen = image.copy(data=counts).assign_attrs(units="electrons")
    found = restore_image(seen, microscope, restorer=load_restorer("deepstem"))
    path = Path(__file__).parent / "images" / "restoration.png"
    write_figure(draw_restoration(found), path)


def make_sheet(rng: np.random.Generator) -> Atoms:
    """A periodic sheet in a box of square pixels, some of whose upper S are missing."""
    height = LATTICE * 3**0.5
    places, symbols = [], []
    for row in range(N_Y):
        for column in range(N_X):
            for shift in (0, 1):
                x, y = (column + shift / 2) * LATTICE, (row + shift / 2) * height
                places.append((x, y, 3.0))
                symbols.append("Mo")
                for z in (3.0 - HALF, 3.0 + HALF):
                    if z < 3 or rng.random() > SHARE:
                        places.append((x, y + height / 3, z))
                        symbols.append("S")
    return Atoms(symbols, places, cell=(N_X * LATTICE, N_Y * height, 6.0), pbc=True)


if __name__ == "__main__":
    main()
