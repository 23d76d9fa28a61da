"""Draw the picture of the library in docs/defects.md: `python docs/library_figure.py`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import xarray as xr

import adatom
from adatom.analyze.average import average_defects
from adatom.analyze.defects import find_defects
from adatom.analyze.ideal import strain_from_structure
from adatom.analyze.library import add_cuts, cut_defects, read_library
from adatom.core.chemistry import make_chemistry
from adatom.core.materials import get_material
from adatom.detect.refine import RefineConfig
from adatom.optics.microscope import Microscope
from adatom.optics.probe import transfer_function
from adatom.plots.library import draw_mean_defect
from adatom.plots.style import write_figure
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect

SEED, N_IMAGES, ELECTRONS, PIXEL, N_PIXELS, CUT = 5, 30, 10, 0.12, 400, 60
GRAPHENE, KIND = get_material("graphene"), "55-77"


def main() -> None:
    """The mean of thirty turned bonds at ten electrons per pixel, against the planted ones."""
    rng = np.random.default_rng(SEED)
    model = adatom.load_model("haadf-graphene")
    source = {"image": "simulated", "material": "graphene", "model": "haadf-graphene"}
    source |= {"use_lattice": False, "modality": "HAADF"}
    with TemporaryDirectory() as folder:
        cuts = [find_cuts(rng, model) for _ in range(N_IMAGES)]
        add_cuts(Path(folder), "simulated", source | {"pixel_size": [PIXEL, PIXEL]}, cuts)
        mean = average_defects(read_library(folder), KIND)
    mean = strain_from_structure(mean, plant(rng), GRAPHENE)
    moved = np.hypot(mean.atoms["dx"], mean.atoms["dy"])
    print(f"{len(mean.entries)} of {N_IMAGES}; strain against what was planted, rms:")
    print(f"{100 * np.sqrt((mean.bonds['strain'] ** 2).mean()):.2f} %, stated "
          f"{100 * np.sqrt((mean.bonds['strain_err'] ** 2).mean()):.2f} %")  # fmt: skip
    print(f"places rms per axis {np.sqrt((moved**2).mean() / 2):.4f} Å")
    write_figure(draw_mean_defect(mean), Path(__file__).parent / "images" / "mean_defect.png")


def plant(rng: np.random.Generator):
    """A sheet at some angle with one defect."""
    side = N_PIXELS * PIXEL
    sheet = make_sheet(GRAPHENE, (side, side), angle=float(rng.uniform(0, 60)))
    return insert_defect(sheet, KIND, (side / 2, side / 2), rng)


def find_cuts(rng: np.random.Generator, model: adatom.Model):
    """Simulate an image, find its atoms and cut its defects out."""
    sheet = plant(rng)
    microscope = Microscope(energy_eV=60e3, semi_angle=32, source_size=0.8, C12=10, C21=200)
    k = np.fft.fftfreq(N_PIXELS, PIXEL)
    y, x = (np.exp(-2j * np.pi * np.outer(k, sheet.positions[:, axis])) for axis in (1, 0))
    shape = np.conj(transfer_function(microscope, N_PIXELS, PIXEL))
    values = np.fft.ifft2((y * (sheet.numbers / 6) ** 1.7) @ x.T * shape).real
    counts = rng.poisson(ELECTRONS * np.maximum(values / np.quantile(values, 0.95), 0))
    counts = counts[CUT:-CUT, CUT:-CUT].astype(np.float32)
    axis = np.arange(len(counts)) * PIXEL
    image = xr.DataArray(
        counts,
        dims=("y", "x"),
        coords={name: (name, axis, {"units": "angstrom"}) for name in ("y", "x")},
        attrs={"modality": "HAADF", "units": "electrons"},
    )
    # Without help of the neighbors: it would pull the atoms of the defect to those of a lattice.
    config = adatom.FindConfig(refine=RefineConfig(use_lattice=False))
    atoms = adatom.find_atoms(image, model, config=config)
    found = find_defects(atoms, make_chemistry(GRAPHENE), material=GRAPHENE)
    return cut_defects(image, found, GRAPHENE)


if __name__ == "__main__":
    main()
