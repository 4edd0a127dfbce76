"""What a client may name: only what lies under the prefixes that the service was given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from storage.members import Archive, ChunkSize

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOCAL = ("file", "local")
_LIST_CHUNK = ChunkSize(members=10_000, bytes=1 << 30)
_LONGEST = 4096  # characters of a URI
_SHOWN = 200  # of them in a message


class ForbiddenUriError(Exception):
    """A client names what it must not; the message is one sentence."""


class Prefixes:
    """Folders of this machine and prefixes of other storage.

    Args:
        prefixes: paths and URIs.
    """

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._folders: list[Path] = []
        self._remote: list[str] = []
        for prefix in prefixes:
            scheme, rest = _split(prefix)
            if scheme in _LOCAL:
                self._folders.append(Path(rest).resolve())
            else:
                self._remote.append(f"{scheme}://{_lower_host(scheme, rest)}".rstrip("/") + "/")

    def check(self, uri: str) -> str:
        """The URI as it is to be opened: of a local one the path, with its links followed.

        Raises:
            ForbiddenUriError: it lies elsewhere, or may lead elsewhere.
        """
        scheme, rest = _split(uri)
        if len(uri) > _LONGEST:
            raise _forbidden(uri, f"... has more than {_LONGEST} characters")
        if _CONTROL.search(_decoded(uri)):
            raise _forbidden(uri, "has a control character in it")
        if scheme in _LOCAL:
            return self._check_local(uri, rest)
        if any(part in ("..", ".") for part in re.split(r"[/\\]", _decoded(rest))):
            raise _forbidden(uri, 'has a "." or ".." in its path')
        if "@" in rest.partition("/")[0]:
            raise _forbidden(uri, "has a user name in it")
        plain = f"{scheme}://{_lower_host(scheme, rest)}"
        if not any(f"{plain}/".startswith(prefix) for prefix in self._remote):
            raise _outside(uri)
        return plain

    def check_list(self, archive: Archive) -> None:
        """Checks every URI of an opened list of images.

        Raises:
            ForbiddenUriError: one of them is not allowed.
        """
        folder = archive.uri[: max(map(archive.uri.rfind, "/\\")) + 1]
        for name in _lines(archive):
            absolute = PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()
            self.check(name if "://" in name or absolute else folder + name)

    def _check_local(self, uri: str, rest: str) -> str:
        if not Path(rest).is_absolute():
            raise _forbidden(uri, "is a relative path")
        try:
            path = Path(rest).resolve()
        except (OSError, RuntimeError) as error:  # links in a circle, a name that is too long
            raise _forbidden(uri, "cannot be followed") from error
        if not any(path.is_relative_to(folder) for folder in self._folders):
            raise _outside(uri)
        return f"{path}/" if rest.endswith("/") else str(path)


def _lines(archive: Archive) -> Iterator[str]:
    for chunk in archive.chunks(_LIST_CHUNK):
        for name, *_ in json.loads(chunk.directory):
            yield name


def _split(uri: str) -> tuple[str, str]:
    matched = _SCHEME.match(uri)
    return (matched[1].lower(), matched[2]) if matched else ("file", uri)


def _lower_host(scheme: str, rest: str) -> str:
    host, slash, path = rest.partition("/")
    return f"{host.lower() if scheme in ('http', 'https') else host}{slash}{path}"


def _decoded(text: str) -> str:
    """The text without percent-encoding, however often it was encoded."""
    while (plain := unquote(text)) != text:
        text = plain
    return text


def _forbidden(uri: str, why: str) -> ForbiddenUriError:
    return ForbiddenUriError(f"{_CONTROL.sub('?', uri[:_SHOWN])} {why}.")


def _outside(uri: str) -> ForbiddenUriError:
    return _forbidden(uri, "is not under a prefix that this service may read")
