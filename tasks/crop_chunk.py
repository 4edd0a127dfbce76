"""One chunk: read its range, crop its members, write their crops, commit its part."""

from __future__ import annotations

import json
from collections.abc import Iterator

from prefect import task
from prefect.cache_policies import NO_CACHE

from storage.manifest import MemberRow, encode_part
from storage.members import Chunk
from storage.output import CROPS, shard_name
from storage.shard import pack
from tasks.batch import Batch
from tasks.crop_member import CroppedMember, crop_member
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
def detect_and_crop(batch: Batch, chunk: Chunk) -> int:
    """Does one chunk, from its bytes in the archive to its part at the output.

    May be run any number of times, anywhere, to the same result. Returns the number of members.

    Raises:
        TransientError: storage failed; Prefect runs the chunk again.
        StoppedError: the batch is ending early.
    """
    with batch.store.slot():
        return _crop(batch, chunk)


def _crop(batch: Batch, chunk: Chunk) -> int:
    batch.progress.begin(chunk.number)
    rows: list[MemberRow] = []
    crops: dict[str, bytes] = {}
    for entry in batch.archive.read(chunk, last_try=last_attempt()):
        if batch.stop.is_set():
            raise StoppedError(f"Chunk {chunk.number} was given up.")
        member = crop_member(entry, chunk, batch.settings)
        rows.append(member.row)
        crops.update(_files(member, batch.settings.output.layout == "shards"))
        batch.progress.add(chunk.number, member.row)
    if crops and batch.settings.output.layout == "shards":
        crops = {f"{CROPS}/{shard_name(chunk.number)}": pack(crops)}
    batch.output.put_crops(crops)
    batch.output.put_part(chunk.number, encode_part(rows))
    batch.progress.commit(chunk.number)
    return len(rows)


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
