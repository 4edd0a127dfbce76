"""Profiles made by hand, and pictures in their colours: independently of what reads them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.pictures import astronaut

Floats = NDArray[np.float64]

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


@dataclass(frozen=True)
class Space:
    """Primaries and white as x, y (as published), and a gamma; 0: the curve of sRGB."""

    primaries: tuple[tuple[float, float], ...]
    gamma: float
    white: tuple[float, float] = (0.3127, 0.3290)

    @property
    def matrix(self) -> Floats:
        """From linear RGB to XYZ of D50."""
        matrix = np.column_stack([_xyz(one) for one in self.primaries])
        matrix = matrix * np.linalg.solve(matrix, _xyz(self.white))
        cones = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ _xyz(self.white)))
        adapted: Floats = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ matrix
        return adapted


SRGB = Space(((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)), 0)
DISPLAY_P3 = Space(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), 0)
P3 = Space(((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), 2.2)
ADOBE = Space(((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 563 / 256)
PROPHOTO = Space(((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8, (0.3457, 0.3585))
SPACES = {"P3": P3, "Display P3": DISPLAY_P3, "Adobe": ADOBE, "ProPhoto": PROPHOTO}


def picture() -> Image.Image:
    """With people's colours and with strong ones, all of them within sRGB."""
    image = astronaut().crop((100, 20, 260, 148))
    for at, colour in enumerate(["#e02020", "#20c030", "#3050e0", "#e0d010", "#808080"]):
        image.paste(Image.new("RGB", (32, 32), colour), (at * 32, 96))
    return image


def in_space(image: Image.Image, space: Space) -> Image.Image:
    """The numbers that a space has for the colours of an sRGB picture."""
    values = np.asarray(image.convert("RGB")) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    into = np.linalg.inv(space.matrix) @ SRGB.matrix
    theirs = np.clip(light @ into.T, 0, 1)
    if space.gamma:
        theirs = theirs ** (1 / space.gamma)
    else:
        curved = 1.055 * theirs ** (1 / 2.4) - 0.055
        theirs = np.where(theirs <= 0.0031308, theirs * 12.92, curved)
    return Image.fromarray(np.round(theirs * 255).astype(np.uint8))


def profile(space: Space, version: Literal[2, 4] = 2, padding: int = 0) -> bytes:
    """An ICC profile, with a curve of one entry or a parametric one; `padding` bytes longer."""
    if not space.gamma:
        srgb = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para\0\0\0\0\0\3\0\0" + b"".join(map(_fixed, srgb))
    elif version == 4:
        curve = b"para\0\0\0\0\0\0\0\0" + _fixed(space.gamma)
    else:
        curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(space.gamma * 256))
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), space.matrix.T, strict=True)
    tags = {name: _xyz_tag(column) for name, column in columns}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    if padding:
        tags[b"padd"] = b"text\0\0\0\0" + np.random.default_rng(1).bytes(padding)
    return _file(b"RGB ", tags, version)


def grey_profile(gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    return _file(b"GRAY", {b"kTRC": curve})


def cmyk_profile() -> bytes:
    """One whose inks are not what they are called: cyan prints red, magenta green, yellow blue."""
    corners = []
    for at in range(16):  # the last channel changes fastest
        c, m, y, k = ((at >> bit) & 1 for bit in (3, 2, 1, 0))
        inks = np.array([(c, 1 - c, 1 - c), (1 - m, m, 1 - m), (1 - y, 1 - y, y)])
        rgb = np.ones(3)
        for ink, printed in zip(inks, (c, m, y), strict=True):
            rgb = rgb * (ink if printed else 1)
        corners.append(_lab_bytes(rgb * (1 - k)))
    identity = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    table += b"".join(_fixed(value) for value in np.eye(3).ravel())
    table += identity * 4 + b"".join(corners) + identity * 3
    return _file(b"CMYK", {b"A2B0": table}, space=b"Lab ", device=b"prtr")


def png_with(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks behind its header."""
    made = b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip
    return data[:33] + made + data[33:]


def psd_with(data: bytes, icc: bytes) -> bytes:
    """A PSD, that has no image resources, with a profile."""
    resource = b"8BIM" + struct.pack(">HHI", 1039, 0, len(icc)) + icc + b"\0" * (len(icc) % 2)
    return data[:30] + struct.pack(">I", len(resource)) + resource + data[34:]


def bmp_with(image: Image.Image, icc: bytes) -> bytes:
    """A BMP of version 5 with an embedded profile."""
    pixels = np.asarray(image)[::-1, :, ::-1]
    rows = b"".join(row.tobytes() + bytes(-row.size % 4) for row in pixels)
    start = 14 + 124
    header = struct.pack("<IiiHHIIiiII", 124, *image.size, 1, 24, 0, len(rows), 0, 0, 0, 0)
    header += (
        bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(rows), len(icc), 0)
    )
    head = struct.pack("<2sIHHI", b"BM", start + len(rows) + len(icc), 0, 0, start)
    return head + header + rows + icc


def jp2_with(data: bytes, icc: bytes) -> bytes:
    """A JP2 whose colours are told by a profile, and not by a number."""
    colour = data.index(b"colr") - 4
    (size,) = struct.unpack_from(">I", data, colour)
    box = struct.pack(">I4sBBB", 11 + len(icc), b"colr", 2, 0, 0) + icc
    header = data.index(b"jp2h") - 4
    (outer,) = struct.unpack_from(">I", data, header)
    grown = struct.pack(">I", outer + len(box) - size)
    return data[:header] + grown + data[header + 4 : colour] + box + data[colour + size :]


def segments_of(icc: bytes, count: int) -> list[bytes]:
    """A profile as that many segments of a JPEG."""
    size = -(-len(icc) // count)
    made = []
    for at in range(count):
        part = icc[at * size :][:size]
        content = b"ICC_PROFILE\0" + bytes([at + 1, count]) + part
        made.append(b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content)
    return made


def _file(
    kind: bytes,
    tags: dict[bytes, bytes],
    version: int = 2,
    space: bytes = b"XYZ ",
    device: bytes = b"mntr",
) -> bytes:
    name = b"by hand\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": _xyz_tag(_D50),
        **tags,
    }
    if version == 4:
        text = "by hand".encode("utf-16-be")
        localized = struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
        tags |= dict.fromkeys((b"desc", b"cprt"), b"mluc\0\0\0\0" + localized)
    table, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI", 128 + len(table + data), version << 24) + device + kind + space
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(map(_fixed, _D50))
    return head.ljust(128, b"\0") + table + data


def _lab_bytes(rgb: Floats) -> bytes:
    """CIE L*a*b* of D50 as one byte each, of linear sRGB that is 0 or 1."""
    x, y, z = (np.cbrt(value) for value in (SRGB.matrix @ rgb) / _D50)
    if y < 0.2:
        return bytes([0, 128, 128])
    values = (116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128
    return bytes(int(np.clip(round(value), 0, 255)) for value in values)


def _xyz(chromaticity: tuple[float, float]) -> Floats:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz_tag(values: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))
