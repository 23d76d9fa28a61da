"""Atoms on the result (docs/restoration.md): `python docs/restored_atoms_figure.py`."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter
from skimage.feature import peak_local_max

from adatom.images.write import write_image
from adatom.metrics.detection import match_points
from adatom.optics.aberration_table import AberrationTable, write_aberrations
from adatom.optics.ceos import from_krivanek
from adatom.optics.microscope import Microscope
from adatom.plots.style import COLORS, draw_scale_bar
from adatom.simulate.objects import RestoreRecipe, simulate_object
from adatom.workflows.analyze import AnalyzeConfig, analyze_image
from adatom.workflows.restore import RunConfig, run_restore
from adatom.workflows.restored import Restored

LENSES = {
    "in focus": {},
    "-60 Å, A2 90 nm": {"defocus": -60, "C12": 20, "phi12": 30, "C21": 350, "C23": 900},
    "-90 Å, B2 30 nm, A2 90 nm": {"defocus": -90, "C12": 40, "C21": 900, "phi21": 40, "C23": 900},
    "-140 Å, A2 90 nm": {"defocus": -140, "C12": 40, "phi12": 30, "C21": 350, "C23": 900},
}
SHOWN, N_IMAGES, PEAK, PIXEL, NEAR = "-140 Å, A2 90 nm", 6, 1500.0, 0.2, 0.5  # e/Å², Å


def main() -> None:
    """Find columns in images of four lenses, and on what is restored of them."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, aberrations in LENSES.items():
            for seed in range(1, N_IMAGES + 1):
                place = Path(folder) / f"{len(rows)}"
                taken, view, true = find_both(aberrations, seed, place)
                rows.append(
                    {"lens": name, "as taken": score(taken, true), "restored": score(view, true)}
                )
                if name == SHOWN and seed == 1:
                    draw(place, taken, view, true)
    print(pd.DataFrame(rows).groupby("lens", sort=False).mean().round(2).to_string())


def find_both(
    aberrations: dict, seed: int, place: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns [y, x] found in a simulated image as taken, found on its restoration, and true."""
    lens = Microscope(energy_eV=60e3, semi_angle=30, source_size=0.7, **aberrations)
    recipe = RestoreRecipe(
        structure=({"kind": "mx2", "materials": ["MoS2"]},),
        microscope=lens,
        detector={"peak_electrons": PEAK},
    )
    example = simulate_object(recipe, seed)
    line = PIXEL * np.arange(len(example.image))
    image = xr.DataArray(
        example.image,
        dims=("y", "x"),
        coords={"y": line, "x": line},
        attrs={"units": "electrons", "modality": "HAADF"},
    )
    place.mkdir()
    write_image(image, place / "image.zarr")
    write_aberrations(AberrationTable(from_krivanek(lens)), place / "lens.toml")
    config = RunConfig(probe=place / "lens.toml", energy=60e3, semi_angle=30, source_size=0.7)
    run = run_restore(place / "image.zarr", place, config=config).folder
    found = []
    for name, restore in (("taken", None), ("restored", run)):
        settings = AnalyzeConfig(model="haadf-mx2", restore=restore)
        atoms = analyze_image(place / "image.zarr", place / name, config=settings).atoms
        found.append(atoms[["y", "x"]].to_numpy())
    peaks = gaussian_filter(example.object_function, 1.0)
    return found[0], found[1], PIXEL * peak_local_max(peaks, min_distance=4, exclude_border=False)


def score(found: np.ndarray, true: np.ndarray) -> float:
    """F1 of columns within 0.5 Å."""
    return 2 * len(match_points(found, true, NEAR).true) / max(len(found) + len(true), 1)


def draw(place: Path, taken: np.ndarray, view: np.ndarray, true: np.ndarray) -> None:
    """The image and its restoration, with columns."""
    restored = Restored(place / "image.adatom")
    image = restored.read_electrons()
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    panels = (
        (image, taken, "as taken, columns found in it", 0),
        (restored.view(image).image, view, "restored, columns found with --restore", 1),
        (restored.view(image).image, true, "the true columns", 2),
    )
    for ax, (shown, columns, title, number) in zip(figure.subplots(1, 3), panels, strict=True):
        ends = np.quantile(shown, [0.002, 0.998])
        extent = (-PIXEL / 2, image.x[-1] + PIXEL / 2, image.y[-1] + PIXEL / 2, -PIXEL / 2)
        ax.imshow(shown, cmap="gray", vmin=ends[0], vmax=ends[1], extent=extent)
        ax.scatter(columns[:, 1], columns[:, 0], 30, facecolors="none", edgecolors=COLORS[number])
        ax.set_title(title, fontsize=9)
        ax.set(xlim=extent[:2], ylim=extent[2:])
        ax.set_axis_off()
        draw_scale_bar(ax, 0.6, 18.4, 19.2)
    figure.savefig(Path(__file__).parent / "images" / "restored_atoms.png", dpi=140)


if __name__ == "__main__":
    main()
