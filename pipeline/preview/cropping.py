"""The members of a sample, cropped one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TypeVar

from pipeline.chunk import StoppedError
from pipeline.cores import cores
from pipeline.images import ImagePool
from pipeline.member import CroppedMember, crop_members
from pipeline.preview.sampling import Sampled
from pipeline.report import PHOTO_THUMBNAIL, THUMBNAIL
from pipeline.settings import CropSettings
from storage.archives.members import Chunk, Entry
from storage.output.manifest import MemberRow

Done = TypeVar("Done")

_TICK_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Tried:
    """One member, cropped with some settings.

    Attributes:
        row: as the manifest would have it.
        size: bytes of its crops, or of its photograph with the faces covered, encoded.
        files: how many of these would be written, each on its own.
        ms: of CPU, for decoding, finding and cutting; of a failed one of time, until it failed.
        pictures: its crops, or the photograph, made small, as JPEGs, by their paths in the output.
    """

    row: MemberRow
    size: int
    files: int
    ms: float
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def each_member(
    sampled: Sampled,
    threads: int,
    work: Callable[[Entry, Chunk], Done],
    tick: Callable[[], None],
) -> list[Done]:
    """What `work` makes of each member of a sample, in no particular order.

    Args:
        sampled: the members, each read once.
        threads: in which it is called; 0 for as many as there are cores, and never more, which
            would count the wait for a core as work.
        work: given a member and its chunk.
        tick: called a few times a second, in the calling thread.

    Raises:
        ArchiveError: see `Sampled.read`.
        What `work` raises.
    """
    stop = threading.Event()

    def wanted() -> Iterator[Entry]:
        for entry in sampled.read():
            if stop.is_set():
                raise StoppedError("The preview was given up.")
            yield entry

    def take(taken: Iterator[Entry]) -> Iterator[Done]:
        for entry in taken:
            yield work(entry, sampled.chunks[entry.index])

    with (
        ImagePool(min(threads or cores(), cores())) as images,
        ThreadPoolExecutor(1, "preview") as pool,
    ):
        running = pool.submit(copy_context().run, lambda: images.map(take, wanted()))
        try:
            while True:
                try:
                    return running.result(timeout=_TICK_SECONDS)
                except TimeoutError:
                    tick()
        finally:
            stop.set()  # the pool waits for its threads; let them give up at the next member


def crop_once(entry: Entry, chunk: Chunk, settings: CropSettings, *, pictured: bool) -> Tried:
    """Crop a member.

    Args:
        entry: the member.
        chunk: that it is in.
        settings: of the batch that it is tried for.
        pictured: whether its pictures are kept.

    Raises:
        TransientError, StorageError: see `crop_members`.
    """
    began = time.perf_counter()
    [member] = crop_members([entry], chunk, settings)
    spent = 1e3 * (time.perf_counter() - began) if member.cpu_ms is None else member.cpu_ms
    files = [member.photo] if member.photo else member.crops
    return Tried(
        member.row,
        size=sum(map(len, files)),
        files=len(files),
        ms=spent,
        pictures=_small(member) if pictured else {},
    )


def _small(member: CroppedMember) -> dict[str, bytes]:
    from detection.contact_sheet import PHOTO_PIXELS, thumbnail  # brings the codecs

    row = member.row
    if row.file is not None:
        small = thumbnail(member.photo, PHOTO_THUMBNAIL, PHOTO_PIXELS) if row.face_rows else None
        return {} if small is None else {row.file: small}
    paths = [face.crop for face in row.face_rows if face.crop is not None]
    made = (thumbnail(crop, THUMBNAIL) for crop in member.crops)
    return {path: small for path, small in zip(paths, made, strict=True) if small is not None}
