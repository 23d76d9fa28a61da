"""Draw the picture of the library in docs/defects.md: `python docs/library_figure.py`."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms
from defects_figure import PIXEL, take_image

import adatom
from adatom.analyze.average import average_defects
from adatom.analyze.defects import find_defects
from adatom.analyze.ideal import strain_from_structure
from adatom.analyze.library import Cuts, add_cuts, cut_defects, read_library
from adatom.core.chemistry import make_chemistry
from adatom.core.materials import get_material
from adatom.detect.refine import RefineConfig
from adatom.plots.library import draw_mean_defect
from adatom.plots.style import write_figure
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect

SEED, N_IMAGES, ELECTRONS, N_PIXELS, CUT = 5, 30, 10, 400, 60
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


def plant(rng: np.random.Generator) -> Atoms:
    """A sheet at some angle with one defect."""
    side = N_PIXELS * PIXEL
    sheet = make_sheet(GRAPHENE, (side, side), angle=float(rng.uniform(0, 60)))
    return insert_defect(sheet, KIND, (side / 2, side / 2), rng)


def find_cuts(rng: np.random.Generator, model: adatom.Model) -> Cuts:
    """Simulate an image, find its atoms and cut its defects out."""
    image = take_image(plant(rng), N_PIXELS, ELECTRONS, rng)[CUT:-CUT, CUT:-CUT]
    # Without help of the neighbors: it would pull the atoms of the defect to those of a lattice.
    config = adatom.FindConfig(refine=RefineConfig(use_lattice=False))
    atoms = adatom.find_atoms(image, model, config=config)
    found = find_defects(atoms, make_chemistry(GRAPHENE), material=GRAPHENE)
    return cut_defects(image, found, GRAPHENE)


if __name__ == "__main__":
    main()
