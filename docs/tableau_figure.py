"""Draw the picture of docs/tableau.md: `python docs/tableau_figure.py`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from adatom.optics.ceos import to_krivanek
from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_probe_image
from adatom.optics.tableau_images import FilmConfig, fit_film_tableau
from adatom.optics.transfer import ImagingMicroscope
from adatom.plots.probe import draw_probe
from adatom.plots.tableau import draw_tableau
from adatom.simulate.tableau import simulate_film

SEED, PIXEL, SIZE = 5, 0.5, 400
VALUES = {"C1": -1200, "A1": 12 - 9j, "B2": 500j, "A2": 400, "C3": 4e3, "S3": 2e3j, "A3": 5e3}
RINGS = {9: 6, 18: 12}


def main() -> None:
    """Simulate a tableau, fit it, and draw it beside the probe of its lens."""
    rng = np.random.default_rng(SEED)
    around = [angle * np.exp(2j * np.pi * np.arange(n) / n) for angle, n in RINGS.items()]
    tilts = np.concatenate([[0], *around])
    lens = to_krivanek({name: complex(value) for name, value in VALUES.items()})
    images = []
    for tilt in tilts:
        scope = ImagingMicroscope(
            energy_eV=200e3,
            focal_spread=35,
            beam_tilt=abs(tilt),
            beam_azimuth=np.rad2deg(np.angle(tilt)),
            **lens,
        )
        images.append(simulate_film(scope, SIZE, PIXEL, dose=2000, rng=rng))
    told = np.array([tilts.real, tilts.imag]).T
    config = FilmConfig(order=3, defocus=1200)
    fit = fit_film_tableau(np.array(images), told, PIXEL, config=config)
    found = to_krivanek({**fit.table.values, "C1": 0j})
    probe = Microscope(energy_eV=200e3, semi_angle=22, source_size=0.6).model_copy(update=found)
    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.2, 1))
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(images[-1] - images[-1].mean()))) ** 2
    block = spectrum[72:328, 72:328].reshape(128, 2, 128, 2).mean(axis=(1, 3))
    left.imshow(np.log(block), cmap="gray", vmin=np.percentile(np.log(block), 5))
    left.set_axis_off()
    # Cells are two frequencies of the image wide.
    per_angstrom = SIZE * PIXEL / 2
    left.plot([6, 6 + 0.2 * per_angstrom], [121, 121], color="white", lw=2)
    left.text(6, 118, "0.2 / Å", color="white", size=9)
    left.set_title(f"diffractogram at {abs(tilts[-1]):.0f} mrad", fontsize=9)
    draw_tableau(fit, ax=middle)
    draw_probe(make_probe_image(probe, 160, 0.06), ax=right)
    right.set_title("probe of this lens in focus", fontsize=9)
    figure.savefig(Path(__file__).parent / "images" / "tableau.png", dpi=110)


if __name__ == "__main__":
    main()
