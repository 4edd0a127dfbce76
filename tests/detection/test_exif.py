from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.exif import jpeg_orientation, png_orientation
from detection.jpeg import has_end
from detection.sniff import Format, sniff
from tests.pictures import astronaut_jpeg

BEGINNINGS = (
    b"",
    b"\xff\xd8",
    b"\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0\x08\0\0\0",
    b"\xff\xd8\xff\xda",
)
anything = st.builds(lambda start, rest: start + rest, st.sampled_from(BEGINNINGS), st.binary())


def tiff(order: str, value: int, kind: int = 3, before: int = 0) -> bytes:
    entries = [(0x010F, 3, 1, 7)] * before + [(0x0112, kind, 1, value)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    rows = b"".join(struct.pack(order + "HHIHxx", *entry) for entry in entries)
    return head + struct.pack(order + "H", len(entries)) + rows + bytes(4)


def jpeg(*segments: tuple[int, bytes], between: bytes = b"") -> bytes:
    parts = [
        b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content + between
        for marker, content in segments
    ]
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xda\0\2scan\xff\xd9"


def exif(content: bytes) -> tuple[int, bytes]:
    return 0xE1, b"Exif\0\0" + content


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_reads_each_value_in_both_byte_orders(order: str, value: int) -> None:
    assert jpeg_orientation(jpeg((0xE0, b"JFIF\0"), exif(tiff(order, value, before=3)))) == value


@pytest.mark.parametrize(
    "content",
    [b"", b"II", b"XX*\0\x08\0\0\0", tiff("<", 0), tiff("<", 9), tiff("<", 6, kind=4),
     tiff("<", 6)[:18], b"II*\0\xff\xff\xff\xff"],
    ids=["empty", "short", "order", "zero", "nine", "kind", "cut", "astray"],
)  # fmt: skip
def test_what_makes_no_sense_is_upright(content: bytes) -> None:
    assert jpeg_orientation(jpeg(exif(content))) == 1


def test_first_exif_segment_counts_and_others_are_passed_over() -> None:
    segments = (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), exif(tiff(">", 8)), exif(tiff(">", 3))
    assert jpeg_orientation(jpeg(*segments)) == 8


@pytest.mark.parametrize("between", [b"\xff", b"\0\0\0", b"abc", b"\xff\0"])
def test_stray_bytes_between_segments_are_passed_over(between: bytes) -> None:
    assert jpeg_orientation(jpeg((0xE0, b"JFIF\0"), exif(tiff("<", 6)), between=between)) == 6


def test_nothing_behind_the_scan_is_read() -> None:
    turned = jpeg(exif(tiff("<", 6)))
    assert jpeg_orientation(jpeg() + turned[2:]) == 1
    assert jpeg_orientation(jpeg()[:-2] + turned[2:]) == 1  # before the end marker, too


def test_png_chunk_is_found_before_and_behind_the_pixels() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + b"crc?"

    pixels, turned = chunk(b"IDAT", b"abc"), chunk(b"eXIf", tiff(">", 5))
    start, end = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)), chunk(b"IEND", b"")
    assert png_orientation(start + turned + pixels + end) == 5
    assert png_orientation(start + pixels + turned + end) == 5
    assert png_orientation(start + pixels + end) == 1


def test_end_is_looked_for_behind_the_first_scan() -> None:
    thumbnail = (0xE1, b"Exif\0\0" + astronaut_jpeg(64))
    whole = jpeg(thumbnail)
    assert has_end(whole)
    assert not has_end(whole[:-2])
    assert not has_end(whole[: whole.rindex(b"\xff\xda")])
    assert has_end(whole + b"a film \xff\xda\xff\xda")


@given(anything)
def test_no_bytes_make_them_raise(data: bytes) -> None:
    assert 1 <= jpeg_orientation(data) <= 8
    assert 1 <= png_orientation(data) <= 8
    assert has_end(data) in (True, False)
    assert sniff(data) in (None, "jpeg", "png", "webp", "tiff", "bmp", "gif", "avif", "heic")


@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_no_damage_to_a_real_header_makes_them_raise(at: int, damage: bytes) -> None:
    data = astronaut_jpeg(64, 6)
    damaged = data[:at] + damage + data[at + len(damage) :]
    assert 1 <= jpeg_orientation(damaged) <= 8
    assert has_end(damaged) in (True, False)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"II+\0", "tiff"),
        (b"GIF87a", "gif"),
        (b"GIF89a", "gif"),
        (b"BM\x46\0\0\0\0\0\0\0", "bmp"),
        (b"BMW is a car", None),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1miaf", "avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmiaf", "avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", None),
        (b"\0\0\0\x10ftypmp42\0\0\0\0heic", None),  # behind the brands
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_formats_are_told_by_their_beginning(head: bytes, expected: Format | None) -> None:
    assert sniff(head) == expected
    assert sniff(memoryview(head)) == expected
