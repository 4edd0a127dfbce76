"""HEIC as phones make it: tiled, turned, deep, with other pictures beside the one that is meant."""

from __future__ import annotations

import struct
from functools import cache
from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from detection.codecs.decode import Source
from detection.errors import ImageError, ImageErrorCode
from tests.pictures import astronaut, bgr, encoded

PICTURE = astronaut().crop((150, 20, 310, 148))
LOSSY = 4.0  # mean absolute difference, of 255


@cache
def heic(orientation: int = 1, **options: object) -> bytes:
    return encoded(PICTURE, "HEIF", orientation, quality=95, **options)


def upright(data: bytes, image: Image.Image = PICTURE) -> None:
    source = Source.open(data, 10_000_000)
    assert source.format == "heic"
    assert (source.width, source.height) == image.size
    assert np.abs(source.decode().astype(int) - bgr(image)).mean() <= LOSSY


@pytest.mark.parametrize("tile_size", [0, 64])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_turned_by_its_properties_is_not_turned_again_by_exif(
    orientation: int, tile_size: int
) -> None:
    data = heic(orientation, tile_size=tile_size)
    written = struct.pack(">HHIH", 0x0112, 3, 1, 1), struct.pack("<HHIH", 0x0112, 3, 1, 1)
    for entry, order in zip(written, "><", strict=True):  # the writer has set it to 1
        data = data.replace(entry, entry[:8] + struct.pack(order + "H", orientation))
    upright(data)


@pytest.mark.parametrize(
    "brand", [b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"MiHE", b"miaf"]
)
def test_every_brand(brand: bytes) -> None:
    data = heic()
    upright(data[:8] + brand + data[12:])


@pytest.mark.parametrize("mode", ["RGB;16", "I;16", "RGBA;16"])
def test_deep_samples(mode: str) -> None:
    image = PICTURE.convert("L") if mode == "I;16" else PICTURE
    pixels = np.asarray(image.convert("RGBA") if mode == "RGBA;16" else image)
    file = BytesIO()
    deep = pixels.astype(np.uint16) * 257
    pillow_heif.from_bytes(mode, image.size, deep.tobytes()).save(file, quality=95)
    upright(file.getvalue(), image)


@pytest.mark.parametrize("primary", [0, 1, 2])
def test_the_primary_of_several_pictures(primary: int) -> None:
    several = pillow_heif.HeifFile()  # type: ignore[no-untyped-call]
    for number in range(3):
        other = Image.new("RGB", (64, 48), "red")
        several.add_from_pillow(PICTURE if number == primary else other)
    file = BytesIO()
    several.save(file, quality=95, primary_index=primary)
    upright(file.getvalue())


def test_thumbnails_are_passed_over() -> None:
    upright(heic(6, thumbnails=(64, 32)))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({b"hvc1": b"av01", b"hvcC": b"av1C"}, "AV1"),
        ({b"hvc1": b"avc1", b"hvcC": b"avcC"}, "AVC"),
        ({b"hvc1": b"jpeg", b"hvcC": b"jpgC"}, "JPEG"),
        ({b"hvc1": b"unci", b"hvcC": b"uncC"}, "no compression"),
        ({b"meta": b"moov"}, "sequence"),
    ],
)
def test_what_is_coded_otherwise_is_named(changes: dict[bytes, bytes], named: str) -> None:
    data = heic()
    for one, other in changes.items():
        data = data.replace(one, other)
    with pytest.raises(ImageError, match=named) as caught:
        Source.open(data, 10_000_000).decode()
    assert caught.value.code is ImageErrorCode.UNSUPPORTED_FORMAT


def test_a_picture_of_another_size_than_it_says_is_damaged() -> None:
    data = bytearray(encoded(PICTURE.crop((0, 0, 16, 16)), "HEIF"))
    aperture = data.index(b"clap") + 4  # ISO/IEC 14496-12, 12.1.4: its width over 1
    data[aperture : aperture + 4] = (236).to_bytes(4, "big")
    source = Source.open(bytes(data), 10_000_000)
    with pytest.raises(
        ImageError, match=r"says that it has 236 x 16 pixels, and has 64 x"
    ) as raised:
        source.decode()
    assert raised.value.code is ImageErrorCode.CORRUPT_IMAGE
