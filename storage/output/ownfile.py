"""One file of Facecrop's at a path or URI: what is there is replaced, unless it is another's."""

from __future__ import annotations

from pathlib import PurePosixPath

from storage.errors import OutputError
from storage.fs.redact import shown_uri
from storage.output.folder import Folder


class OwnFile:
    """A file that is Facecrop's if a mark stands in it.

    Every method raises OutputError where it cannot be written, TransientError where another try may
    help.

    Args:
        uri: of the file.
        mark: in every file of this kind.
    """

    def __init__(self, uri: str, mark: bytes) -> None:
        folder, _, self._name = uri.replace("\\", "/").rpartition("/")
        if not self._name:
            raise OutputError(f"{shown_uri(uri)} is a folder. Name a file in it.")
        self.uri = uri
        self._mark = mark
        self._folder = Folder(folder or ("/" if uri.startswith("/") else "."))

    def lies_in(self, folder: str) -> bool:
        """Whether it is below another folder."""
        return self._folder.lies_in(folder)

    def is_ours(self) -> bool | None:
        """Whether what is there is Facecrop's; None where nothing is."""
        with self._folder.errors("read"):
            there = self._folder.read(self._name) if self._folder.exists(self._name) else None
        return None if there is None else self._mark in there

    def check(self) -> None:
        """Refuse to replace what is not Facecrop's.

        Raises:
            OutputError: it is not.
        """
        if self.is_ours() is False:
            kind = PurePosixPath(self._name).suffix.removeprefix(".") or "file"
            raise OutputError(
                f"{shown_uri(self.uri)} is there, and is no {kind} of Facecrop's. "
                "Move it away, or name another."
            )

    def put(self, data: bytes) -> None:
        """Write it whole, with its mark in it.

        Raises:
            OutputError: somebody else's file has come into its place.
        """
        self.check()
        with self._folder.errors("write"):
            self._folder.put({self._name: data})
