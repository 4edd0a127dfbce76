"""ZIPs above 4 GiB whose numbers are modulo 2^32; what lies between their members is a hole."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.archives.members import ChunkSize
from storage.archives.opening import open_archive
from storage.archives.plan import decode_chunks, encode_chunks
from storage.errors import MemberErrorCode
from tests.storage.archives import LIMITS, names_and_data, read_all

GIB = 1 << 30
WRAP = 4 * GIB
PHOTO = b"pixels" * 100


@dataclass(frozen=True)
class Film:
    """A member of so many bytes of nothing, whose checksum nobody has taken."""

    size: int


def wrapped(
    path: Path, members: list[bytes | Film], *, before: int = 0, descriptors: bool = False
) -> None:
    """Write members as macOS does: no zip64, and every number modulo 2^32.

    Args:
        path: of the archive; a sparse file.
        members: content of each; names are their numbers.
        before: bytes before the archive proper.
        descriptors: each has its sizes behind it, too.
    """
    directory = b""
    with path.open("wb") as file:
        file.seek(before)
        for number, member in enumerate(members):
            name = b"%d.%s" % (number, b"mov" if isinstance(member, Film) else b"jpg")
            size = member.size if isinstance(member, Film) else len(member)
            crc = 0 if isinstance(member, Film) else zlib.crc32(member)
            at, low = file.tell() - before, size % WRAP
            flags = 8 if descriptors else 0
            stated = (0, 0, 0) if descriptors else (crc, low, low)
            file.write(
                struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, 0, 0, 0, *stated, len(name), 0)
            )
            file.write(name)
            if isinstance(member, Film):
                file.seek(size, 1)
            else:
                file.write(member)
            if descriptors:
                file.write(struct.pack("<4s3L", b"PK\7\x08", crc, low, low))
            directory += struct.pack(
                "<4s6H3L5H2L",
                b"PK\1\2",
                *(0x0315, 20, flags, 0, 0, 0, crc, low, low, len(name), 0),
                *(0, 0, 0, 0o100644 << 16, at % WRAP),
            )
            directory += name
        at = file.tell() - before
        count = len(members) % 65536
        file.write(directory)
        file.write(
            struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), at % WRAP, 0)
        )


def check(path: Path, members: list[bytes | Film]) -> None:
    archive = open_archive(str(path), LIMITS)
    chunks = decode_chunks(encode_chunks(list(archive.chunks(ChunkSize(3, 1 << 20)))))
    entries = [entry for chunk in chunks for entry in archive.read(chunk)]
    assert [entry.index for entry in entries] == list(range(len(members)))
    for entry, member in zip(entries, members, strict=True):
        if isinstance(member, Film):
            assert entry.error is not None
            assert entry.error.code is MemberErrorCode.TOO_LARGE
            assert entry.size == member.size
        else:
            assert (entry.name, entry.data) == (f"{entry.index}.jpg", member)


@pytest.mark.parametrize("before", [0, 1000])
@pytest.mark.parametrize("descriptors", [False, True])
@pytest.mark.parametrize(
    "films",
    [
        [Film(3 * GIB), Film(3 * GIB), Film(3 * GIB)],
        [Film(WRAP - 1), Film(1 * GIB)],
        [Film(5 * GIB)],
        [Film(1 * GIB), Film(9 * GIB + 7), Film(5 * GIB), Film(2 * GIB)],
        [Film(WRAP), Film(WRAP)],
    ],
    ids=["offsets", "just below", "a size", "sizes", "to nothing"],
)
def test_every_member_is_found_by_its_local_header(
    tmp_path: Path, films: list[Film], descriptors: bool, before: int
) -> None:
    path = tmp_path / "a.zip"
    members: list[bytes | Film] = [PHOTO]
    for film in films:
        members += [film, PHOTO, b"", PHOTO + b"more"]
    wrapped(path, members, before=before, descriptors=descriptors)
    check(path, members)


def test_the_last_member_s_size_may_have_wrapped(tmp_path: Path) -> None:
    members: list[bytes | Film] = [PHOTO, PHOTO, Film(6 * GIB)]
    wrapped(tmp_path / "a.zip", members)
    check(tmp_path / "a.zip", members)


def test_numbers_that_have_not_wrapped_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    wrapped(path, [PHOTO, PHOTO], before=5 * GIB)  # what stands before it is all that is large
    entries = read_all(open_archive(str(path), LIMITS), ChunkSize(9, 1 << 20))
    assert names_and_data(entries) == [("0.jpg", PHOTO), ("1.jpg", PHOTO)]
