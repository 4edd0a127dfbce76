"""One archive with all in it that should not be: each gets its row, and no neighbour minds."""

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.flows.batches import Result, result
from tests.pictures import astronaut_jpeg, no_face_jpeg

pytestmark = pytest.mark.slow  # all of them together

FACE = astronaut_jpeg()
MIB = 1 << 20


def png_header(side: int) -> bytes:
    """A PNG that claims to be `side` x `side` pixels, and has none."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk


def nested() -> bytes:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("face.jpg", FACE)
    return inner.getvalue()


class Maker:
    """Writes a ZIP member by member, then spoils what was asked for."""

    def __init__(self) -> None:
        self.sink = io.BytesIO()
        self.archive = zipfile.ZipFile(self.sink, "w")
        self.spoils: list[tuple[int, Callable[[bytearray, int, int], None]]] = []
        self.expected: list[tuple[str, str, str | None]] = []

    def add(
        self,
        name: str,
        data: bytes,
        status: str,
        error: str | None = None,
        *,
        method: int = zipfile.ZIP_STORED,
        mode: int = 0,
        spoil: Callable[[bytearray, int, int], None] | None = None,
    ) -> None:
        """Add a member and what its row should say.

        `spoil` gets the archive's bytes and where the member's local and central headers begin.
        """
        entry = zipfile.ZipInfo(name.replace("\0", "0"))
        entry.create_system = 3
        entry.external_attr = mode << 16
        entry.compress_type = method
        self.archive.writestr(entry, data)
        if spoil is not None:
            self.spoils.append((len(self.expected), spoil))
        self.expected.append((name, status, error))

    def finish(self) -> bytes:
        self.archive.close()
        data = bytearray(self.sink.getvalue())
        centrals = []
        at = self.archive.start_dir
        for entry in self.archive.infolist():
            centrals.append(at)
            name, extra = len(entry.filename.encode()), len(entry.extra)
            at += 46 + name + extra + len(entry.comment)
        for index, spoil in self.spoils:
            spoil(data, self.archive.infolist()[index].header_offset, centrals[index])
        return bytes(data)


def encrypt(data: bytearray, local: int, central: int) -> None:
    data[local + 6] |= 1
    data[central + 8] |= 1


def break_checksum(data: bytearray, local: int, central: int) -> None:
    data[central + 16] ^= 0xFF


def deflate64(data: bytearray, local: int, central: int) -> None:
    data[local + 8] = data[central + 10] = 9


def implode(data: bytearray, local: int, central: int) -> None:
    data[local + 8] = data[central + 10] = 6


def declare_less(data: bytearray, local: int, central: int) -> None:
    struct.pack_into("<I", data, central + 24, 1000)


def put_nul(data: bytearray, local: int, central: int) -> None:
    data[local + 30 + 3] = data[central + 46 + 3] = 0


@pytest.fixture(scope="module")
def made() -> Maker:
    make = Maker()
    make.add("first.jpg", FACE, "cropped")
    make.add("encrypted.jpg", FACE, "failed", "encrypted", spoil=encrypt)
    make.add("checksum.jpg", FACE, "failed", "crc_mismatch", spoil=break_checksum)
    make.add("imploded.jpg", FACE, "failed", "unsupported_compression", spoil=implode)
    make.add("deflate64.jpg", FACE, "failed", "corrupt_entry", spoil=deflate64)
    deflated = zipfile.ZIP_DEFLATED
    zeros = bytes(8 * MIB)
    make.add("more.jpg", zeros, "failed", "size_mismatch", method=deflated, spoil=declare_less)
    make.add("bomb.jpg", bytes(65 * MIB), "failed", "too_large", method=deflated)
    make.add("bomb.bin", bytes(65 * MIB), "skipped", "not_an_image", method=deflated)
    make.add("/absolute.jpg", FACE, "cropped")
    make.add("../../climbs.jpg", FACE, "cropped")
    make.add("a/../../climbs.jpg", FACE, "cropped")
    make.add("C:\\drive.jpg", FACE, "cropped")
    make.add("a:b?c*d|e.jpg", FACE, "cropped")
    make.add("cut\0.jpg", FACE, "cropped", spoil=put_nul)
    make.add("twice.jpg", FACE, "cropped")
    with pytest.warns(UserWarning, match="Duplicate name"):
        make.add("twice.jpg", FACE, "cropped")
    make.add("TWICE.jpg", FACE, "cropped")
    make.add("link.jpg", b"first.jpg", "skipped", "link", mode=stat.S_IFLNK | 0o777)
    make.add("nested.zip", nested(), "cropped")
    make.expected[-1] = ("nested.zip/face.jpg", "cropped", None)  # it takes its archive's place
    make.add("nested.jpg", nested(), "failed", "not_an_image")
    make.add("__MACOSX/._first.jpg", b"\0\5\x16\7", "skipped", "system_file")
    make.add("a/.DS_Store", b"\0\0\0\1Bud1", "skipped", "system_file")
    make.add("empty.jpg", b"", "failed", "empty_file")
    make.add("empty.txt", b"", "skipped", "not_an_image")
    make.add("text.jpg", b"no picture, just words", "failed", "not_an_image")
    make.add("truncated.jpg", FACE[: len(FACE) // 2], "failed", "truncated_image")
    make.add("huge.png", png_header(50_000), "failed", "too_many_pixels")
    make.add("header-only.png", png_header(100), "failed", "corrupt_image")
    make.add("cut-header.png", png_header(100)[:20], "failed", "truncated_image")
    make.add("no extension", FACE, "cropped")
    make.add("notes.txt", b"some words", "skipped", "not_an_image")
    make.add("last.jpg", no_face_jpeg(), "no_face")
    return make


@pytest.fixture(scope="module")
def found(made: Maker, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("bad")
    archive = folder / "in" / "bad.zip"
    archive.parent.mkdir()
    archive.write_bytes(made.finish())
    settings = CropSettings.model_validate({"limits": {"max_member_mib": 64}})
    crop(str(archive), str(folder / "out"), settings)
    return result(str(folder / "out")), folder


def test_each_member_has_the_row_it_deserves(made: Maker, found: tuple[Result, Path]) -> None:
    rows = [(row["path"], row["status"], row["error"]) for row in found[0].manifest]
    assert rows == made.expected


def test_each_failure_says_why_in_one_sentence(found: tuple[Result, Path]) -> None:
    for row in found[0].manifest:
        assert (row["message"] is not None) == (row["status"] == "failed"), row
        if row["message"]:
            assert "\n" not in row["message"]
            assert 10 < len(row["message"]) < 200


def test_namesakes_have_crops_of_their_own(found: tuple[Result, Path]) -> None:
    crops = [row["crop"] for row in found[0].faces if row["path"].lower() == "twice.jpg"]
    assert len(crops) == len({crop.lower() for crop in crops}) == 3
    assert crops[0] == "crops/twice.jpg_0.jpg"


def test_names_that_crops_cannot_have_are_told(found: tuple[Result, Path]) -> None:
    told = [row["path"] for row in found[0].manifest if row["warnings"] == ["name_changed"]]
    assert told == [
        *("/absolute.jpg", "../../climbs.jpg", "a/../../climbs.jpg", "C:\\drive.jpg"),
        *("a:b?c*d|e.jpg", "cut\0.jpg"),
    ]
    crops = [row["crop"] for row in found[0].faces if row["path"] in told]
    assert len(crops) == len(set(crops)) == len(told)
    assert all((found[1] / "out" / crop).is_file() for crop in crops)


def test_nothing_is_written_outside_of_the_output(found: tuple[Result, Path]) -> None:
    outside = [p for p in found[1].rglob("*") if p.is_file() and "out" not in p.parts]
    assert outside == [found[1] / "in" / "bad.zip"]
