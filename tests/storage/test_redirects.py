"""No redirect of a web server is followed: of two real ones the second must see nobody."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.archive import open_archive
from storage.errors import ArchiveError, MemberErrorCode
from storage.listing import UriList
from storage.location import RangeReader, probe, read_start, resolve
from storage.members import ChunkSize, Limits
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
