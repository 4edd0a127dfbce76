"""ICC profiles: whether one means sRGB, and making one of primaries and a curve.

Of what a profile says only what tells sRGB from all else is read here, so that images whose colours
need no conversion need no colour management either. ICC.1:2022 and, for version 2, ICC.1:2001-04.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from detection.options import MOST_PROFILE_BYTES

_HEADER_BYTES = 128
_SIGNATURE_AT, _SPACE_AT = 36, 16
_MOST_TAGS = 200
_PERCEPTIBLE = 2.5  # of 255, at most: what two ways to write sRGB down differ by
_LEVELS = np.linspace(0, 1, 18)
_D50 = np.array([0.9642, 1.0, 0.8249])  # the connection space's white: 7.2.16
_BRADFORD = np.array(  # Annex E.3
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
# Parameters g, a, b, c, d, e, f by function type, table 68; they count from the left
_PARAMETERS = (1, 3, 4, 5, 7)

Chromaticity = tuple[float, float]
Primaries = tuple[Chromaticity, Chromaticity, Chromaticity]
Curve = NDArray[np.float64]

D65: Chromaticity = (0.3127, 0.3290)
BT709: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
ADOBE_RGB: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
"""Adobe RGB (1998), 4.3.1; its gamma is 563/256."""


class ProfileError(ValueError):
    """A description of colours that makes no sense."""


def space(profile: bytes) -> str:
    """The colour space of the image: "RGB", "GRAY", "CMYK", "Lab" or another's four letters.

    Raises:
        ProfileError: it is no profile, or too large.
    """
    if not _HEADER_BYTES < len(profile) <= MOST_PROFILE_BYTES:
        raise ProfileError("no profile's size")
    if profile[_SIGNATURE_AT : _SIGNATURE_AT + 4] != b"acsp":
        raise ProfileError("no profile's signature")
    if int.from_bytes(profile[:4], "big") > len(profile):
        raise ProfileError("a profile that is cut short")
    return profile[_SPACE_AT : _SPACE_AT + 4].decode("latin-1").rstrip()


@lru_cache(maxsize=8)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB or a grey profile gives what sRGB (IEC 61966-2-1) does, as far as one can see.

    There are dozens of sRGB profiles, so it is told by effect: colours go through the matrix and
    curves and come out within a few 255ths. One with tables instead is believed by its name.

    Raises:
        ProfileError: it is no profile, by its header; what else is wrong with it is not judged.
    """
    kind = space(profile)
    try:
        tags = _tags(profile)
        if b"A2B0" in tags:
            name = tags.get(b"desc", b"")
            return b"sRGB" in name or "sRGB".encode("utf-16-be") in name
        if kind == "GRAY":
            return _looks_like(_curve(tags[b"kTRC"]), _LEVELS)
        curves = [_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")]
        columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    except (KeyError, struct.error, ProfileError):
        return False
    grid = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), axis=-1)
    linear = np.stack(np.meshgrid(*curves, indexing="ij"), axis=-1)
    into = np.linalg.inv(colorants(BT709, D65)) @ np.column_stack(columns)
    return _looks_like(linear @ into.T, grid)


def matrix_profile(primaries: Primaries, white: Chromaticity, curve: Curve | float) -> bytes:
    """A display profile, version 2.

    Args:
        primaries: x, y (CIE 1931) of red, green and blue.
        white: x, y of white.
        curve: from code values, 0 to 1 in even steps, to light, 0 to 1; or a gamma.
    """
    if isinstance(curve, float):
        points = struct.pack(">IHxx", 1, round(curve * 256))
    else:
        table = np.round(np.clip(curve, 0, 1) * 65535).astype(">u2").tobytes()
        points = struct.pack(">I", len(curve)) + table
    shape = b"curv\0\0\0\0" + points
    name = b"made from the image's own words\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(8 + 3 + 67)
    matrix = colorants(primaries, white)
    contents = [
        ((b"desc",), description),
        ((b"cprt",), b"text\0\0\0\0none\0"),
        ((b"wtpt",), _xyz_tag(_D50)),
        ((b"rXYZ",), _xyz_tag(matrix[:, 0])),
        ((b"gXYZ",), _xyz_tag(matrix[:, 1])),
        ((b"bXYZ",), _xyz_tag(matrix[:, 2])),
        ((b"rTRC", b"gTRC", b"bTRC"), shape),
    ]
    count = sum(len(names) for names, _ in contents)
    table, data = struct.pack(">I", count), b""
    for names, content in contents:
        at = _HEADER_BYTES + 4 + 12 * count + len(data)
        table += b"".join(name + struct.pack(">II", at, len(content)) for name in names)
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4xI", _HEADER_BYTES + len(table + data), 0x02400000)
    head += b"mntrRGB XYZ " + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(_fixed(value) for value in _D50)
    return head.ljust(_HEADER_BYTES, b"\0") + table + data


def colorants(primaries: Primaries, white: Chromaticity) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ, adapted to D50 (Bradford).

    Raises:
        ProfileError: the primaries span no space.
    """
    try:
        matrix = np.column_stack([_xyz_of(one) for one in primaries])
        matrix = matrix * np.linalg.solve(matrix, _xyz_of(white))
        cones = (_BRADFORD @ _D50) / (_BRADFORD @ _xyz_of(white))
        adaptation = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    except (np.linalg.LinAlgError, ZeroDivisionError):
        raise ProfileError("primaries that span no space") from None
    adapted: NDArray[np.float64] = adaptation @ matrix
    if not np.isfinite(adapted).all() or np.abs(adapted).max() > 10:
        raise ProfileError("primaries that span no space")
    return adapted


def srgb_light(values: Curve) -> Curve:
    """From code values of sRGB, 0 to 1, to light (IEC 61966-2-1, 5.2)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _looks_like(linear: NDArray[np.float64], codes: NDArray[np.float64]) -> bool:
    """Whether light, as sRGB has it, is that of some code values of sRGB."""
    light = np.clip(linear, 0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return bool(np.abs(encoded - codes).max() * 255 <= _PERCEPTIBLE)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """Contents by signature (7.3)."""
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES) if len(profile) >= 132 else (0,)
    found = {}
    for at in range(_HEADER_BYTES + 4, _HEADER_BYTES + 4 + 12 * min(count, _MOST_TAGS), 12):
        if at + 12 > len(profile):
            raise ProfileError("a profile that is cut short")
        name, start, size = struct.unpack_from(">4sII", profile, at)
        found[name] = profile[start : start + size]
    return found


def _curve(content: bytes) -> Curve:
    """Light at `_LEVELS`, of a curve (10.6) or a parametric one (10.18)."""
    if content[:4] == b"para":
        (kind,) = struct.unpack_from(">H", content, 8)
        if kind >= len(_PARAMETERS):
            raise ProfileError("a curve of no known kind")
        values = struct.unpack_from(f">{_PARAMETERS[kind]}i", content, 12)
        return _parametric(kind, [value / 65536 for value in values])
    if content[:4] != b"curv":
        raise ProfileError("a curve of no known kind")
    (count,) = struct.unpack_from(">I", content, 8)
    if count == 0:
        return _LEVELS
    if len(content) < 12 + 2 * count:
        raise ProfileError("a curve that is cut short")
    points = np.frombuffer(content, ">u2", count, offset=12)
    if count == 1:
        return _LEVELS ** float(points[0] / 256)
    light = np.interp(_LEVELS, np.linspace(0, 1, count), points / 65535)
    return np.asarray(light, np.float64)


def _parametric(kind: int, given: list[float]) -> Curve:
    g, a, b, c, d, e, f = given + [0.0] * (7 - len(given))
    if kind == 0:
        a, d = 1.0, 0.0
    elif kind in (1, 2):
        c, e, f, d = 0.0, c, c, -b / a if a else 0.0  # type 2 adds its third everywhere
    with np.errstate(all="ignore"):
        above = np.maximum(a * _LEVELS + b, 0) ** g + e
    return np.nan_to_num(np.where(d <= _LEVELS, above, c * _LEVELS + f))


def _xyz(content: bytes) -> NDArray[np.float64]:
    return np.array(struct.unpack_from(">3i", content, 8)) / 65536


def _xyz_of(chromaticity: Chromaticity) -> NDArray[np.float64]:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz_tag(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
