"""A run folder of any task as one HTML page: result, figures, tables, and where it came from."""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from adatom.core.runs import read_record
from adatom.report.page import embed_figures, make_environment, read_style

MOST_ROWS = 200


@dataclass(frozen=True)
class BriefTable:
    """A table of a page.

    Attributes
    ----------
    heading : str
        Above it.
    table : DataFrame
        Column names as people read them, with units.
    note : str
        Below it.
    """

    heading: str
    table: pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class Brief:
    """What a page says beside what is in `run.json`.

    Attributes
    ----------
    kind : str
        What was made, such as "Aberrations measured".
    title : str
        What it is about.
    result : str
        The result in a sentence.
    figures : tuple of (str, str)
        Name in `figures` without its ending, and caption; what does not exist is left out.
    tables : tuple of BriefTable
        Their first 200 rows are shown.
    files : str
        What else lies in the folder.
    """

    kind: str
    title: str
    result: str
    figures: tuple[tuple[str, str], ...]
    tables: tuple[BriefTable, ...]
    files: str


def write_brief(folder: Path, brief: Brief) -> None:
    """Write `report.html` of a run folder whose record and figures are written.

    Parameters
    ----------
    folder : Path
        The run folder.
    brief : Brief
        What to say.
    """
    tables = [
        {
            "heading": part.heading,
            "columns": list(part.table.columns),
            "rows": [
                [_format(value) for value in row]
                for row in part.table.head(MOST_ROWS).itertuples(index=False, name=None)
            ],
            "note": part.note if len(part.table) <= MOST_ROWS else _note_rest(part),
        }
        for part in brief.tables
    ]
    page = (
        make_environment()
        .get_template("brief.html.j2")
        .render(
            brief=brief,
            record=read_record(folder),
            tables=tables,
            figures=embed_figures(folder / "figures"),
            style=read_style(),
        )
    )
    (folder / "report.html").write_text(page.lstrip(), encoding="utf-8")


def _note_rest(part: BriefTable) -> str:
    return f"{part.note} {len(part.table) - MOST_ROWS:,} rows more are in the tables.".strip()


def _format(value: object) -> str:
    """A cell: floats with four digits, a dash for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
