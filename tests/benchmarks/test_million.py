import sqlite3
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.rows import KIB, Batch, count_rows, fit
from benchmarks.synthetic import write_tar, write_zip
from storage.archive import open_archive
from storage.members import ChunkSize, Limits

MEMBERS = 70_000  # more than fit without zip64, and than are written at once
LAST = "album-0069/member-0069999.txt"


def test_rows_are_taken_apart() -> None:
    sizes = [(4, 1, 0.1), (4, 1, 0.5), (4, 4, 0.2), (9, 1, 0.1), (9, 4, 0.3)]
    batches = [
        Batch(chunks, shards, hours, {"log": round(3 * chunks + 7 * shards + 100 * hours + 2)})
        for chunks, shards, hours in sizes
    ]
    rows = fit(batches)["log"]
    assert (rows.chunk, rows.shard, rows.hour, rows.batch) == pytest.approx((3, 7, 100, 2))
    assert rows.error == pytest.approx(0, abs=1e-9)
    assert rows.of(1000, 10, 2.0) == 3272


def test_a_table_that_only_some_batches_grew_counts_as_none_in_the_others() -> None:
    batches = [Batch(1, 1, 0.0, {}), Batch(2, 1, 0.0, {"late": 1}), Batch(3, 1, 0.0, {"late": 2})]
    assert fit(batches)["late"].of(4, 1, 0.0) == 3


def test_what_does_not_add_up_is_told() -> None:
    batches = [Batch(n, 1, 0.0, {"log": rows}) for n, rows in ((1, 0), (2, 30), (3, 0))]
    assert fit(batches)["log"].error == pytest.approx(20)


def test_rows_of_every_table(tmp_path: Path) -> None:
    database = tmp_path / "some.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE events (id)")
        connection.execute("CREATE TABLE log (id)")
        connection.executemany("INSERT INTO events VALUES (?)", [(1,), (2,)])
    rows = count_rows(database)
    assert (rows["events"], rows["log"]) == (2, 0)
    assert rows[KIB] == database.stat().st_size >> 10


def test_zip_is_one(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", MEMBERS)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(set(archive.namelist())) == MEMBERS
        assert archive.namelist()[-1] == LAST
        assert archive.testzip() is None


def test_tar_is_one(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", MEMBERS)
    with tarfile.open(tmp_path / "a.tar") as archive:
        members = archive.getmembers()
        content = archive.extractfile(members[-1])
        assert len({member.name for member in members}) == MEMBERS
        assert members[-1].name == LAST
        assert content is not None
        assert content.read() == b"text"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_are_read_as_any_are(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    {"zip": write_zip, "tar": write_tar}[kind](path, MEMBERS)
    archive = open_archive(str(path), Limits(1 << 20))
    assert archive.members == MEMBERS
    *_, last = archive.chunks(ChunkSize(64, 1 << 20))
    entries = list(archive.read(last))
    assert (entries[-1].index, entries[-1].name) == (MEMBERS - 1, LAST)
    assert entries[-1].data == b"text"
