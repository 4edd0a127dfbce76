"""One chunk: read its range, crop its members, write their crops, commit its part."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from pipeline.batch import Batch
from pipeline.images import ImagePool
from pipeline.member import CroppedMember, crop_members
from storage.archives.members import Chunk, Entry
from storage.errors import OutputError
from storage.output.manifest import encode_part, failed_members, replace_rows
from storage.output.webdataset import pack


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
    part = batch.output.part(chunk.number)
    # a higher limit may let a chunk reach less far, or have an archive in an archive opened
    if part["member"].to_pylist() != list(range(chunk.first, chunk.last + 1)):
        raise OutputError(
            f"{batch.output.uri} was cut into other chunks than {batch.archive.uri} is with these "
            "limits. Nothing was changed: crop it again with them, into another output."
        )
    attempts = failed_members(part)
    # packed crops can only be written together, so there all of the chunk is cropped again
    only = None if batch.settings.output.layout == "shards" else attempts.keys()
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


def _crop(
    batch: Batch,
    chunk: Chunk,
    images: ImagePool,
    last_attempt: bool,
    only: Collection[int] | None = None,
) -> tuple[list[CroppedMember], dict[str, bytes]]:
    """The members of a chunk, or some of them by their index, and the files of their crops."""
    batch.progress.begin(chunk.number)
    entries = batch.archive.read(chunk, last_try=last_attempt)

    def wanted() -> Iterator[Entry]:
        for entry in entries:
            if batch.stop.is_set():
                raise StoppedError(f"Chunk {chunk.number} was given up.")
            if only is None or entry.index in only:
                yield entry

    def work(taken: Iterable[Entry]) -> Iterator[CroppedMember]:
        for member in crop_members(taken, chunk, batch.settings):
            batch.show(member.crops)
            batch.progress.add(chunk.number, member.row)
            yield member

    members = sorted(images.map(work, wanted()), key=lambda member: member.row.member)
    packed = batch.settings.output.layout == "shards"
    crops = dict(chain.from_iterable(_files(member, packed) for member in members))
    return members, _packed(crops) if packed else crops


def _files(member: CroppedMember, packed: bool) -> Iterator[tuple[str, bytes]]:
    faces = ((face, face.crop) for face in member.row.face_rows if face.crop is not None)
    for (face, path), crop in zip(faces, member.crops, strict=True):
        yield path, crop
        if not packed:
            continue
        about: dict[str, Any] = {
            "path": member.row.path,
            "rank": face.rank,
            "box": [face.x, face.y, face.w, face.h],
            "score": face.score,
        }
        if face.kept_why:
            about |= {"kept": False, "kept_why": face.kept_why}
        yield f"{path.rpartition('.')[0]}.json", json.dumps(about).encode()


def _packed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The TARs that these files lie in, by path."""
    tars: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        tar, _, name = path.rpartition("/")
        tars.setdefault(tar, {})[name] = data
    return {tar: pack(members) for tar, members in tars.items()}
