"""Which model finds the columns of which lattice: `python benchmarks/bench_lattices.py`.

F1 of sites (one-to-one within 0.5 Å, a rim of 1.5 Å left out) of every shipped model on simulated
images of lattices that it knows, that it does not, and of none, at three doses (detected electrons
per 0.2 Å pixel at a peak of the host). Kagome and herringbone are in no training.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

import adatom
from adatom.core.random import make_child_rng
from adatom.metrics.detection import detection_scores, match_points
from adatom.simulate.example import simulate_example
from adatom.simulate.recipe import Recipe
from adatom.structures.crystals import PROJECTIONS, Projection

DOSES = (3, 30, 300)
PIXEL, RIM, SEED = 0.2, 1.5, 41
GOAL = 0.99  # of the models that know a lattice, from 30 electrons on
UNSEEN = {
    "kagome": Projection((5.4, 5.4, 120), ((40, 1, 0.5, 0), (40, 1, 0, 0.5), (40, 1, 0.5, 0.5))),
    "herringbone": Projection(
        (6.2, 4.6, 90),
        ((50, 1, 0.12, 0.18), (50, 1, 0.88, 0.82), (50, 0.5, 0.62, 0.32), (50, 0.5, 0.38, 0.68)),
    ),
}
BENT = {"angle": {"min": 0, "max": 360}, "distortion": 0.05, "disorder": 0.04}
KINDS = {
    "MX2": {"kind": "mx2", "vacancies": 0.05, "metal_vacancies": 0.005, **BENT},
    "graphene": {"kind": "graphene", "silicon": 4, "vacancies": 0.005, **BENT},
    "Si [110]": {"kind": "crystal", "crystals": ["Si [110]"], **BENT},
    "SrTiO3 [001]": {"kind": "crystal", "crystals": ["SrTiO3 [001]"], **BENT},
    "Au [110]": {"kind": "crystal", "crystals": ["Au [110]"], **BENT},
    "kagome": {"kind": "crystal", "crystals": ["kagome"], "vacancies": 0.02, **BENT},
    "herringbone": {"kind": "crystal", "crystals": ["herringbone"], "vacancies": 0.02, **BENT},
    "random points": {"kind": "points", "density": 0.12, "min_distance": 1.6},
    "single atoms": {"kind": "points", "density": 0.01, "min_distance": 3.0},
}
REST = {
    "columns": {"gaussian": 0.5, "sigma": 0.4, "split": 0.1},
    "specimen": {"background": 0.3, "slow_background": 0.05, "amorphous": 0.1},
    "microscope": {"defocus": 10, "C12": 10, "phi12": {"min": 0, "max": 180}, "C21": 150},
    "scan": {"jitter": 0.03, "drift_y": 0.3, "drift_x": -0.3},
    "dataset": {"size": 60.0, "pixel_size": PIXEL},
    "training": {"labels": ["column"], "families": []},
}
# Lattices that a model was trained on; the general one takes all.
KNOWN = {"haadf-mx2": ("MX2",), "haadf-graphene": ("graphene",), "haadf-general": tuple(KINDS)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4, help="images for every figure")
    parser.add_argument("--quick", action="store_true", help="one image for every figure")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    options = parser.parse_args()
    PROJECTIONS.update(UNSEEN)
    models = [
        adatom.load_model(card.name) for card in adatom.list_models() if not card.focal_series
    ]
    n_images = 1 if options.quick else options.images
    print(f"{'lattice':16}{'dose':>5}" + "".join(f"{m.card.name:>16}" for m in models))
    figures, missed = {}, []
    for kind, structure in KINDS.items():
        for dose in DOSES:
            row = score(structure, dose, models, n_images)
            figures[f"{kind} {dose}"] = row
            print(f"{kind:16}{dose:5d}" + "".join(f"{f1:16.3f}" for f1 in row.values()), flush=True)
            missed += [
                f"{name} on {kind} at {dose}"
                for name, f1 in row.items()
                if dose >= 30 and kind in KNOWN.get(name, ()) and f1 < GOAL
            ]
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    print("missed:", "; ".join(missed) or "none")
    return int(bool(missed) and options.check)


def score(structure: dict, dose: float, models: list, n_images: int) -> dict[str, float]:
    """F1 of every model on the same images."""
    recipe = Recipe.from_mapping(
        REST | {"structure": structure, "detector": {"peak_electrons": dose / PIXEL**2}},
        source="bench",
    )
    counts = {model.card.name: np.zeros(3, int) for model in models}
    for index in range(n_images):
        example = simulate_example(recipe, make_child_rng(SEED, index))
        image = example.to_image()
        truth = example.truth[["y", "x"]].to_numpy()
        side = len(image.y) * PIXEL
        for model in models:
            found = adatom.find_atoms(image, model)[["y", "x"]].to_numpy()
            matches = match_points(found, truth, 0.5)
            is_inner = [((p > RIM) & (p < side - RIM)).all(axis=1) for p in (found, truth)]
            # A match counts where its true column lies; so does the detection.
            counted = is_inner[0].copy()
            counted[matches.found] = is_inner[1][matches.true]
            right = int(is_inner[1][matches.true].sum())
            counts[model.card.name] += right, int(counted.sum()), int(is_inner[1].sum())
    return {name: detection_scores(*map(int, row))["f1"] for name, row in counts.items()}


if __name__ == "__main__":
    sys.exit(main())
