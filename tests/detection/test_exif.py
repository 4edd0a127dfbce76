from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.codecs.exif import orientation
from detection.codecs.jpeg import is_lossy, picture
from detection.codecs.sniff import Format, sniff
from detection.codecs.unread import unread_format
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
    codes = {1: "Bxxx", 4: "I"}
    rows = b"".join(
        struct.pack(order + "HHI" + codes.get(entry[1], "Hxx"), *entry) for entry in entries
    )
    return head + struct.pack(order + "H", len(entries)) + rows + bytes(4)


def jpeg(*segments: tuple[int, bytes], between: bytes = b"") -> bytes:
    parts = [
        b"\xff" + bytes([marker]) + struct.pack(">H", 2 + len(content)) + content + between
        for marker, content in segments
    ]
    return b"\xff\xd8" + b"".join(parts) + b"\xff\xda\0\2scan\xff\xd9"


def exif(content: bytes) -> tuple[int, bytes]:
    return 0xE1, b"Exif\0\0" + content


def png(*chunks: tuple[bytes, bytes], behind: bool = False) -> bytes:
    written = [
        struct.pack(">I", len(content)) + kind + content + b"crc?" for kind, content in chunks
    ]
    pixels = struct.pack(">I4s", 3, b"IDAT") + b"abccrc?"
    parts = [pixels, *written] if behind else [*written, pixels]
    header = struct.pack(">I4s", 13, b"IHDR") + bytes(13) + b"crc?"
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(parts) + bytes(4) + b"IENDcrc?"


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for kind, content in ((b"VP8X", bytes(10)), *chunks)
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def xmp(value: str, form: str = "tiff:Orientation='{}'") -> bytes:
    said = form.format(value)
    return f"<x:xmpmeta><rdf:Description {said}/></x:xmpmeta>".encode()


def raw_profile(content: bytes) -> bytes:
    """As ImageMagick writes a block into a text: its name, its length, and hexadecimal lines."""
    digits = (b"Exif\0\0" + content).hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return "\n".join(["", "exif", f"{len(digits) // 2:8}", *lines, ""]).encode()


NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
EXIF_IN: dict[str, Callable[[bytes], tuple[bytes, Format]]] = {
    "jpeg": lambda block: (jpeg((0xE0, b"JFIF\0"), exif(block)), "jpeg"),
    "png": lambda block: (png((b"eXIf", block)), "png"),
    "png, prefixed": lambda block: (png((b"eXIf", b"Exif\0\0" + block)), "png"),
    "png, behind": lambda block: (png((b"eXIf", block), behind=True), "png"),
    "png, text": lambda block: (
        png((b"tEXt", b"Raw profile type exif\0" + raw_profile(block))),
        "png",
    ),
    "png, compressed": lambda block: (
        png((b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(raw_profile(block)))),
        "png",
    ),
    "webp": lambda block: (webp((b"EXIF", block)), "webp"),
    "webp, prefixed": lambda block: (
        webp((b"ALPH", b"odd"), (b"EXIF", b"Exif\0\0" + block)),
        "webp",
    ),
}
XMP_IN: dict[str, Callable[[bytes], tuple[bytes, Format]]] = {
    "jpeg": lambda block: (jpeg((0xE1, NAMESPACE + block)), "jpeg"),
    "png": lambda block: (png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + block)), "png"),
    "png, compressed": lambda block: (
        png((b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(block))),
        "png",
    ),
    "webp": lambda block: (webp((b"XMP ", block)), "webp"),
}


@pytest.mark.parametrize("place", EXIF_IN)
@pytest.mark.parametrize("kind", [1, 3, 4], ids=["byte", "short", "long"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_each_value_is_read_whatever_the_type_the_order_and_the_file(
    place: str, kind: int, order: str
) -> None:
    for value in range(1, 9):
        assert orientation(*EXIF_IN[place](tiff(order, value, kind, before=3))) == value


@pytest.mark.parametrize("place", EXIF_IN)
@pytest.mark.parametrize(
    "content",
    [b"", b"II", b"XX*\0\x08\0\0\0", tiff("<", 0), tiff("<", 9), tiff("<", 6, kind=2),
     tiff("<", 6)[:18], b"II*\0\xff\xff\xff\xff"],
    ids=["empty", "short", "order", "zero", "nine", "kind", "cut", "astray"],
)  # fmt: skip
def test_what_makes_no_sense_is_upright(place: str, content: bytes) -> None:
    assert orientation(*EXIF_IN[place](content)) == 1


def test_the_first_exif_block_that_has_one_counts() -> None:
    nothing = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
    blocks = exif(nothing), exif(tiff(">", 9)), exif(tiff(">", 8)), exif(tiff(">", 3))
    assert orientation(jpeg(*blocks), "jpeg") == 8


@pytest.mark.parametrize("place", XMP_IN)
@pytest.mark.parametrize(
    "form",
    [
        "tiff:Orientation='{}'",
        'tiff:Orientation = "{}"',
        "a='b'><tiff:Orientation>{}</tiff:Orientation><rdf:Description",
    ],
)
def test_xmp_counts_where_nothing_else_says_it(place: str, form: str) -> None:
    assert orientation(*XMP_IN[place](xmp("6", form))) == 6
    assert orientation(*XMP_IN[place](xmp("9", form))) == 1


@pytest.mark.parametrize("value", [1, 3])
def test_exif_counts_before_xmp_wherever_they_stand(value: int) -> None:
    blocks = [exif(tiff("<", value)), (0xE1, NAMESPACE + xmp("6"))]
    for order in (blocks, blocks[::-1]):
        assert orientation(jpeg(*order), "jpeg") == value


def test_a_text_that_inflates_without_end_is_given_up() -> None:
    bomb = zlib.compress(b"\n" * (1 << 26))
    assert orientation(png((b"zTXt", b"Raw profile type exif\0\0" + bomb)), "png") == 1
    assert orientation(png((b"zTXt", b"Raw profile type exif\0\0junk")), "png") == 1


@pytest.mark.parametrize("between", [b"\xff", b"\0\0\0", b"abc", b"\xff\0"])
def test_stray_bytes_between_segments_are_passed_over(between: bytes) -> None:
    data = jpeg((0xE0, b"JFIF\0"), exif(tiff("<", 6)), between=between)
    assert orientation(data, "jpeg") == 6
    assert picture(data) == jpeg((0xE0, b"JFIF\0"), exif(tiff("<", 6)))


def test_nothing_behind_the_scan_is_read() -> None:
    turned = jpeg(exif(tiff("<", 6)))
    assert orientation(jpeg() + turned[2:], "jpeg") == 1
    assert orientation(jpeg()[:-2] + turned[2:], "jpeg") == 1  # before the end marker, too


def test_a_picture_ends_behind_its_last_scan() -> None:
    thumbnail = (0xE1, b"Exif\0\0" + astronaut_jpeg(64))
    whole = jpeg(thumbnail)
    for behind in (b"", b"a film \xff\xda\xff\xda", b"\xff\xd9", bytes(9)):
        assert picture(whole + behind) == whole
    for left in (whole[:-2], whole[:-1]):
        assert picture(left) in (whole, whole[:-1] + b"\xff\xd9")
    assert picture(whole[: whole.rindex(b"\xff\xda")]) is None
    scans = whole[:-2] + b"\xff\xc4\0\4ab\xff\xda\0\2more"  # of a progressive one
    assert picture(scans + b"\xff\xd9film") == scans + b"\xff\xd9"


@given(anything)
def test_no_bytes_make_them_raise(data: bytes) -> None:
    for kind in ("jpeg", "png", "webp"):
        assert 1 <= orientation(data, kind) <= 8
    clean = picture(data)
    assert clean is None or clean.endswith(b"\xff\xd9")
    assert is_lossy(data) in (False, True)
    assert sniff(data) in (None, *get_args(Format))
    unread_format(data)


@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_no_damage_to_a_real_header_makes_them_raise(at: int, damage: bytes) -> None:
    data = astronaut_jpeg(64, 6)
    damaged = data[:at] + damage + data[at + len(damage) :]
    assert 1 <= orientation(damaged, "jpeg") <= 8
    clean = picture(damaged)
    assert clean is None or clean.endswith(b"\xff\xd9")


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
        (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
        (b"\xff\x4f\xff\x51", "jpeg2000"),
        (b"P6\n# by hand\n4 4 255\n", "ppm"),
        (b"P6 4 4 255\n", "ppm"),
        (b"P3 is a colour space", None),
        (b"8BPS\0\1" + bytes(16) + b"\0\x10\0\3", None),
        (b"\n\n" + bytes(80), None),
        (b"words TRUEVISION-XFILE.\0", "tga"),
        (b"\0\0\2" + bytes(9) + b"\x40\0\x30\0\x18\0", "tga"),
        (b"\0\0\2" + bytes(9) + b"\0\0\x30\0\x18\0", None),  # of no width
        (b"\0\0\2\0\1\0\x20\x20\0\0" + bytes(20), None),  # a cursor
        (bytes(80), None),
        (b"%PDF-1.7", None),
        (b"", None),
    ],
)
def test_formats_are_told_by_their_beginning(head: bytes, expected: Format | None) -> None:
    assert sniff(head) == expected
    assert sniff(memoryview(head)) == expected
