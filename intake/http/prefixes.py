"""What a client may name: only what lies under the prefixes that the service was given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from intake.http.problems import ProblemError
from pipeline.settings import CropSettings
from storage.archives.members import Archive, ChunkSize
from storage.errors import ArchiveError
from storage.fs.redact import shown_uri
from storage.fs.uri import Uri, canonical, decoded, folder_of, joined

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_TEXT = re.compile(r"[\ud800-\udfff]")
_LIST_CHUNK = ChunkSize(members=10_000, bytes=1 << 30)
_LONGEST = 4096  # characters of a URI
_SHOWN = 200  # of them in a message


class Prefixes:
    """Folders of this machine and prefixes of other storage.

    Args:
        prefixes: paths and URIs.
        reserved: folders and prefixes, with a slash at their ends, that no client may name, nor
            what holds them.

    Raises:
        ArchiveError: one of the prefixes is no address.
    """

    def __init__(self, prefixes: Iterable[str], reserved: Iterable[str] = ()) -> None:
        self._reserved = tuple(reserved)
        self._folders: list[Path] = []
        self._remote: list[str] = []
        self._files: set[str] = set()  # a web server's, which may be prefixes themselves
        for prefix in map(canonical, prefixes):
            if prefix.is_local:
                self._folders.append(Path(prefix.text).resolve())
                continue
            self._remote.append(prefix.text.rstrip("/") + "/")
            if prefix.is_web:
                self._files.add(prefix.text)

    def check(self, uri: str) -> str:
        """The URI as it is to be opened: of a local one the path, with its links followed.

        What comes back is canonical: whatever opens it opens just what was checked.

        Raises:
            ProblemError: it lies elsewhere, may lead elsewhere, or is reserved.
        """
        found = self._found(uri)
        folder = found.rstrip("/") + "/"
        if any(folder.startswith(one) or one.startswith(folder) for one in self._reserved):
            raise _forbidden(uri, "is where this service keeps what is handed in, or holds it")
        return found

    def _found(self, uri: str) -> str:
        if len(uri) > _LONGEST:
            raise _forbidden(uri, f"... has more than {_LONGEST} characters")
        if _CONTROL.search(decoded(uri)):
            raise _forbidden(uri, "has a control character in it")
        if _NO_TEXT.search(uri):
            raise _forbidden(uri, "has half a character in it")
        if uri != uri.strip():  # a list's lines lose them
            raise _forbidden(uri, "has a blank at its beginning or its end")
        try:
            found = canonical(uri)
        except ArchiveError as error:
            raise ProblemError(403, f"{error}.") from error
        if found.is_local:
            return self._check_local(uri, found.text)
        if found.climbs:
            raise _forbidden(uri, 'has a "." or ".." in its path')
        if found.user:
            raise _forbidden(uri, "has a user name in it")
        if not self._holds(found):
            raise _outside(uri)
        return found.text

    def hold(self, settings: CropSettings) -> CropSettings:
        """The settings, in which nothing leads to what may not be named.

        Web servers may redirect to nothing else, and a roster has to lie under a prefix.

        Raises:
            ProblemError: the roster lies elsewhere.
        """
        web = " ".join(sorted(self._files))
        longest = 4096  # characters that the setting takes
        redirects = web if 0 < len(web) <= longest else "no"
        held = settings.input.model_copy(update={"redirects": redirects})
        roster = settings.roster
        if roster.file:
            roster = roster.model_copy(update={"file": self.check(roster.file)})
        return settings.model_copy(update={"input": held, "roster": roster})

    def check_list(self, archive: Archive) -> None:
        """Check every URI of an opened list of images.

        Raises:
            ProblemError: one of them is not allowed.
        """
        folder = folder_of(archive.uri)
        for name in _lines(archive):
            self.check(joined(folder, name))

    def _holds(self, found: Uri) -> bool:
        # a web server has no folders: without its slash a prefix's address is another page
        text = found.text if found.is_web else f"{found.text}/"
        return found.text in self._files or text.startswith(tuple(self._remote))

    def _check_local(self, uri: str, text: str) -> str:
        if not Path(text).is_absolute():
            raise _forbidden(uri, "is a relative path")
        try:
            path = Path(text).resolve()
        except (OSError, RuntimeError) as error:  # links in a circle, a name that is too long
            raise _forbidden(uri, "cannot be followed") from error
        if not any(path.is_relative_to(folder) for folder in self._folders):
            raise _outside(uri)
        return f"{path}/" if text.endswith("/") else str(path)


def _lines(archive: Archive) -> Iterator[str]:
    for chunk in archive.chunks(_LIST_CHUNK):
        for name, *_ in json.loads(chunk.directory):
            yield name


def _forbidden(uri: str, why: str) -> ProblemError:
    plain = shown_uri(uri).encode(errors="replace").decode()
    return ProblemError(403, f"{_CONTROL.sub('?', plain)[:_SHOWN]} {why}.")


def _outside(uri: str) -> ProblemError:
    return _forbidden(uri, "is not under a prefix that this service may read")
