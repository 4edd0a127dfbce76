"""What the crops of a member are called: as was chosen, or as the archive has it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice

import numpy as np

from pipeline.settings import CropSettings
from storage.archives.members import Archive, Chunk, Entry, Listed
from storage.errors import MemberWarning, OutputError
from storage.output.layout import CROPS, PHOTOS, REJECTED, UNMATCHED
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
from storage.output.template import FIELDS, Named, Template, template
from storage.roster import Roster


class MemberNames:
    """The names of what is made of one member.

    Args:
        entry: the member.
        chunk: that it belongs to.
        settings: of the batch.
        sha256: of its content.
        roster: of the batch, where it has one. A member that is not in it keeps its own name, in a
            folder for these, where the name that was chosen needs the roster.
    """

    def __init__(
        self,
        entry: Entry,
        chunk: Chunk,
        settings: CropSettings,
        sha256: str,
        roster: Roster | None,
    ) -> None:
        self._entry = entry
        self._chunk = chunk
        self._settings = settings
        self._sha256 = sha256
        self._template = _template(settings, roster)
        row = roster.cells(entry.name) if roster and self._template else None
        self._named = Named(entry.name, entry.index, sha256=sha256, row=row)
        self._is_chosen = self._template is not None and self._template.is_known(self._named)

    def crop(self, rank: int, page: int, *, kept: bool) -> str | None:
        """The path of a face's crop below the output; None where it has none."""
        keep = self._settings.keep.otherwise
        if not kept and keep == "drop":
            return None
        folder = CROPS if kept or keep == "mark" else f"{CROPS}/{REJECTED}"
        if self._is_chosen:
            stem = f"{folder}/{self._chosen(rank, page)[0]}"
        else:
            layout = LAYOUTS[self._settings.output.layout]
            own = layout.stem(folder, self._chunk.number, self._entry.index, self._own())
            stem = f"{own}_{rank}"
        return f"{stem}.{self._settings.crop.format}"

    def photo(self, extension: str) -> str:
        """The path of the photograph below the output, its faces covered."""
        if self._is_chosen:
            return f"{PHOTOS}/{self._chosen()[0]}.{extension}"
        return f"{PHOTOS}/{photo_name(self._own(), self._entry.index, extension)}"

    @property
    def warnings(self) -> list[MemberWarning]:
        """What is to be told of them: that no file can be called as it was to be."""
        if self._is_chosen:
            changed = self._chosen()[1]
        elif self._template is not None:
            changed = True
        else:
            changed = bool(self._taken) and lies_in(self._entry.name, self._taken)
        return [MemberWarning.NAME_CHANGED] if changed else []

    def _own(self) -> str:
        entry = self._entry
        again = entry.index in self._chunk.duplicates
        own = crop_stem(entry.name, entry.index, again, self._taken)
        return own if self._template is None else f"{UNMATCHED}/{own}"

    @property
    def _taken(self) -> str:
        """The folder of the crops of rejected faces, where it lies beside those of the archive."""
        output = self._settings.output
        of_crops = output.layout == "files" and output.kind == "crops"
        return REJECTED if of_crops and self._settings.keep.otherwise == "folder" else ""

    def _chosen(self, rank: int = 0, page: int = 0) -> tuple[str, bool]:
        assert self._template is not None
        return self._template.path(self._named, rank, page)


def check_names(archive: Archive, settings: CropSettings, roster: Roster | None) -> None:
    """Make sure that no two photographs' crops get the same name, where names were chosen.

    Raises:
        OutputError: two would, or it cannot be known before, or the roster lacks a column.
    """
    chosen = _template(settings, roster)
    if chosen is None or chosen.is_unique:
        return
    if settings.run.existing == "extend":
        raise OutputError(
            "a batch that is extended needs {member} in output.name, as in "
            "{stem}_{member}_{rank}: what is gone keeps its crops, and nobody knows what comes"
        )
    if archive.members is None:
        raise OutputError(
            f"{archive.uri} can only be read in order, so nobody knows before whether two of its "
            "photographs would be called alike: add {member} to output.name, as in "
            "{stem}_{member}_{rank}"
        )
    digests = bytearray()
    for _, name in _names(archive, chosen, settings, roster):
        digests += hashlib.blake2b(fold(name).encode(), digest_size=8).digest()
    again = np.flatnonzero(repeats(digests))
    if not len(again):
        return
    every = np.frombuffer(digests, np.uint64)
    places = np.flatnonzero(every == every[again[0]])[:2].tolist()
    (first, name), (second, _) = (
        next(islice(_names(archive, chosen, settings, roster), place, None)) for place in places
    )
    raise OutputError(
        f"{first.name} and {second.name} of {archive.uri} would both be called {name}: add "
        "{member} or {folder} to output.name, as in {folder}/{stem}_{rank}"
    )


def _template(settings: CropSettings, roster: Roster | None) -> Template | None:
    """The template of a batch; None where its crops are called as its photographs are.

    Raises:
        OutputError: it has a field that there is not, or two of one name.
    """
    if not settings.output.name:
        return None
    columns = frozenset(roster.columns if roster else ())
    try:
        chosen = template(settings.output.name, columns)
    except ValueError as error:
        raise OutputError(f"output.name: {error}") from error
    if roster and (clashing := chosen.fields & {*FIELDS} & columns - {roster.key_column}):
        raise OutputError(
            f"output.name: {{{min(clashing)}}} is a field and a column of {roster.uri}, too: "
            "rename the column"
        )
    return chosen


def _names(
    archive: Archive, chosen: Template, settings: CropSettings, roster: Roster | None
) -> Iterator[tuple[Listed, str]]:
    """The members that may be photographs, and what the first crop of each is called.

    One that is not called like an image gets its number, should it be one; one that is not in the
    roster keeps its own name, where the template needs the roster.
    """
    system = settings.input.skip_system == "yes"
    for index, one in enumerate(archive.listed()):
        if looks_like_image(one.name) and skip_reason(one.name, system=system) is None:
            named = Named(one.name, index, row=roster.cells(one.name) if roster else None)
            if chosen.is_known(named):
                yield one, chosen.path(named)[0]
