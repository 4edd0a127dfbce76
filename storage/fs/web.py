"""Files on web servers: exact ranges of them, and no redirect is followed but where it may lead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import aiohttp
import yarl
from fsspec.asyn import sync

from storage.errors import ArchiveError
from storage.fs.fingerprint import Fingerprint, changed, version
from storage.fs.redact import shown, shown_uri
from storage.fs.uri import canonical

if TYPE_CHECKING:
    from storage.fs.location import Location

_PIECE = 1 << 20  # bytes
_HEAD = 1024  # bytes of an answer that tell a page from a file
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


NOWHERE, ORIGIN = "no", "origin"
"""Where redirects may lead: nowhere, or to the same scheme, host and port."""


class RedirectError(aiohttp.ClientError):
    """A web server names another address instead of answering."""


class PageError(aiohttp.ClientError):
    """A web server answers a page for people, or a message, instead of a file."""


async def client(redirects: str = NOWHERE, **options: Any) -> aiohttp.ClientSession:
    """The session that fsspec's file system asks with.

    Args:
        redirects: NOWHERE, ORIGIN, or prefixes below which they may lead, separated by blanks.
        options: of the session.
    """
    return aiohttp.ClientSession(**options, middlewares=(_watcher(redirects),))


def _watcher(allowed: str) -> aiohttp.ClientMiddlewareType:
    """A middleware, which sees every answer before aiohttp follows where it leads.

    Whoever may name one web server could else be led to any other, inside this network, too.
    """

    async def watch(
        request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        answer = await send(request)
        target = answer.headers.get("Location")
        if 300 <= answer.status < 400 and target is not None:
            if _may_lead(request.url, target, allowed):
                return answer
            answer.close()
            place = _without_secrets(target)[:200]
            raise RedirectError(
                f"its server redirects to {place}, and redirects are not followed there; "
                "name the address that it leads to"
            )
        return answer

    return watch


def _origin(url: yarl.URL) -> tuple[str, str, int | None]:
    return url.scheme, (url.host or "").lower(), url.port


def _may_lead(source: yarl.URL, target: str, allowed: str) -> bool:
    try:
        url = source.join(yarl.URL(target))
        if allowed == ORIGIN:
            return _origin(url) == _origin(source)
        found = canonical(str(url))
    except (ValueError, IndexError, ArchiveError):  # yarl: IndexError of `[::1]@`
        return False
    less_safe = source.scheme == "https" and url.scheme != "https"
    if allowed == NOWHERE or less_safe or not found.is_web or found.climbs or found.user:
        return False
    prefixes = allowed.split()
    below = tuple(prefix.rstrip("/") + "/" for prefix in prefixes)
    return found.text in prefixes or found.text.startswith(below)


def _without_secrets(target: str) -> str:
    """Where a server leads to, which may be written without a scheme, and without a host."""
    plain = re.split(r"[?#]", target, maxsplit=1)[0]
    return shown_uri(f"http:{plain}").removeprefix("http:") if plain[:2] == "//" else shown(plain)


def read_range(location: Location, known: Fingerprint, start: int, end: int) -> bytes:
    """Read the bytes [start, end) of a file, or fewer.

    Raises:
        ArchiveError: it is another version than `known`, or its server answers no ranges.
    """
    return bytes(sync(location.fs.loop, _read_range, location, known, start, end))


async def _read_range(location: Location, known: Fingerprint, start: int, end: int) -> bytes:
    fs = location.fs
    options = dict(fs.kwargs)
    headers = {
        **options.pop("headers", {}),
        "Range": f"bytes={start}-{end - 1}",
        "Accept-Encoding": "identity",
    }
    session = await fs.set_session()
    async with session.get(fs.encode_url(location.path), headers=headers, **options) as answer:
        answer.raise_for_status()
        length = answer.content_length
        whole = (start, end) == (0, known.size)
        if answer.status != 206 and not (whole and length == known.size):
            raise ArchiveError(
                f"cannot read {location.uri}: its server does not answer range requests; "
                "download the archive first"
            )
        stated = answer.headers.get("Content-Range", "").rpartition("/")[2]
        size = int(stated) if stated.isdigit() else known.size
        if Fingerprint(size, version(answer.headers)) != known:
            raise changed(location.uri)
        if length is not None and length > end - start:
            raise ArchiveError(
                f"cannot read {location.uri}: its server answers with more than the range asked "
                "for; download the archive first"
            )
        return bytes(await answer.read())


def read_start(location: Location, most: int) -> bytes:
    """Read a file's first `most` bytes, even from a server that ignores the range."""
    return bytes(sync(location.fs.loop, _read_start, location, most))


async def _read_start(location: Location, most: int) -> bytes:
    fs = location.fs
    session = await fs.set_session()
    headers = {"Range": f"bytes=0-{most - 1}", "Accept-Encoding": "identity"}
    async with session.get(fs.encode_url(location.path), headers=headers) as answer:
        answer.raise_for_status()
        data = bytearray()
        while len(data) < most and (piece := await answer.content.read(_PIECE)):
            data += piece
        if _is_page(answer.content_type, bytes(data[:_HEAD])):
            raise PageError(
                f"its server answers a page ({answer.content_type}) instead of a file; "
                "open the address in a browser: it may ask for a login, or be no longer valid"
            )
    return bytes(data[:most])


def _is_page(kind: str, head: bytes) -> bool:
    """Whether an answer is text for people or programs. No image begins as HTML does.

    Args:
        kind: its content type, which servers get wrong.
        head: its first bytes. Those of images have bytes that no text has.
    """
    if _HTML.match(head):
        return True
    named = kind.startswith("text/") or kind.endswith(("json", "xml"))
    return named and bool(head) and not _NO_TEXT.search(head)
