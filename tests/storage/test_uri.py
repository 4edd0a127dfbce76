"""One parser for all addresses: what comes out of it is what is opened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intake.http.prefixes import Prefixes
from intake.http.problems import ProblemError
from storage.archives.members import ChunkSize, Limits
from storage.archives.opening import open_archive
from storage.errors import ArchiveError, StorageError, TransientError
from storage.fs.faults import foreign
from storage.fs.location import probe, read_start, resolve
from storage.fs.redact import shown
from storage.fs.uri import canonical, folder_of, joined

LIMITS = Limits(1 << 20)
SIZE = ChunkSize(100, 1 << 20)


@contextmanager
def recording() -> Iterator[tuple[int, list[str]]]:
    """A web server that has everything: its port, and each request's own line."""
    seen: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"data")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_port, seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def recorder() -> Iterator[tuple[int, list[str]]]:
    with recording() as found:
        yield found


# each after `http://127.0.0.1:<port>`, where `/ok/` is the prefix
SPELLINGS = [
    "/ok/a.zip",
    "/ok/a%20b.zip?x=1",
    "/ok/..?file=secret",
    "/ok/..#secret",
    "/ok/../secret",
    "/ok/x/../../secret",
    "/ok/%2e%2e/secret",
    "/ok/.%2E?secret",
    "/ok/%2e%2e%2fsecret",
    "/ok/..%2fsecret",
    "/ok/%252e%252e/secret",
    "/ok/..%5csecret",
    "/ok/..\\secret",
    "\\ok\\..\\secret",
    "/ok/..;a=b/secret",
    "/ok/..;/secret",
    "/ok/;/../../secret",
    "/ok/%2e%2e;x?secret",
    "/ok/..%3fsecret",
    "/ok/..%23secret",
    "/ok/\uff0e\uff0e/secret",
    "/ok/\uff0e\uff0e\uff0fsecret",
    "/ok/..\t/secret",
    "/ok/.\t./secret",
    "/ok/.\n./secret",
    "/ok/\r../secret",
    "/ok/..%00/secret",
    "/ok/.. /secret",
    "//ok/secret",
    "/ok//../..//secret",
    "/./ok/a.zip",
    "/%6fk/a.zip",
    "/ok%2fsecret",
    "/ok%2f..%2fsecret",
    "/ok?/../ok/",
    "/ok#/ok/",
    "?/ok/",
    "#/ok/",
    "/OK/a.zip",
    "/okay/a.zip",
    "/ok",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_web_server_is_asked_for_what_was_checked(
    recorder: tuple[int, list[str]], spelling: str
) -> None:
    port, seen = recorder
    host = f"http://127.0.0.1:{port}"
    prefixes = Prefixes([f"{host}/ok/"])
    for uri in (f"{host}{spelling}", f"HTTP://127.0.0.1:0{port}{spelling}"):
        try:
            checked = prefixes.check(uri)
        except ProblemError:
            assert "a.zip" not in spelling or not spelling.startswith("/ok/")
            continue
        seen.clear()
        probe(resolve(checked))
        read_start(resolve(checked), 4)
        assert seen
        assert {checked.removeprefix(host)} == set(seen)
        assert all(path.startswith("/ok/") for path in seen)


PARTS = st.sampled_from(
    [
        *("ok", "..", ".", "%2e", "%2e%2e", "%2f", "%5c", "\\", "/", "//", ";", ";a=b", "?", "#"),
        *(
            "@",
            ":",
            "::",
            "://",
            "secret",
            "a b",
            "\t",
            "%",
            "%zz",
            "%25",
            "é",
            "\uff0e\uff0e",
            "\uff0f",
            "x",
        ),
        *("http://", "s3://", "file://", "..;", "*", "~", "[", "]", "\u200b", "\u3002"),
    ]
)
TAILS = st.lists(PARTS, max_size=8).map("".join)
HEADS = st.sampled_from(["", "HTTP", "http", "https", "S3", "s3", "file", "FILE", "zip", "memory"])
HOSTS = st.sampled_from(
    ["", "h", "H.", "h:80", "h:443", "b", "u@h", "h\\@e", "[::1]", "\uff11.0.0.1"]
)
URIS = st.builds(
    lambda head, join, host, tail: f"{head}{join}{host}{tail}",
    HEADS,
    st.sampled_from(["://", ":/", ":", "::", ":///", ""]),
    HOSTS,
    TAILS,
) | st.builds("http://h/ok/{}".format, TAILS)


@given(URIS)
@example("http://h/ok/..?file=secret")
@example("http://h")
@example("HTTP://h?")
@example("http://h#")
@example("http://h?#x")
@example("http://h??")
@example("http://[::1]@")
@settings(max_examples=6 * settings().max_examples)
def test_what_is_canonical_stays_as_it_is(uri: str) -> None:
    try:
        found = canonical(uri)
    except ArchiveError:
        return
    again = canonical(found.text)
    assert (again.scheme, again.text) == (found.scheme, found.text)


@given(tail=TAILS)
@settings(max_examples=3 * settings().max_examples)
def test_what_is_accepted_of_a_web_server_is_below_the_prefix(
    recorder: tuple[int, list[str]], tail: str
) -> None:
    port, seen = recorder
    host = f"http://127.0.0.1:{port}"
    try:
        checked = Prefixes([f"{host}/ok/"]).check(f"{host}/ok/{tail}")
    except ProblemError:
        return
    seen.clear()
    assert read_start(resolve(checked), 4) == b"data"
    (asked,) = seen
    assert asked.startswith("/ok/")
    assert ".." not in asked.partition("?")[0].split("/")


@pytest.mark.slow
@given(URIS)
@settings(max_examples=6 * settings().max_examples)
def test_what_is_accepted_opens_below_a_prefix(uri: str) -> None:
    prefixes = Prefixes(["s3://b/ok", "/srv/ok", "memory://b/ok/"])
    try:
        checked = prefixes.check(uri)
    except ProblemError:
        return
    path = resolve(checked).path.strip("/")
    assert path.startswith(("b/ok", "srv/ok"))
    assert ".." not in path.split("/")


@pytest.mark.parametrize(
    ("line", "opened"),
    [
        ("FILE:///x/a.jpg", "/x/a.jpg"),
        ("File://localhost/x/a.jpg", "/x/a.jpg"),
        ("LOCAL:///x/a.jpg", "/x/a.jpg"),
        ("file:///x/a%20b?c#d.jpg", "/x/a b?c#d.jpg"),
        ("file:///x/100%.jpg", "/x/100%.jpg"),
        ("/x/a.jpg", "/x/a.jpg"),
        ("S3://bucket/x.jpg", "bucket/x.jpg"),
        ("s3://bucket/a/../b.jpg", "bucket/a/../b.jpg"),
        ("MEMORY://x/a.jpg", "/x/a.jpg"),
        ("HTTP://Host.Example:80/a b.jpg", "http://host.example/a%20b.jpg"),
        ("a.jpg", "{base}/a.jpg"),
        ("what?.jpg", "{base}/what?.jpg"),
        ("12:30 #1@home.jpg", "{base}/12:30 #1@home.jpg"),
        ("x/http://h/a.jpg", "{base}/x/http:/h/a.jpg"),
    ],
)
def test_a_line_of_a_list_is_opened_as_it_is_checked(
    line: str, opened: str, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(line)
    archive = open_archive(str(tmp_path / "list.txt"), LIMITS)
    location = archive.locate(line)  # type: ignore[attr-defined]
    assert location.path.replace("//", "/") == opened.format(base=tmp_path).replace("//", "/")
    found = canonical(joined(folder_of(archive.uri), line))
    assert found.is_local is location.is_local


@pytest.mark.parametrize(
    "line",
    [
        "file:/etc/passwd",
        "FILE:/etc/passwd",
        "file://host/share/a.jpg",
        "http:/host/a.jpg",
        "http:///host/a.jpg",
        "http://ok.example\\@evil.example/a.jpg",
        "http://ok.example%2f@evil.example%00/a.jpg",
        "http://h\uff0fx/a.jpg",
        "http://h:port/a.jpg",
        "zip://a.jpg::http://127.0.0.1/a",
        "simplecache::s3://bucket/a.jpg",
        "filecache::file:///etc/passwd",
        "s3://s3a://bucket/a.jpg",
        "s3://s3a::bucket/a.jpg",
        "tar://a.jpg",
    ],
)
def test_an_address_that_reads_two_ways_is_not_opened(line: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="cannot open"):
        resolve(line)
    (tmp_path / "list.txt").write_text(f"{line}\n")
    archive = open_archive(str(tmp_path / "list.txt"), LIMITS)
    with pytest.raises(ProblemError):
        Prefixes([str(tmp_path), "http://h/", "s3://bucket"]).check_list(archive)
    (entry,) = archive.read(next(archive.chunks(SIZE)))
    assert entry.error is not None  # and no relative path below the list's folder
    assert "cannot open" in str(entry.error)


def test_relative_lines_count_from_the_folder_and_not_from_a_query() -> None:
    assert folder_of("https://h/l/list.txt?sig=a/b") == "https://h/l/"
    assert folder_of("https://h") == "https://h/"
    assert folder_of("S3://b/l/list.txt") == "s3://b/l/"
    assert folder_of("list.txt") == ""
    assert folder_of("/x/a?b/list.txt") == "/x/a?b/"


def test_a_list_on_the_web_is_read_below_its_own_folder(recorder: tuple[int, list[str]]) -> None:
    port, seen = recorder
    base = f"http://127.0.0.1:{port}"
    prefixes = Prefixes([f"{base}/ok/"])
    for line in ("..?file=secret", "%2e%2e/secret", "..;/secret", "..\\secret", f"{base}/secret"):
        with pytest.raises(ProblemError):
            prefixes.check(joined(folder_of(f"{base}/ok/list.txt?sig=a/b"), line))
    seen.clear()
    read_start(resolve(joined(folder_of(f"{base}/ok/list.txt?sig=a/b"), "a.jpg?x=1")), 4)
    assert seen == ["/ok/a.jpg?x=1"]


@pytest.mark.parametrize("port", ["", ":80", ":080"])
def test_a_default_port_is_none(port: str) -> None:
    for prefix in ("http://host.example/in/", "http://HOST.example:80/in/"):
        checked = Prefixes([prefix]).check(f"http://Host.Example{port}/in/a.zip")
        assert checked == "http://host.example/in/a.zip"


@pytest.mark.parametrize(
    "uri",
    [
        "http://host.example./in/a.zip",
        "http://host.example:443/in/a.zip",
        "https://host.example:80/in/a.zip",
        "http://[::1]/in/a.zip",
        "http://host%2eexample/in/a.zip",
        "http://host.example:80@evil.example/in/a.zip",
        "http://evil.example#@host.example/in/a.zip",
        "http://evil.example?@host.example/in/a.zip",
        "http://host.example/in/a.zip ",
        " http://host.example/in/a.zip",
        "http://host.example/in/\ud800.zip",
        "http://host.example/in",
    ],
)
def test_another_host_port_or_page_is_another(uri: str) -> None:
    with pytest.raises(ProblemError):
        Prefixes(["http://host.example/in/"]).check(uri)


def test_a_host_in_other_letters_is_the_same() -> None:
    prefixes = Prefixes(["http://bücher.example/in/"])
    for host in (
        "bücher.example",
        "BÜCHER.example",
        "xn--bcher-kva.example",
        "bücher\u3002example",
    ):
        assert prefixes.check(f"http://{host}/in/a") == "http://xn--bcher-kva.example/in/a"


def test_errors_of_an_address_that_cannot_be_tell_no_password() -> None:
    for uri in ("http://me:hush@h\uff0fx/a", "http://me:hush@h:port/a?sig=hush", "s3a:/hush@b"):
        with pytest.raises((*foreign(), StorageError, TransientError)) as told:
            probe(resolve(uri))
        assert "hush" not in str(told.value)
        assert shown(str(told.value)) == str(told.value)


@pytest.mark.parametrize(
    "path", ["C:\\photos.zip", "c:/photos.zip", "C:photos.zip", r"\\server\share\photos.zip"]
)
def test_a_drive_is_no_scheme(path: str) -> None:
    found = canonical(path)
    assert found.is_local
    assert found.text == path
    assert joined("s3://lists/", path) == path or path == "C:photos.zip"


def test_addresses_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.fs.uri.os", SimpleNamespace(name="nt"))
    assert canonical("file:///C:/my%20photos/a.zip").text == "C:/my photos/a.zip"
    assert canonical("file://C:\\photos\\a.zip").text == "C:\\photos\\a.zip"
    assert folder_of("C:\\lists\\all.txt") == "C:\\lists\\"
    assert folder_of("C:/lists/all.txt") == "C:/lists/"
    with pytest.raises(ArchiveError, match="only paths of this machine"):
        canonical("file://server/share/a.zip")
