"""What the crops of a member are called: as was chosen, or as the archive has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

import numpy as np

from pipeline.settings import CropSettings
from storage.archives.members import Archive, Chunk, Entry, Listed
from storage.errors import MemberWarning, OutputError
from storage.output.layout import CROPS, PHOTOS, REJECTED
from storage.output.layouts import LAYOUTS
from storage.output.names import (
    crop_stem,
    fold,
    lies_in,
    looks_like_image,
    photo_name,
    repeats,
    skip_reason,
)
from storage.output.template import Named, template

_ADVICE = "add {member} or {folder} to output.name, as in {folder}/{stem}_{rank}"


class MemberNames:
    """The names of what is made of one member.

    Args:
        entry: the member.
        chunk: that it belongs to.
        settings: of the batch.
        sha256: of its content.
    """

    def __init__(self, entry: Entry, chunk: Chunk, settings: CropSettings, sha256: str) -> None:
        self._entry = entry
        self._chunk = chunk
        self._settings = settings
        self._sha256 = sha256

    def crop(self, rank: int, page: int, *, kept: bool) -> str | None:
        """The path of a face's crop below the output; None where it has none."""
        keep = self._settings.keep.otherwise
        if not kept and keep == "drop":
            return None
        folder = CROPS if kept or keep == "mark" else f"{CROPS}/{REJECTED}"
        if self._settings.output.name:
            stem = f"{folder}/{self._chosen(rank, page)[0]}"
        else:
            layout = LAYOUTS[self._settings.output.layout]
            own = layout.stem(folder, self._chunk.number, self._entry.index, self._own())
            stem = f"{own}_{rank}"
        return f"{stem}.{self._settings.crop.format}"

    def photo(self, extension: str) -> str:
        """The path of the photograph below the output, its faces covered."""
        if self._settings.output.name:
            return f"{PHOTOS}/{self._chosen()[0]}.{extension}"
        return f"{PHOTOS}/{photo_name(self._own(), self._entry.index, extension)}"

    @property
    def warnings(self) -> list[MemberWarning]:
        """What is to be told of them: that no file can be called as it was to be."""
        if self._settings.output.name:
            changed = self._chosen()[1]
        else:
            changed = bool(self._taken) and lies_in(self._entry.name, self._taken)
        return [MemberWarning.NAME_CHANGED] if changed else []

    def _own(self) -> str:
        entry = self._entry
        again = entry.index in self._chunk.duplicates
        return crop_stem(entry.name, entry.index, again, self._taken)

    @property
    def _taken(self) -> str:
        """The folder of the crops of rejected faces, where it lies beside those of the archive."""
        output = self._settings.output
        of_crops = output.layout == "files" and output.kind == "crops"
        return REJECTED if of_crops and self._settings.keep.otherwise == "folder" else ""

    def _chosen(self, rank: int = 0, page: int = 0) -> tuple[str, bool]:
        named = Named(self._entry.name, self._entry.index, rank, page, self._sha256)
        return template(self._settings.output.name).path(named)


def check_names(archive: Archive, settings: CropSettings) -> None:
    """Make sure that no two photographs' crops get the same name, where names were chosen.

    Raises:
        OutputError: two would, or it cannot be known before.
    """
    if not settings.output.name or template(settings.output.name).is_unique:
        return
    if settings.run.existing == "extend":
        raise OutputError(
            "a batch that is extended needs {member} in output.name, as in "
            "{stem}_{member}_{rank}: what is gone keeps its crops, and nobody knows what comes"
        )
    if archive.members is None:
        raise OutputError(
            f"{archive.uri} can only be read in order, so nobody knows before whether two of its "
            f"photographs would be called alike: add {{member}} to output.name"
        )
    digests = bytearray()
    for _, name in _names(archive, settings):
        digests += hashlib.blake2b(fold(name).encode(), digest_size=8).digest()
    again = np.flatnonzero(repeats(digests))
    if not len(again):
        return
    wanted = np.frombuffer(digests, np.uint64)[again[0]]
    places = np.flatnonzero(np.frombuffer(digests, np.uint64) == wanted)[:2].tolist()
    (first, name), (second, _) = (
        next(islice(_names(archive, settings), place, None)) for place in places
    )
    raise OutputError(
        f"{first.name} and {second.name} of {archive.uri} would both be called {name}: {_ADVICE}"
    )


def _names(archive: Archive, settings: CropSettings) -> Iterator[tuple[Listed, str]]:
    """The members that may be photographs, and what the first crop of each is called.

    One that is not called like an image gets its number, should it be one.
    """
    chosen = template(settings.output.name)
    system = settings.input.skip_system == "yes"
    for index, one in enumerate(archive.listed()):
        if looks_like_image(one.name) and skip_reason(one.name, system=system) is None:
            yield one, chosen.path(Named(one.name, index))[0]
