"""A run folder as one HTML page that needs nothing else."""

import base64
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from adatom.core.errors import FileError
from adatom.core.runs import read_record
from adatom.plots.atoms import is_rare
from adatom.plots.style import format_length, label_colors, round_length
from adatom.report.figures import read_circled

TEMPLATES = Path(__file__).parent
MIME_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
PLOTS = (
    ("scores", "Scores: how sure the network is of each column's label"),
    ("intensities", "Fitted intensities"),
    ("errors", "Position errors as stated, one standard deviation"),
    ("neighbors", "Distances of neighboring columns"),
    ("counts", "Columns by frame"),
)


def write_report(folder: str | Path) -> Path:
    """Write `report.html` of a run folder from its record, its atoms table and its figures.

    Parameters
    ----------
    folder : str or Path
        The run folder.

    Returns
    -------
    Path
        The page, with figures and style inside.

    Raises
    ------
    FileError
        If a part of the run folder is missing.
    """
    folder = Path(folder)
    record = read_record(folder)
    try:
        circled, counts = read_circled(folder / "atoms.parquet", record["image"]["frame"])
        is_crowded = counts.total() > len(circled)
        page = _render(record, circled, is_crowded, embed_figures(folder / "figures"))
    except OSError as error:
        raise FileError(f"{folder}: cannot be read ({error})") from error
    path = folder / "report.html"
    path.write_text(page.lstrip(), encoding="utf-8")
    return path


def embed_figures(folder: Path) -> dict[str, str]:
    """Pictures of a folder as data URLs, by their names without endings."""
    return {
        path.stem: f"data:{MIME_TYPES[path.suffix]};base64,"
        + base64.b64encode(path.read_bytes()).decode("ascii")
        for path in sorted(folder.iterdir())
        if path.suffix in MIME_TYPES
    }


def read_style() -> str:
    """The style of all pages."""
    return (TEMPLATES / "page.css").read_text(encoding="utf-8")


def make_environment() -> jinja2.Environment:
    """Templates that escape what they are given, and know numbers."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _format_number,
        "percent": lambda value: _format_number(None if value is None else 100 * value, 2),
        "in_units": format_length,
    }
    return environment


def _render(
    record: dict[str, Any], circled: pd.DataFrame, is_crowded: bool, figures: dict[str, str]
) -> str:
    return (
        make_environment()
        .get_template("page.html.j2")
        .render(
            record=record,
            figures=figures,
            plots=[(figures[name], caption) for name, caption in PLOTS if name in figures],
            overlay=_make_overlay(record, circled) | {"is_crowded": is_crowded},
            style=read_style(),
        )
    )


def _make_overlay(record: dict[str, Any], circled: pd.DataFrame) -> dict[str, Any]:
    """Circles over the image, in Å from its upper left corner."""
    view = record["image"]["view"]
    left, top = view["left"], view["top"]
    labels = [row["label"] for row in record["summary"]["labels"]]
    colors = label_colors(labels)
    layers = []
    for label in labels:
        rows = circled[circled["label"] == label]
        circles = [
            {"x": f"{x - left:.2f}", "y": f"{y - top:.2f}", "atom": atom, "score": score}
            for x, y, atom, score in rows[["x", "y", "atom", "score"]].itertuples(index=False)
        ]
        layers.append(
            {
                "label": label,
                "color": colors[label],
                "circles": circles,
                "radius": 0.75 if is_rare(label) else 0.55,
                "stroke": 0.22 if is_rare(label) else 0.12,
            }
        )
    bar = round_length(view["width"] / 5)
    return {**view, "layers": layers, "bar": bar}


def _format_number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many digits after the point; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"
