"""What is fuzzed: each takes any bytes, and raises nothing but what its reader is to raise."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import fsspec
import numpy as np

from detection.codecs import cms
from detection.codecs.decode import Source
from detection.codecs.exif import orientation
from detection.codecs.icc import ProfileError, is_srgb, space
from detection.codecs.jpeg import is_lossy, picture
from detection.codecs.sniff import sniff
from detection.colours import CropColours
from detection.errors import ImageError
from storage.archives import unpack
from storage.archives.expand import METHODS, method_of
from storage.archives.listing import UriList
from storage.archives.members import Archive, ChunkSize, Entry, Limits
from storage.archives.nested import NestedArchive
from storage.archives.plan import decode_chunks
from storage.archives.tar import TarArchive
from storage.archives.tarstream import TarStream
from storage.archives.zip import ZipArchive
from storage.errors import ArchiveError, MemberError, StorageError
from storage.fs.location import RangeReader, probe, resolve
from tests.storage.archives import read_all

_LIMITS = Limits(member_bytes=1 << 16, members=1000)
_SIZE = ChunkSize(members=5, bytes=1 << 14)
_MAX_PIXELS = 1_000_000
_METHODS = list(unpack.METHODS.values())
_TRIED = np.zeros((8, 8, 3), np.uint8)
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
    streamed = _read(TarStream(_reader(gzip.compress(data, 0)), _LIMITS, METHODS[0]))
    assert _told(by_range) == _told(streamed)


def read_stream(data: bytes) -> None:
    """A TAR that is compressed by whichever method its first bytes say."""
    if (method := method_of(data)) is not None:
        _read(TarStream(_reader(data), _LIMITS, method))


def read_nested(data: bytes) -> None:
    """A ZIP with the archives in it."""
    limits = replace(_LIMITS, nested=1, nested_bytes=1 << 20)
    _read(NestedArchive(ZipArchive(_reader(data), limits), limits))


def unpack_member(data: bytes) -> None:
    """What a ZIP member is stored as, in each method: the first byte chooses."""
    if data:
        with suppress(MemberError):
            method = _METHODS[data[0] % len(_METHODS)]
            unpacked = method(memoryview(data)[1:], _LIMITS.member_bytes, 0)
            assert len(unpacked) <= max(_LIMITS.member_bytes + 1, len(data))


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


def decode_image(data: bytes) -> None:
    """The pixels of an image in any format, and the colours of a crop of it."""
    with suppress(ImageError):
        source = Source.open(data, _MAX_PIXELS)
        pixels = source.decode()
        assert pixels.shape == (source.height, source.width, 3)
        assert pixels.dtype == np.uint8
        CropColours(source, keep=False).of(pixels[:32, :32])


def read_profile(data: bytes) -> None:
    """An ICC profile: what it is of, whether it is sRGB's, and what it makes of colours."""
    with suppress(ProfileError):
        if space(data) in ("RGB", "GRAY"):
            is_srgb(data)
            cms.crop_to_srgb(_TRIED, data)


def read_segments(data: bytes) -> None:
    """What is read of an image without its decoder."""
    sniff(data)
    is_lossy(data)
    picture(data)
    for kind in ("jpeg", "png", "webp"):
        assert 1 <= orientation(data, kind) <= 8


def read_plan(data: bytes) -> None:
    """The chunks of a shard, as they come from an output."""
    with suppress(StorageError):
        decode_chunks(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "zip": read_zip,
    "tar": read_tar,
    "list": read_list,
    "stream": read_stream,
    "nested": read_nested,
    "member": unpack_member,
    "image": open_image,
    "pixels": decode_image,
    "profile": read_profile,
    "segments": read_segments,
    "plan": read_plan,
}
