"""Names that are not marked as UTF-8: all of an archive's are read in one encoding."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.archives.members import Archive, ChunkSize
from storage.archives.opening import open_archive
from storage.archives.plan import decode_chunks, encode_chunks
from storage.archives.spelling import Sample, Spelling
from tests.storage.archives import LIMITS, read_all
from tests.storage.test_tar import SUFFIXES, header
from tests.storage.test_zip import by_hand, record

JA = ["運動会/写真001.jpg", "三年一組 集合写真.jpg", "さくら.jpg"]
ZH = ["班级合影.jpg", "新建文件夹/王芳.jpg", "毕业照/李娜1.jpg"]
DE = ["Schüler/Jörg Müller.jpg", "Größe.jpg", "Zoë.jpg"]
LANGUAGES = [
    (JA, "cp932"),
    (["写真.jpg"], "cp932"),
    (["鈴木.jpg"], "cp932"),
    (["テスト.jpg"], "cp932"),
    (["IMG写真.jpg"], "cp932"),
    (ZH, "gbk"),
    (["照片.jpg"], "gbk"),
    (["李明.jpg"], "gbk"),
    (["班級合影.jpg", "陳怡君.jpg"], "big5"),
    (["운동회.jpg", "김민수.jpg"], "cp949"),
    (["사진.jpg"], "cp949"),
    (DE, "cp1252"),
    (DE, "cp437"),
    (DE, "cp850"),
    (["Zoë.jpg"], "cp1252"),
    (["Zoë.jpg"], "cp437"),
    (["café.jpg"], "cp1252"),
    (["café.jpg"], "cp437"),
    (["Élève François.jpg", "été à la plage.jpg"], "cp1252"),
    (["João São.jpg", "Conceição.jpg"], "cp850"),
    (["Año nuevo.jpg", "José Peña.jpg"], "cp1252"),
    (["Søren Ærø.jpg"], "cp850"),
    (["Фото класса.jpg", "Иванов Иван.jpg"], "cp866"),
    (["Фото класса.jpg", "Иванов Иван.jpg"], "cp1251"),
    (["Zdjęcia/Łukasz Żółć.jpg"], "cp1250"),
    (["Třída 3a/Jiří Dvořák.jpg", "Škola.jpg"], "cp852"),
]


def zip_of(names: list[bytes], flags: int = 0) -> bytes:
    return by_hand([record(name, flags=flags) for name in names])


def tar_of(names: list[bytes]) -> bytes:
    return b"".join(header(name, b"00000000001\0") + b"1".ljust(512, b"\0") for name in names)


def opened(path: Path, data: bytes, names: str = "auto") -> Archive:
    path.write_bytes(data)
    return open_archive(str(path), LIMITS, names=names)


def names_in(archive: Archive) -> list[str]:
    return [entry.name for entry in read_all(archive, ChunkSize(2, 1 << 20))]


@pytest.mark.parametrize(("names", "encoding"), LANGUAGES)
def test_the_encoding_is_guessed(tmp_path: Path, names: list[str], encoding: str) -> None:
    raw = [name.encode(encoding) for name in ["plain.jpg", *names]]
    archive = opened(tmp_path / "a.zip", zip_of(raw))
    assert names_in(archive) == ["plain.jpg", *names]
    [line] = archive.notes
    assert "--input-name-encoding" in line
    assert archive.names in line
    assert names_in(opened(tmp_path / "a.tar", tar_of(raw))) == ["plain.jpg", *names]


@pytest.mark.parametrize(("suffix", "compress"), SUFFIXES)
def test_tars_are_read_alike(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    raw = compress(tar_of([b"plain.jpg", *(name.encode("cp932") for name in JA)]))
    archive = opened(tmp_path / f"a{suffix}", raw)
    assert names_in(archive) == ["plain.jpg", *JA]
    assert len(archive.notes) == 1


def test_what_says_its_encoding_is_not_guessed(tmp_path: Path) -> None:
    utf8 = [name.encode() for name in (*JA, *DE)]
    for flags in (0, 0x800):
        archive = opened(tmp_path / "a.zip", zip_of(utf8, flags))
        assert names_in(archive) == [*JA, *DE]
        assert archive.notes == []
    field = b"\1" + struct.pack("<L", zlib.crc32(b"?.jpg")) + "写真.jpg".encode()
    extra = struct.pack("<HH", 0x7075, len(field)) + field
    cases = [record(b"?.jpg", extra=extra), *(record(name.encode("cp1252")) for name in DE)]
    assert names_in(opened(tmp_path / "a.zip", by_hand(cases))) == ["写真.jpg", *DE]


def test_names_in_utf8_beside_others_stay(tmp_path: Path) -> None:
    raw = ["Größe.jpg".encode(), "Müller.jpg".encode(), "Zoë.jpg".encode("cp1252")]
    assert names_in(opened(tmp_path / "a.zip", zip_of(raw))) == [
        *("Größe.jpg", "Müller.jpg", "Zoë.jpg")
    ]


def test_an_encoding_that_is_chosen_goes_before_a_guess(tmp_path: Path) -> None:
    raw = [name.encode("cp932") for name in JA]
    assert names_in(opened(tmp_path / "a.zip", zip_of(raw), "cp932")) == JA
    as_western = names_in(opened(tmp_path / "a.zip", zip_of(raw), "cp437"))
    assert as_western == [name.decode("cp437") for name in raw]
    # letters that are UTF-8 by chance, too
    assert names_in(opened(tmp_path / "a.zip", zip_of(["é".encode()]), "cp1252")) == ["Ã©"]


def test_a_chunk_says_how_its_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    archive = opened(path, zip_of([*(name.encode("cp932") for name in JA), b"\x83\x65.jpg"]))
    chunks = decode_chunks(encode_chunks(list(archive.chunks(ChunkSize(1, 1 << 20)))))
    there = open_archive(str(path), LIMITS, archive.fingerprint)
    assert [e.name for chunk in chunks for e in there.read(chunk)] == [*JA, "テ.jpg"]


def test_names_that_become_the_same_are_told_apart(tmp_path: Path) -> None:
    raw = ["ÄRA.jpg".encode("cp1252"), "ära.jpg".encode("cp1252"), "ära.jpg".encode()]
    for name, data in (("a.zip", zip_of(raw)), ("a.tar", tar_of(raw))):
        archive = opened(tmp_path / name, data)
        [chunk] = archive.chunks(ChunkSize(9, 1 << 20))
        assert chunk.duplicates == {1, 2}


@pytest.mark.parametrize("spelling", [Spelling(), Spelling("cp932", first=True), Spelling("cp932")])
def test_a_record_is_read_back(spelling: Spelling) -> None:
    assert Spelling.recorded(str(spelling), "cp437") == spelling


def test_noise_is_read_in_the_archive_s_own_encoding() -> None:
    sample = Sample()
    for octet in range(0x80, 0x100):
        sample.add(bytes([octet, 0x81, 0x00]))
    spelling = sample.guess("cp437")
    assert len(spelling.text(b"\x81\xff\x00")) == 3
