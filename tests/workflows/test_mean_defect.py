"""The run folder of a mean defect."""

import json

import ase.io
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from adatom.core.errors import ConfigError, FileError
from adatom.images.write import write_image
from adatom.workflows.analyze import AnalyzeConfig, analyze_image
from adatom.workflows.library import add_runs
from adatom.workflows.mean_defect import format_mean, show_defect


@pytest.fixture
def library(truth, tmp_path):
    image, atoms, _ = truth
    others = atoms["label"] != "M"
    atoms.loc[others, "label"] = "X2"
    for y in (8, 20):  # two vacancies with nothing between them
        atoms.loc[np.hypot(atoms["x"] - 14, atoms["y"] - y)[others].idxmin(), "label"] = "X1"
    write_image(image, tmp_path / "sheet.zarr")
    run = analyze_image(
        tmp_path / "sheet.zarr", tmp_path, config=AnalyzeConfig(material="MoS2")
    ).folder
    add_runs(tmp_path / "lib", [run])
    return tmp_path / "lib"


def test_a_mean_has_tables_maps_structure_and_figure(library, tmp_path):
    result = show_defect(library, "V_S", tmp_path)
    assert result.folder == tmp_path / "V_S.adatom"
    record = json.loads((result.folder / "run.json").read_text())
    assert len(result.mean.entries) == record["summary"]["n"] == 2
    assert {row["bond"] for row in record["summary"]["bonds"]} == {"M-X1"}
    atoms = pd.read_parquet(result.folder / "atoms.parquet")
    structure = ase.io.read(result.folder / "structure.extxyz")
    assert len(structure) == len(atoms) + (atoms["label"] == "X2").sum()
    assert set(structure.arrays["defect"]) == {"-", "V_S"}
    with xr.open_zarr(result.folder / "mean.zarr", consolidated=False) as maps:
        assert set(maps) == {"mean", "spread"}
    assert (result.folder / "figures" / "mean.png").stat().st_size > 10_000
    (note,) = result.warnings
    assert note.startswith("neighbors helped to place the atoms of 2 of 2 defects")
    assert record["warnings"] == [note]
    page = (result.folder / "report.html").read_text()
    assert "Mean of 2 in 1 image (0 left out); atoms differ by" in page
    assert "Å per axis" in page
    assert '<td>M-X1</td><td class="n">3</td>' in page
    text = format_mean(result.mean)
    assert text.startswith("V_S: mean of 2 in 1 image (0 left out)")
    assert "3 × M-X1" in text


def test_what_cannot_be_compared_is_named(library, tmp_path):
    with pytest.raises(ConfigError, match=r"name: .*lib holds V_S"):
        show_defect(library, "V_W", tmp_path)
    with pytest.raises(FileError, match=r"none.cif: does not exist"):
        show_defect(library, "V_S", tmp_path, ideal=tmp_path / "none.cif")
    assert not (tmp_path / "V_S.adatom").exists()
