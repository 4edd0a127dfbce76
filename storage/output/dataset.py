"""Crops packed for `datasets.load_dataset`: a Parquet file a chunk, and in it a row a face.

A column of the type `struct<bytes, path>` is an Image for Hugging Face's `datasets`, where the
schema's metadata says so under the key `huggingface`, as its own writer does (`datasets`,
`Features.arrow_schema`).
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.output.folder import Folder
from storage.output.layout import CROPS
from storage.output.pictures import ABOUT_FIELDS, Picture, by_pack

ROW_GROUP_BYTES = 16 << 20
"""Of pictures: who reads one row has a row group in memory."""

_ROW_GROUP = 1000  # rows, where pictures are small
_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
_FEATURES = {"info": {"features": {"image": {"_type": "Image"}}}}
SCHEMA = pa.schema(
    [pa.field("image", _IMAGE), *ABOUT_FIELDS], metadata={"huggingface": json.dumps(_FEATURES)}
)


class Table:
    """A Parquet file a chunk, with the crops in it."""

    data_files = f"{CROPS}/*.parquet"

    def stem(self, folder: str, chunk: int, member: int, own: str) -> str:
        """See `Layout.stem`."""
        return f"{folder}/{chunk:08d}.parquet/{member:08d}"

    def files(self, pictures: Sequence[Picture]) -> dict[str, bytes]:
        """See `Layout.files`."""
        return {table: _table(inside) for table, inside in by_pack(pictures).items()}

    def without(self, data: bytes, members: Collection[int]) -> bytes | None:
        """See `Layout.without`."""
        table = pq.ParquetFile(pa.BufferReader(data))
        gone = pa.array(sorted(members), pa.int64())
        sink, rows = io.BytesIO(), 0
        with _writer(sink, table.schema_arrow) as writer:
            for group in range(table.num_row_groups):
                found = table.read_row_group(group)
                kept = found.filter(pc.invert(pc.is_in(found["member"], gone)))
                rows += kept.num_rows
                if kept.num_rows:
                    writer.write_table(kept)
        return sink.getvalue() if rows else None

    def read(self, folder: Folder, names: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        """See `Layout.read`. Of a file, only the row groups with some of them are read."""
        for _, of_chunk in itertools.groupby(names, lambda name: name.split("/")[-2]):
            wanted = list(of_chunk)
            with ExitStack() as files:
                rows: dict[str, Iterator[tuple[str, bytes]]] = {}
                for name in wanted:  # of one table, or of two where not all faces were kept
                    table = name.rpartition("/")[0]
                    if table not in rows:
                        file = files.enter_context(folder.fs.open(folder.path(table), "rb"))
                        rows[table] = _rows(pq.ParquetFile(file), set(wanted))
                    data = next((data for found, data in rows[table] if found == name), None)
                    if data is None:
                        raise FileNotFoundError(f"{table} lacks {name}")
                    yield name, data


def _table(pictures: Sequence[Picture]) -> bytes:
    """The file; the same bytes for the same pictures, whenever it is made."""
    sink = io.BytesIO()
    with _writer(sink, SCHEMA) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for picture in pictures:
            if rows and (size + len(picture.data) > ROW_GROUP_BYTES or len(rows) == _ROW_GROUP):
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                rows, size = [], 0
            rows.append({"image": {"bytes": picture.data, "path": picture.name}, **picture.about})
            size += len(picture.data)
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return sink.getvalue()


def _writer(sink: io.BytesIO, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(sink, schema, compression="snappy", write_page_index=True)


def _rows(table: pq.ParquetFile, wanted: set[str]) -> Iterator[tuple[str, bytes]]:
    for group in range(table.num_row_groups):
        names = table.read_row_group(group, columns=["crop"])["crop"].to_pylist()
        if wanted.isdisjoint(names):
            continue
        images = table.read_row_group(group, columns=["image.bytes"])["image"]
        for name, image in zip(names, images, strict=True):
            if name in wanted:
                yield name, image["bytes"].as_py()
