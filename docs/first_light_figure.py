"""Draw the picture of the README: `python docs/first_light_figure.py`."""

from pathlib import Path

from matplotlib.figure import Figure

import adatom
from adatom.plots.atoms import draw_atoms, draw_image
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import load_recipe

SEED, SIDE = 3, 42.0  # Å


def main() -> None:
    """Analyze the image of the demonstration and draw a part of it."""
    image = simulate_example(load_recipe("demo_mos2"), SEED).to_image()
    atoms = adatom.find_atoms(image, adatom.load_model("haadf-mx2"))
    part = image.sel(y=slice(18, 18 + SIDE * 0.75), x=slice(18, 18 + SIDE))
    low = part.x.values[0], part.y.values[0]
    high = part.x.values[-1], part.y.values[-1]
    inside = atoms.x.between(low[0], high[0]) & atoms.y.between(low[1], high[1])
    figure = Figure(figsize=(11, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_image(part, ax=left)
    draw_atoms(part, atoms[inside], ax=right)
    path = Path(__file__).parent / "images" / "first_light.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
