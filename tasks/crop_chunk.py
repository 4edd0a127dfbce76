"""One chunk: read its range, crop its members, write their crops, commit its part."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import chain

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.manifest import encode_part, failed_members, replace_rows
from storage.members import Chunk, Entry
from storage.output import CROPS, shard_name
from storage.shard import pack
from tasks.batch import Batch
from tasks.crop_member import CroppedMember, crop_members
from tasks.images import ImagePool
from tasks.retries import RETRY_TRANSIENT, last_attempt


class StoppedError(Exception):
    """The run is ending; the chunk in hand was given up and a later run will do it."""


@task(
    name="detect-and-crop",
    task_run_name="chunk {chunk.number}: members {chunk.first}-{chunk.last}",
    cache_policy=NO_CACHE,
    persist_result=False,
    **RETRY_TRANSIENT,
)
def detect_and_crop(batch: Batch, chunk: Chunk, images: ImagePool) -> int:
    """Does one chunk, from its bytes in the archive to its part at the output.

    May be run any number of times, anywhere, to the same result. Returns the number of members.

    Raises:
        TransientError: storage failed; Prefect runs the chunk again.
        StoppedError: the batch is ending early.
    """
    with batch.store.slot():
        members, crops = _crop(batch, chunk, images)
        batch.output.put_crops(crops)
        batch.output.put_part(chunk.number, encode_part([member.row for member in members]))
    batch.progress.commit(chunk.number)
    return len(members)


@task(
    name="retry-failed",
    task_run_name="failed members of chunk {chunk.number}",
    cache_policy=NO_CACHE,
    persist_result=False,
    **RETRY_TRANSIENT,
)
def retry_failed_members(batch: Batch, chunk: Chunk, images: ImagePool) -> int:
    """Drives the failed members of a chunk that is done again, and commits it anew.

    Raises:
        TransientError: storage failed; Prefect runs the chunk again.
        StoppedError: the run is ending early.
    """
    part = batch.output.part(chunk.number)
    attempts = failed_members(part)
    with batch.store.slot():
        # packed crops can only be written together, so there all of the chunk is cropped again
        only = None if batch.settings.output.layout == "shards" else attempts.keys()
        members, crops = _crop(batch, chunk, images, only)
        rows = [
            replace(member.row, attempts=attempts[member.row.member] + 1)
            for member in members
            if member.row.member in attempts
        ]
        batch.output.put_crops(crops)
        batch.output.put_part(chunk.number, replace_rows(part, rows))
    batch.progress.commit(chunk.number)
    return len(rows)


def _crop(
    batch: Batch, chunk: Chunk, images: ImagePool, only: Collection[int] | None = None
) -> tuple[list[CroppedMember], dict[str, bytes]]:
    """The members of a chunk, or some of them by their index, and the files of their crops."""
    batch.progress.begin(chunk.number)
    entries = batch.archive.read(chunk, last_try=last_attempt())

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
    if crops and packed:
        crops = {f"{CROPS}/{shard_name(chunk.number)}": pack(crops)}
    return members, crops


def _files(member: CroppedMember, packed: bool) -> Iterator[tuple[str, bytes]]:
    for face, crop in zip(member.row.face_rows, member.crops, strict=True):
        if not packed:
            yield face.crop, crop
            continue
        name = face.crop.rpartition("/")[2]
        yield name, crop
        about = {
            "path": member.row.path,
            "rank": face.rank,
            "box": [face.x, face.y, face.w, face.h],
            "score": face.score,
        }
        yield f"{name.partition('.')[0]}.json", json.dumps(about).encode()
