"""What the boxes of an AVIF, a HEIC or a JP2 say of its colours and its coding.

ISO/IEC 14496-12 4.2 (boxes), 12.1.5 (`colr`); ISO/IEC 23008-12 9.3 (item properties); ITU-T T.800
I.5.3.3 (`colr` of JP2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LARGE, _TO_THE_END = 1, 0
_MOST = 1 << 14  # boxes beside each other, or items: grids of a thousand tiles have no more
_ICC_OF_JP2 = (2, 3)
_Box = tuple[bytes, memoryview]

_HEVC = b"hvcC"
_CODINGS = {  # by the property that each needs: ISO/IEC 23008-12, annexes; ISO/IEC 23001-17
    b"av1C": "AV1", b"avcC": "AVC", b"vvcC": "VVC", b"jpgC": "JPEG", b"j2kH": "JPEG 2000",
    b"uncC": "no compression", b"evcC": "EVC",
}  # fmt: skip

Colours = bytes | tuple[int, int]
"""An ICC profile, or code points of primaries and transfer."""


def colours_of_picture(data: bytes) -> Colours | None:
    """Those of the primary picture of an AVIF or HEIC; None where they are not told."""
    try:
        return _of_meta(dict(_boxes(memoryview(data)))[b"meta"][4:])
    except (KeyError, IndexError, struct.error):
        return None


def colours_of_jp2(data: bytes) -> bytes | None:
    """The ICC profile of a JP2; None where there is none."""
    for kind, content in _boxes(memoryview(data)):
        if kind == b"jp2h":
            for inner, colour in _boxes(content):
                if inner == b"colr" and len(colour) and colour[0] in _ICC_OF_JP2:
                    return bytes(colour[3:])
    return None


def unread_coding(data: bytes) -> str | None:
    """What a HEIF is of, where that is not a picture coded by HEVC; None where it seems to be."""
    boxes = dict(_boxes(memoryview(data)))
    if b"meta" not in boxes:
        return "a sequence alone" if b"moov" in boxes else None
    inside = dict(_boxes(boxes[b"meta"][4:]))
    properties = dict(_boxes(inside.get(b"iprp", memoryview(b""))))
    kinds = {kind for kind, _ in _boxes(properties.get(b"ipco", memoryview(b"")))}
    if _HEVC in kinds:
        return None
    return next((f"coded by {_CODINGS[kind]}" for kind in kinds & _CODINGS.keys()), None)


def _of_meta(meta: memoryview) -> Colours | None:
    inside = dict(_boxes(meta))
    groups = dict(_boxes(inside[b"iprp"]))
    properties = list(_boxes(groups[b"ipco"]))
    ours = _properties_of(_primary(inside[b"pitm"]), groups[b"ipma"])
    # what is put together of tiles may leave it to them
    for chosen in ([properties[at - 1] for at in ours if 0 < at <= len(properties)], properties):
        told = [_told(content) for kind, content in chosen if kind == b"colr"]
        for colours in told:
            if isinstance(colours, bytes):
                return colours
        for colours in told:
            if colours is not None:
                return colours
    return None


def _told(content: memoryview) -> Colours | None:
    kind = bytes(content[:4])
    if kind in (b"prof", b"rICC"):
        return bytes(content[4:])
    if kind == b"nclx":
        primaries, transfer = struct.unpack_from(">HH", content, 4)
        return primaries, transfer
    return None


def _primary(pitm: memoryview) -> int:
    (item,) = struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)
    return int(item)


def _properties_of(item: int, ipma: memoryview) -> list[int]:
    """Numbers, from 1, of an item's properties."""
    version, wide = ipma[0], ipma[3] & 1
    (entries,) = struct.unpack_from(">I", ipma, 4)
    at = 8
    for _ in range(min(entries, _MOST)):
        (one,) = struct.unpack_from(">I" if version else ">H", ipma, at)
        at += 4 if version else 2
        count = ipma[at]
        indices = struct.unpack_from(f">{count}{'H' if wide else 'B'}", ipma, at + 1)
        if one == item:
            return [index & (0x7FFF if wide else 0x7F) for index in indices]
        at += 1 + count * (2 if wide else 1)
    return []


def _boxes(data: memoryview) -> Iterator[_Box]:
    """Kind and contents of each box; the last may be cut short."""
    at = 0
    for _ in range(_MOST):
        if at + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == _LARGE and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        elif length == _TO_THE_END:
            length = len(data) - at
        if length < start - at:
            return
        yield kind, data[start : at + length]
        at += length
