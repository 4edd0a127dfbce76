"""An image that is too large for the memory allowed says so, whatever its format."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from detection.errors import ImageError, ImageErrorCode
from detection.sandbox import pool as sandbox
from detection.sandbox.protocol import Bounds
from tests.detection.isolated import crop_one_isolated
from tests.pictures import encoded

SIDE = 5600
FORMATS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "jpeg, progressive": ("RGB", "JPEG", {"progressive": True, "subsampling": 0}),
    "jpeg, CMYK": ("CMYK", "JPEG", {}),
    "png": ("RGB", "PNG", {"compress_level": 1}),
    "png, alpha": ("RGBA", "PNG", {"compress_level": 1}),
    "png, 16 bits": ("I;16", "PNG", {"compress_level": 1}),
    "gif": ("P", "GIF", {}),
    "bmp": ("RGB", "BMP", {}),
    "tiff": ("RGB", "TIFF", {}),
    "tiff, deflated": ("RGB", "TIFF", {"compression": "tiff_adobe_deflate"}),
    "webp": ("RGB", "WEBP", {"method": 0}),
    "webp, lossless": ("RGB", "WEBP", {"method": 0, "quality": 0, "lossless": True}),
    "webp, alpha": ("RGBA", "WEBP", {"method": 0}),
    "avif": ("RGB", "AVIF", {"speed": 10}),
    "heic": ("RGB", "HEIF", {"enc_params": {"preset": "ultrafast"}}),
}


@pytest.fixture(autouse=True)
def own_children() -> Iterator[None]:
    sandbox.end_idle()
    yield
    sandbox.end_idle()


def made(name: str) -> bytes:
    mode, image_format, options = FORMATS[name]
    file = BytesIO()
    Image.new(mode, (SIDE, SIDE)).save(file, image_format, **options)
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_too_little_memory_is_no_damage(name: str) -> None:
    data = made(name)
    for mib in (128, 150) if name == "jpeg, progressive" else (128, 150, 200):
        bounds = Bounds(10**8, 300, mib)
        with pytest.raises(ImageError, match=rf"{mib} MiB .*limits\.image_mib") as caught:
            crop_one_isolated(data, bounds)
        assert caught.value.code is ImageErrorCode.TOO_MUCH_MEMORY
    assert crop_one_isolated(data, Bounds(10**8, 300, 4096))[0].crops == []


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_damage_is_no_want_of_memory(image_format: str) -> None:
    options: dict[str, Any] = {"compression": "tiff_lzw"} if image_format == "TIFF" else {}
    data = encoded(Image.effect_noise((600, 400), 80).convert("RGB"), image_format, **options)
    with pytest.raises(ImageError) as caught:
        crop_one_isolated(data[: len(data) // 2], Bounds(10**8, 60, 256))
    assert caught.value.code in (ImageErrorCode.CORRUPT_IMAGE, ImageErrorCode.TRUNCATED_IMAGE)
