"""The chunks of a shard as a file, so that another machine can work on them without the index."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from storage.archives.members import Chunk, Copy
from storage.errors import StorageError
from storage.table import read_bytes

_COPY = [
    pa.field("member", pa.int64(), nullable=False),
    pa.field("first", pa.int64(), nullable=False),
    pa.field("sha256", pa.string(), nullable=False),
]
_SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64(), nullable=False),
        pa.field("first", pa.int64(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("directory", pa.large_binary(), nullable=False),
        pa.field("duplicates", pa.list_(pa.int64()), nullable=False),
        pa.field("copies", pa.list_(pa.struct(_COPY))),  # null: of an older Facecrop
    ]
)


def encode_chunks(chunks: Sequence[Chunk]) -> bytes:
    """Chunks that can be read by range, as Parquet; about 100 bytes a member of a ZIP.

    Raises:
        ValueError: a chunk carries its data: its archive can only be read in order.
    """
    if any(chunk.data is not None for chunk in chunks):
        raise ValueError("a chunk that carries its data cannot be handed to another machine")
    rows = [
        {name: getattr(chunk, name) for name in _SCHEMA.names}
        | {"duplicates": sorted(chunk.duplicates)}
        | {"copies": [copy._asdict() for copy in chunk.copies]}
        for chunk in chunks
    ]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def decode_chunks(data: bytes) -> list[Chunk]:
    """What `encode_chunks` was given.

    Raises:
        StorageError: the bytes are no such file.
    """
    try:
        rows = read_bytes(data).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise StorageError(
            f"A shard's plan cannot be read: {error}. Run the batch again."
        ) from error
    for row in rows:
        row["duplicates"] = frozenset(row["duplicates"])
        row["copies"] = tuple(Copy(**copy) for copy in row.get("copies") or ())
    return [Chunk(**row) for row in rows]
