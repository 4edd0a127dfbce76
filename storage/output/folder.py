"""The folder or prefix of one output: files written whole, claimed by one writer at a time.

Nothing is ever seen half-written. Object stores show an object when its put is complete; on a
local disk each file is written in a staging folder of its writer, synced, and renamed.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from storage.errors import OutputError, TransientError
from storage.fs.disk import is_plain, locked, made, sync, sync_folder
from storage.fs.faults import translated
from storage.fs.location import resolve
from storage.fs.objects import objects_at
from storage.fs.uri import canonical

_STAGING = ".tmp"
_WRITERS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{8}|tmp[a-z0-9_]{8}")  # the latter by older versions
_NOBODY = "0" * 8
_SETTLE_SECONDS = 2.0  # in which a store that knows no conditions shows who wrote last
_TRIES = 1000
_LOCK_SECONDS = 60.0  # that another claim of the same output may take


class Folder:
    """One folder of a local disk, or one prefix of another storage. Thread-safe.

    What file systems raise comes through: call in the context of `errors`.

    Args:
        uri: a path or a URI.

    Raises:
        OutputError: it cannot be written to, whatever is there.
    """

    def __init__(self, uri: str) -> None:
        if canonical(uri).is_web:
            raise OutputError(f"{uri} cannot be written to. Name a folder or an s3:// prefix.")
        self._location = resolve(uri)
        self.is_local = self._location.is_local
        # fsspec takes these for patterns when it removes a folder, and would reach its neighbours
        if not self.is_local and glob.has_magic(self._location.path):
            raise OutputError(f"{uri} has one of * ? [ in it. Name an output without them.")
        self.fs = self._location.fs
        self.objects = objects_at(self._location)
        self.uri = self._location.path if self.is_local else uri.rstrip("/")

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Raise what file systems raise as OutputError or TransientError; see `translate`."""
        return translated(self.uri, doing, OutputError)

    def path(self, name: str) -> str:
        """Where a file of this folder is, in its file system's own spelling."""
        return f"{self._location.path}/{name}"

    def lies_in(self, folder: str) -> bool:
        """Whether this folder is another one, or below it, however either of them is spelled."""
        return self._location.lies_in(resolve(folder))

    def holds(self, uri: str, name: str) -> bool:
        """Whether a URI leads to this folder's `name`, or to something below that."""
        return resolve(uri).lies_in(resolve(f"{self.uri}/{name}"))

    def exists(self, name: str) -> bool:
        """Whether a file or folder is there."""
        if self.is_local:
            return os.path.lexists(self.path(name))
        return bool(self.fs.exists(self.path(name)))

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        try:
            return bytes(self.fs.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def list(self, name: str) -> list[dict[str, Any]]:
        """What fsspec says of each file in a folder of this one; nothing where there is none."""
        try:
            found: list[dict[str, Any]] = self.fs.ls(self.path(name), detail=True)
        except FileNotFoundError:
            return []
        return found

    def files(self, name: str) -> Iterator[str]:
        """The path, below this folder, of every file below one of its folders; links, too."""
        root = self.path("")
        if self.is_local:
            for folder, folders, files in os.walk(self.path(name)):
                links = [one for one in folders if Path(folder, one).is_symlink()]
                for file in (*files, *links):
                    yield os.path.relpath(Path(folder, file), root).replace(os.sep, "/")
            return
        for path in self.fs.find(self.path(name)):
            if path.startswith(f"{root}{name}/"):  # some stores show an empty folder as a file
                yield path.removeprefix(root)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other claims of this local folder waiting; those of other machines only try.

        Raises:
            TransientError: another claim takes too long.
        """
        if not self.is_local or sys.platform == "win32":
            yield
            return
        Path(self._location.path).mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            with locked(Path(self._location.path)) as mine:
                if mine:
                    yield
                    return
            if time.monotonic() > until:
                raise TransientError(f"{self.uri} is being claimed by another run")
            time.sleep(0.1)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file unless it is there; of several writers exactly one gets True.

        Where a store knows no conditional put, the last of those that wrote at the same time.
        """
        if self.is_local:
            return self._create_locally(name, data)
        path = self.path(name)
        if not self.objects.create(path, data):
            return False
        if self.objects.create(path, data):  # a store that heeds the condition would have refused
            time.sleep(_SETTLE_SECONDS)
        return self.read(name) == data

    def _create_locally(self, name: str, data: bytes) -> bool:
        with self._staged(_NOBODY, {name: data}) as staged:
            [file] = staged.values()
            place = Path(self.path(name))
            try:
                if sys.platform == "win32":
                    file.rename(place)  # refuses a name that is taken there
                else:
                    place.hardlink_to(file)
            except FileExistsError:
                return False
            except OSError:  # a disk without links
                try:
                    with place.open("xb") as opened:
                        opened.write(data)
                        opened.flush()
                        os.fsync(opened.fileno())
                except FileExistsError:
                    return False
            sync_folder(place.parent)
            return True

    def put(
        self,
        files: Mapping[str, bytes | Path],
        writer: str = _NOBODY,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Write files, in their order; each is there whole or not at all.

        Args:
            files: contents, or local files with them, by path below this folder.
            writer: eight hex digits that name whose they are: `evict` ends what others write.
            check: raises where they may not be written; called once nothing but their renames is
                left that `evict` would not end.
        """
        check = check or (lambda: None)
        try:
            self._put(files, writer, check)
        except FileNotFoundError:  # it may have been taken away, and `check` says for whom
            check()
            raise

    def _put(
        self, files: Mapping[str, bytes | Path], writer: str, check: Callable[[], None]
    ) -> None:
        if self.is_local:
            with self._staged(writer, files) as staged:
                check()
                self._publish(staged)
            return
        check()
        small = {name: data for name, data in files.items() if isinstance(data, bytes)}
        if small:
            self.objects.put({self.path(name): data for name, data in small.items()})
        for name, file in files.items():
            if not isinstance(file, bytes):
                self.fs.put_file(str(file), self.path(name))

    @contextmanager
    def room(self, writer: str) -> Iterator[Path]:
        """A local folder for files in the making, on this folder's own disk where it has one."""
        if not self.is_local:
            import tempfile

            with tempfile.TemporaryDirectory() as elsewhere:
                yield Path(elsewhere)
            return
        parent = Path(self.path(_STAGING))
        place = parent / f"{writer[:8]}-{secrets.token_hex(4)}"
        self._make(place)
        try:
            with locked(place):  # tells `tidy` that its writer lives
                try:
                    yield place
                finally:
                    shutil.rmtree(place, ignore_errors=True)
        finally:
            with contextlib.suppress(OSError):
                parent.rmdir()

    def _make(self, place: Path) -> None:
        """Make a staging folder, while other writers remove the one that all of them lie in."""
        for left in reversed(range(_TRIES)):
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.mkdir()
            except (FileExistsError, FileNotFoundError):  # it was there, and is gone already
                if not left:
                    raise
            else:
                return

    @contextmanager
    def _staged(self, writer: str, files: Mapping[str, bytes | Path]) -> Iterator[dict[str, Path]]:
        with self.room(writer) as folder:
            staged = {}
            for number, (name, content) in enumerate(files.items()):
                staged[name] = folder / str(number) if isinstance(content, bytes) else content
                if isinstance(content, bytes):
                    staged[name].write_bytes(content)
            for file in staged.values():
                sync(file)
            yield staged

    def _publish(self, staged: Mapping[str, Path]) -> None:
        places = {name: Path(self.path(name)) for name in staged}
        changed: dict[Path, None] = {}
        for place in places.values():
            changed |= dict.fromkeys(made(place.parent))
        for name, file in staged.items():
            file.replace(places[name])
            changed[places[name].parent] = None
        for folder in changed:
            sync_folder(folder)

    def evict(self, keep: str) -> None:
        """End what every writer but one is still writing: nothing of it comes to its place."""
        for place in self._staging():
            if not place.name.startswith(f"{keep[:8]}-"):
                gone = place.with_name(f"{'0' * 8}-{secrets.token_hex(4)}")
                with contextlib.suppress(FileNotFoundError):
                    place.rename(gone)
                    shutil.rmtree(gone, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what writers that were killed had in the making."""
        for place in self._staging():
            with contextlib.suppress(OSError), locked(place) as mine:
                if mine:
                    shutil.rmtree(place)
        if self.is_local:
            with contextlib.suppress(OSError):
                Path(self.path(_STAGING)).rmdir()

    def _staging(self) -> Iterator[Path]:
        if not self.is_local:
            return
        with contextlib.suppress(OSError):
            for place in list(Path(self.path(_STAGING)).iterdir()):
                if _WRITERS.fullmatch(place.name) and place.is_dir() and not place.is_symlink():
                    yield place

    def remove_if_empty(self) -> None:
        """Remove the folder itself, where nothing is in it any more."""
        if self.is_local:
            self.tidy()
            with contextlib.suppress(OSError):
                Path(self._location.path).rmdir()

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, by path below this folder, and the folders that are empty then.

        What is not there is no matter. Of a local folder no link is followed.
        """
        if not self.is_local:
            self.objects.delete([self.path(name) for name in names])
            return
        root = Path(self._location.path)
        folders: set[Path] = set()
        for name in names:
            place = root / name
            if is_plain(root, place.parent, folders):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    place.unlink()
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            with contextlib.suppress(OSError):  # it still holds something
                folder.rmdir()
