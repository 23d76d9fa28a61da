from contextlib import suppress

import pandas as pd
import pytest

from adatom.core.errors import FileError
from adatom.core.journal import Journal


def make_table(number):
    return pd.DataFrame({"x": [number / 3, 1.0], "label": ["M", "X2"]})


def fill(folder, key, n_tables, error=KeyboardInterrupt):
    """Ends with an error, or like a process that is interrupted."""
    with suppress(error), Journal(folder, key) as journal:
        for number in range(n_tables):
            journal.append(make_table(number))
        raise error


def test_an_interrupted_journal_goes_on(tmp_path):
    folder = tmp_path / ".a.unfinished"
    fill(folder, {"input": "abc"}, 3)
    (folder / "000003.part").write_bytes(b"half a table")
    with Journal(folder, {"input": "abc"}) as journal:
        assert journal.n_done == 3
        for number, table in enumerate(journal.read(1, 9), start=1):
            pd.testing.assert_frame_equal(table, make_table(number))
        journal.append(make_table(3))
        assert len(list(journal.read(0, 4))) == 4
    assert not folder.exists()


def test_another_key_starts_anew(tmp_path):
    fill(tmp_path / "a", {"input": "abc"}, 2)
    with Journal(tmp_path / "a", {"input": "abd"}) as journal:
        assert journal.n_done == 0


def test_an_error_of_ours_takes_it_away(tmp_path):
    fill(tmp_path / "a", {}, 1, error=FileError)
    assert not (tmp_path / "a").exists()
    fill(tmp_path / "a", {}, 1, error=MemoryError)
    assert (tmp_path / "a").exists()


def test_a_damaged_part_is_done_again(tmp_path):
    fill(tmp_path / "a", {}, 3)
    (tmp_path / "a" / "000001.parquet").write_bytes(b"")
    with Journal(tmp_path / "a", {}) as journal:
        assert journal.n_done == 1


def test_two_cannot_work_on_one(tmp_path):
    with Journal(tmp_path / "a", {}) as journal:
        journal.append(make_table(0))
        with pytest.raises(FileError, match="another run"), Journal(tmp_path / "a", {}):
            pass
        assert journal.n_done == 1
