"""A table that is written from many small ones."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

# what it buffers before it writes
_ROW_GROUP = 65_536
_ROW_GROUP_BYTES = 1 << 26  # where names are of the longest


class LargeGroups:
    """A Parquet file that is written in large row groups from small tables."""

    def __init__(self, sink: Any, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(sink, schema, compression="zstd")
        self._schema = schema
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0

    def __enter__(self) -> LargeGroups:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def write(self, table: pa.Table) -> None:
        """Write a table's rows behind those before."""
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= _ROW_GROUP or self._bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).cast(self._schema))
        self._waiting, self._rows, self._bytes = [], 0, 0
