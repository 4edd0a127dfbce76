"""What is fuzzed: each takes any bytes, and raises nothing but what its reader is to raise."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress

import fsspec

from detection.decode import Source
from detection.errors import ImageError
from detection.exif import jpeg_orientation, png_orientation
from detection.jpeg import has_end
from detection.sniff import sniff
from storage.errors import ArchiveError, StorageError
from storage.listing import UriList
from storage.location import RangeReader, probe, resolve
from storage.members import Archive, ChunkSize, Entry, Limits
from storage.plan import decode_chunks
from storage.tar import TarArchive, TarStream
from storage.zip import ZipArchive
from tests.storage.archives import read_all

_LIMITS = Limits(member_bytes=1 << 16, members=1000)
_SIZE = ChunkSize(members=5, bytes=1 << 14)
_MAX_PIXELS = 1_000_000
_memory = fsspec.filesystem("memory")


def _reader(data: bytes) -> RangeReader:
    _memory.pipe_file("/fuzzed", data)
    location = resolve("memory://fuzzed")
    found = probe(location)
    assert found is not None
    return RangeReader(location, found)


def _read(archive: Archive) -> list[Entry] | None:
    """All members; None where the archive is refused."""
    refused = ""
    try:
        return read_all(archive, _SIZE)
    except ArchiveError as error:
        refused = str(error)
    assert refused.isprintable()
    return None


def read_zip(data: bytes) -> None:
    """The end, the directory and the members of a ZIP."""
    _read(ZipArchive(_reader(data), _LIMITS))


def read_tar(data: bytes) -> None:
    """The headers and the members of a TAR, by range and as a stream, which are to agree."""
    by_range = _read(TarArchive(_reader(data), _LIMITS))
    streamed = _read(TarStream(_reader(gzip.compress(data, 0)), _LIMITS, "tar.gz"))
    assert _told(by_range) == _told(streamed)


def _told(entries: list[Entry] | None) -> list[tuple[object, ...]] | None:
    if entries is None:
        return None
    return [(one.index, one.name, one.size, one.data, one.skip, str(one.error)) for one in entries]


def read_list(data: bytes) -> None:
    """The lines of a list; none is opened."""
    if data:
        with suppress(ArchiveError):
            archive = UriList.from_file(_reader(data), _LIMITS)
            assert archive.members == sum(chunk.count for chunk in archive.chunks(_SIZE))


def open_image(data: bytes) -> None:
    """The header of an image in any format."""
    with suppress(ImageError):
        source = Source.open(data, _MAX_PIXELS)
        assert 0 <= source.width * source.height <= _MAX_PIXELS
        assert 1 <= source.orientation <= 8


def read_segments(data: bytes) -> None:
    """What is read of an image without its decoder."""
    sniff(data)
    has_end(data)
    assert 1 <= jpeg_orientation(data) <= 8
    assert 1 <= png_orientation(data) <= 8


def read_plan(data: bytes) -> None:
    """The chunks of a shard, as they come from an output."""
    with suppress(StorageError):
        decode_chunks(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "zip": read_zip,
    "tar": read_tar,
    "list": read_list,
    "image": open_image,
    "segments": read_segments,
    "plan": read_plan,
}
