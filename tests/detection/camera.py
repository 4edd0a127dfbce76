"""Photographs with all that a camera may write besides: time, place, owner, notes, previews."""

from __future__ import annotations

import struct
from base64 import b64encode
from io import BytesIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.pictures import encoded

SECRETS = (b"SERIAL-7", b"OWNER-7", b"NOTE-7", b"HOST-7", b"UNIQUE-7")
"""What no photograph that is published may say; `all` copies those that Exif has tags for."""

TIME, CAMERA, ARTIST, RIGHTS = "2023:05:06 07:08:09", "Camera X100", "A. Artist", "(c) A. Artist"


def thumbnail() -> bytes:
    """A small JPEG, as cameras embed one of the whole photograph."""
    return encoded(Image.new("RGB", (160, 120), (10, 200, 30)), "JPEG")


def exif(orientation: int = 1, order: str = "<") -> bytes:
    """A block of Exif, with GPS, a maker note, and a thumbnail behind a second directory."""
    picture = thumbnail()

    def text(value: str) -> tuple[int, int, bytes]:
        return 2, len(value) + 1, value.encode() + b"\0"

    def rational(*pairs: int) -> tuple[int, int, bytes]:
        return 5, len(pairs) // 2, struct.pack(f"{order}{len(pairs)}I", *pairs)

    def short(value: int) -> tuple[int, int, bytes]:
        return 3, 1, struct.pack(order + "H", value)

    def long(value: int) -> tuple[int, int, bytes]:
        return 4, 1, struct.pack(order + "I", value)

    note = b"NOTE-7" + picture
    details = {
        0x829A: rational(1, 250), 0x829D: rational(28, 10), 0x8827: short(400),
        0x9003: text(TIME), 0x9010: text("+02:00"), 0x9291: text("123"),
        0x920A: rational(50, 1), 0x927C: (7, len(note), note), 0x9214: (3, 4, bytes(8)),
        0xA002: long(4000), 0xA003: long(3000), 0xA005: long(8), 0xA420: text("UNIQUE-7"),
        0xA430: text("OWNER-7"), 0xA431: text("SERIAL-7"), 0xA434: text("Lens 50"),
    }  # fmt: skip
    place = {1: text("N"), 2: rational(48, 1, 12, 1, 777, 10), 3: text("E")}
    main = {
        0x010F: text("Maker"), 0x0110: text(CAMERA), 0x0112: short(orientation),
        0x013B: text(ARTIST), 0x013C: text("HOST-7"), 0x8298: text(RIGHTS),
        0x8769: long(0), 0x8825: long(0),
    }  # fmt: skip
    second = {0x0103: short(6), 0x0201: long(0), 0x0202: long(len(picture))}
    for _ in range(2):  # sizes do not depend on what the pointers are
        at, made = 8, b""
        places = []
        for number, entries in enumerate((main, second, details, place)):
            places.append(at)
            following = 0 if number else places[0] + len(_directory(order, 8, main, 0))
            made += _directory(order, at, entries, following)
            at = 8 + len(made)
        main |= {0x8769: long(places[2]), 0x8825: long(places[3])}
        second[0x0201] = long(at)
    mark = b"II" if order == "<" else b"MM"
    return struct.pack(order + "2sHI", mark, 42, 8) + made + picture


def _directory(
    order: str, at: int, entries: dict[int, tuple[int, int, bytes]], following: int
) -> bytes:
    head, rest = struct.pack(order + "H", len(entries)), b""
    rest_at = at + 2 + 12 * len(entries) + 4
    for tag, (kind, count, raw) in sorted(entries.items()):
        value = raw.ljust(4, b"\0")
        if len(raw) > 4:
            value = struct.pack(order + "I", rest_at + len(rest))
            rest += raw + b"\0" * (len(raw) % 2)
        head += struct.pack(order + "HHI", tag, kind, count) + value
    return head + struct.pack(order + "I", following) + rest


def xmp(orientation: int = 1) -> bytes:
    """A packet that says as much, with a thumbnail and the places of people."""
    picture = b64encode(thumbnail()).decode()
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"
  xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
  xmlns:xmpGImg="http://ns.adobe.com/xap/1.0/g/img/" xmlns:g="http://ns.google.com/photos/1.0/image/"
  xmlns:mwg="http://www.metadataworkinggroup.com/schemas/regions/"
  tiff:Orientation="{orientation}" xmp:Rating="5" g:Data="{picture}" mwg:Name="REGION-7">
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">XMP-RIGHTS</rdf:li></rdf:Alt></dc:rights>
<xmp:Thumbnails><rdf:Alt><rdf:li><xmpGImg:image>{picture}</xmpGImg:image></rdf:li></rdf:Alt>
</xmp:Thumbnails></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def photograph(
    image: Image.Image, kind: str, *, block: bytes | None = None, packet: bytes | None = None
) -> bytes:
    """A file of a kind that Pillow names, with all that; or with other blocks than those.

    A TIFF is itself a block of Exif: what Pillow can put into one is in it.
    """
    block, packet = exif() if block is None else block, xmp() if packet is None else packet
    if kind == "HEIF":
        return encoded(image, kind, exif=b"Exif\0\0" + block, xmp=packet, quality=90)
    sink = BytesIO()
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
        image.save(sink, kind, pnginfo=text, exif=block)
    elif kind == "TIFF":
        tags = Image.Exif()
        tags.load(block)
        tags[700] = packet
        image.save(sink, kind, exif=tags)
    else:
        image.save(sink, kind, exif=b"Exif\0\0" + block, xmp=packet, quality=92)
    return sink.getvalue()
