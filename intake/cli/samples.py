"""A ZIP of sample photographs, to try Facecrop on.

The pictures come with scikit-image: the astronaut has a face, the others have none. All are in the
public domain or CC0, as its documentation says of each.
"""

from __future__ import annotations

import errno
import filecmp
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from intake.cli.console import DONE, FAILED, WRONG_USE, complain

_WRITTEN = (2026, 1, 1, 0, 0, 0)  # a fixed time, so that the same count gives the same bytes
_UNIX = 3
_FOLDERS = ("class-3a", "class 3b", "école")
_WITHOUT_FACES = ("coffee", "chelsea", "rocket")
_VARIANTS = 240  # more members than this repeat encoded pictures, under another comment
_EXIF_ORIENTATION = 0x0112
_JFIF_END = 20  # of the start marker and the JFIF segment that Pillow writes
# How an upright picture is stored so that its orientation tag turns it upright again.
_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def sample(path: Path, count: int) -> int:
    """Write a ZIP of `count` members, say so, and return the exit code."""
    try:
        write_sample(path, count)
    except ModuleNotFoundError as error:
        complain(f"the sample needs {error.name}; install facecrop[sample]")
        return FAILED
    except ValueError as error:
        complain(str(error))
        return WRONG_USE
    except OSError as error:
        complain(f"cannot write {path}: {error.strerror}; name another file")
        return FAILED
    print(f"{path}: {count} members")
    return DONE


def write_sample(path: Path, count: int) -> None:
    """Write a ZIP of `count` members; the same count gives the same bytes.

    A file that is there already is left: that is well if it is this very sample.

    It holds faces, groups, pictures without a face, every EXIF orientation, every format, a text,
    a system file, and one JPEG that was cut short. The first dozen show the most of that.

    Raises:
        ValueError: `count` is less than 1.
        ModuleNotFoundError: scikit-image is not installed.
        FileExistsError: another file is there.
        OSError: the file cannot be written; nothing is left of it then.
    """
    if count < 1:
        raise ValueError(f"A sample has at least 1 member, not {count}.")
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(unfinished, "w") as archive:
            for name, content in islice(_members(), count):
                member = zipfile.ZipInfo(name, _WRITTEN)
                member.create_system = _UNIX
                member.external_attr = 0o644 << 16
                archive.writestr(member, content)
        _place(unfinished, path)
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path)) from None
        if not path.is_file() or not filecmp.cmp(unfinished, path, shallow=False):
            said = "another file is there and is not overwritten"
            raise FileExistsError(errno.EEXIST, said, str(path)) from None
    finally:
        unfinished.unlink(missing_ok=True)


def _place(finished: Path, path: Path) -> None:
    """Give a file its name, unless something has it."""
    try:
        path.hardlink_to(finished)
    except FileExistsError:
        raise
    except OSError:  # a disk without links: an empty file of our own reserves the name
        path.open("xb").close()
        finished.replace(path)


def _members() -> Iterator[tuple[str, bytes]]:
    """Name and content of each member, without end."""
    number = 0
    for name, make in _special():
        number += 1
        yield name.format(number), make()
    while True:
        number += 1
        folder = _FOLDERS[number % len(_FOLDERS)]
        subject, jpeg = _variant(number % _VARIANTS)
        yield f"{folder}/{subject}-{number:04d}.jpg", _with_comment(jpeg, f"Sample {number}")


def _special() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """One of each kind, the most telling first: name pattern and maker."""
    face = _astronaut(0)
    grey = face.convert("L")
    palette = face.quantize(256, Image.Quantize.FASTOCTREE)  # others take half a second
    sixteen_bits = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    yield "class-3a/astronaut-{:04d}.jpg", partial(_encode, face, "JPEG")
    yield "class-3a/group-{:04d}.jpg", partial(_encode, _group(0), "JPEG")
    yield "class-3a/coffee-{:04d}.jpg", partial(_encode, _photograph("coffee"), "JPEG")
    yield "class 3b/orientation-6-{:04d}.jpg", partial(_turned, face, 6)
    yield "class-3a/cut-short-{:04d}.jpg", lambda: _encode(face, "JPEG")[:10_000]
    yield "class-3a/notes-{:04d}.txt", lambda: b"Which photographs are ready? All but one.\n"
    yield "école/astronaut-{:04d}.png", partial(_encode, face, "PNG")
    yield "école/astronaut-{:04d}.webp", partial(_encode, face, "WEBP")
    yield "class-3a/.DS_Store", lambda: b"\0\0\0\1Bud1"
    yield "école/astronaut-{:04d}.avif", partial(_encode, face, "AVIF", speed=10)
    yield "class 3b/grey-{:04d}.jpg", partial(_encode, grey, "JPEG")
    yield "class 3b/cmyk-{:04d}.jpg", partial(_encode, face.convert("CMYK"), "JPEG")
    for orientation in (1, 2, 3, 4, 5, 7, 8):
        name = f"class 3b/orientation-{orientation}-{{:04d}}.jpg"
        yield name, partial(_turned, face, orientation)
    yield "école/astronaut-{:04d}.tiff", partial(_encode, face, "TIFF")
    yield "école/astronaut-{:04d}.bmp", partial(_encode, face, "BMP")
    yield "école/astronaut-{:04d}.gif", partial(_encode, palette, "GIF")
    yield "école/alpha-{:04d}.png", partial(_encode, _oval(face), "PNG")
    yield "école/palette-{:04d}.png", partial(_encode, palette, "PNG")
    yield "école/16-bit-{:04d}.png", partial(_encode, sixteen_bits, "PNG")


@cache
def _variant(step: int) -> tuple[str, bytes]:
    """Subject and JPEG of an everyday photograph: half have one face, a quarter several."""
    quality = (75, 85, 92)[step % 3]
    if step % 4 == 1:
        return "group", _encode(_group(step), "JPEG", quality=quality)
    if step % 4 == 3:
        subject = _WITHOUT_FACES[step // 4 % len(_WITHOUT_FACES)]
        width = (480, 640, 800, 960)[step // 12 % 4]
        image = _photograph(subject)
        image = image.resize((width, round(image.height * width / image.width)))
        return subject, _encode(image, "JPEG", quality=quality)
    return "astronaut", _encode(_astronaut(step), "JPEG", quality=quality)


@cache
def _photograph(name: str) -> Image.Image:
    from skimage import data as photographs  # which only the extra `sample` installs

    return Image.fromarray(getattr(photographs, name)())


def _astronaut(step: int) -> Image.Image:
    """One face; the step decides how near, how large, how bright and which way round it is."""
    near = ((0, 0, 512, 512), (30, 0, 430, 500), (80, 0, 400, 320))[step % 3]
    side = (512, 640, 768, 900, 1024)[step % 5]
    image = _photograph("astronaut").crop(near)
    image = image.resize((side, round(side * image.height / image.width)))
    image = ImageEnhance.Brightness(image).enhance((1.0, 0.7, 1.2)[step // 3 % 3])
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if step // 2 % 2 else image


def _group(step: int) -> Image.Image:
    """Three to six faces of several sizes, side by side."""
    cell, columns, rows = 320, 3, 2
    image = Image.new("RGB", (cell * columns, cell * rows), (96, 104, 112))
    for place in range(3 + step // 4 % 4):
        side = (320, 240, 288, 200)[(place + step) % 4]
        face = _photograph("astronaut").resize((side, side))
        if place % 2:
            face = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        row, column = divmod(place, columns)
        image.paste(face, (column * cell, row * cell + cell - side))
    return image


def _turned(image: Image.Image, orientation: int) -> bytes:
    """A JPEG whose pixels are not upright, and whose EXIF orientation says so."""
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = orientation
    if orientation in _STORED:
        image = image.transpose(_STORED[orientation])
    return _encode(image, "JPEG", exif=exif)


def _oval(image: Image.Image) -> Image.Image:
    """The picture with all but an oval transparent."""
    alpha = Image.new("L", image.size)
    ImageDraw.Draw(alpha).ellipse((0, 0, *image.size), fill=255)
    image = image.copy()
    image.putalpha(alpha)
    return image


def _encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def _with_comment(jpeg: bytes, text: str) -> bytes:
    """The JPEG with a comment segment, so that no two members are the same bytes."""
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(text)) + text.encode("ascii")
    return jpeg[:_JFIF_END] + comment + jpeg[_JFIF_END:]
