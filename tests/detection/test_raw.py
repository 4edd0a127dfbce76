"""RAW files, made by hand: the largest preview is taken, wherever its maker puts it."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from detection.codecs.decode import Source
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from tests.detection.tiffs import Page, Value, layout, tiff
from tests.pictures import astronaut, bgr, encoded, stored_turned

BIG = astronaut().resize((1200, 900))
THUMBNAIL = np.asarray(BIG.resize((160, 120)))
PREVIEW = encoded(BIG, "JPEG", quality=92)
SMALL = encoded(BIG.resize((320, 240)), "JPEG")
SENSOR: dict[int, Value] = {256: 2000, 257: 1500, 258: 16, 262: 32803, 277: 1, 259: 1}
LOSSLESS = b"\xff\xd8\xff\xc3" + struct.pack(">HBHHB", 11, 8, 3000, 4000, 1) + b"\1\x11\0\xff\xda"


def sensor(**more: int) -> Page:
    return Page(SENSOR | {int(tag[1:]): value for tag, value in more.items()}, [LOSSLESS * 9])


def thumbnail(**more: int) -> Page:
    return Page(layout(THUMBNAIL, 8, t254=1, **more), [THUMBNAIL.tobytes()])


def jpeg(data: bytes, compression: int = 7) -> Page:
    width, height = Image.open(BytesIO(data)).size
    tags: dict[int, Value] = {
        254: 1,
        256: width,
        257: height,
        258: [8, 8, 8],
        259: compression,
        262: 6,
        277: 3,
    }
    return Page(tags, [data])


def check(data: bytes, *, small: bool = False, most: float = 4.0) -> None:
    source = Source.open(data, 10**7)
    assert source.warnings == ({ImageWarning.THUMBNAIL_ONLY} if small else set())
    assert source.pages is None
    if small:
        return
    assert (source.width, source.height) == BIG.size
    assert np.abs(source.decode().astype(int) - bgr(BIG)).mean() <= most


def with_children(front: Page, *children: Page) -> Page:
    front.children = children
    return front


def pages() -> dict[str, list[Page]]:
    maker_note = {37500: b"Nikon\0\2\x10" + PREVIEW}
    sub = Page({254: 1, 256: 1200, 257: 900, 259: 6}, jpeg=PREVIEW)
    plain = Page(layout(np.asarray(BIG), 8, t254=1), [np.asarray(BIG).tobytes()])
    strip = jpeg(PREVIEW, 6)
    linear = Page({**SENSOR, 262: 34892, 259: 7}, [LOSSLESS])
    return {
        "DNG": [with_children(thumbnail(t50706=1), sensor(), jpeg(SMALL), jpeg(PREVIEW))],
        "DNG linear": [with_children(thumbnail(t50706=1), linear, jpeg(PREVIEW))],
        "DNG uncompressed preview": [with_children(thumbnail(t50706=1), sensor(), plain)],
        "NEF": [with_children(thumbnail(), sensor(t259=34713), sub)],
        "ARW": [with_children(jpeg(SMALL, 6), sensor(t259=32767)), sub],
        "CR2": [strip, Page({259: 6}, jpeg=SMALL), thumbnail(), Page({259: 6}, [LOSSLESS])],
        "PEF": [sensor(t259=65535), Page({259: 6}, jpeg=SMALL), sub],
        "maker note": [with_children(Page({**thumbnail().values, **maker_note}), sensor())],
        "IIQ": [thumbnail(), sub],
    }


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("name", pages())
def test_the_largest_preview_of_a_tiff(name: str, order: str) -> None:
    marks = {"CR2": b"CR\2\0", "IIQ": b"IIII" if order == "<" else b"MMMM"}
    front: list[Page] = [Page({65000: b"0" * 12})] if name in marks else []
    data = tiff(*front, *pages()[name], order=order)
    if mark := marks.get(name):  # in place of what follows the header
        data = data[:8] + mark + data[8 + len(mark) :]
    check(data)


ORF_IFD = Page({256: 2000, 257: 1500, 37500: b"OLYMPUS\0II\3\0" + PREVIEW})
RW2_IFD = Page({2: 2000, 3: 1500, 46: PREVIEW})


@pytest.mark.parametrize(
    "data",
    [
        b"FUJIFILMCCD-RAW 0201" + bytes(80) + PREVIEW + bytes(900),
        b"FUJIFILMCCD-RAW 0201" + bytes(80) + SMALL + bytes(99) + PREVIEW + bytes(900),
        tiff(RW2_IFD, magic=b"IIU\0"), tiff(ORF_IFD, magic=b"IIRO"), tiff(ORF_IFD, magic=b"IIRS"),
        tiff(ORF_IFD, order=">", magic=b"MMOR"),
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40) + b"PRVW" + SMALL + b"mdat" + PREVIEW,
        b"FOVb\0\0\2\0" + bytes(90) + PREVIEW, b"\0MRM" + bytes(90) + PREVIEW,
        b"II\x1a\0\0\0HEAPCCDR" + bytes(90) + PREVIEW,
    ],
    ids=["RAF", "RAF two", "RW2", "ORF", "ORF IIRS", "ORF MMOR", "CR3", "X3F", "MRW", "CRW"],
)  # fmt: skip
def test_the_largest_preview_of_what_is_no_tiff(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_raw_says_which_way_is_up(orientation: int) -> None:
    stored = encoded(stored_turned(BIG, orientation), "JPEG", quality=92)
    check(tiff(with_children(thumbnail(t274=orientation), sensor(), jpeg(stored))))
    cmt1 = tiff(Page({256: 2000, 257: 1500, 274: orientation}), order=">")
    box = struct.pack(">I", 8 + len(cmt1)) + b"CMT1" + cmt1
    check(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + box + b"mdat" + stored)
    # where it does not, the preview's own Exif does
    tagged = encoded(BIG, "JPEG", orientation, quality=92)
    check(b"FUJIFILMCCD-RAW 0201" + bytes(80) + tagged)
    plain = np.asarray(stored_turned(BIG, orientation))
    tags = layout(plain, 8, t254=1)
    page = Page(tags, [plain.tobytes()])
    check(tiff(with_children(thumbnail(t274=orientation), sensor(), page)))
    page = Page({**tags, 274: orientation}, [plain.tobytes()])
    check(tiff(with_children(page, sensor())))


def test_a_preview_below_half_the_photograph_is_a_thumbnail() -> None:
    check(tiff(with_children(thumbnail(), sensor(), jpeg(SMALL))), small=True)
    check(tiff(with_children(thumbnail(), sensor())), small=True)
    check(tiff(with_children(thumbnail(), sensor(t256=2401), jpeg(PREVIEW))), small=True)
    check(tiff(with_children(thumbnail(), sensor(t256=2400), jpeg(PREVIEW))))
    check(b"FUJIFILMCCD-RAW 0201" + bytes(80) + SMALL, small=True)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("Canon CR3", b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(400)),
        ("Panasonic RW2", b"IIU\0\x18\0\0\0" + bytes(400)),
        ("Olympus ORF", b"IIRO\x08\0\0\0" + bytes(400)),
        ("Fujifilm RAF", b"FUJIFILMCCD-RAW 0201" + bytes(400) + LOSSLESS * 90),
        ("DNG", tiff(Page({**SENSOR, 50706: 1}, [LOSSLESS]))),
        ("Hasselblad RAW", tiff(Page({**SENSOR, 271: b"Hasselblad\0"}, [LOSSLESS]))),
    ],
)
def test_a_raw_without_a_preview_is_named(name: str, data: bytes) -> None:
    with pytest.raises(ImageError, match=f"format is {name},") as caught:
        Source.open(data, 10**7)
    assert caught.value.code is ImageErrorCode.UNSUPPORTED_FORMAT


def test_a_preview_cut_short_is_said_to_be() -> None:
    data = b"FUJIFILMCCD-RAW 0201" + bytes(80) + PREVIEW[: len(PREVIEW) // 2]
    with pytest.raises(ImageError) as caught:
        Source.open(data, 10**7).decode()
    assert caught.value.code is ImageErrorCode.TRUNCATED_IMAGE
