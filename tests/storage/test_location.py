import errno
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from storage.errors import ArchiveError, OutputError, StorageError, TransientError
from storage.fs.faults import is_missing, translate
from storage.fs.location import RangeReader, probe, read_start, resolve
from tests.services import S3, QuietHandler, web_server

DATA = bytes(range(256)) * 400


def reader(uri: str) -> RangeReader:
    location = resolve(uri)
    fingerprint = probe(location)
    assert fingerprint is not None
    return RangeReader(location, fingerprint)


def put(path: Path, data: bytes = DATA, age: int = 0) -> str:
    path.write_bytes(data)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - age * 10**9))
    return str(path)


def check_reading(opened: RangeReader) -> None:
    assert opened.size == len(DATA)
    assert opened.read(0, len(DATA)) == DATA
    assert opened.read(1000, 1000) == b""
    ranges = [(i * 500, i * 500 + 700) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda r: opened.read(*r), ranges)) == [DATA[a:b] for a, b in ranges]
    assert read_start(opened.location, 300) == DATA[:300]
    assert read_start(opened.location, len(DATA) + 5) == DATA


def test_local(tmp_path: Path) -> None:
    path = put(tmp_path / "a::b [1]#?.bin")
    check_reading(reader(path))
    check_reading(reader("file://" + put(tmp_path / "plain.bin")))
    assert resolve(path).is_local
    assert probe(resolve(str(tmp_path))) is None


def test_memory() -> None:
    fsspec.filesystem("memory").pipe_file("/location/a.bin", DATA)
    opened = reader("memory://location/a.bin")
    check_reading(opened)
    fsspec.filesystem("memory").pipe_file("/location/a.bin", DATA[::-1])
    with pytest.raises(ArchiveError, match="changed"):
        opened.read(0, 10)


def test_http(tmp_path: Path) -> None:
    put(tmp_path / "a b.bin")
    with web_server(tmp_path) as address:
        check_reading(reader(f"{address}/a b.bin"))


@pytest.mark.service
def test_s3(s3: S3) -> None:
    files = fsspec.filesystem("s3", use_listings_cache=False)
    files.pipe_file(f"{s3.bucket}/location/a.bin", DATA)
    opened = reader(f"s3://{s3.bucket}/location/a.bin")
    check_reading(opened)
    assert probe(resolve(f"s3://{s3.bucket}/location")) is None
    files.pipe_file(f"{s3.bucket}/location/a.bin", DATA[::-1])
    with pytest.raises(ArchiveError, match="changed"):
        opened.read(0, 10)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ArchiveError, match="changed"):
        pool.submit(opened.read, 0, 10).result()
    files.rm(f"{s3.bucket}/location/a.bin")
    with pytest.raises(ArchiveError, match="not found"):
        opened.read(0, 10)


@pytest.mark.service
def test_s3_that_refuses(s3: S3) -> None:
    for uri in (f"s3://{s3.bucket}/none.zip", "s3://no-such-bucket/none.zip"):
        with pytest.raises(ArchiveError, match=r"not found|denied") as caught:
            probe(resolve(uri))
        assert uri in str(caught.value)
    location = resolve(f"s3://{s3.bucket}/none.zip")
    stranger = fsspec.filesystem("s3", key="stranger", secret="wrong", skip_instance_cache=True)
    with pytest.raises(ArchiveError, match="permission denied"):
        probe(type(location)(location.uri, stranger, location.path))
    nobody = fsspec.filesystem(
        "s3", endpoint_url="http://127.0.0.1:9", skip_instance_cache=True,
        config_kwargs={"retries": {"max_attempts": 0}, "connect_timeout": 1},
    )  # fmt: skip
    nobody.retries = 1
    with pytest.raises(TransientError):
        probe(type(location)(location.uri, nobody, location.path))


def test_a_local_change_is_noticed(tmp_path: Path) -> None:
    opened = reader(put(tmp_path / "a.bin", age=5))
    put(tmp_path / "a.bin", DATA[::-1])
    with pytest.raises(ArchiveError, match="changed"):
        opened.read(0, 10)
    opened = reader(str(tmp_path / "a.bin"))
    (tmp_path / "a.bin").unlink()
    with pytest.raises(ArchiveError, match="not found"):
        opened.read(0, 10)


@pytest.mark.parametrize("data", [DATA[::-1], DATA[:-1]])
def test_a_change_on_a_web_server_is_noticed(tmp_path: Path, data: bytes) -> None:
    put(tmp_path / "a.bin", age=5)
    with web_server(tmp_path) as address:
        opened = reader(f"{address}/a.bin")
        put(tmp_path / "a.bin", data)
        with pytest.raises(ArchiveError, match="changed"):
            opened.read(0, 10)


def test_a_web_server_without_ranges(tmp_path: Path) -> None:
    put(tmp_path / "a.bin")
    with web_server(tmp_path, QuietHandler) as address:
        opened = reader(f"{address}/a.bin")
        for start, end in ((0, 10), (500, 600)):
            with pytest.raises(ArchiveError, match="download the archive first"):
                opened.read(start, end)
        assert opened.read(0, len(DATA)) == DATA
        assert read_start(opened.location, 300) == DATA[:300]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, ArchiveError, "permission denied"),
        (404, ArchiveError, "not found"),
        (429, TransientError, "429"),
        (500, TransientError, "500"),
        (503, TransientError, "503"),
    ],
)
def test_web_server_statuses(
    tmp_path: Path, status: int, kind: type[Exception], words: str
) -> None:
    with web_server(tmp_path) as address, pytest.raises(kind, match=words) as caught:
        probe(resolve(f"{address}/error-{status}"))
    assert address in str(caught.value)


def test_a_web_server_that_is_not_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(TransientError):
        probe(resolve(f"http://127.0.0.1:{port}/a.zip"))


@pytest.mark.parametrize("uri", ["gopher://x/a.zip", "/no/such/file.zip"])
def test_what_cannot_be_opened_is_named(uri: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        probe(resolve(uri))
    assert uri in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        *((OSError(code, "x"), True) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO)),
        *((OSError(code, "x"), True) for code in (errno.ECONNRESET, errno.ETIMEDOUT)),
        (TimeoutError(), True),
        (OSError(errno.EINVAL, "x"), False),
        (PermissionError(errno.EACCES, "x"), False),
        (FileNotFoundError("x"), False),
        (IsADirectoryError(errno.EISDIR, "x"), False),
        (ValueError("several\nlines"), False),
    ],
)
def test_translate(error: Exception, transient: bool) -> None:
    meaning = translate(error, "s3://b/out", "write", OutputError)
    assert isinstance(meaning, TransientError if transient else OutputError)
    assert isinstance(meaning, StorageError) is not transient
    assert str(meaning).startswith("cannot write s3://b/out: ")
    assert "\n" not in str(meaning)


class WindowsFileError(PermissionError):
    """As Windows raises it, with a code of its own."""

    def __init__(self, winerror: int) -> None:
        super().__init__(errno.EACCES, "x")
        self.winerror = winerror


def test_translate_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    def meaning(error: OSError) -> StorageError | TransientError:
        return translate(error, "C:\\out", "write", OutputError)

    assert isinstance(meaning(WindowsFileError(32)), TransientError)  # another program has it open
    assert isinstance(meaning(WindowsFileError(5)), OutputError)
    too_long = FileNotFoundError(errno.ENOENT, "x", "C:\\" + 257 * "a")
    assert "not found" in str(meaning(too_long))
    monkeypatch.setattr(sys, "platform", "win32")
    assert "enable long paths" in str(meaning(too_long))
    assert "not found" in str(meaning(FileNotFoundError(errno.ENOENT, "x", "C:\\a")))


def test_is_missing() -> None:
    assert is_missing(FileNotFoundError("x"))
    assert not is_missing(PermissionError("x"))
