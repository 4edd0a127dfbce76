import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.archives.members import ChunkSize, Entry, Limits
from storage.archives.opening import open_archive
from storage.errors import ArchiveError, MemberErrorCode, SkipReason
from storage.fs.location import RangeReader
from tests.storage.archives import LIMITS, Case, codes, names_and_data, read_all

Entries = list[tuple[str, bytes]]


@pytest.fixture(scope="module", params=[1, 1 << 22], ids=["a member", "4 MiB"], autouse=True)
def piece(request: pytest.FixtureRequest) -> Iterator[None]:
    """How much is read at once: it makes no difference to what is read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.archives.zip._PIECE", request.param)
        patch.setattr("storage.archives.zip.REMOTE_PIECE", request.param)
        yield


def zipped(
    entries: Entries, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"", zip64: bool = False
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=zip64) as file:
                file.write(data)
        archive.comment = comment
    return out.getvalue()


def record(
    name: bytes = b"a.jpg",
    data: bytes = b"pixels",
    *,
    stored: bytes | None = None,
    method: int = 0,
    flags: int = 0,
    size: int | None = None,
    crc: int | None = None,
    external: int = 0,
    extra: bytes = b"",
) -> Case:
    """One entry by hand: its local header with data, and its directory record without offset."""
    stored = data if stored is None else stored
    size = len(data) if size is None else size
    crc = zlib.crc32(data) if crc is None else crc
    local = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 0, crc, len(stored), size, len(name), 0
    )
    central = struct.pack(
        "<4s6H3L5HL",
        b"PK\1\2",
        *(0x0314, 20, flags, method, 0, 0, crc, len(stored), size, len(name), len(extra)),
        *(0, 0, 0, external),
    )
    return Case(local + name + stored, central, name + extra)


def by_hand(
    cases: list[Case], offsets: list[int] | None = None, entries: int | None = None
) -> bytes:
    body, directory = bytearray(), bytearray()
    for number, case in enumerate(cases):
        offset = len(body) if offsets is None else offsets[number]
        directory += case.central + struct.pack("<L", offset) + case.name
        body += case.local
    count = len(cases) if entries is None else entries
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory) + end


def entries_of(path: Path, data: bytes, limits: Limits = LIMITS, members: int = 500) -> list[Entry]:
    path = path / "a.zip"
    path.write_bytes(data)
    return read_all(open_archive(str(path), limits), ChunkSize(members, 1 << 20))


def opening_fails(path: Path, data: bytes) -> str:
    path = path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(ArchiveError) as caught:
        open_archive(str(path), LIMITS)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.text("abcä/._", min_size=1, max_size=9), st.binary(max_size=300)), max_size=9
    ),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.binary(max_size=40),
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 700),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_reads_what_zipfile_reads(
    tmp_path_factory: pytest.TempPathFactory,
    entries: Entries,
    method: int,
    comment: bytes,
    zip64: bool,
    members: int,
    budget: int,
) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(b"stub" + zipped([("first", b"1"), *entries], method, comment, zip64))
    with zipfile.ZipFile(path) as archive:
        expected = [
            (info.filename, archive.read(info))
            for info in archive.infolist()
            if not (info.filename.endswith("/") and info.file_size == 0)
        ]
    opened = open_archive(str(path), LIMITS)
    found = read_all(opened, ChunkSize(members, budget))
    assert opened.members == len(expected)
    assert [entry.name for entry in found] == [name for name, _ in expected]
    for entry, (_, data) in zip(found, expected, strict=True):
        if entry.data is not None:
            assert bytes(entry.data) == data
            assert entry.size == len(data)
        else:
            assert entry.skip


def test_chunks_keep_both_bounds_and_number_their_members(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped([(f"{i}.jpg", bytes(1000)) for i in range(10)], zipfile.ZIP_STORED))
    archive = open_archive(str(path), LIMITS)
    by_count = list(archive.chunks(ChunkSize(4, 1 << 20)))
    assert [(c.number, c.first, c.count) for c in by_count] == [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    by_bytes = list(archive.chunks(ChunkSize(100, 3200)))
    assert [chunk.count for chunk in by_bytes] == [3, 3, 3, 1]
    assert all(chunk.end - chunk.start <= 3200 for chunk in by_bytes)
    assert list(archive.chunks(ChunkSize(100, 1)))[3].count == 1


def test_a_chunk_is_read_without_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    data = zipped([(f"{i}.jpg", bytes([i]) * 500) for i in range(9)])
    path.write_bytes(data)
    first = open_archive(str(path), LIMITS)
    chunk = list(first.chunks(ChunkSize(4, 1 << 20)))[1]
    again = open_archive(str(path), LIMITS, first.fingerprint)
    assert [(e.index, e.name) for e in again.read(chunk)] == [(i, f"{i}.jpg") for i in range(4, 8)]
    assert [bytes(e.data or b"")[0] for e in again.read(chunk)] == [4, 5, 6, 7]


def test_folders_have_no_index(tmp_path: Path) -> None:
    entries = entries_of(
        tmp_path, zipped([("d/", b""), ("d/a.jpg", b"1"), ("e/", b""), ("b", b"2")])
    )
    assert names_and_data(entries) == [("d/a.jpg", b"1"), ("b", b"2")]
    assert [entry.index for entry in entries] == [0, 1]


@pytest.mark.slow
def test_zip64_with_more_entries_than_16_bits_count(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zipped([(f"{i}", b"") for i in range(65540)], zipfile.ZIP_STORED))
    archive = open_archive(str(path), LIMITS)
    assert archive.members == 65540
    *_, last = archive.chunks(ChunkSize(1000, 1 << 20))
    assert [e.name for e in archive.read(last)][-1] == "65539"


@pytest.mark.slow
def test_a_count_that_wrapped_at_16_bits_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(by_hand([record(b"%d" % i, b"") for i in range(65537)], entries=1))
    assert open_archive(str(path), LIMITS).members == 65537


def test_zip64_offsets_beyond_4_gib(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    far = record(b"far.jpg", b"distant", extra=struct.pack("<HHQ", 1, 8, 5 << 30))
    directory = far.central + b"\xff" * 4 + far.name
    with path.open("wb") as file:
        file.seek(5 << 30)
        file.write(far.local)
        start = file.tell()
        file.write(directory)
        file.write(
            struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(directory), start)
        )
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), 0xFFFFFFFF, 0))
    archive = open_archive(str(path), LIMITS)
    chunks = list(archive.chunks(ChunkSize(10, 1 << 20)))
    assert chunks[0].start == 5 << 30
    assert names_and_data(list(archive.read(chunks[0]))) == [("far.jpg", b"distant")]


@pytest.mark.parametrize("prefix", [b"MZ" + bytes(5000), b"#!/bin/sh\nexit\n"])
@pytest.mark.parametrize("trailing", [b"", bytes(3000)])
def test_a_self_extractor_and_trailing_garbage(
    tmp_path: Path, prefix: bytes, trailing: bytes
) -> None:
    data = (
        prefix + zipped([("a.jpg", b"one"), ("b.jpg", b"two")], comment=b"PK\5\6 hello") + trailing
    )
    assert names_and_data(entries_of(tmp_path, data)) == [("a.jpg", b"one"), ("b.jpg", b"two")]


def test_names(tmp_path: Path) -> None:
    utf8 = "Zoë.jpg".encode()
    good = b"\1" + struct.pack("<L", zlib.crc32(b"x.jpg")) + "日本.jpg".encode()
    stale = b"\1" + struct.pack("<L", 1) + b"stale.jpg"
    cases = [
        record(utf8),
        record(utf8, flags=0x800),
        record(b"caf\x82.jpg"),
        record(b"bad\xff.jpg", flags=0x800),
        record(b"x.jpg", extra=struct.pack("<HH", 0x7075, len(good)) + good),
        record(b"y.jpg", extra=struct.pack("<HH", 0x7075, len(stale)) + stale),
    ]
    entries = entries_of(tmp_path, by_hand(cases))
    assert [e.name for e in entries] == [
        *("Zoë.jpg", "Zoë.jpg", "café.jpg", "bad\u00a0.jpg", "日本.jpg", "y.jpg")
    ]
    assert all(entry.data is not None for entry in entries)


DEFLATED = zlib.compress(b"pixels" * 100, wbits=-15)


@pytest.mark.parametrize(
    ("case", "code", "word"),
    [
        (record(flags=1), MemberErrorCode.ENCRYPTED, "password"),
        (record(flags=0x41), MemberErrorCode.ENCRYPTED, "password"),
        (record(method=99, flags=1), MemberErrorCode.ENCRYPTED, "password"),
        (record(method=6), MemberErrorCode.UNSUPPORTED_COMPRESSION, "implode"),
        (record(method=98), MemberErrorCode.UNSUPPORTED_COMPRESSION, "PPMd"),
        (record(method=77), MemberErrorCode.UNSUPPORTED_COMPRESSION, "unknown"),
        (record(crc=1), MemberErrorCode.CRC_MISMATCH, "damaged"),
        (record(size=7), MemberErrorCode.SIZE_MISMATCH, "6 instead of"),
        (record(size=5), MemberErrorCode.SIZE_MISMATCH, "more than"),
        (record(stored=DEFLATED, method=8, size=5), MemberErrorCode.SIZE_MISMATCH, "more than"),
        (record(stored=DEFLATED, method=8, size=700), MemberErrorCode.SIZE_MISMATCH, "600 instead"),
        (record(stored=DEFLATED[:-3], method=8, size=600), MemberErrorCode.CORRUPT_ENTRY, "early"),
        (record(stored=b"\xff" * 9, method=8, size=600), MemberErrorCode.CORRUPT_ENTRY, "damaged"),
        (record(size=1 << 30), MemberErrorCode.TOO_LARGE, "limit"),
    ],
)
def test_one_bad_member_has_its_row_and_spares_its_neighbours(
    tmp_path: Path, case: Case, code: MemberErrorCode, word: str
) -> None:
    entries = entries_of(tmp_path, by_hand([record(b"0.jpg"), case, record(b"2.jpg")]))
    assert codes(entries) == [None, code, None]
    assert word in str(entries[1].error)
    assert bytes(entries[2].data or b"") == b"pixels"


@pytest.mark.parametrize(
    ("mode", "skip"),
    [(0o120777, SkipReason.LINK), (0o010644, SkipReason.SPECIAL_FILE), (0o100644, None)],
)
def test_file_types(tmp_path: Path, mode: int, skip: SkipReason | None) -> None:
    entries = entries_of(tmp_path, by_hand([record(external=mode << 16)]))
    assert entries[0].skip is skip


def test_system_files_and_nested_archives_are_skipped(tmp_path: Path) -> None:
    entries = entries_of(tmp_path, zipped([("__MACOSX/._a.jpg", b"1"), ("more.zip", b"2")]))
    assert [e.skip for e in entries] == [SkipReason.SYSTEM_FILE, SkipReason.NESTED_ARCHIVE]


def test_a_header_that_disagrees(tmp_path: Path) -> None:
    odd = record()
    wrong_method = Case(odd.local[:8] + b"\x08\0" + odd.local[10:], odd.central, odd.name)
    no_header = Case(b"XX" + odd.local[2:], odd.central, odd.name)
    entries = entries_of(tmp_path, by_hand([wrong_method, no_header, record()]))
    assert codes(entries) == [MemberErrorCode.CORRUPT_ENTRY] * 2 + [None]


@pytest.mark.parametrize("members", [1, 3])
def test_two_members_on_the_same_bytes(tmp_path: Path, members: int) -> None:
    cases = [record(b"0.jpg", b"x" * 100), record(b"1.jpg", b"x" * 100), record(b"2.jpg")]
    data = by_hand(cases, offsets=[0, 0, 2 * len(cases[0].local)])
    corrupt = MemberErrorCode.CORRUPT_ENTRY
    assert codes(entries_of(tmp_path, data, members=members)) == [None, corrupt, None]
    data = by_hand(cases, offsets=[0, 40, 2 * len(cases[0].local)])
    assert codes(entries_of(tmp_path, data, members=members)) == [None, corrupt, None]


def test_a_wrong_length_spares_the_members_behind_it(tmp_path: Path) -> None:
    bad = record(b"0.jpg", b"x" * 100)
    bad = Case(bad.local, bad.central[:20] + struct.pack("<L", 5000) + bad.central[24:], bad.name)
    cases = [bad, *(record(b"%d.jpg" % i, b"x" * 3000) for i in range(3))]
    entries = entries_of(tmp_path, by_hand(cases))
    assert [entry.error is None for entry in entries] == [False, True, True, True]


def test_an_offset_outside_of_the_file(tmp_path: Path) -> None:
    data = by_hand([record(), record()], offsets=[0, 1 << 31])
    assert codes(entries_of(tmp_path, data)) == [None, MemberErrorCode.CORRUPT_ENTRY]


def test_a_bomb_costs_its_declared_bytes_at_most(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(100 << 20), wbits=-15)
    entries = entries_of(tmp_path, by_hand([record(stored=bomb, method=8, size=1000)]))
    assert codes(entries) == [MemberErrorCode.SIZE_MISMATCH]


def test_an_oversize_member_is_left_out_of_the_bytes_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    big = [("a.jpg", b"1"), ("big.jpg", bytes(5 << 20)), ("c.jpg", b"3")]
    path.write_bytes(zipped(big, zipfile.ZIP_STORED))
    archive = open_archive(str(path), Limits(1 << 20))
    (chunk,) = archive.chunks(ChunkSize(10, 1 << 20))
    entries = list(archive.read(chunk))
    assert codes(entries) == [None, MemberErrorCode.TOO_LARGE, None]
    # with holes in the place of its content, nothing that is read has changed
    data = path.read_bytes()
    begin = data.index(b"big.jpg") + 200_000
    path.write_bytes(data[:begin] + b"X" * (4 << 20) + data[begin + (4 << 20) :])
    again = list(open_archive(str(path), Limits(1 << 20)).read(chunk))
    assert names_and_data(again) == names_and_data(entries)
    assert chunk.end - chunk.start > 5 << 20
    spans = struct.unpack_from("<I", chunk.directory, 8)[0]
    assert spans == 2


def test_members_out_of_order_and_far_apart(tmp_path: Path) -> None:
    cases = [record(b"%d.jpg" % i, bytes([i]) * 3_000_000) for i in range(4)]
    step = len(cases[0].local)
    body = b"".join(case.local for case in cases)
    order = [3, 0, 2, 1]
    directory = b"".join(
        cases[i].central + struct.pack("<L", i * step) + cases[i].name for i in order
    )
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 4, 4, len(directory), len(body), 0)
    path = tmp_path / "a.zip"
    path.write_bytes(body + directory + end)
    archive = open_archive(str(path), LIMITS)
    first, second = archive.chunks(ChunkSize(2, 16 << 20))
    assert [entry.name for entry in archive.read(first)] == ["3.jpg", "0.jpg"]
    assert [bytes(e.data or b"")[:1] for e in archive.read(first)] == [b"\3", b"\0"]
    assert [bytes(e.data or b"")[:1] for e in archive.read(second)] == [b"\2", b"\1"]


def test_what_is_read_at_once_is_bounded_whatever_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.archives.zip.REMOTE_PIECE", 1000)
    monkeypatch.setattr("storage.archives.zip._PIECE", 1000)
    sizes = [100, 300, 2500, 200, 200, 200, 200, 10, 900, 400]
    cases = [record(b"%d.jpg" % i, bytes([i]) * size) for i, size in enumerate(sizes)]
    starts = [sum(len(case.local) for case in cases[:i]) for i in range(len(cases))]
    body = b"".join(case.local for case in cases)
    seen: list[tuple[int, int]] = []
    read = RangeReader.read

    def noted(self: RangeReader, start: int, end: int) -> bytes:
        seen.append((start, end))
        return read(self, start, end)

    monkeypatch.setattr(RangeReader, "read", noted)
    for order in (list(range(10)), list(range(9, -1, -1)), [0, 1, 9, 8, 2, 3, 4, 5, 7, 6]):
        directory = b"".join(
            cases[i].central + struct.pack("<L", starts[i]) + cases[i].name for i in order
        )
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 10, 10, len(directory), len(body), 0)
        (tmp_path / "a.zip").write_bytes(body + directory + end)
        fsspec.filesystem("memory").pipe("/pieces/a.zip", body + directory + end)
        for uri in (str(tmp_path / "a.zip"), "memory://pieces/a.zip"):
            archive = open_archive(uri, LIMITS)
            (chunk,) = archive.chunks(ChunkSize(10, 1 << 20))
            seen.clear()
            entries = list(archive.read(chunk))
            assert [bytes(e.data or b"") for e in entries] == [bytes([i]) * sizes[i] for i in order]
            assert all(
                end - start <= 1000 or end - start == len(cases[2].local) for start, end in seen
            )
            if order == sorted(order):
                assert len(seen) == 5


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicates_are_told_across_chunks(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    names = ["a.jpg", "b.jpg", "A.JPG", "d\\b.jpg", "a.jpg", "d/B.jpg"]
    path.write_bytes(zipped([(name, b"") for name in names]))
    chunks = list(open_archive(str(path), LIMITS).chunks(ChunkSize(3, 1 << 20)))
    assert [chunk.duplicates for chunk in chunks] == [{2}, {4, 5}]


GOOD = zipped([("a.jpg", b"one"), ("b.jpg", b"two")])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (GOOD[:-30], "cut short"),
        (zipped([]), "empty"),
        (zipped([("d/", b"")]), "empty"),
        (GOOD[:-18] + b"\1\0" + GOOD[-16:], "split"),
        (by_hand([record()], entries=2), "cannot be"),
        (by_hand([record(), record(b"c" * 200)], entries=1), "declares 1 entries"),
        (by_hand([record(), record(b"c" * 200)], entries=3), "declares 3 entries"),
        (GOOD[:40] + GOOD[60:], "bytes missing"),
        (GOOD.replace(b"PK\1\2", b"XX\1\2"), "damaged"),
        (b"PK\3\4", "cut short"),
        (b"nothing of the kind", "is not an archive"),
        (b"", "empty"),
    ],
)
def test_archives_that_cannot_be_used(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in opening_fails(tmp_path, data)
