from collections import Counter

import pandas as pd
import pytest

from adatom.core.table_files import TableWriter
from adatom.report import figures
from adatom.report.figures import read_circled


@pytest.mark.parametrize("n_rows", [20, 10_000])
def test_of_too_many_atoms_only_rare_labels_are_circled(sheet, tmp_path, monkeypatch, n_rows):
    atoms = sheet[1]
    with TableWriter(tmp_path, "atoms") as writer:
        for start in range(0, len(atoms), n_rows):
            writer.append(atoms.iloc[start : start + n_rows])
        writer.append(atoms.assign(frame=7))
    table = tmp_path / "atoms.parquet"
    shown = ["atom", "x", "y", "label", "score"]
    circled, counts = read_circled(table, 0)
    pd.testing.assert_frame_equal(circled, atoms[shown])
    assert counts == Counter(atoms["label"])
    rare = atoms.loc[atoms["label"] == "X1", shown].reset_index(drop=True)
    monkeypatch.setattr(figures, "MOST_CIRCLES", len(rare) - 1)
    circled, counts = read_circled(table, 0)
    pd.testing.assert_frame_equal(circled, rare.iloc[:-1])
    assert counts == Counter(atoms["label"])
