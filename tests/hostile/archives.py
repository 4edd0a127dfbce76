"""Archives that lie, made by code: each with what has to become of it.

They are cheap to make. What is large in them are holes in a sparse file, or a block of zeros that
was compressed once and is repeated.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.hostile.quine import quine
from tests.pictures import astronaut_jpeg
from tests.storage.archives import Case
from tests.storage.test_tar import header, info, tarred, zstd
from tests.storage.test_zip import by_hand, record, zipped

MIB = 1 << 20
GIB = 1 << 30
MEMBER_MIB = 32
"""Bound on one member for which the outcomes below hold."""

FACE = astronaut_jpeg()
_BLOCK = 16 * MIB


@dataclass(frozen=True)
class Hostile:
    """An archive.

    Attributes:
        write: makes it at a path.
        outcome: words of the line that refuses it; or, of each member, the error or the status
            that its row has.
        file: its name.
        slow: it takes more than a few seconds, as it has so much to read.
    """

    write: Callable[[Path], object]
    outcome: str | list[str]
    file: str
    slow: bool = False


ARCHIVES: dict[str, Hostile] = {}

Make = Callable[[], bytes]


def _of(
    name: str, outcome: str | list[str], data: bytes | Make, file: str = "a.zip", slow: bool = False
) -> None:
    """Add one whose bytes are few."""

    def write(path: Path) -> None:
        path.write_bytes(data if isinstance(data, bytes) else data())

    ARCHIVES[name] = Hostile(write, outcome, file, slow)


def _hostile(
    outcome: str | list[str], file: str = "a.zip"
) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Add what a function writes under the function's name."""

    def add(write: Callable[[Path], object]) -> Callable[[Path], object]:
        ARCHIVES[write.__name__] = Hostile(write, outcome, file)
        return write

    return add


# --- bombs ----------------------------------------------------------------------------------------


@cache
def _deflated_block() -> bytes:
    """A block of zeros that may be followed by the next: 16 KiB of deflate."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(bytes(_BLOCK)) + deflater.flush(zlib.Z_FULL_FLUSH)


def zeros_deflated(size: int) -> bytes:
    """A whole deflate stream of `size` zeros, a multiple of 16 MiB."""
    return _deflated_block() * (size // _BLOCK) + b"\3\0"


def _zeros_in(compress: Callable[[bytes], bytes], size: int) -> bytes:
    """`size` zeros, a multiple of 16 MiB, as members of gzip or frames of zstd."""
    return compress(bytes(_BLOCK)) * (size // _BLOCK)


def _nested(levels: int) -> bytes:
    """Ten archives in each of ten in each of ten …, and in the innermost 32 MiB of zeros each."""
    size = 32 * MIB
    data = by_hand([record(b"zeros.bin", stored=zeros_deflated(size), method=8, size=size)])
    for _ in range(levels):
        inner = record(b"0.zip", data)
        # all ten are the same bytes, so that no level is larger than the one within
        cases = [inner, *(Case(b"", inner.central, b"%d.zip" % number) for number in range(1, 10))]
        data = by_hand(cases, offsets=[0] * 10)
    return data


def _zip64(directory: bytes, start: int, entries: int, size: int | None = None) -> bytes:
    """A directory with a zip64 end, which may declare another number of entries or bytes."""
    size = len(directory) if size is None else size
    at = start + len(directory)
    return (
        directory
        + struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, start)
        + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    )


def _in_holes(path: Path, entries: int, size: int) -> None:
    """A ZIP whose directory, of so many bytes, is a hole in the file."""
    with path.open("wb") as file:
        file.write(b"PK\3\4")
        file.seek(4 + size)
        file.write(_zip64(b"", 4, entries, size)[:56])
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, 4 + size, 1))
        file.write(_zip64(b"", 4, entries, size)[76:])


def _same_place(count: int) -> bytes:
    """Many entries of one header, so that a few KiB would unpack to many times their size."""
    kernel = record(b"0.jpg", bytes(MIB), stored=zlib.compress(bytes(MIB), wbits=-15), method=8)
    cases = [kernel, *(Case(b"", kernel.central, b"%d.jpg" % (n % 10)) for n in range(1, count))]
    return by_hand(cases, offsets=[0] * count)


def _quoting(count: int) -> bytes:
    """Each member's content is all that follows it, with lengths and checksums that are true."""
    data, cases = bytes(1000), []
    for number in reversed(range(count)):
        cases.append(record(b"%03d.jpg" % number, data))
        data = cases[-1].local
    cases.reverse()
    offsets = [len(data) - len(case.local) for case in cases]
    whole = Case(data, cases[0].central, cases[0].name)
    rest = [Case(b"", case.central, case.name) for case in cases[1:]]
    return by_hand([whole, *rest], offsets)


def _full(count: int) -> bytes:
    """Members as large as they may be, of next to no bytes in the archive."""
    size = MEMBER_MIB * MIB
    stored, crc = zeros_deflated(size), zlib.crc32(bytes(size))
    return by_hand(
        [
            record(b"%d.jpg" % number, stored=stored, method=8, size=size, crc=crc)
            for number in range(count)
        ]
    )


def _ten_gib(size: int, name: bytes, extra: bytes = b"") -> bytes:
    return by_hand(
        [
            record(b"0.jpg", FACE),
            record(name, stored=zeros_deflated(10 * GIB), method=8, size=size, extra=extra),
            record(b"2.bin", b"its neighbour"),
        ]
    )


_TRUE_SIZE = struct.pack("<HHQ", 1, 8, 10 * GIB)

_of(
    "zip in zip, to 10^5 of 32 MiB",
    ["nested_archive"] * 10,
    lambda: _nested(5),
)
_of(
    "zip in zip by the name of a picture",
    ["not_an_image"],
    lambda: zipped([("a.jpg", _nested(3))]),
)
_of("zip that holds itself", ["not_an_image"], quine)
_of(
    "entries at the same place",
    ["not_an_image"] + ["corrupt_entry"] * 999,
    lambda: _same_place(1000),
)
_of(
    "entries that quote those behind them",
    ["not_an_image"] + ["corrupt_entry"] * 99,
    lambda: _quoting(100),
)
_of(
    "10 GiB of zeros",
    ["cropped", "too_large", "not_an_image"],
    lambda: _ten_gib(0xFFFFFFFF, b"1.jpg", _TRUE_SIZE),
)
_of(
    "10 GiB of zeros, no picture by name",
    ["cropped", "not_an_image", "not_an_image"],
    lambda: _ten_gib(0xFFFFFFFF, b"1.bin", _TRUE_SIZE),
)
_of(
    "10 GiB of zeros that declare 1,000 bytes",
    ["cropped", "size_mismatch", "not_an_image"],
    lambda: _ten_gib(1000, b"1.jpg"),
)
_of("many members just within the bound", ["not_an_image"] * 8, lambda: _full(8))
_of(
    "100 million entries declared, one there",
    "cannot be",
    lambda: record().local + _zip64(record().central + bytes(4) + b"a.jpg", 41, 10**8),
)


@_hostile("more than 10,000,000 members")
def zip_of_100_million_entries_in_holes(path: Path) -> None:
    _in_holes(path, 10**8, 46 * 10**8)


@_hostile("ZIP directory of 2,147,483,648 bytes")
def zip_of_a_directory_of_2_gib_in_holes(path: Path) -> None:
    _in_holes(path, 10**6, 2 * GIB)


@_hostile("damaged ZIP directory after 0 of")
def zip_of_a_directory_of_100_mib_in_holes(path: Path) -> None:
    _in_holes(path, 10**6, 100 * MIB)


@_hostile("is not an archive")
def zip_of_1_tib_of_holes(path: Path) -> None:
    _holes(path, 1 << 40)


def _holes(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


@_hostile("zero bytes", "a.tar")
def tar_of_1_tib_of_holes(path: Path) -> None:
    _holes(path, 1 << 40)


@_hostile(["too_large", "not_an_image"], "a.tar")
def tar_with_a_member_of_1_tib_of_holes(path: Path) -> None:
    with path.open("wb") as file:
        file.write(header(b"a.jpg", b"\x80" + (1 << 40).to_bytes(11, "big")))
        file.seek(1 << 40, io.SEEK_CUR)
        file.write(tarred([("b.bin", b"its neighbour")]))


@_hostile("bytes, where a list", "a.txt")
def list_of_10_gib_of_holes(path: Path) -> None:
    _holes(path, 10 * GIB)


def _huge_member(compress: Callable[[bytes], bytes], size: int) -> Make:
    def make() -> bytes:
        first = header(b"0.jpg", b"\x80" + size.to_bytes(11, "big"))
        last = tarred([("1.bin", b"its neighbour")])
        return compress(first) + _zeros_in(compress, size) + compress(last)

    return make


for _file_name, _compress in (("a.tar.zst", zstd), ("a.tar.gz", gzip.compress)):
    for _size, _slow in ((512 * MIB, False), (5 * GIB, True)):
        _of(
            f"{_file_name[2:]} with a member of {_size // MIB} MiB of zeros",
            ["too_large", "not_an_image"],
            _huge_member(_compress, _size),
            _file_name,
            _slow,
        )
_of("tar.zst of 10 GiB of zeros", "zero bytes", lambda: _zeros_in(zstd, 10 * GIB), "a.tar.zst")
_of(
    "tar.gz in tar.gz",
    ["nested_archive", "not_an_image"],
    lambda: gzip.compress(
        tarred([("a.tar.gz", (inner := gzip.compress(tarred([])))), ("b.jpg", inner)])
    ),
    "a.tar.gz",
)


# --- names ----------------------------------------------------------------------------------------

UNSAFE = [
    *("../up.jpg", "a/../../up.jpg", "..", "a/..", "..\\up.jpg", "/etc/passwd.jpg", "\\a.jpg"),
    *("//host/share/a.jpg", "\\\\host\\share\\a.jpg", "C:\\a.jpg", "c:a.jpg", "C:/../a.jpg"),
    *("a.jpg\0.exe", "\0", "../" * 1000 + "etc/a.jpg"),
]
ODD = [
    *(".", "./a.jpg", "a//b.jpg", "a/./b.jpg", " ", ". .", "a.jpg.", "a.jpg ", "~", "~/a.jpg"),
    *("con.jpg", "AUX", "nul.tar.jpg", "COM1 .jpg", "lpt¹.jpg", "$HOME.jpg", "-rf", "a.jpg:b"),
    *("<script>alert(1)</script>.jpg", "=cmd|' /C calc'!A0", "@SUM(A1)", "a\r\nb,c.jpg", '"'),
    *(
        "\x1b[2J.jpg",
        "\u202egpj.exe",
        "\ufeff.jpg",
        "\x7f\x85.jpg",
        "{}%s%n${x}.jpg",
        "%2e%2e/a.jpg",
    ),
    *("é.jpg", "e\u0301.jpg", "É.JPG", "ﬀ.jpg", "ff.jpg", "ß.jpg", "ss.jpg", "\U0001f600.jpg"),
    *("a.jpg", "a.jpg", "A.jpg", "a.jpg_0.jpg", "a.jpg/b.jpg", "a.jpg_0.jpg/c.jpg", "a~1.jpg"),
    *("manifest.parquet", "batch.json", "parts/00000000.parquet", "crops/a.jpg", ".tmp/0"),
    *("x" * 60_000 + ".jpg", "d/" * 30_000 + "a.jpg", "a" + "\u0315\u0316" * 15_000 + ".jpg"),
]


def _zip_of(names: list[str]) -> bytes:
    return by_hand([record(name.encode(), FACE) for name in names])


def _tar_of(names: list[str]) -> bytes:
    """Names that no header of tarfile's making would have are in pax headers."""
    return b"".join(_pax(b"path=" + name.encode()) + _file(b"x", FACE) for name in names) + bytes(
        1024
    )


def _file(name: bytes, data: bytes, flag: bytes = b"0") -> bytes:
    padded = data + bytes(-len(data) % 512)
    return header(name, b"%011o\0" % len(data), flag) + padded


def _pax(*records: bytes) -> bytes:
    """A pax header with records that count themselves."""
    return _file(b"pax", b"".join(map(_counted, records)), b"x")


def _counted(text: bytes) -> bytes:
    size = len(text) + 3
    while len(b"%d %s\n" % (size, text)) != size:
        size += 1
    return b"%d %s\n" % (size, text)


_of("zip with names that climb", ["cropped"] * len(UNSAFE), lambda: _zip_of(UNSAFE))
_of("tar with names that climb", ["cropped"] * len(UNSAFE), lambda: _tar_of(UNSAFE), "a.tar")
_of("zip with odd names", ["cropped"] * len(ODD), lambda: _zip_of(ODD))
_of("tar with odd names", ["cropped"] * len(ODD), lambda: _tar_of(ODD), "a.tar")
_of(
    "zip with names of no encoding",
    ["cropped"] * 3,
    lambda: by_hand(
        [
            record(name, FACE, flags=0x800)
            for name in (b"\xff\xfe.jpg", b"\xed\xa0\x80", b"\xc0\xaf")
        ]
    ),
)
_of("zip with empty names", ["cropped", "cropped"], lambda: _zip_of(["", ""]))
_of(
    "zip whose names are quadratic to fold",
    ["not_an_image"] * 50,
    lambda: by_hand([record(b"a" + "\u0315\u0316".encode() * 16_000, b"")] * 50),
)
_of(
    "tar.zst with names of 900 KiB",
    ["not_an_image"] * 70,
    lambda: zstd((_pax(b"path=" + b"n" * 900_000) + _file(b"x", b"")) * 70),
    "a.tar.zst",
)


# --- headers that lie -----------------------------------------------------------------------------


def _ends(change: Callable[[bytes], bytes]) -> Make:
    """A good ZIP whose last 22 bytes, its end record, were changed."""
    return lambda: TRIPLE[:-22] + change(TRIPLE[-22:])


def _spoilt(at: int, fields: bytes, central: bool = False) -> Make:
    """A ZIP of a picture, one whose header was overwritten at an offset, and another file."""
    case = record(b"1.jpg", FACE)
    local, directory = case.local, case.central + case.name
    if central:
        directory = directory[:at] + fields + directory[at + len(fields) :]
    else:
        local = local[:at] + fields + local[at + len(fields) :]
    odd = Case(local, directory[: len(case.central)], directory[len(case.central) :])
    return lambda: by_hand([record(b"0.bin"), odd, record(b"2.bin")])


def _amid(code: str) -> list[str]:
    return ["not_an_image", code, "not_an_image"]


TRIPLE = zipped([("a.bin", b"one" * 99), ("b.bin", b"two" * 99), ("c.bin", b"three" * 99)])
_DEFLATED = zlib.compress(b"pixels" * 100, wbits=-15)

for _name, _case, _code in (
    ("size too large", record(size=7), "size_mismatch"),
    ("size too small", record(size=5), "size_mismatch"),
    ("size of 4 GiB", record(size=0xFFFFFFFE), "too_large"),
    (
        "size beyond 64 bits",
        record(size=0xFFFFFFFF, extra=b"\1\0\x08\0" + b"\xff" * 8),
        "too_large",
    ),
    ("zip64 field that is not there", record(size=0xFFFFFFFF), "too_large"),
    ("zip64 field cut short", record(size=0xFFFFFFFF, extra=b"\1\0\x08\0\1"), "too_large"),
    ("inflated size too small", record(stored=_DEFLATED, method=8, size=5), "size_mismatch"),
    ("inflated size too large", record(stored=_DEFLATED, method=8, size=700), "size_mismatch"),
    ("deflate without end", record(stored=_DEFLATED[:-3], method=8, size=600), "corrupt_entry"),
    ("deflate of nonsense", record(stored=b"\xff" * 9, method=8, size=600), "corrupt_entry"),
    ("checksum of something else", record(crc=1), "crc_mismatch"),
    ("encrypted", record(flags=1), "encrypted"),
    ("strongly encrypted", record(flags=0x41), "encrypted"),
    ("encrypted with its directory", record(flags=0x2000), "encrypted"),
    ("encrypted with AES", record(method=99, flags=1), "encrypted"),
    ("compression unheard of", record(method=0xFFFF), "unsupported_compression"),
    ("compressed patch", record(flags=0x20), "unsupported_compression"),
    ("named link", record(external=0o120777 << 16), "link"),
    ("device", record(external=0o060644 << 16), "special_file"),
):
    _of(f"zip with {_name}", _amid(_code), by_hand([record(b"0.bin"), _case, record(b"2.bin")]))

for _name, _make, _code in (
    ("a local name of another file", _spoilt(30, b"9"), "cropped"),
    ("a local name that reaches far", _spoilt(26, b"\xff\xff"), "corrupt_entry"),
    ("a local extra field that reaches far", _spoilt(28, b"\xff\xff"), "corrupt_entry"),
    ("a local method of its own", _spoilt(8, b"\x08"), "corrupt_entry"),
    ("a local size of its own", _spoilt(18, b"\xff" * 8), "cropped"),
    ("local flags that say encrypted", _spoilt(6, b"\1"), "encrypted"),
    ("no local header", _spoilt(0, b"XX"), "corrupt_entry"),
    ("a stored size of 4 GiB", _spoilt(20, b"\xfe\xff\xff\xff", central=True), "too_large"),
):
    _of(f"zip with {_name}", _amid(_code), _make)

_of(
    "zip with a directory name that reaches far",
    "damaged ZIP directory",
    _spoilt(28, b"\xff\xff", central=True),
)
_of(
    "zip with a directory comment that reaches far",
    "damaged ZIP directory",
    _spoilt(32, b"\xff\xff", central=True),
)

for _name, _offset in (
    ("beyond the file", 1 << 31),
    ("in the middle of another", 40),
    ("in the directory", 200),
):
    _of(
        f"zip with an offset {_name}",
        ["not_an_image", "corrupt_entry"],
        by_hand([record(b"0.bin", bytes(100)), record(b"1.bin")], offsets=[0, _offset]),
    )

for _name, _make, _words in (
    (
        "more entries than are there",
        _ends(lambda end: end[:8] + b"\4\0\4\0" + end[12:]),
        "declares",
    ),
    (
        "fewer entries than are there",
        _ends(lambda end: end[:8] + b"\2\0\2\0" + end[12:]),
        "declares",
    ),
    ("no entries", _ends(lambda end: end[:8] + b"\0\0\0\0" + end[12:]), "declares"),
    ("counts that differ", _ends(lambda end: end[:8] + b"\1\0\3\0" + end[12:]), "split"),
    ("many disks", _ends(lambda end: end[:4] + b"\7\0\7\0" + end[8:]), "split"),
    (
        "a directory larger than the file",
        _ends(lambda end: end[:12] + b"\0\0\1\0" + end[16:]),
        "cannot be",
    ),
    ("a directory of no bytes", _ends(lambda end: end[:12] + bytes(4) + end[16:]), "cannot be"),
    (
        "a directory elsewhere",
        _ends(lambda end: end[:16] + b"\xf0\xff\xff\xff" + end[20:]),
        "missing",
    ),
    ("a lost zip64 end", _ends(lambda end: end[:16] + b"\xff" * 4 + end[20:]), "zip64"),
    (
        "a zip64 end of 2^64",
        lambda: TRIPLE[:-22] + _zip64(b"", 0, 2**64 - 1, 2**64 - 1),
        "cannot be",
    ),
):
    _of(f"zip with {_name}", _words, _make)

_THREE = ["not_an_image"] * 3
_of(
    "zip with an end in its comment",
    "is an empty ZIP",
    zipped([(name, b"") for name in "abc"], comment=b"PK\5\6" + bytes(18)),
)
_of("zip with a comment that is longer than it says", _THREE, TRIPLE + TRIPLE[-22:] + b"x" * 99)
_of("zip in front of a zip", ["not_an_image"], TRIPLE + zipped([("d.bin", b"")]))
_of("zip behind a program", _THREE, b"MZ" + bytes(70_000) + TRIPLE)
_of("zip in front of 60,000 zeros", _THREE, TRIPLE + bytes(60_000))
_of("zip in front of 70,000 zeros", "cut short", TRIPLE + bytes(70_000))
_of("zip behind a picture", "is a single image", FACE + TRIPLE)
_of("zip of 16,000 end records", "is an empty ZIP", b"PK\3\4" + b"PK\5\6" * 16_000 + bytes(18))

for _name, _length in (
    ("its signature", 4),
    ("a local header", 20),
    ("a local name", 33),
    ("a member", 40),
    ("a member's end", 30 + 5 + TRIPLE.index(b"PK\3\4", 4) - 35),
    ("the last member", TRIPLE.index(b"PK\1\2") - 1),
    ("the directory's start", TRIPLE.index(b"PK\1\2")),
    ("a directory entry", TRIPLE.index(b"PK\1\2") + 30),
    ("the directory's end", len(TRIPLE) - 22),
    ("the end record", len(TRIPLE) - 10),
    ("the last byte", len(TRIPLE) - 1),
):
    _of(f"zip cut at {_name}", "cut short", TRIPLE[:_length])
_of("zip of half an end record", "cut short", b"PK\5\6" + bytes(9))
_of("zip without its beginning", "bytes missing", TRIPLE[50:])
_of("zip without its middle", "bytes missing", TRIPLE[:50] + TRIPLE[60:])


# --- TAR ------------------------------------------------------------------------------------------

_GOOD = _file(b"good.bin", b"its neighbour")
_END = bytes(1024)


def _tar(name: str, outcome: str | list[str], data: bytes | Make, kind: str = "a.tar") -> None:
    _of(f"tar {name}", outcome, data, kind)


def _linked() -> bytes:
    """A link out of the folder, and files that would be written through it."""
    extra = [
        info("out", tarfile.SYMTYPE, "/tmp"),
        info("up.jpg", tarfile.SYMTYPE, "../../../etc/passwd"),
        info("hard.jpg", tarfile.LNKTYPE, "/etc/passwd"),
        info("self.jpg", tarfile.SYMTYPE, "self.jpg"),
        info("null.jpg", tarfile.CHRTYPE),
        info("disk.jpg", tarfile.BLKTYPE),
        info("pipe.jpg", tarfile.FIFOTYPE),
    ]
    return tarred([("out/a.jpg", FACE), ("up.jpg", FACE)], extra=extra)


def _sparse(blocks: int) -> bytes:
    """GNU's sparse member, whose map of holes goes on for so many blocks."""
    first = bytearray(header(b"sparse.jpg", b"%011o\0" % 0, b"S"))
    first[482] = 1
    first[483:495] = b"77777777777\0"
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    return bytes(first) + (bytes(504) + b"\1" + bytes(7)) * (blocks - 1) + bytes(512)


_tar("with links and devices", ["link"] * 4 + ["special_file"] * 3 + ["cropped"] * 2, _linked)
_tar("with a sparse member", ["unsupported_compression", "not_an_image"], _sparse(3) + _GOOD + _END)
_tar(
    "with a map of holes of 64 MiB",
    "has no end",
    lambda: zstd(_sparse(131_072) + _GOOD),
    "a.tar.zst",
)
_tar(
    "with a pax sparse member of 2^60",
    ["unsupported_compression", "not_an_image"],
    _pax(
        b"GNU.sparse.major=1", b"GNU.sparse.name=a.jpg", b"GNU.sparse.realsize=1152921504606846976"
    )
    + _file(b"x", b"1\n0\n1\n")
    + _GOOD
    + _END,
)
_tar(
    "with types unheard of",
    ["not_an_image"] * 3,
    b"".join(_file(b"a", b"1", flag) for flag in (b"7", b"Z", b"\xff")) + _END,
)
_tar(
    "with a volume's label and a dump's list",
    ["not_an_image"],
    _file(b"label", b"", b"V") + _file(b"list", b"names", b"D") + _GOOD + _END,
)
_tar(
    "with a dump's list beyond its end",
    "cut short",
    header(b"list", b"77777777777\0", b"D") + _GOOD,
)
_tar("of many volumes", "multi-volume", _file(b"a", b"", b"M"))

_BROKEN = ["not_an_image", "archive_damaged"]
_GLOBAL = _file(b"g", _counted(b"path=../up.jpg") + _counted(b"size=99"), b"g")
for _name, _records, _outcome in (
    ("a size that is not there", [b"size=99999999999"], _BROKEN),
    ("a size of 2^63", [b"size=9223372036854775808"], "no valid size"),
    ("a size of 5,000 digits", [b"size=" + b"9" * 5000], "no valid size"),
    ("a size below nothing", [b"size=-1"], "no valid size"),
    ("a size in words", [b"size=many"], "no valid size"),
    ("a path that climbs", [b"path=../../up.jpg"], ["not_an_image", "not_an_image"]),
    ("a path with NUL", [b"path=a.jpg\0.exe"], ["not_an_image", "not_an_image"]),
    ("no path", [b"path="], ["not_an_image", "not_an_image"]),
    ("a link's target", [b"linkpath=/etc/passwd"], ["not_an_image", "not_an_image"]),
    ("times and owners that are none", [b"mtime=NaN", b"uid=-1e999"], ["not_an_image"] * 2),
):
    _tar(f"with {_name} in pax", _outcome, _pax(*_records) + _file(b"a", b"1") + _GOOD + _END)
_tar(
    "with such a size, compressed",
    "no valid size",
    gzip.compress(_pax(b"size=99999999999999999999") + _GOOD),
    "a.tar.gz",
)
_tar(
    "with a size that fits 64 bits only just, compressed",
    _BROKEN,
    gzip.compress(_pax(b"size=%d" % ((1 << 62) - 1)) + _GOOD),
    "a.tar.gz",
)
_tar("with a global pax header", ["not_an_image"], _GLOBAL + _GOOD + _END)
for _name, _body in (
    ("counts too much", b"99999999999999 path=a\n"),
    ("counts nothing", b"0 path=a\n"),
    ("counts below nothing", b"-9 path=a\n"),
    ("has no count", b" path=a\n"),
    ("has no key", b"9 path a\n"),
    ("counts into the middle", b"9 path=a.jpg\n"),
    ("is no text", b"\xff\0\xff"),
):
    _tar(f"with a pax record that {_name}", "pax header", _file(b"x", _body, b"x") + _GOOD)
_tar(
    "with a million pax records",
    ["not_an_image"] * 3,
    lambda: zstd((_file(b"x", b"4 =\n" * 261_000, b"x") + _file(b"a", b"")) * 3),
    "a.tar.zst",
)
_tar(
    "with pax headers without end",
    "at most",
    lambda: zstd(_file(b"x", _counted(b"comment=" + bytes(500_000)), b"x")) * 1000,
    "a.tar.zst",
)
_tar(
    "with empty pax headers without end",
    "at most",
    lambda: zstd(_file(b"x", b"", b"x") * 1000) * 100,
    "a.tar.zst",
)
_tar("with a long name of 8 GiB", "declares", header(b"L", b"77777777777\0", b"L") + _GOOD)
_tar("with a long name of nobody", "cut short", _file(b"L", b"name\0", b"L"))
_tar("with a checksum of something else", _BROKEN, _GOOD + b"X" + _GOOD[1:])
_tar("with a size too large", ["archive_damaged"], header(b"a", b"00000077777\0") + _GOOD)
_tar(
    "with a size too small",
    [*_BROKEN, "not_an_image"],
    header(b"a", b"00000000001\0") + b"X" * 1024 + _GOOD,
)
_tar("with a size that is no number", "no valid size", header(b"a", b"9z") + _GOOD)
_tar("with a size below nothing", "no valid size", header(b"a", b"\xff" * 12) + _GOOD)
_tar("with a size of 2^94", "no valid size", header(b"a", b"\x80\x40" + bytes(10)) + _GOOD)

_PAIR = _file(b"a.bin", bytes(700)) + _GOOD + _END
_tar("cut at a header", "cut short", _PAIR[:100])
for _name, _length, _rows in (
    ("a header's end", 512, ["archive_damaged"]),
    ("a member", 600, ["archive_damaged"]),
    ("its padding", 1300, ["not_an_image"]),
    ("the next header", 1700, _BROKEN),
    ("the last member", 2053, _BROKEN),
    ("the last padding", 2100, ["not_an_image"] * 2),
):
    _tar(f"cut at {_name}", _rows, _PAIR[:_length])
_tar("without its beginning", "not a TAR", _PAIR[100:])
_BROKEN_BEHIND = ["not_an_image", "not_an_image", "archive_damaged"]
_tar("in front of words", _BROKEN_BEHIND, _PAIR + b"words" * 200)

_GZ, _ZST = gzip.compress(_PAIR), zstd(_PAIR)
for _kind, _data in (("a.tar.gz", _GZ), ("a.tar.zst", _ZST)):
    for _name, _length in (("its header", 8), ("its first block", 16)):
        _of(f"{_kind[2:]} cut at {_name}", "cut short", _data[:_length], _kind)
    for _name, _length in (("its trailer", len(_data) - 4), ("its last byte", len(_data) - 1)):
        _of(f"{_kind[2:]} cut at {_name}", _BROKEN_BEHIND, _data[:_length], _kind)
    _of(f"{_kind[2:]} in front of words", _BROKEN_BEHIND, _data + b"words", _kind)
    _of(
        f"{_kind[2:]} with a checksum of something else",
        _BROKEN_BEHIND,
        _data[:-8] + b"\x55" * 8 if "gz" in _kind else _data[:-2] + b"\x55" * 2,
        _kind,
    )
_of("tar.gz cut at its middle", _BROKEN, _GZ[: len(_GZ) // 2], "a.tar.gz")
_of("tar.gz behind words", "not an archive", b"words" + _GZ, "a.tar.gz")
_of(
    "tar.zst with a window of 2 GiB",
    "--long",
    b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(99),
    "a.tar.zst",
)
_of(
    "tar.zst that declares 2^60 bytes",
    "decompressed",
    lambda: b"\x28\xb5\x2f\xfd\xc0\x58" + (1 << 60).to_bytes(8, "little") + _rle(_PAIR[:1]),
    "a.tar.zst",
)
_of(
    "tar.zst of 100,000 frames to skip",
    "is an empty TAR",
    lambda: (b"\x50\x2a\x4d\x18" + bytes(4)) * 100_000,
    "a.tar.zst",
)
_of(
    "tar.gz of 20,000 empty members",
    "is an empty TAR",
    lambda: gzip.compress(b"") * 20_000,
    "a.tar.gz",
)


def _rle(octet: bytes) -> bytes:
    """The last block of a zstd frame: one byte, 128 KiB times (RFC 8878, 3.1.1.2)."""
    return (1 | 1 << 1 | 0x20000 << 3).to_bytes(3, "little") + octet


# --- lists ----------------------------------------------------------------------------------------

_of("list of one endless line", "has a line of", b"x" * MIB, "a.txt")
_of("list that is no text", "not text in UTF-8", b"a.jpg\n\xff\xfe\n", "a.txt")
_of("list of nothing", "names no images", b"\n\r\n# a.jpg\n \n", "a.txt")
_of(
    "list of what cannot be",
    ["unreadable", "missing", "unreadable"],
    b"nowhere://a.jpg\nmissing.jpg\n" + b"n" * 5000 + b".jpg\n",
    "a.txt",
)
