"""Draw the picture of docs/defects.md: `python docs/defects_figure.py`."""

from pathlib import Path

import numpy as np
import xarray as xr
from ase import Atoms

import adatom
from adatom.analyze.defects import find_defects
from adatom.core.chemistry import make_chemistry
from adatom.core.materials import get_material
from adatom.optics.microscope import Microscope
from adatom.optics.probe import transfer_function
from adatom.plots.defects import draw_defects
from adatom.plots.style import write_figure
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect

SEED, ELECTRONS, PIXEL, N_PIXELS, CUT = 3, 20, 0.12, 560, 36
GRAPHENE = get_material("graphene")
KINDS = ("Si1C3", "V_C", "5-8-5", "55-77", "Si3C6", "555-777", "Si1C4", "5-9", "Si2C4")


def main() -> None:
    """Nine defects in one sheet, five of which no training image held, and their names."""
    rng = np.random.default_rng(SEED)
    side = N_PIXELS * PIXEL
    sheet = make_sheet(GRAPHENE, (side, side), angle=17)
    grid = [(x, y) for y in (0.2, 0.5, 0.8) for x in (0.2, 0.5, 0.8)]
    for kind, place in zip(KINDS, grid, strict=True):
        x, y = np.array(place) * side + rng.uniform(-2, 2, 2)
        sheet = insert_defect(sheet, kind, (float(x), float(y)), rng)
    image = take_image(sheet, N_PIXELS, ELECTRONS, rng)[CUT:-CUT, CUT:-CUT]  # without edges
    atoms = adatom.find_atoms(image, adatom.load_model("haadf-graphene"))
    found = find_defects(atoms, make_chemistry(GRAPHENE), material=GRAPHENE)
    write_figure(draw_defects(image, found), Path(__file__).parent / "images" / "defects.png")


def take_image(
    sheet: Atoms, n_pixels: int, electrons: float, rng: np.random.Generator
) -> xr.DataArray:
    """HAADF image of a sheet by the linear model, so many electrons at a carbon peak."""
    microscope = Microscope(energy_eV=60e3, semi_angle=32, source_size=0.8, C12=10, C21=200)
    k = np.fft.fftfreq(n_pixels, PIXEL)
    y, x = (np.exp(-2j * np.pi * np.outer(k, sheet.positions[:, axis])) for axis in (1, 0))
    shape = np.conj(transfer_function(microscope, n_pixels, PIXEL))
    values = np.fft.ifft2((y * (sheet.numbers / 6) ** 1.7) @ x.T * shape).real
    counts = rng.poisson(electrons * np.maximum(values / np.quantile(values, 0.95), 0))
    axis = np.arange(n_pixels) * PIXEL
    return xr.DataArray(
        counts.astype(np.float32),
        dims=("y", "x"),
        coords={name: (name, axis, {"units": "angstrom"}) for name in ("y", "x")},
        attrs={"modality": "HAADF", "units": "electrons"},
    )


if __name__ == "__main__":
    main()
