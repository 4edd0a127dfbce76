"""Small tables that are in memory as Parquet."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq


def read_bytes(data: bytes) -> pa.Table:
    """The table that is in a file's bytes.

    Not by `pyarrow.parquet.read_table`: its threads hold what is Python's, and abort a Python that
    ends meanwhile.

    Raises:
        pa.ArrowException, OSError: the bytes are no such file.
    """
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
