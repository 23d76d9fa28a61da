"""Parts of a long work that are done, kept until it is whole, so that a stopped run continues."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
from filelock import FileLock, Timeout

from adatom.core.errors import AdatomError, FileError

_KEY = "key.json"


class Journal:
    """Tables of the parts that are done, in a hidden folder that goes when the work is whole.

    It stays if the work is interrupted, killed or ends for want of memory or disk, and is taken up
    by the next run with the same key; one of another key is emptied. It goes after an error of
    adatom's own, which would come again.

    Parameters
    ----------
    folder : Path
        Where the tables lie meanwhile.
    key : mapping
        All that the tables depend on, in plain values: input, configuration, model, versions.

    Raises
    ------
    FileError
        On entering, if another process is at work there.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self._folder = folder
        self._key = json.dumps(key, sort_keys=True)
        self._lock = FileLock(folder / "lock", blocking=False)
        self._n_done = 0

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise FileError(
                f"{self._folder}: another run is at work here; wait for it, or name another output"
            ) from error
        known = self._folder / _KEY
        if not known.is_file() or known.read_text(encoding="utf-8") != self._key:
            for old in self._folder.glob("*.parquet"):
                old.unlink()
            known.write_text(self._key, encoding="utf-8")
        while self._is_whole(self._n_done):
            self._n_done += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        would_come_again = isinstance(error, AdatomError) and not isinstance(
            error.__cause__, OSError
        )
        is_over = error is None or would_come_again
        if is_over:  # emptied under the lock, so that another run starts from nothing
            for old in self._folder.glob("*.*"):
                old.unlink(missing_ok=True)
        self._lock.release()
        if is_over:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def n_done(self) -> int:
        """How many parts are done."""
        return self._n_done

    def read(self, first: int, end: int) -> Iterator[pd.DataFrame]:
        """Tables of the parts from `first` to before `end`, as far as they are done."""
        for number in range(first, min(end, self._n_done)):
            yield pd.read_parquet(self._place(number))

    def append(self, table: pd.DataFrame) -> None:
        """Keep the table of one more part."""
        place = self._place(self._n_done)
        beside = place.with_suffix(".part")
        with beside.open("wb") as file:
            table.to_parquet(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
        self._n_done += 1

    def _is_whole(self, number: int) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            pq.read_metadata(self._place(number))
        except (OSError, pa.ArrowInvalid):
            return False
        return True

    def _place(self, number: int) -> Path:
        return self._folder / f"{number:06}.parquet"
