"""The main job on an image whose truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ConfigError, FileError
from adatom.core.progress import Report, ignore_progress
from adatom.workflows.analyze import AnalyzeConfig, analyze_image

if TYPE_CHECKING:
    import pandas as pd

IMAGE_NAME = "mos2_simulated.zarr"


class DemoConfig(Config):
    """What the demonstration simulates, and with which model it looks."""

    recipe: str = Field("demo_mos2", description="Name of a shipped recipe, or a TOML file.")
    seed: int = Field(3, ge=0, description="Seed of the image.")
    material: str = Field("MoS2", description="What the recipe simulates.")
    model: str = Field("haadf-mx2", description="Name of a shipped model, or the path of a card.")
    border: float = Field(1.5, ge=0, description="Rim of the image that is not scored, Å.")


DEFAULT = DemoConfig()


def run_demo(
    out: str | Path, *, config: DemoConfig = DEFAULT, report: Report = ignore_progress
) -> str:
    """Simulate an image, find its atoms, and score them against the truth.

    Parameters
    ----------
    out : str or Path
        Folder for the image (zarr), its truth (CSV) and the run folder.
    config : DemoConfig
        What is simulated.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    str
        Scores, position errors and the place of the report, as text.

    Raises
    ------
    AdatomError
        If the folder cannot be written, or the model is missing.
    """
    out = Path(out)
    report(0, 1, "simulate")
    path, truth = _simulate(out, config)
    settings = AnalyzeConfig(model=config.model, material=config.material)
    result = analyze_image(path, out, config=settings, report=report)
    image = result.calibration.image
    sides = (float(image["x"][-1]), float(image["y"][-1]))
    text = _score(result.atoms, truth, sides, config.border)
    return f"{result.summary['sentence']}\n{text}\nReport: {result.folder / 'report.html'}"


def _simulate(out: Path, config: DemoConfig) -> tuple[Path, "pd.DataFrame"]:
    from adatom.images.write import write_image
    from adatom.simulate.example import simulate_example
    from adatom.simulate.recipe import Recipe, load_recipe

    recipe = load_recipe(config.recipe)
    if not isinstance(recipe, Recipe):
        raise ConfigError(f"recipe: must be of HAADF images (got {config.recipe!r})")
    example = simulate_example(recipe, config.seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
        example.truth.to_csv(out / "truth.csv", index=False, float_format="%.5g")
    except OSError as error:
        raise FileError(f"{out}: cannot be written ({error.strerror})") from error
    write_image(example.to_image(), out / IMAGE_NAME)
    return out / IMAGE_NAME, example.truth


def _score(
    atoms: "pd.DataFrame", truth: "pd.DataFrame", sides: tuple[float, float], border: float
) -> str:
    """F1 by label and position errors, as a small table."""
    import numpy as np

    from adatom.metrics.detection import match_points, score_atoms

    inner = []
    for table in (atoms, truth):
        places = table[["x", "y"]]
        is_inner = (places > border) & (places < [side - border for side in sides])
        inner.append(table[is_inner.all(axis=1)])
    labels = [name for name in ("M", "X2", "X1", "dopant") if (truth["label"] == name).any()]
    scores = score_atoms(inner[0], inner[1], labels)
    lines = ["against the truth   true  found  precision  recall     F1"]
    for name, row in scores.items():
        lines.append(
            f"  {name:<16}{row['n_true']:>6.0f}{row['n_found']:>7.0f}"
            f"{row['precision']:>11.3f}{row['recall']:>8.3f}{row['f1']:>7.3f}"
        )
    found, true = (table[["x", "y"]].to_numpy() for table in inner)
    matches = match_points(found, true, 0.5)
    misses = found[matches.found] - true[matches.true]
    spread = 100 * np.sqrt(np.mean((misses - misses.mean(axis=0)) ** 2, axis=0))
    stated = 100 * np.median(inner[0][["x_err", "y_err"]], axis=0)
    lines.append(f"Position error (rms): x {spread[0]:.1f} pm, y {spread[1]:.1f} pm")
    lines.append(f"stated by the fit (median): x {stated[0]:.1f} pm, y {stated[1]:.1f} pm")
    return "\n".join(lines)
