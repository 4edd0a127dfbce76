import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from storage.errors import OutputError, TransientError
from storage.output.counts import Status
from storage.output.folder import Folder
from storage.output.manifest import AccountingError, MemberRow, encode_part
from storage.output.output import Output
from tests.flows.batches import files
from tests.services import S3

RECORD: dict[str, Any] = {
    "format": 3,
    "id": "01234567-89ab-cdef-0123-456789abcdef",
    "archive": {"uri": "photos.zip", "size": 10, "version": "1"},
    "settings": {"crop": {"size": 300}},
    "created": "today",
}
OTHER = RECORD | {"id": "fedcba98-89ab-cdef-0123-456789abcdef", "settings": {"crop": {"size": 400}}}


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.service)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A place for an output on each kind of storage, and nothing in it."""
    if request.param == "local":
        yield str(tmp_path / "out [1]")
    elif request.param == "memory":
        yield f"memory://{tmp_path.name}/out"
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)
    else:
        s3: S3 = request.getfixturevalue("s3")
        yield f"s3://{s3.bucket}/{tmp_path.name}/out"


def rows(*members: int, record: dict[str, Any] = RECORD) -> bytes:
    return encode_part(
        [MemberRow(member, f"{member}.jpg", Status.NO_FACE, 5) for member in members],
        record["id"],
    )


def test_a_batch_from_claim_to_tables(place: str) -> None:
    output = Output(place)
    assert output.claim(RECORD, "resume").done == set()
    output.put_crops(0, {"crops/a/b.jpg_0.jpg": b"one", "crops/a/c d.jpg_0.jpg": b"two"})
    output.put_part(0, rows(0, 1))
    output.put_part(1, rows(2))
    assert output.claim(RECORD | {"created": "tomorrow"}, "resume").done == {0, 1}
    assert output.finish(3, 2).no_face == 3
    assert output.totals().no_face == 3
    assert set(files(place)) == {
        "batch.json",
        "crops/a/b.jpg_0.jpg",
        "crops/a/c d.jpg_0.jpg",
        "parts/00000000-01234567.parquet",
        "parts/00000001-01234567.parquet",
        "manifest.parquet",
        "faces.parquet",
        "failed.csv",
        "skipped.csv",
        "summary.json",
    }
    assert files(place)["crops/a/c d.jpg_0.jpg"] == b"two"


def test_failures_can_be_read_back(place: str) -> None:
    output = Output(place)
    output.claim(RECORD, "resume")
    failed = [MemberRow(n, f"{n}.jpg", Status.FAILED, 5, "x", "no good") for n in range(3)]
    output.put_part(0, encode_part(failed, RECORD["id"]))
    output.finish(3, 1)
    assert output.failures(2) == [
        {"member": str(n), "path": f"{n}.jpg", "error": "x", "message": "no good"} for n in range(2)
    ]


def test_another_batch_is_refused_and_named(place: str) -> None:
    Output(place).claim(RECORD, "resume")
    with pytest.raises(OutputError, match=r"settings\.crop\.size: 300 there, 400 now"):
        Output(place).claim(OTHER, "resume")
    changed = RECORD | {"archive": RECORD["archive"] | {"version": "2"}}
    with pytest.raises(OutputError, match=r"archive\.version"):
        Output(place).claim(changed, "resume")
    assert b'"size": 300' in files(place)["batch.json"]


def test_parts_without_a_batch_are_refused(place: str) -> None:
    output = Output(place)
    output.claim(RECORD, "resume")
    output.put_part(0, rows(0))
    Folder(place).remove(["batch.json"])
    with pytest.raises(OutputError, match=r"parts/00000000-01234567.parquet, and no batch\.json"):
        Output(place).claim(RECORD, "resume")


def test_a_missing_part_fails_the_account_and_writes_no_table(place: str) -> None:
    output = Output(place)
    output.claim(RECORD, "resume")
    output.put_part(1, rows(1))
    with pytest.raises(AccountingError, match=r"00000000-01234567\.parquet is missing"):
        output.finish(2, 2)
    assert "manifest.parquet" not in files(place)


def test_damaged_batch_json_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "batch.json").write_text('{"format": 1, "arch')
    with pytest.raises(OutputError, match=r"batch\.json is damaged"):
        Output(str(tmp_path)).claim(RECORD, "resume")


def test_remote_patterns_are_refused() -> None:
    with pytest.raises(OutputError, match="Name an output without them"):
        Output("memory://bucket/out*")


def test_an_output_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        Output(str(tmp_path / "file" / "out")).claim(RECORD, "resume")


def test_web_addresses_are_refused_as_outputs() -> None:
    with pytest.raises(OutputError, match="cannot be written to"):
        Output("https://127.0.0.1/out")


@pytest.mark.service
def test_a_bucket_that_is_not_there_is_one_clear_line(s3: S3) -> None:
    with pytest.raises(OutputError, match="s3://no-such-bucket-here/out"):
        Output("s3://no-such-bucket-here/out").claim(RECORD, "resume")


def test_a_full_disk_is_worth_another_try_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output(str(tmp_path / "out"))
    output.claim(RECORD, "resume")
    before = set(files(str(tmp_path / "out")))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TransientError, match="No space left"):
            output.put_crops(0, {"crops/a.jpg_0.jpg": b"data"})
    assert set(files(str(tmp_path / "out"))) == before
    output.put_crops(0, {"crops/a.jpg_0.jpg": b"data"})
    assert files(str(tmp_path / "out"))["crops/a.jpg_0.jpg"] == b"data"


def test_many_threads_may_write_the_same_files_at_once(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "out"))
    output.claim(RECORD, "resume")
    crops = {f"crops/{n}.jpg_0.jpg": bytes([n]) * 50_000 for n in range(20)}
    threads = [threading.Thread(target=output.put_crops, args=[0, crops]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = files(str(tmp_path / "out"))
    assert {name: written[name] for name in crops} == crops


def test_what_a_killed_run_left_in_the_making_is_gone_at_the_end(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    output.claim(RECORD, "resume")
    half = tmp_path / ".tmp" / "01234567-00000000" / "0"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half a cr")
    output.put_part(0, rows(0))
    output.finish(1, 1)
    assert not any(name.startswith(".tmp") for name in files(str(tmp_path)))
    assert not (tmp_path / ".tmp").exists()
