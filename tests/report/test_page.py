import re

import pytest

from adatom.core.errors import FileError
from adatom.core.materials import get_material
from adatom.core.runs import RunRecord, open_run, write_record
from adatom.core.table_files import TableWriter
from adatom.report.figures import write_figures
from adatom.report.page import write_report
from adatom.report.summary import find_neighbor_distances, summarize_atoms

LABELS = ("M", "X2", "X1", "dopant")
NO_DEFECTS = {"defects": [], "grains": [], "strain": {}, "rules": None}
CARD = {
    "name": "haadf-mx2",
    "title": "Columns of MX2",
    "choice": "Chosen for MoS2.",
    "columns": {"M": "metal column"},
    "pixel_size": 0.15,
    "pixel_size_range": (0.05, 0.3),
    "scores": {"sites_f1": 0.99},
    "limits": ("Bilayers.",),
    "checksum": "0" * 64,
}


def write_run(place, image, atoms, **changes):
    """A run folder with its report, as a workflow leaves it."""
    calibration = {
        "pixel_size": (0.2, 0.2),
        "pixel_size_err": (float("nan"), 0.001),
        "shear_deg": float("nan"),
        "source": "header",
        "message": "The pixel size was kept.",
        "header": (0.2, 0.2),
        "material": "MoS2",
        "lattice": 3.16,
        "neighbor_distance": 1.824,
    }
    with open_run(place) as folder:
        with TableWriter(folder, "atoms") as writer:
            writer.append(atoms)
        distances = find_neighbor_distances([atoms])
        view = write_figures(image, distances, get_material("MoS2"), folder)
        values = {
            "task": "analyze",
            "started": "2026-01-02T03:04:05+00:00",
            "input": {"name": "a<b>.dm3", "path": "/a<b>.dm3", "item": None, "sha256": "f" * 64},
            "config": {"model": "haadf-mx2", "material": None, "item": None},
            "seed": None,
            "device": "cpu",
            "model": CARD,
            "image": {"shape": (140, 140), "frames": 1, "focus": None, "frame": 0, "view": view}
            | {"modality": "HAADF", "energy_eV": 60e3},
            "calibration": calibration,
            "summary": summarize_atoms([atoms], LABELS, 784.0, distances) | NO_DEFECTS,
            "warnings": (),
            "timings": {"read": 0.1},
        }
        write_record(RunRecord(**values | changes), folder)
        write_report(folder)
    return (place / "report.html").read_text(encoding="utf-8")


def test_page_needs_nothing_else_and_tells_all(tmp_path, sheet):
    image, atoms = sheet
    page = write_run(tmp_path / "a.adatom", image, atoms)
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 6
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert page.count("<circle") == len(atoms)
    assert "a&lt;b&gt;.dm3" in page
    assert "a<b>" not in page
    assert "No warnings." in page
    assert f"{len(atoms):,} columns: " in page
    assert "Bilayers." in page
    assert "Columns of MX2. Chosen for MoS2." in page
    assert "{%" not in page
    assert "{{" not in page
    assert "MoS2 (closest of the table), a = 3.160 Å" in page
    first = atoms.iloc[0]
    assert f'cx="{first.x + 0.1:.2f}" cy="{first.y + 0.1:.2f}"' in page


def test_nothing_found_and_warnings_are_said(tmp_path, sheet):
    image, atoms = sheet
    page = write_run(tmp_path / "a.adatom", image, atoms.iloc[:0], warnings=("The header is off.",))
    assert "1 warning<" in page
    assert "The header is off." in page
    assert "No columns were found." in page


def test_incomplete_run_is_refused(tmp_path, sheet):
    write_run(tmp_path / "a.adatom", *sheet)
    (tmp_path / "a.adatom" / "atoms.parquet").unlink()
    with pytest.raises(FileError, match=r"cannot be read .*atoms\.parquet"):
        write_report(tmp_path / "a.adatom")
