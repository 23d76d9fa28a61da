"""Do the errors of a tableau cover the truth? `python benchmarks/bench_tableau.py`.

Simulated tableaus of tuned lenses at 9, 18 and 34 mrad, two thirds of them diffractograms and one
third probe triples, with noise, drift of specimen and focus, a wrong scale of the tilts and, for
probes, a source of finite size. C5 is 1 to 3 mm, so that leaving it out is wrong. Asked: pooled
share of coefficients within 1σ and beyond 3σ, reduced χ², and that leaving out C5 is noticed.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adatom.core.random import make_child_rng
from adatom.optics.aberration_table import name_parts
from adatom.optics.ceos import find_symmetry, to_krivanek
from adatom.optics.microscope import Microscope
from adatom.optics.tableau import TYPICAL, fit_aberrations
from adatom.optics.tableau_images import (
    FilmConfig,
    ProbeConfig,
    fit_film_tableau,
    fit_probe_tableau,
)
from adatom.optics.tilt import PARTS, pack_parts
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.tableau import simulate_film, simulate_particles, simulate_probe_image

SEED = 71
ENERGY = 200e3
# Rings up to the largest tilt (mrad: number of tilts), and the order that is asked for.
DESIGNS = {9: ({9: 8}, 2), 18: ({9: 6, 18: 12}, 4), 34: ({17: 6, 34: 12}, 5)}
FILM_PX, FILM_PIXEL, FILM_DOSE, DEFOCUS = 480, 0.5, 2000.0, 1500.0
PROBE_PX, PROBE_PIXEL, PROBE_COUNTS = 320, 0.4, 40.0
WALK, TILT_ERROR = 2.0, 0.01
GOALS = {"within 1σ": (0.60, 0.76), "beyond 3σ": (0.0, 0.01), "χ²/n": (0.9, 1.1), "C5": (1.0, 1.0)}


@dataclass(frozen=True)
class Draw:
    """One tableau: lens, tilts as told (mrad), their true scale, and the focus at each tilt."""

    values: dict[str, complex]
    tilts: np.ndarray
    scale: float
    focus: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=50, help="tableaus that are simulated")
    parser.add_argument("--quick", action="store_true", help="two tableaus of 9 mrad")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    rows = []
    print("draw  kind   mrad  within 1σ  largest  χ²/n   without C5  s")
    for number in range(2 if options.quick else options.draws):
        kind = "probe" if number % 3 == 2 or (options.quick and number) else "film"
        largest = 9 if options.quick else tuple(DESIGNS)[(number + number // 3) % 3]
        rows.append(measure(number, kind, largest))
        row = rows[-1]
        pulls = np.abs(row["pulls"])
        print(
            f"{number:4}  {kind:6}{largest:4}{np.mean(pulls < 1):10.2f}{pulls.max():9.1f}"
            f"{row['chi_square']:7.2f}{row['without']!s:>12}{row['seconds']:6.0f}",
            flush=True,
        )
    figures = {"all": pool(rows)}
    for kind in ("film", "probe"):
        figures |= {kind: pool([row for row in rows if row["kind"] == kind])}
    for name, found in figures.items():
        print(f"{name:6}" + "  ".join(f"{key} {value:.3f}" for key, value in found.items()))
    if options.json:
        options.json.write_text(json.dumps({"figures": figures, "draws": rows}, indent=1))
    missed = [
        name
        for name, (low, high) in GOALS.items()
        if name in figures["all"] and not low <= figures["all"][name] <= high
    ]
    print("missed:", ", ".join(missed) or "none")
    return int(bool(missed) and options.check)


def pool(rows: list[dict]) -> dict[str, float]:
    """Figures of several tableaus taken together."""
    pulls = np.abs(np.concatenate([row["pulls"] for row in rows]))
    noticed = [row["without"] for row in rows if row["without"] is not None]
    found = {
        "within 1σ": float(np.mean(pulls < 1)),
        "beyond 3σ": float(np.mean(pulls > 3)),
        "χ²/n": sum(r["chi_square"] * r["n_free"] for r in rows) / sum(r["n_free"] for r in rows),
    }
    return found | ({"C5": float(np.mean(noticed))} if noticed else {})


def measure(number: int, kind: str, largest: int) -> dict:
    """Simulate one tableau and fit it; at 34 mrad also without C5."""
    rng = make_child_rng(SEED, number)
    start = time.perf_counter()
    rings, order = DESIGNS[largest]
    draw = draw_tableau(rings, rng)
    known = {"energy_eV": ENERGY, "order": order, "focus_walk": WALK, "tilt_error": TILT_ERROR}
    if kind == "film":
        images, size = simulate_films(draw, rng), FILM_PIXEL
        fit, config = fit_film_tableau, FilmConfig(**known, defocus=DEFOCUS)
    else:
        images, size = simulate_probes(draw, rng), PROBE_PIXEL
        fit, config = fit_probe_tableau, ProbeConfig(**known)
    result = fit(images, draw.tilts, size, config=config)
    parts = [PARTS.index(part) for part in name_parts(config.asked)]
    truth = pack_parts(draw.values)
    errors = np.sqrt(np.diag(result.table.covariance))
    without = None
    if largest == 34:
        other = config.model_copy(update={"without": ("C5",)})
        notes = fit_aberrations(result.measurements, config=other, point=result.point).warnings
        without = any("left out" in note for note in notes)
    return {
        "kind": kind,
        "largest": largest,
        "pulls": ((result.parts - truth)[parts] / errors).tolist(),
        "chi_square": result.chi_square / result.n_free,
        "n_free": result.n_free,
        "without": without,
        "C5": truth[PARTS.index("C5")],
        "scale": (result.tilt_scale - draw.scale) / result.tilt_scale_err,
        "warnings": result.warnings,
        "seconds": time.perf_counter() - start,
    }


def draw_tableau(rings: dict[int, int], rng: np.random.Generator) -> Draw:
    """A tuned lens, tilts in an order of chance after the first, and a focus that drifts."""
    values = {}
    for name, size in TYPICAL.items():
        x, y = rng.normal(0, size / 2**0.5, 2)
        values[name] = complex(x, y) if find_symmetry(name) else complex(2**0.5 * x)
    values["C5"] = complex(TYPICAL["C5"] * rng.choice([-1, 1]) * rng.uniform(0.5, 1.5))
    around = [angle * np.exp(2j * np.pi * np.arange(n) / n) for angle, n in rings.items()]
    tilts = np.concatenate([[0], rng.permutation(np.concatenate(around))])
    walk = np.append(0, rng.normal(0, WALK, len(tilts) - 1)).cumsum()
    focus = walk + rng.normal(0, 2) * np.arange(len(tilts))
    return Draw(
        values, np.array([tilts.real, tilts.imag]).T, float(rng.normal(0, TILT_ERROR)), focus
    )


def simulate_films(draw: Draw, rng: np.random.Generator) -> np.ndarray:
    """Images of a film at every tilt, at about 1500 Å of underfocus."""
    images = []
    start = draw.values["C1"] - DEFOCUS + rng.normal(0, 100)
    draw.values["C1"] = start
    for (x, y), focus in zip(draw.tilts * (1 + draw.scale), draw.focus, strict=True):
        scope = ImagingMicroscope(
            energy_eV=ENERGY,
            focal_spread=40,
            beam_tilt=np.hypot(x, y),
            beam_azimuth=np.rad2deg(np.arctan2(y, x)),
            **to_krivanek(draw.values | {"C1": start + focus}),
        )
        drift = tuple(rng.normal(0, 0.3, 2))
        image = simulate_film(scope, FILM_PX, FILM_PIXEL, dose=FILM_DOSE, drift=drift, rng=rng)
        images.append(image)
    return np.array(images)


def simulate_probes(draw: Draw, rng: np.random.Generator) -> np.ndarray:
    """Three images of particles at every tilt; the focus drifts from image to image."""
    side = PROBE_PX + 96
    images = []
    rate = np.diff(draw.focus, append=draw.focus[-1]) / 3
    source = rng.uniform(0.5, 1.2)
    for (x, y), focus, step in zip(draw.tilts * (1 + draw.scale), draw.focus, rate, strict=True):
        particles = simulate_particles(side, PROBE_PIXEL, density=0.03, rng=rng)
        place = np.zeros(2)
        for turn, added in enumerate((-200, 0, 200)):
            now = draw.values["C1"] + focus + step * (turn - 1) - added
            scope = Microscope(
                energy_eV=ENERGY,
                semi_angle=25,
                source_size=source,
                **to_krivanek(draw.values | {"C1": now}),
            )
            images.append(
                simulate_probe_image(
                    particles,
                    scope,
                    PROBE_PX,
                    PROBE_PIXEL,
                    tilt=(x, y),
                    shift=(place[0], place[1]),
                    counts=PROBE_COUNTS,
                    rng=rng,
                )
            )
            place = place + rng.normal(0, 0.5, 2)
    return np.array(images).reshape(-1, 3, PROBE_PX, PROBE_PX)


if __name__ == "__main__":
    sys.exit(main())
