"""One chunk: read its range, crop its members, write their crops, commit its part."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain

import pyarrow as pa

from pipeline.batch import Batch
from pipeline.images import ImagePool
from pipeline.member import CroppedMember, crop_members
from storage.archives.members import Archive, Chunk, Entry
from storage.errors import OutputError, SkipReason
from storage.output.layouts import LAYOUTS
from storage.output.manifest import encode_part, failed_members, replace_rows
from storage.output.output import Output
from storage.output.pictures import Picture
from storage.output.reading import OutputReader
from storage.output.tombs import Tombs

_PHOTO_BYTES = 32 << 20  # that wait to be written together


class StoppedError(Exception):
    """The run is ending; the chunk was given up and a later run will crop it."""


def crop_chunk(batch: Batch, chunk: Chunk, images: ImagePool, *, last_attempt: bool) -> int:
    """Crop one chunk, from its bytes in the archive to its part at the output.

    May run any number of times, anywhere, to the same result.

    Args:
        batch: that the chunk belongs to.
        chunk: of its archive.
        images: the threads to work on.
        last_attempt: whether members that cannot be read get a row, instead of another attempt.

    Returns:
        The number of members.

    Raises:
        TransientError: storage failed; another attempt may succeed.
        StoppedError: the batch is ending early.
    """
    members, crops = _crop(batch, chunk, images, last_attempt)
    batch.output.put_crops(chunk.number, crops)
    rows = [member.row for member in members]
    batch.output.put_part(chunk.number, encode_part(rows, batch.output.claimed))
    batch.progress.commit(chunk.number)
    return len(members)


def retry_failed_members(
    batch: Batch, chunk: Chunk, images: ImagePool, *, last_attempt: bool
) -> int:
    """Crop the failed members of a finished chunk once more, and commits it again.

    Args and errors are those of `crop_chunk`. Returns the number of members that were retried.
    """
    part = part_of(batch.output, batch.archive, chunk)
    attempts = failed_members(part)
    # packed crops can only be written together, so there all of the chunk is cropped again
    packed = LAYOUTS[batch.settings.output.layout].data_files
    only = None if packed else attempts.keys()
    members, crops = _crop(batch, chunk, images, last_attempt, only)
    rows = [
        replace(member.row, attempts=attempts[member.row.member] + 1)
        for member in members
        if member.row.member in attempts
    ]
    batch.output.put_crops(chunk.number, crops)
    batch.output.put_part(chunk.number, replace_rows(part, rows, batch.output.claimed))
    batch.progress.commit(chunk.number)
    return len(rows)


def part_of(output: OutputReader, archive: Archive, chunk: Chunk) -> pa.Table:
    """The rows of a chunk of a finished batch, whose archive was opened again.

    Raises:
        OutputError: it was cut into other chunks.
    """
    part = output.part(chunk.number)
    # a higher limit may let a chunk reach less far, or have an archive in an archive opened
    if part["member"].to_pylist() != list(range(chunk.first, chunk.last + 1)):
        raise OutputError(
            f"{output.uri} was cut into other chunks than {archive.uri} is with these "
            "limits. Nothing was changed: crop it again with them, into another output."
        )
    return part


def _crop(
    batch: Batch,
    chunk: Chunk,
    images: ImagePool,
    last_attempt: bool,
    only: Collection[int] | None = None,
) -> tuple[list[CroppedMember], dict[str, bytes]]:
    """The members of a chunk, or some of them by their index, and the files of their crops.

    Photographs that are to be published have been written when it returns.
    """
    batch.progress.begin(chunk.number)
    entries = batch.archive.read(chunk, last_try=last_attempt)
    photos = _Photos(batch.output, chunk.number)

    def wanted() -> Iterator[Entry]:
        for entry in entries:
            if batch.stop.is_set():
                raise StoppedError(f"Chunk {chunk.number} was given up.")
            if only is None or entry.index in only:
                yield _without_forgotten(entry, batch.output.tombs)

    def work(taken: Iterable[Entry]) -> Iterator[CroppedMember]:
        for member in crop_members(taken, chunk, batch.settings, batch.roster):
            batch.show(member)
            batch.progress.add(chunk.number, member.row)
            yield photos.taken_from(member)

    members = sorted(images.map(work, wanted()), key=lambda member: member.row.member)
    photos.flush()
    made = list(chain.from_iterable(map(pictures, members)))
    files = LAYOUTS[batch.settings.output.layout].files(made)
    return members, files


def _without_forgotten(entry: Entry, tombs: Tombs) -> Entry:
    """The member, or what stands for one that is not to come back."""
    if not tombs or not tombs.hold(entry.index, entry.name, entry.data):
        return entry
    return Entry(entry.index, "", 0, skip=SkipReason.FORGOTTEN)


class _Photos:
    """The photographs of a chunk on their way to the output: all of them would be too much.

    Thread-safe.

    Args:
        output: where they are written to.
        chunk: its number.
    """

    def __init__(self, output: Output, chunk: int) -> None:
        self._output = output
        self._chunk = chunk
        self._lock = threading.Lock()
        self._waiting: dict[str, bytes] = {}
        self._bytes = 0

    def taken_from(self, member: CroppedMember) -> CroppedMember:
        """A member without its photograph, which is written here, with others, or soon will be."""
        if member.row.file is None:
            return member
        with self._lock:
            self._waiting[member.row.file] = member.photo
            self._bytes += len(member.photo)
            if self._bytes >= _PHOTO_BYTES:
                self._write()
        return replace(member, photo=b"")

    def flush(self) -> None:
        """Write those that are waiting."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self._output.put_crops(self._chunk, self._waiting, adding=True)
        self._waiting, self._bytes = {}, 0


def pictures(member: CroppedMember) -> Iterator[Picture]:
    """The crops of a member, as its output's layout takes them."""
    cropped = [(face, face.crop) for face in member.row.face_rows if face.crop is not None]
    for (face, path), data in zip(cropped, member.crops, strict=True):
        yield Picture(member.row, face, path, data)
