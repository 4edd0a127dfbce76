"""Every compression method of ZIP, with the bounds and the errors of deflate."""

import bz2
import lzma
import os
import random
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import zstandard
from inflate64 import Deflater

from storage.errors import MemberErrorCode
from tests.storage.archives import codes, names_and_data
from tests.storage.test_zip import by_hand, entries_of, record, zipped

Compress = Callable[[bytes], bytes]
DATA = random.Random(1).randbytes(5000) + b"face" * 20_000


def deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def deflate64(data: bytes) -> bytes:
    deflater = Deflater()
    return bytes(deflater.deflate(data) + deflater.flush())


def lzma1(data: bytes, *, marker: bool = True, dictionary: int = 1 << 20) -> bytes:
    """As APPNOTE 5.8.8 has it; liblzma always writes an end marker, of some six bytes."""
    chain = [{"id": lzma.FILTER_LZMA1, "dict_size": dictionary}]
    raw = lzma.compress(data, lzma.FORMAT_RAW, filters=chain)
    return b"\x09\x04" + struct.pack("<HBL", 5, 0x5D, dictionary) + raw


def zstd(data: bytes) -> bytes:
    return zstandard.compress(data)


def zstd_frames(data: bytes) -> bytes:
    return b"".join(zstd(data[at : at + 30_000]) for at in range(0, len(data), 30_000))


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


METHODS: list[tuple[int, Compress, int]] = [
    (8, deflate, 0),
    (9, deflate64, 0),
    (12, bz2.compress, 0),
    (14, lzma1, 2),
    (20, zstd, 0),
    (93, zstd, 0),
    (93, zstd_frames, 0),
    (95, xz, 0),
]
every_method = pytest.mark.parametrize(("method", "compress", "flags"), METHODS)


@every_method
def test_it_is_read(tmp_path: Path, method: int, compress: Compress, flags: int) -> None:
    cases = [
        record(b"0.jpg", data, stored=compress(data), method=method, flags=flags | bit)
        for data in (DATA, b"x")
        for bit in (0, 8)  # sizes in a data descriptor
    ]
    entries = entries_of(tmp_path, by_hand(cases))
    assert names_and_data(entries) == [("0.jpg", DATA)] * 2 + [("0.jpg", b"x")] * 2


@every_method
def test_what_is_wrong_has_the_codes_of_deflate(
    tmp_path: Path, method: int, compress: Compress, flags: int
) -> None:
    whole = compress(DATA)
    size = len(DATA)
    wrong = [
        (whole[: len(whole) // 2], size, None, {MemberErrorCode.CORRUPT_ENTRY}),
        (whole, size, 1, {MemberErrorCode.CRC_MISMATCH}),
        (whole, size - 1, None, {MemberErrorCode.SIZE_MISMATCH}),
        (whole, size + 1, None, {MemberErrorCode.SIZE_MISMATCH}),
        (b"\xff" * 500, size, None, {MemberErrorCode.CORRUPT_ENTRY}),
        (b"", size, None, {MemberErrorCode.CORRUPT_ENTRY}),
    ]
    cases = [
        record(b"0.jpg", DATA, stored=stored, method=method, flags=flags, size=length, crc=crc)
        for stored, length, crc, _ in wrong
    ]
    found = codes(entries_of(tmp_path, by_hand([*cases, record()])))
    for code, (*_, expected) in zip(found, wrong, strict=False):
        assert code in expected
    assert found[-1] is None


@every_method
def test_a_bomb_costs_what_it_declares_and_some_mib(
    tmp_path: Path, method: int, compress: Compress, flags: int
) -> None:
    bomb = compress(bytes(64 << 20))
    data = by_hand([record(stored=bomb, method=method, flags=flags, size=1000), record()])
    tracemalloc.start()
    found = codes(entries_of(tmp_path, data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [MemberErrorCode.SIZE_MISMATCH, None]
    assert peak < 50 << 20


def test_lzma_without_an_end_marker(tmp_path: Path) -> None:
    sink = BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("0.jpg", DATA)
    assert names_and_data(entries_of(tmp_path, sink.getvalue())) == [("0.jpg", DATA)]
    # what says that the data ends by itself is a flag; without it the size alone counts
    case = record(b"0.jpg", DATA, stored=lzma1(DATA), method=14)
    assert names_and_data(entries_of(tmp_path, by_hand([case]))) == [("0.jpg", DATA)]


def test_an_lzma_dictionary_is_no_larger_than_the_member(tmp_path: Path) -> None:
    stored = lzma1(DATA)
    stored = stored[:5] + b"\xff" * 4 + stored[9:]
    case = record(b"0.jpg", DATA, stored=stored, method=14, flags=2)
    assert names_and_data(entries_of(tmp_path, by_hand([case]))) == [("0.jpg", DATA)]
    for harm in (b"\x09\x04\x06\0" + stored[4:], stored[:4] + b"\xe1" + stored[5:], stored[:7]):
        case = record(b"0.jpg", DATA, stored=harm, method=14, flags=2)
        assert codes(entries_of(tmp_path, by_hand([case]))) == [MemberErrorCode.CORRUPT_ENTRY]


def test_what_info_zip_makes_of_a_pipe_is_a_member(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        entries = entries_of(tmp_path, zipped([("-", DATA)], method))
        assert names_and_data(entries) == [("-", DATA)]
        assert entries[0].warnings == ()


def test_deflate64_leaves_no_memory_behind(tmp_path: Path) -> None:
    data = random.Random(2).randbytes(1 << 20)
    stored = deflate64(data)
    whole = by_hand([record(b"a.jpg", stored=stored, method=9, size=len(data))])
    cut = by_hand([record(b"a.jpg", stored=b"\xff" + stored, method=9, size=len(data))])
    for archive in (whole, cut):
        entries_of(tmp_path, archive)
        before = resident()
        for _ in range(60):
            entries_of(tmp_path, archive)
        assert resident() - before < 20 << 20  # of 60 MiB


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
