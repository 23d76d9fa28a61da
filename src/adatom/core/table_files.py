"""Tables on disk, written and read a part at a time, so that they are never held whole."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from adatom.core.tables import UNITS

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


class TableWriter:
    """A table that grows, written twice: Parquet for programs, CSV for people.

    Parameters
    ----------
    folder : Path
        The run folder.
    name : str
        File name without its ending.
    units : mapping
        Unit of each column that has one: in the column's metadata of the Parquet file, and in the
        header of the CSV file, as in `x (angstrom)`.
    """

    def __init__(self, folder: Path, name: str, *, units: Mapping[str, str] = UNITS) -> None:
        self._path = folder / f"{name}.parquet"
        self._csv = (folder / f"{name}.csv").open("wb")
        self._units = units
        self._parquet: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._csv.close()
        if self._parquet is not None:
            self._parquet.close()

    def append(self, table: pd.DataFrame) -> None:
        """Add rows; the columns must be those of the first call."""
        import pyarrow as pa
        import pyarrow.parquet as pq
        from pyarrow import csv

        rows = pa.Table.from_pandas(table, preserve_index=False)
        is_first = self._parquet is None
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._path, self._add_units(rows.schema))
        self._parquet.write_table(rows.cast(self._parquet.schema))
        names = [
            f"{key} ({self._units[key]})" if key in self._units else key
            for key in map(str, table.columns)
        ]
        is_float = [name for name in table.columns if table[name].dtype == float]
        rounded = table.assign(**{str(name): _round(table[name].to_numpy()) for name in is_float})
        options = csv.WriteOptions(include_header=is_first, quoting_style="needed")
        csv.write_csv(
            pa.Table.from_pandas(rounded, preserve_index=False).rename_columns(names),
            self._csv,
            options,
        )

    def _add_units(self, schema: "pa.Schema") -> "pa.Schema":
        import pyarrow as pa

        fields = [
            item.with_metadata({"units": self._units[item.name]})
            if item.name in self._units
            else item
            for item in schema
        ]
        return pa.schema(fields, metadata=schema.metadata)


def _round(values: np.ndarray) -> np.ndarray:
    """Numbers of six significant digits."""
    size = np.where(np.isfinite(values) & (values != 0), np.abs(values), 1.0)
    digits = 5 - np.clip(np.floor(np.log10(size)), -16, 16)
    up, down = 10.0 ** np.maximum(digits, 0), 10.0 ** np.maximum(-digits, 0)
    return np.round(values * up / down) / up * down


def read_columns(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read some columns of a table.

    Parameters
    ----------
    path : Path
        Parquet file.
    columns : sequence of str
        Their names.

    Returns
    -------
    DataFrame
        The columns in the order given; labels are categories, which take a byte each.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=list(columns), read_dictionary=["label"])
    return table.to_pandas(self_destruct=True, split_blocks=True)


@dataclass(frozen=True)
class TableParts:
    """Some columns of a table on disk, read in the parts in which they were written.

    Attributes
    ----------
    path : Path
        Parquet file.
    columns : tuple of str
        Names of the columns.
    frame : int, optional
        Only the rows of this frame; parts without any are not read.
    """

    path: Path
    columns: tuple[str, ...]
    frame: int | None = None

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Rows of one `TableWriter.append` after the other."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for number in range(file.num_row_groups):
                if self.frame is None:
                    yield file.read_row_group(number, columns=list(self.columns)).to_pandas()
                elif _may_hold(file, number, self.frame):
                    rows = file.read_row_group(number, columns=["frame", *self.columns]).to_pandas()
                    yield rows.loc[rows["frame"] == self.frame, list(self.columns)]


def _may_hold(file: "pq.ParquetFile", number: int, frame: int) -> bool:
    """Whether part `number` may hold rows of a frame, by what the file says of the part."""
    part = file.metadata.row_group(number)
    found = part.column(file.schema_arrow.names.index("frame")).statistics
    return found is None or not found.has_min_max or found.min <= frame <= found.max
