from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.archives.members import Chunk, Copy
from storage.archives.plan import decode_chunks, encode_chunks
from storage.errors import StorageError

CHUNKS = [
    Chunk(3, 30, 10, 1 << 40, (1 << 40) + 5000, b"PK\1\2 \0\xff", duplicates=frozenset({31, 38})),
    Chunk(4, 40, 1, 0, 0, copies=(Copy(40, 3, "ab" * 32),)),
]


def test_chunks_come_back_as_they_were() -> None:
    assert decode_chunks(encode_chunks(CHUNKS)) == CHUNKS


def test_the_plan_of_an_older_version_says_nothing_of_copies() -> None:
    sink = pa.BufferOutputStream()
    older = pq.read_table(pa.BufferReader(encode_chunks(CHUNKS))).drop_columns(["copies"])
    pq.write_table(older, sink)
    assert decode_chunks(sink.getvalue().to_pybytes()) == [
        replace(one, copies=()) for one in CHUNKS
    ]


def test_the_same_chunks_are_the_same_bytes() -> None:
    assert encode_chunks(CHUNKS) == encode_chunks(CHUNKS)


def test_a_chunk_that_carries_its_data_stays_here() -> None:
    with pytest.raises(ValueError, match="cannot be handed to another machine"):
        encode_chunks([Chunk(0, 0, 1, 0, 512, data=bytes(512))])


def test_a_damaged_plan_is_one_line() -> None:
    with pytest.raises(StorageError, match="Run the batch again"):
        decode_chunks(b"PAR1 no more")
