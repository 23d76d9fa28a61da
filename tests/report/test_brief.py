"""The page of a run that is no analysis."""

import numpy as np
import pandas as pd

from adatom.core.runs import RunRecord, open_run, write_record
from adatom.report.brief import Brief, BriefTable, write_brief


def write_run(place, table, *, warnings=(), model=None):
    with open_run(place) as folder:
        (folder / "figures" / "mean.svg").write_text("<svg/>")
        record = RunRecord(
            task="library",
            started="2026-01-02T03:04:05+00:00",
            input={"name": "a", "path": "/data/<a>.tif"},
            config={"name": None},
            seed=None,
            device="cpu",
            model=model or {},
            image={},
            calibration={},
            summary={},
            warnings=warnings,
            timings={"all": 1.25},
        )
        write_record(record, folder)
        figures = (("mean", "The mean"), ("none", "Not there"))
        part = BriefTable("Bonds", table, "In Å.")
        brief = Brief("Averaged", "Si & C", "All went well.", figures, (part,), "bonds.csv")
        write_brief(folder, brief)
    return (place / "report.html").read_text(encoding="utf-8")


def test_a_page_holds_result_figures_tables_and_source(tmp_path):
    table = pd.DataFrame({"bond": ["C-Si"], "n": [3], "x (Å)": [1.23456], "y": [np.nan]})
    page = write_run(tmp_path / "a.adatom", table, warnings=("it is <b>old</b>",))
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>Si &amp; C</h1>" in page
    assert "It is &lt;b&gt;old&lt;/b&gt;" in page
    assert "/data/&lt;a&gt;.tif" in page
    assert page.count("<img") == 1
    assert 'src="data:image/svg+xml;base64,' in page
    assert "Not there" not in page
    cells = [f'<td class="n">{value}</td>' for value in ("3", "1.235", "–")]
    assert f"<td>C-Si</td>{''.join(cells)}" in page
    assert "SHA-256" not in page
    assert "http" not in page


def test_of_long_tables_the_first_rows_are_shown(tmp_path):
    page = write_run(tmp_path / "a.adatom", pd.DataFrame({"n": np.arange(1234)}))
    assert "<td>199</td>" in page
    assert "<td>200</td>" not in page
    assert "In Å. 1,034 rows more are in the tables." in page
