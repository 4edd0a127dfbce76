import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import fsspec
import lz4.frame as lz4frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.archives.expand import METHODS
from storage.archives.members import ChunkSize, Entry, Limits
from storage.archives.opening import open_archive
from storage.archives.plan import decode_chunks, encode_chunks
from storage.archives.tarstream import TarStream
from storage.errors import ArchiveError, MemberErrorCode, MemberWarning, SkipReason
from storage.fs.location import RangeReader, probe, resolve
from tests.storage.archives import LIMITS, codes, names_and_data, read_all

Files = list[tuple[str, bytes]]


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def lz4(data: bytes) -> bytes:
    return bytes(lz4frame.compress(data, content_checksum=True))


SUFFIXES: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".tar", bytes),
    (".tar.gz", gzip.compress),
    (".tar.bz2", bz2.compress),
    (".tar.xz", lzma.compress),
    (".tar.lz4", lz4),
    (".tar.zst", zstd),
]
every_kind = pytest.mark.parametrize(("suffix", "compress"), SUFFIXES)


def info(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    item = tarfile.TarInfo(name)
    item.type, item.linkname, item.size = kind, link, size
    return item


def tarred(
    files: Files, form: int = tarfile.PAX_FORMAT, extra: list[tarfile.TarInfo] | None = None
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for item in extra or []:
            archive.addfile(item)
        for name, data in files:
            archive.addfile(info(name, size=len(data)), io.BytesIO(data))
    return out.getvalue()


def entries_of(
    path: Path, data: bytes, limits: Limits = LIMITS, size: ChunkSize | None = None
) -> list[Entry]:
    path.write_bytes(data)
    return read_all(open_archive(str(path), limits), size or ChunkSize(500, 1 << 20))


def fails(path: Path, data: bytes) -> str:
    with pytest.raises(ArchiveError) as caught:
        entries_of(path, data)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


TEN = [(f"d/{i}.jpg", bytes([i]) * (i * 300)) for i in range(10)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abcä/._", min_size=1, max_size=9), st.binary(max_size=1500)),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from(SUFFIXES),
    st.integers(1, 4),
    st.integers(1, 5000),
    st.integers(0, 250),
)
def test_reads_what_tarfile_reads(
    tmp_path_factory: pytest.TempPathFactory,
    files: Files,
    form: int,
    kind: tuple[str, Callable[[bytes], bytes]],
    members: int,
    budget: int,
    depth: int,
) -> None:
    deep = "" if form == tarfile.USTAR_FORMAT else "x" * depth + "/"
    raw = tarred([(f"{deep}f{name}e", data) for name, data in files], form)
    path = tmp_path_factory.mktemp("tar") / f"a{kind[0]}"
    found = entries_of(path, kind[1](raw), size=ChunkSize(members, budget))
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        expected = [(item, archive.extractfile(item)) for item in archive]
        assert [entry.name for entry in found] == [item.name for item, _ in expected]
        for entry, (item, file) in zip(found, expected, strict=True):
            assert file is not None
            assert entry.size == item.size
            if entry.data is not None:
                assert bytes(entry.data) == file.read()
            else:
                assert entry.skip


@every_kind
def test_chunks_keep_both_bounds(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(compress(tarred(TEN)))
    archive = open_archive(str(path), LIMITS)
    assert [c.count for c in archive.chunks(ChunkSize(4, 1 << 20))] == [4, 4, 2]
    bounded = list(archive.chunks(ChunkSize(100, 5000)))
    assert all(chunk.end - chunk.start <= 5000 for chunk in bounded)
    assert sum(chunk.count for chunk in bounded) == 10
    assert [c.count for c in archive.chunks(ChunkSize(100, 1))] == [1] * 10
    assert list(archive.chunks(ChunkSize(3, 5000))) == list(archive.chunks(ChunkSize(3, 5000)))


def test_a_chunk_is_read_without_the_index(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tarred(TEN))
    first = open_archive(str(path), LIMITS)
    chunk = list(first.chunks(ChunkSize(4, 1 << 20)))[1]
    again = open_archive(str(path), LIMITS, first.fingerprint)
    assert names_and_data(list(again.read(chunk))) == TEN[4:8]


def test_links_and_special_files_and_folders(tmp_path: Path) -> None:
    extra = [
        info("d", tarfile.DIRTYPE),
        info("soft.jpg", tarfile.SYMTYPE, "a.jpg"),
        info("hard.jpg", tarfile.LNKTYPE, "a.jpg"),
        info("pipe", tarfile.FIFOTYPE),
        info("disk", tarfile.BLKTYPE),
        info("tty", tarfile.CHRTYPE),
    ]
    entries = entries_of(
        tmp_path / "a.tar", tarred([("a.jpg", b"1"), ("b.zip", b"2")], extra=extra)
    )
    assert [(e.name, e.skip) for e in entries] == [
        ("soft.jpg", SkipReason.LINK),
        ("hard.jpg", SkipReason.LINK),
        ("pipe", SkipReason.SPECIAL_FILE),
        ("disk", SkipReason.SPECIAL_FILE),
        ("tty", SkipReason.SPECIAL_FILE),
        ("a.jpg", None),
        ("b.zip", SkipReason.NESTED_ARCHIVE),
    ]


@every_kind
def test_an_oversize_member_is_neither_read_nor_kept(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    files = [("a.jpg", b"1"), ("big.jpg", bytes(3 << 20)), ("c.jpg", b"3")]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(compress(tarred(files)))
    archive = open_archive(str(path), Limits(1 << 20))
    chunks = list(archive.chunks(ChunkSize(10, 64 << 20)))
    assert sum(chunk.end - chunk.start for chunk in chunks) < 5000
    assert sum(len(chunk.data or b"") for chunk in chunks) < 5000
    entries = read_all(archive, ChunkSize(10, 64 << 20))
    assert [e.error.code if e.error else None for e in entries] == [
        *(None, MemberErrorCode.TOO_LARGE, None)
    ]
    assert bytes(entries[2].data or b"") == b"3"


def test_sizes_and_names_that_pax_and_gnu_spell_otherwise(tmp_path: Path) -> None:
    long = "folder/" * 40 + "ü.jpg"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert names_and_data(entries_of(tmp_path / "a.tar", tarred([(long, b"1")], form))) == [
            (long, b"1")
        ]
    item = info("other.jpg", size=3)
    item.pax_headers = {"path": "real.jpg", "size": "3"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(item, io.BytesIO(b"abc"))
    assert names_and_data(entries_of(tmp_path / "a.tar", out.getvalue())) == [("real.jpg", b"abc")]


def header(name: bytes, size_field: bytes, flag: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size_field)] = size_field
    block[156:157] = flag
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_base_256_sizes(tmp_path: Path) -> None:
    size = b"\x80" + (3).to_bytes(11, "big")
    data = header(b"a.jpg", size) + b"abc".ljust(512, b"\0") + bytes(1024)
    assert names_and_data(entries_of(tmp_path / "a.tar", data)) == [("a.jpg", b"abc")]
    data = header(b"a.jpg", b"\xff" * 12) + bytes(1536)
    assert "no valid size" in fails(tmp_path / "a.tar", data)


def test_names_that_are_not_utf8_lose_nothing(tmp_path: Path) -> None:
    data = header(b"caf\xe9.jpg", b"00000000003\0") + b"abc".ljust(512, b"\0")
    assert names_and_data(entries_of(tmp_path / "a.tar", data)) == [("café.jpg", b"abc")]


def test_sparse_files_are_refused_by_name(tmp_path: Path) -> None:
    old = header(b"old.jpg", b"00000000003\0", b"S") + b"abc".ljust(512, b"\0")
    item = info("x", size=3)
    item.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "new.jpg"}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(item, io.BytesIO(b"abc"))
        archive.addfile(info("b.jpg", size=1), io.BytesIO(b"1"))
    entries = entries_of(tmp_path / "a.tar", old + out.getvalue())
    assert [e.name for e in entries] == ["old.jpg", "new.jpg", "b.jpg"]
    assert ["sparse" in str(e.error) for e in entries] == [True, True, False]


@every_kind
def test_names_that_crops_cannot_have_are_told(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    names = ["/a.jpg", "../a.jpg", "C:\\a.jpg", "a:b?c*d|e.jpg"]
    raw = tarred([(name, b"1") for name in [*names, "./b.jpg"]])
    entries = entries_of(tmp_path / f"a{suffix}", compress(raw))
    assert names_and_data(entries) == [(name, b"1") for name in [*names, "./b.jpg"]]
    assert [entry.warnings for entry in entries] == [(MemberWarning.NAME_CHANGED,)] * 4 + [()]


@every_kind
def test_duplicates_are_told_across_chunks(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    names = ["a.jpg", "b.jpg", "A.JPG", "c.jpg", "a.jpg", "B.jpg"]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(compress(tarred([(name, b"") for name in names])))
    chunks = list(open_archive(str(path), LIMITS).chunks(ChunkSize(3, 1 << 20)))
    assert [chunk.duplicates for chunk in chunks] == [{2}, {4, 5}]


@every_kind
def test_the_end_marker_may_be_missing_or_in_the_middle(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    one = header(b"a.jpg", b"00000000003\0") + b"abc".ljust(512, b"\0")
    two = tarred([("b.jpg", b"2")])
    path = tmp_path / f"a{suffix}"
    assert names_and_data(entries_of(path, compress(one))) == [("a.jpg", b"abc")]
    both = compress(one + bytes(1024) + two)
    assert names_and_data(entries_of(path, both)) == [("a.jpg", b"abc"), ("b.jpg", b"2")]


RAW = tarred(TEN)


def damages(entries: list[Entry]) -> list[tuple[int, str]]:
    """Index and name of each damaged member."""
    return [
        (entry.index, entry.name)
        for entry in entries
        if entry.error and entry.error.code is MemberErrorCode.ARCHIVE_DAMAGED
    ]


@every_kind
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(10240), "empty"),
        (tarred([], extra=[info("d", tarfile.DIRTYPE)]), "empty"),
        (header(b"v", b"00000000000\0", b"M"), "multi-volume"),
        (header(b"x", b"00000000010\0", b"x") + b"nonsense".ljust(512, b"\0"), "pax"),
        (header(b"x", b"77777777777\0", b"L"), "declares"),
        (header(b"x", b"00000000010\0", b"L"), "cut short"),
        (b"no tar at all" * 100, "not a TAR"),
    ],
)
def test_what_holds_no_member_is_refused(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes], data: bytes, words: str
) -> None:
    assert words in fails(tmp_path / f"a{suffix}", compress(data))


# where each of the ten begins: a header, and its content in whole blocks
PLACES = [512 * (i + sum(-(-j * 300 // 512) for j in range(i))) for i in range(11)]


@every_kind
@pytest.mark.parametrize("members", [1, 3, 500])
@pytest.mark.parametrize(
    ("data", "whole", "damaged", "words"),
    [
        (RAW[: PLACES[5] + 600], 5, [(5, "d/5.jpg")], "cut short"),
        (RAW[: PLACES[5] + 100], 5, [(5, "(behind d/4.jpg)")], "cut short"),
        (RAW[: PLACES[0] + 512], 1, [], ""),
        (RAW[: PLACES[1] + 512], 1, [(1, "d/1.jpg")], "cut short"),
        (RAW[: PLACES[5]] + b"X" + RAW[PLACES[5] + 1 :], 9, [(5, "(behind d/4.jpg)")], "header"),
        (
            RAW[: PLACES[5]] + bytes(512) + RAW[PLACES[5] + 512 :],
            9,
            [(5, "(behind d/4.jpg)")],
            "header",
        ),
        (RAW + b"junk", 10, [(10, "(behind d/9.jpg)")], "behind its end"),
        (RAW + b"junk" * 999, 10, [(10, "(behind d/9.jpg)")], "behind its end"),
        (RAW + b"junk" * 128 + RAW[PLACES[3] :], 17, [(10, "(behind d/9.jpg)")], "behind its"),
        (RAW[: PLACES[10]], 10, [], ""),
        (RAW[: PLACES[10] - 1], 10, [], ""),
        (RAW[: PLACES[9] + 512 + 2700], 10, [], ""),
        (RAW[: PLACES[10] + 100], 10, [], ""),
        (RAW + bytes(300), 10, [], ""),
    ],
)
def test_what_is_whole_beside_damage_is_read_and_the_damage_has_a_row(
    tmp_path: Path,
    suffix: str,
    compress: Callable[[bytes], bytes],
    members: int,
    data: bytes,
    whole: int,
    damaged: list[tuple[int, str]],
    words: str,
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(compress(data))
    archive = open_archive(str(path), LIMITS)
    entries = read_all(archive, ChunkSize(members, 1 << 20))
    assert damages(entries) == damaged
    contents = dict(TEN)
    read = [entry for entry in entries if entry.data is not None]
    assert len(read) == whole == len(entries) - len(damaged)
    assert all(bytes(entry.data or b"") == contents[entry.name] for entry in read)
    # once for all, and where the row is
    assert len(archive.notes) == (1 if damaged else 0)
    for index, name in damaged:
        assert words in archive.notes[0]
        assert f"member {index}, {name}" in archive.notes[0]
        assert words in str(entries[index].error)


def test_damage_is_found_again_in_a_chunk_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(RAW[: PLACES[5] + 600])
    archive = open_archive(str(path), LIMITS)
    chunks = decode_chunks(encode_chunks(list(archive.chunks(ChunkSize(3, 1 << 20)))))
    there = open_archive(str(path), LIMITS, archive.fingerprint)
    assert damages([e for chunk in chunks for e in there.read(chunk)]) == [(5, "d/5.jpg")]


def test_a_member_too_large_to_be_kept_may_be_cut(tmp_path: Path) -> None:
    raw = tarred([("a.jpg", b"1"), ("b.mov", bytes(5000))])[:4000]
    small = Limits(member_bytes=1000)
    for suffix, compress in SUFFIXES:
        entries = entries_of(tmp_path / f"a{suffix}", compress(raw), small)
        assert names_and_data(entries)[0] == ("a.jpg", b"1")
        assert codes(entries)[1] is MemberErrorCode.TOO_LARGE
        assert damages(entries) == [(2, "(behind b.mov)")]


ZSTD = next(method for method in METHODS if method.name == "zst")


class _StuckReader(RangeReader):
    """Answers nothing but the first block until it is let go."""

    def __init__(self, path: Path) -> None:
        location = resolve(str(path))
        fingerprint = probe(location)
        assert fingerprint is not None
        super().__init__(location, fingerprint)
        self.asked, self.let_go = threading.Event(), threading.Event()

    def read(self, start: int, end: int) -> bytes:
        if start:
            self.asked.set()
            assert self.let_go.wait(60)
        return super().read(start, end)


def test_who_stops_reading_a_stream_does_not_wait_for_what_is_read_ahead(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    path.write_bytes(zstd(tarred([(f"{i}.jpg", os.urandom(1 << 20)) for i in range(34)])))
    reader = _StuckReader(path)
    left = [TarStream(reader, LIMITS, ZSTD).chunks(ChunkSize(1, 1 << 20))]
    assert next(left[0]).count == 1
    assert reader.asked.wait(60)
    # the garbage collector may do this in a thread that holds a lock which ending threads take
    stopping = threading.Thread(target=left.clear)
    stopping.start()
    stopping.join(20)
    stopped = not stopping.is_alive()
    reader.let_go.set()
    stopping.join()
    assert stopped


SLOW = (".tar.bz2", ".tar.xz")


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        pytest.param(*each, marks=pytest.mark.slow if each[0] in SLOW else ())
        for each in SUFFIXES[1:]
    ],
)
def test_damaged_compression(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a{suffix}"
    noise = random.Random(1)  # several blocks of it, in every method
    whole = compress(tarred([(f"{i}.jpg", noise.randbytes(20_000)) for i in range(99)]))
    assert len(entries_of(path, whole)) == 99
    for cut in (1, 5, len(whole) // 2):
        entries = entries_of(path, whole[:-cut])
        [(index, _)] = damages(entries)
        assert index == len(entries) - 1
        assert "cut short" in str(entries[-1].error)
        if cut == 1:
            assert index == 99
    for place in (-2, -6, len(whole) // 2):  # the checksum or length at the end, the data
        harmed = bytearray(whole)
        harmed[place] ^= 0x55
        entries = entries_of(path, bytes(harmed))
        [(index, _)] = damages(entries)
        assert index == len(entries) - 1
        if place == -2:
            assert index == 99


@pytest.mark.parametrize(("suffix", "compress"), SUFFIXES[1:])
def test_several_members_or_frames_are_one_stream(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a{suffix}"
    parts = b"".join(compress(RAW[at : at + 1111]) for at in range(0, len(RAW), 1111))
    assert names_and_data(entries_of(path, parts)) == TEN
    assert names_and_data(entries_of(path, parts + bytes(512))) == TEN
    for junk in (b"\r\n", b"garbage" * 9):
        *entries, last = entries_of(path, parts + junk)
        assert names_and_data(entries) == TEN
        assert damages([last]) == [(10, "(behind d/9.jpg)")]
        assert "behind the end" in str(last.error)


def test_a_window_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = compressor.compress(RAW) + compressor.flush()
    assert "--long" in fails(tmp_path / "a.tar.zst", data)


def test_of_large_members_elsewhere_only_the_headers_are_walked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = io.BytesIO()
    large, small = bytes(5 << 20), bytes(100)
    with tarfile.open(fileobj=out, mode="w") as file:
        for place in range(12):
            for name, data in ((f"{place}.jpg", large), (f"{place}.xmp", small)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    fsspec.filesystem("memory").pipe_file("/large.tar", out.getvalue())
    sizes: list[int] = []
    read = RangeReader.read

    def counted(self: RangeReader, start: int, end: int) -> bytes:
        sizes.append(end - start)
        return read(self, start, end)

    monkeypatch.setattr(RangeReader, "read", counted)
    archive = open_archive("memory://large.tar", LIMITS)
    assert archive.members == 24
    # three members were in the first block; behind each of the others its companion comes along
    assert len(sizes) <= 12
    assert sum(sizes) < (16 << 20) + 12 * (64 << 10)
    [chunk] = archive.picked([14])
    assert next(archive.read(chunk)).name == "7.jpg"
    assert sizes[-1] < (5 << 20) + 2048
