import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from adatom.core.table_files import TableParts, TableWriter, read_columns


def test_a_table_in_parts_is_the_table(sheet, tmp_path):
    atoms = pd.concat([sheet[1], sheet[1].assign(frame=7)], ignore_index=True)
    with TableWriter(tmp_path, "atoms") as writer:
        for rows in (slice(0, 5), slice(5, 5), slice(5, None)):
            writer.append(atoms.iloc[rows])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "atoms.parquet"), atoms)
    text = pd.read_csv(tmp_path / "atoms.csv")
    assert list(text.columns[:5]) == ["frame", "atom", "x (angstrom)", "y (angstrom)", "label"]
    np.testing.assert_allclose(text["x (angstrom)"], atoms["x"], rtol=1e-5)
    parts = TableParts(tmp_path / "atoms.parquet", ("y", "label"))
    assert [len(part) for part in parts] == [5, 0, len(atoms) - 5]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), atoms[["y", "label"]])
    some = read_columns(tmp_path / "atoms.parquet", ("score", "x"))
    pd.testing.assert_frame_equal(some, atoms[["score", "x"]])


def test_tables_carry_units(sheet, tmp_path):
    with TableWriter(tmp_path, "atoms") as writer:
        writer.append(sheet[1])
    schema = pq.read_schema(tmp_path / "atoms.parquet")
    assert schema.field("x_err").metadata == {b"units": b"angstrom"}
    assert schema.field("score").metadata is None
