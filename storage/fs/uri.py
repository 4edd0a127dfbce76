"""An address in the one spelling in which it is checked, and in which it is opened.

What opens a web address makes it canonical first: `..` and `%2e%2e` climb, a default port goes, a
host becomes lower-case ASCII. Whoever compares another spelling than the one that is opened can be
led out of a prefix, so there is this one parser for all.
"""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from storage.errors import ArchiveError
from storage.fs.redact import shown_uri

LOCAL = "file"
WEB = ("http", "https")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)  # two letters: "C:" is a drive
# Names on disk may have any of these signs, too, so only what nobody calls a file is refused.
_ONE_SLASH = re.compile(r"(file|local|https?|s3a?|gs|gcs|abfss?|az|memory):/(?!/)", re.IGNORECASE)
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+::.*://", re.DOTALL)
_SCHEME_AGAIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|:\Z)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_HOST = re.compile(r"[\s\\%]")
_DRIVE = re.compile(r"[A-Za-z]:(/|\\|\Z)")


@dataclass(frozen=True, slots=True)
class Uri:
    """A path or an address.

    Attributes:
        scheme: in small letters; LOCAL for a path of this machine.
        text: the address in its canonical spelling, or the path. Canonical itself.
        written: the path as it was written; what is canonical has no `..` left to be noticed.
        user: whether a user name or a password stands before the host.
    """

    scheme: str
    text: str
    written: str
    user: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return self.scheme == LOCAL

    @property
    def is_web(self) -> bool:
        """Whether a web server is asked for it."""
        return self.scheme in WEB

    @property
    def climbs(self) -> bool:
        """Whether some server could take a part of its path for `.` or `..`.

        However often that is encoded, with backslashes, parameters or look-alikes.
        """
        plain = unicodedata.normalize("NFKC", decoded(self.written))
        return any(part in (".", "..") for part in re.split(r"[/\\;?#]", plain))


def canonical(uri: str) -> Uri:
    """Parse a path or a `scheme://` address. What has no scheme is a path, whatever is in it.

    Raises:
        ArchiveError: it is an address that cannot be, or that leads through another.
    """
    if begun := _ONE_SLASH.match(uri):
        raise _wrong(f"{begun[0]}…", "after the colon of an address come two slashes")
    if _CHAIN.match(uri):
        raise _wrong(uri, "it leads from one file system into another; name the archive itself")
    matched = _SCHEME.match(uri)
    if matched is None:
        return Uri(LOCAL, uri, uri)
    scheme, rest = matched[1].lower(), matched[2]
    if scheme in (LOCAL, "local"):
        path = _local_path(uri, rest)
        return Uri(LOCAL, path, path)
    if scheme in WEB:
        return _web(uri, scheme, rest)
    authority, _, path = rest.partition("/")
    if _SCHEME_AGAIN.match(authority):
        raise _wrong(uri, "it names two schemes")
    return Uri(scheme, f"{scheme}://{rest}", path, "@" in authority)


def two_slashes(uri: str) -> str:
    """The same, with both slashes after the scheme of an address that lacks one."""
    begun = _ONE_SLASH.match(uri)
    return f"{begun[0]}/{uri[begun.end() :]}" if begun else uri


def joined(base: str, line: str) -> str:
    """The address of a list's line, in a list whose `folder_of` is `base`."""
    if _ONE_SLASH.match(line) or _CHAIN.match(line) or _SCHEME.match(line):
        return line
    absolute = PurePosixPath(line).is_absolute() or PureWindowsPath(line).is_absolute()
    return line if absolute else base + line


def folder_of(uri: str) -> str:
    """What a relative address counts from: all up to the last slash of a file's own address.

    Raises:
        ArchiveError: as of `canonical`.
    """
    found = canonical(uri)
    if found.is_web:
        import yarl

        return str(yarl.URL(found.text).with_query(None)).rpartition("/")[0] + "/"
    separators = "/\\" if found.is_local and os.name == "nt" else "/"
    return found.text[: max(map(found.text.rfind, separators)) + 1]


def decoded(text: str) -> str:
    """The text without percent-encoding, however often it was encoded."""
    while (plain := unquote(text)) != text:
        text = plain
    return text


def _local_path(uri: str, rest: str) -> str:
    """The path of a `file://` address, decoded (RFC 8089); `?` and `#` are part of a name."""
    if os.name == "nt" and _DRIVE.match(rest.lstrip("/")):
        return _plain(rest.lstrip("/"))
    host, slash, path = rest.partition("/")
    if host.lower() not in ("", "localhost"):
        raise _wrong(uri, "of file:// only paths of this machine can be opened: file:///folder/a")
    if not slash:
        raise _wrong(uri, "it names no path")
    return f"/{_plain(path)}"


def _plain(path: str) -> str:
    return unquote(path, errors="surrogateescape")


def _web(uri: str, scheme: str, rest: str) -> Uri:
    import yarl  # web addresses alone need it

    if _CONTROL.search(uri):
        raise _wrong(uri, "it has a control character in it")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2]
    if _NO_HOST.search(host.partition("]")[2] if host.startswith("[") else host):
        raise _wrong(uri, "its host has a sign in it that no host has")
    try:
        tail = rest.removeprefix(authority)
        slash = "" if tail.startswith("/") else "/"  # asked for either way, and now also spelled
        url = yarl.URL(f"{scheme}://{authority}{slash}{tail}").with_fragment(None)
        text = str(url)
        settled = str(yarl.URL(text)) == text and url.absolute and bool(url.host)
    except (ValueError, IndexError) as error:  # whose text may quote a password
        raise _wrong(uri, "check its host and its port") from error
    if not settled:
        raise _wrong(uri, "check its host")
    written = re.split(r"[?#]", rest, maxsplit=1)[0].removeprefix(authority)
    return Uri(scheme, text, written, "@" in authority)


def _wrong(uri: str, why: str) -> ArchiveError:
    return ArchiveError(f"cannot open {' '.join(shown_uri(uri).split())[:200]}: {why}")
