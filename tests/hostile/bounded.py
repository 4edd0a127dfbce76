"""An archive's whole way, from its first byte to the manifest, in a process with bounds."""

from __future__ import annotations

import os
import resource
import time
import traceback
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from detection.sandbox.pool import end_idle
from pipeline.member import crop_members
from pipeline.settings import MIB, CropSettings
from storage.archives.members import Chunk, ChunkSize, Limits
from storage.archives.opening import open_archive
from storage.archives.plan import decode_chunks, encode_chunks
from storage.errors import ArchiveError
from storage.output.manifest import encode_part
from storage.output.output import Output

_MOST_MIB = 1024  # beyond what it begins with, a process has no memory at all

_processes = get_context("forkserver")
_processes.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Ending:
    """What became of an archive.

    Attributes:
        refused: the line of the error that refuses it; empty where it was worked on to its end.
        fault: traceback of whatever else went wrong.
        mib: memory of the process at its peak, above what it began with.
        seconds: from its opening to the manifest.
    """

    refused: str
    fault: str
    mib: float
    seconds: float


def crop_bounded(
    archive: Path, output: Path, settings: CropSettings, seconds: float
) -> Ending | None:
    """Crops an archive in a process of its own; None if that did not live to tell, or in time.

    The process works in the archive's folder, so that a relative path leads there.
    """
    told, tell = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_work, args=(tell, archive, output, settings))
    process.start()
    tell.close()
    try:
        ending: Ending | None = told.recv() if told.poll(seconds) else None
        return ending
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()
        told.close()


def _work(tell: Connection, archive: Path, output: Path, settings: CropSettings) -> None:
    os.chdir(archive.parent)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    data = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + _MOST_MIB * MIB, most))
    started = time.monotonic()
    refused = fault = ""
    try:
        _crop(str(archive), str(output), settings)
    except ArchiveError as error:
        refused = str(error)
    except Exception:  # noqa: BLE001 the test says it
        fault = traceback.format_exc()
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end_idle()
    tell.send(Ending(refused, fault, (peak - before) / 1024, seconds))


def _crop(archive: str, output: str, settings: CropSettings) -> None:
    """What a batch does, without Prefect."""
    opened = open_archive(archive, Limits(settings.limits.max_member_mib * MIB))
    place = Output(output)
    place.claim({"format": 1, "archive": archive, "settings": settings.identity()}, "resume")
    members = chunks = 0
    for chunk in opened.chunks(ChunkSize(settings.chunk.members, settings.chunk.mib * MIB)):
        entries = opened.read(_on_a_pool(chunk))
        done = sorted(crop_members(entries, chunk, settings), key=lambda member: member.row.member)
        for member in done:
            names = (face.crop or "" for face in member.row.face_rows)
            place.put_crops(chunk.number, dict(zip(names, member.crops, strict=True)))
        place.put_part(chunk.number, encode_part([member.row for member in done]))
        members, chunks = members + chunk.count, chunks + 1
    place.finish(members, chunks)


def _on_a_pool(chunk: Chunk) -> Chunk:
    """The chunk as another machine gets it, where one may."""
    return chunk if chunk.data is not None else decode_chunks(encode_chunks([chunk]))[0]
