import io
import zipfile
from pathlib import Path

import pytest

from intake.http.crops_zip import stream_zip


def test_a_zip_holds_what_it_was_given() -> None:
    files = {f"crops/é {number}.jpg": bytes([number]) * number for number in range(200)}
    data = b"".join(stream_zip(files.items()))
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == files
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert data == b"".join(stream_zip(files.items()))


def test_nothing_is_a_zip_too() -> None:
    assert zipfile.ZipFile(io.BytesIO(b"".join(stream_zip([])))).namelist() == []


def test_more_entries_than_an_old_zip_may_have() -> None:
    data = b"".join(stream_zip((str(number), b"") for number in range(70_000)))
    assert len(zipfile.ZipFile(io.BytesIO(data)).namelist()) == 70_000


@pytest.mark.slow
def test_offsets_beyond_4_gib(tmp_path: Path) -> None:
    zeros = bytes(1 << 30)
    path = tmp_path / "large.zip"
    with path.open("wb") as file:  # its zeros as a hole: they need no disk
        for piece in stream_zip([*((str(n), zeros) for n in range(4)), ("last", b"here")]):
            if len(piece) > len(zeros):
                file.write(piece[: len(piece) - len(zeros)])
                file.seek(len(zeros), io.SEEK_CUR)
            else:
                file.write(piece)
    archive = zipfile.ZipFile(path)
    assert archive.infolist()[-1].header_offset > 1 << 32
    assert archive.read("last") == b"here"


def test_only_what_was_asked_for_is_read() -> None:
    read = []

    def files() -> object:
        for number in range(1000):
            read.append(number)
            yield str(number), b"data"

    pieces = stream_zip(files())  # type: ignore[arg-type]
    for _ in range(3):
        next(pieces)
    assert len(read) == 3
