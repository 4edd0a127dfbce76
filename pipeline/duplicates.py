"""Photographs that come twice, byte for byte: the first is cropped, and others point to it.

The first is the one with the lowest index, whoever works on which chunk and when. So it has to be
known before chunks are handed out. The index of an archive tells which members may be the same, by
their size and, in a ZIP, their checksum; these alone are read before, and their SHA-256 decides. A
compressed TAR is read in order anyway, and there all are hashed as they stream by.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np

from detection.codecs.sniff import sniff
from pipeline.retries import retried
from pipeline.settings import CropSettings
from storage.archives.members import Archive, Chunk, Copy, Entry
from storage.errors import OutputError
from storage.output.names import skip_reason
from storage.output.output import Output

Copies = dict[int, Copy]
"""What is known of each photograph that comes again, by its index."""

_AT_ONCE = 8  # members that are read at the same time
_WINDOW = 64  # that are handed out to be read
_LARGEST = (1 << 32) - 1  # bytes: no larger member is read


def check_dedupe(archive: Archive, settings: CropSettings) -> None:
    """Make sure that it can be known which photographs come twice, where that was asked.

    Raises:
        OutputError: of a list of addresses nobody knows it.
    """
    if settings.input.dedupe == "exact" and archive.kind == "list":
        raise OutputError(
            f"{archive.uri} does not say how large its files are, so nobody knows before which of "
            "them come twice. Hand them in as an archive or a folder, or without --dedupe exact."
        )


def with_copies(
    chunks: Iterable[Chunk], archive: Archive, output: Output, done: set[int]
) -> Iterator[Chunk]:
    """Chunks that say which of their members come a second time.

    Args:
        chunks: in their order; of an archive that streams by, all of them.
        archive: theirs.
        output: of the batch: what was found is kept there until it is finished.
        done: numbers of chunks that need not say it.

    Raises:
        TransientError: storage failed on every attempt.
    """
    if archive.members is None:
        yield from _streamed(chunks, archive)
        return
    found: Copies | None = None
    for chunk in chunks:
        if chunk.number in done:
            yield chunk
            continue
        if found is None:
            found = retried(lambda _: _known(archive, output))
        yield _marked(chunk, found)


def digest_of(entry: Entry) -> str | None:
    """The SHA-256 of a member that is an image by its first bytes; None for others.

    Others have a row that says what they are, which follows from their names, too.
    """
    if entry.data is None or sniff(entry.data) is None:
        return None
    return hashlib.sha256(entry.data).hexdigest()


def _marked(chunk: Chunk, found: Copies) -> Chunk:
    inside = range(chunk.first, chunk.last + 1)
    return replace(chunk, copies=tuple(found[at] for at in inside if at in found))


def _streamed(chunks: Iterable[Chunk], archive: Archive) -> Iterator[Chunk]:
    firsts: dict[str, int] = {}
    for chunk in chunks:
        found: Copies = {}
        for entry in archive.read(chunk):
            _note(entry.index, digest_of(entry), firsts, found)
        yield _marked(chunk, found)


def _note(index: int, digest: str | None, firsts: dict[str, int], found: Copies) -> None:
    if digest is not None:
        first = firsts.setdefault(digest, index)
        if first != index:
            found[index] = Copy(index, first, digest)


def _known(archive: Archive, output: Output) -> Copies:
    """What comes twice, as an earlier run has found it, or found now."""
    kept = output.copies()
    if kept is not None:
        return {copy[0]: Copy(*copy) for copy in json.loads(kept)}
    found = find_copies(archive)
    output.put_copies(json.dumps(list(found.values())).encode())
    return found


def find_copies(archive: Archive) -> Copies:
    """Find the photographs that come twice in an archive whose index is known.

    Raises:
        TransientError: storage failed.
    """
    firsts: dict[str, int] = {}
    found: Copies = {}
    chunks = archive.picked(_candidates(archive))
    with ThreadPoolExecutor(_AT_ONCE, "hash") as pool:
        while some := list(islice(chunks, _WINDOW)):
            digests = pool.map(partial(_read, archive), some)
            for chunk, digest in zip(some, digests, strict=True):
                _note(chunk.first, digest, firsts, found)
    return found


def _read(archive: Archive, chunk: Chunk) -> str | None:
    return next((digest_of(entry) for entry in archive.read(chunk)), None)


def _candidates(archive: Archive) -> list[int]:
    """The members that may have the same bytes as another, by their index."""
    sizes, sums, indexes = array("Q"), array("Q"), array("q")
    every_sum = True
    for index, one in enumerate(archive.listed()):
        if one.size > 0 and skip_reason(one.name, system=False) is None:
            indexes.append(index)
            sizes.append(min(one.size, _LARGEST))
            sums.append(one.crc or 0)
            every_sum &= one.crc is not None
    keys = np.array(sizes, np.uint64) << np.uint64(32)
    if every_sum:  # else a member without a checksum may be like any of its size
        keys |= np.array(sums, np.uint64)
    _, place, times = np.unique(keys, return_inverse=True, return_counts=True)
    several: list[int] = np.array(indexes, np.int64)[times[place] > 1].tolist()
    return several
