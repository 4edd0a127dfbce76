"""Where redirects of web servers are followed: of two real ones the second must see nobody."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yarl

from storage.archives.listing import UriList
from storage.archives.members import ChunkSize, Entry, Limits
from storage.archives.opening import open_archive
from storage.errors import ArchiveError, MemberErrorCode
from storage.fs import web
from storage.fs.location import RangeReader, probe, read_start, resolve
from tests.services import QuietHandler, RangeHandler, web_server

LIMITS = Limits(1 << 20)
DATA = b"a secret of this network"


class Watched(RangeHandler):
    """Tells of every request."""

    seen: list[str]

    def do_GET(self) -> None:  # noqa: N802
        self.seen.append(self.path)
        super().do_GET()

    def do_HEAD(self) -> None:  # noqa: N802
        self.seen.append(self.path)
        super().do_HEAD()


@contextmanager
def inside(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that is not meant to be reached: its address, and the requests that it had."""
    folder.mkdir()
    (folder / "a.zip").write_bytes(DATA)
    seen: list[str] = []
    with web_server(folder, type("Inside", (Watched,), {"seen": seen})) as address:
        yield address, seen


class Going(RangeHandler):
    """Serves `/new`, and sends whoever asks for `/old` there, `/loop` in a circle."""

    target = "/new"

    def _leads(self) -> bool:
        if self.path.startswith("/loop"):
            to = "/loop"
        elif self.path.startswith("/old"):
            to = self.path.replace("/old", self.target)
        else:
            return False
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def do_GET(self) -> None:  # noqa: N802
        if not self._leads():
            super().do_GET()

    def do_HEAD(self) -> None:  # noqa: N802
        if not self._leads():
            super().do_HEAD()


def leading(target: str, status: int = 302, *, head: bool = True) -> type[QuietHandler]:
    """What sends everybody on to a target; without `head` not those who ask for the size."""

    class Leading(RangeHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(status)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:  # noqa: N802
            if head:
                self.do_GET()
            else:
                super().do_HEAD()

    return Leading


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_archive_is_not_looked_for_elsewhere(tmp_path: Path, status: int) -> None:
    with (
        inside(tmp_path / "inside") as (target, seen),
        web_server(tmp_path, leading(f"{target}/a.zip?sig=hush", status)) as address,
        pytest.raises(ArchiveError, match="redirects are not followed") as refused,
    ):
        probe(resolve(f"{address}/a.zip"))
    assert f"cannot open {address}/a.zip: its server redirects to {target}/a.zip," in str(
        refused.value
    )
    assert "hush" not in str(refused.value)
    assert seen == []


def test_a_server_that_redirects_later_is_not_followed_either(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(DATA)
    with (
        inside(tmp_path / "inside") as (target, seen),
        web_server(tmp_path, leading(f"{target}/a.zip", head=False)) as address,
    ):
        location = resolve(f"{address}/a.zip")
        fingerprint = probe(location)
        assert fingerprint is not None
        assert fingerprint.size == len(DATA)
        with pytest.raises(ArchiveError, match=rf"redirects to {target}/a\.zip"):
            RangeReader(location, fingerprint).read(0, 10)
    assert seen == []


def test_an_image_of_a_list_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with (
        inside(tmp_path / "inside") as (target, seen),
        web_server(tmp_path, leading(f"{target}/a.zip")) as address,
    ):
        listed = open_archive([f"{address}/a.jpg"], LIMITS)
        assert isinstance(listed, UriList)
        (entry,) = listed.read(next(listed.chunks(ChunkSize(10, 1 << 20))))
        assert entry.error is not None
        assert entry.error.code == MemberErrorCode.UNREADABLE
        assert "redirects are not followed" in str(entry.error)
    assert seen == []


def test_not_even_on_the_same_server(tmp_path: Path) -> None:
    (tmp_path / "secret.zip").write_bytes(DATA)
    with (
        web_server(tmp_path, leading("/secret.zip")) as address,
        pytest.raises(ArchiveError, match=r"redirects to /secret\.zip"),
    ):
        probe(resolve(f"{address}/public/a.zip"))


def test_what_does_not_redirect_is_read(tmp_path: Path) -> None:
    with inside(tmp_path / "inside") as (address, seen):
        assert read_start(resolve(f"{address}/a.zip"), 8) == DATA[:8]
    assert seen == ["/a.zip"]


@pytest.mark.parametrize(
    "target",
    [
        "http://me:hush@127.0.0.1:9/a.zip?hush#hush",
        "//me:hush@127.0.0.1:9/a.zip?hush",
        "/a.zip#access_token=hush",
        "s3://bucket/a.zip?sig=hush",
    ],
)
def test_where_it_leads_is_told_without_secrets(tmp_path: Path, target: str) -> None:
    with (
        web_server(tmp_path, leading(target)) as address,
        pytest.raises(ArchiveError, match=r"redirects to .*a\.zip, and") as refused,
    ):
        probe(resolve(f"{address}/b.zip"))
    assert "hush" not in str(refused.value)


def only(uri: str, redirects: str) -> Entry:
    listed = open_archive([uri], Limits(1 << 20, redirects=redirects))
    (entry,) = listed.read(next(listed.chunks(ChunkSize(10, 1 << 20))))
    return entry


def test_within_the_same_origin_one_is_followed_where_asked_for(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.jpg").write_bytes(DATA)
    with web_server(tmp_path, Going) as address:
        assert only(f"{address}/old/a.jpg", "origin").data == DATA
        location = resolve(f"{address}/old/a.jpg", "origin")
        found = probe(location)
        assert found is not None
        assert RangeReader(location, found).read(2, 8) == DATA[2:8]
        circle = only(f"{address}/loop.jpg", "origin").error
        assert circle is not None
        assert "redirects again and again" in str(circle)
        refused = only(f"{address}/old/a.jpg", "no").error
        assert refused is not None
        assert "redirects to /new/a.jpg" in str(refused)


def test_another_origin_is_not_followed_but_a_prefix_is(tmp_path: Path) -> None:
    with inside(tmp_path / "inside") as (target, seen):
        going = type("There", (Going,), {"target": f"{target}/a.zip?"})
        with web_server(tmp_path, going) as address:
            for allowed in ("origin", "no", f"{target}/b", f"{target}/a", f"https{target[4:]}"):
                assert only(f"{address}/old/x.jpg", allowed).error is not None
            assert seen == []
            assert only(f"{address}/old/x.jpg", f"{address}/ {target}").data == DATA
    assert seen == ["/a.zip?/x.jpg"]


@pytest.mark.parametrize(
    ("source", "target", "allowed", "may"),
    [
        ("https://h/a", "https://h/b", "origin", True),
        ("https://h/a", "b", "origin", True),
        ("https://h/a", "https://H:443/b", "origin", True),
        ("https://h/a", "http://h/b", "origin", False),
        ("http://h/a", "https://h/b", "origin", False),
        ("https://h/a", "https://h:8443/b", "origin", False),
        ("https://h/a", "//g/b", "origin", False),
        ("https://h/a", "file:///etc/passwd", "origin", False),
        ("https://h/a", "http://h/in/b", "http://h/in/", False),
        ("http://h/a", "https://h/in/b", "https://h/in/ http://g/", True),
        ("https://h/a", "https://h/in/../b", "https://h/in", False),
        ("https://h/a", "https://h/in/%2e%2e/b", "https://h/in", False),
        ("https://h/a", "https://h/inside", "https://h/in", False),
        ("https://h/a", "https://me@h/in/b", "https://h/in", False),
        ("https://h/a", "https://h/b", "no", False),
        ("https://h/a", "https://[/b", "origin", False),
        ("https://h/a", "https://[::1]@/b", "origin", False),
    ],
)
def test_where_one_may_lead(source: str, target: str, allowed: str, may: bool) -> None:
    assert web._may_lead(yarl.URL(source), target, allowed) is may


class Page(QuietHandler):
    """Answers the content type that the query names, with what is in the file."""

    def guess_type(self, path: object) -> str:
        return self.path.partition("?")[2]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<!DOCTYPE html><title>Log in", "text/html"),
        (b"\n <html lang=de>", "image/jpeg"),
        (b"<!-- old --><HTML>", "application/octet-stream"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied', "application/xml"),
        (b'{"error": "expired"}', "application/json"),
        (b"too many requests", "text/plain"),
    ],
)
def test_a_page_instead_of_a_photograph_has_failed(data: bytes, kind: str, tmp_path: Path) -> None:
    for name in ("a.jpg", "photo"):
        (tmp_path / name).write_bytes(data)
        with web_server(tmp_path, Page) as address:
            error = only(f"{address}/{name}?{kind}", "no").error
        assert error is not None
        assert error.code == MemberErrorCode.WEB_PAGE
        assert f"answers a page ({kind})" in str(error)


@pytest.mark.parametrize("kind", ["text/html", "text/plain", "application/json"])
def test_a_photograph_that_is_called_a_page_is_read(kind: str, tmp_path: Path) -> None:
    data = b"\xff\xd8\xff\xe0\x00\x10JFIF\0"
    (tmp_path / "a.jpg").write_bytes(data)
    with web_server(tmp_path, Page) as address:
        assert only(f"{address}/a.jpg?{kind}", "no").data == data


@pytest.mark.parametrize("status", [401, 403])
def test_one_that_is_refused_says_what_it_may_be(status: int, tmp_path: Path) -> None:
    class Closed(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_error(status)

    with web_server(tmp_path, Closed) as address:
        error = only(f"{address}/a.jpg?sig=hush", "no").error
    assert error is not None
    assert f"permission denied ({status})" in str(error)
    assert "may have expired" in str(error)
    assert "bucket policy" in str(error)
    assert "hush" not in str(error)
