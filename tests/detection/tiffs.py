"""TIFFs made by hand: any directories, in any byte order, and the RAW files that are like them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Value = int | bytes | Sequence[int] | Sequence[float]


@dataclass
class Page:
    """A directory: values by tag, its picture's data, and directories below it (SubIFDs)."""

    values: Mapping[int, Value]
    data: Sequence[bytes] = ()
    children: Sequence[Page] = field(default_factory=list)
    tiled: bool = False
    jpeg: bytes = b""  # by JPEGInterchangeFormat


def tiff(*pages: Page, order: str = "<", big: bool = False, magic: bytes = b"") -> bytes:
    """The file of some pages."""
    head = 16 if big else 8
    out = bytearray(head)
    first = 0
    links: list[int] = []
    for page in pages:
        at, link = _put(out, page, order, big)
        first = first or at
        if links:
            struct.pack_into(order + ("Q" if big else "I"), out, links[-1], at)
        links.append(link)
    mark = b"II" if order == "<" else b"MM"
    if big:
        out[:head] = mark + struct.pack(order + "HHHQ", 43, 8, 0, first)
    else:
        out[:head] = mark + struct.pack(order + "HI", 42, first)
    out[: len(magic)] = magic
    return bytes(out)


def _put(out: bytearray, page: Page, order: str, big: bool) -> tuple[int, int]:
    word, size = ("Q", 8) if big else ("I", 4)
    values: dict[int, Value] = dict(page.values)
    places = [_add(out, blob) for blob in page.data]
    if places:
        values[324 if page.tiled else 273] = places
        values[325 if page.tiled else 279] = [len(blob) for blob in page.data]
    if page.jpeg:
        values[513], values[514] = _add(out, page.jpeg), len(page.jpeg)
    if page.children:
        values[330] = [_put(out, child, order, big)[0] for child in page.children]
    entries = []
    for tag, value in sorted(values.items()):
        if isinstance(value, bytes):
            kind, count, raw = 2, len(value), value
        else:
            numbers = [value] if isinstance(value, int) else list(value)
            code, kind = ("d", 12) if isinstance(numbers[0], float) else ("I", 4)
            count, raw = len(numbers), struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(raw) > size:
            raw = struct.pack(order + word, _add(out, raw))
        entries.append(struct.pack(order + "HH" + word, tag, kind, count) + raw.ljust(size, b"\0"))
    body = struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries)
    at = _add(out, body + bytes(size))
    return at, at + len(body)


def _add(out: bytearray, blob: bytes) -> int:
    at = len(out)
    out += blob + bytes(len(blob) % 2)
    return at


def layout(pixels: NDArray[np.generic], bits: int, **more: int) -> dict[int, Value]:
    """The tags of (h, w) or (h, w, n) pixels."""
    height, width = pixels.shape[:2]
    count = pixels.shape[2] if pixels.ndim == 3 else 1
    photometric = 2 if count >= 3 else 1
    tags: dict[int, Value] = {
        256: width, 257: height, 258: [bits] * count, 259: 1, 262: photometric, 277: count,
        278: height, 339: [{"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]] * count,
    }  # fmt: skip
    return tags | {int(tag[1:]): value for tag, value in more.items()}
