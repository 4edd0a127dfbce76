"""Small pictures with and without a face, for tests; they come with scikit-image."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

pillow_heif.register_heif_opener()  # writes HEIC; what reads it is Facecrop's own

EXIF_ORIENTATION = 0x0112
PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos"
"""Real photographs beside the repository, which are no part of it and may be absent."""

# an encoder that looks for the smallest file takes ten times as long
_QUICKLY: dict[str, dict[str, Any]] = {
    "AVIF": {"speed": 10},
    "PNG": {"compress_level": 1},
    "HEIF": {"enc_params": {"preset": "ultrafast"}},
}


@cache
def astronaut(size: int = 512) -> Image.Image:
    """One face, RGB, `size` x `size`; the face is about a fifth of the width."""
    pixels = data.astronaut()  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels).resize((size, size))


@cache
def coffee() -> Image.Image:
    """No face, RGB, 600 x 400."""
    return Image.fromarray(data.coffee())  # type: ignore[no-untyped-call]


def group(sizes: tuple[int, ...], canvas: tuple[int, int]) -> Image.Image:
    """Astronauts of several sizes from left to right on a grey canvas (width, height)."""
    image = Image.new("RGB", canvas, (96, 104, 112))
    left = 0
    for size in sizes:
        image.paste(astronaut(size), (left, 0))
        left += size
    return image


def encoded(image: Image.Image, image_format: str, orientation: int = 1, **options: Any) -> bytes:
    """The picture as a file; with an orientation above 1, its pixels stored turned, and tagged."""
    if orientation != 1:
        image = stored_turned(image, orientation)
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = orientation
        options["exif"] = exif.tobytes()
    file = BytesIO()
    image.save(file, image_format, **{**_QUICKLY.get(image_format, {}), **options})
    return file.getvalue()


@cache
def astronaut_jpeg(size: int = 512, orientation: int = 1) -> bytes:
    """A JPEG with one face."""
    return encoded(astronaut(size), "JPEG", orientation, quality=92)


@cache
def no_face_jpeg() -> bytes:
    """A JPEG without a face."""
    return encoded(coffee(), "JPEG")


def stored_turned(image: Image.Image, orientation: int) -> Image.Image:
    """What a camera stores so that the EXIF orientation turns it into `image`.

    Row and column 0 of what is stored are these sides of the upright picture: 1 top, left; 2 top,
    right; 3 bottom, right; 4 bottom, left; 5 left, top; 6 right, top; 7 right, bottom; 8 left,
    bottom.
    """
    pixels = np.asarray(image)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return Image.fromarray(np.ascontiguousarray(pixels))


def bgr(image: Image.Image) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 BGR."""
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])


def real_photos(count: int) -> list[Path]:
    """`count` real photographs, spread over all there are; skips the test without them."""
    found = sorted(PHOTOS.glob("*"))
    if len(found) < count:
        pytest.skip(f"no real photographs in {PHOTOS}")
    return found[:: len(found) // count][:count]
