"""Photographs of 102 to 200 megapixels: decoded reduced, in bounded memory."""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from detection.codecs.decode import Source
from detection.codecs.jpeg import coefficient_bytes
from detection.errors import ImageError, ImageErrorCode, ImageWarning
from detection.image import crop_faces, make_detector
from detection.sandbox.protocol import Bounds
from detection.settings import CutSettings, DetectionSettings
from pipeline.settings import LimitSettings
from tests.detection.isolated import crop_one_isolated
from tests.pictures import astronaut, encoded

DEFAULTS = LimitSettings()
MIB = 1 << 20


@cache
def large(width: int, height: int, face: int, at: tuple[int, int], **options: Any) -> bytes:
    image = Image.new("RGB", (width, height), (96, 104, 112))
    image.paste(astronaut(face), at)
    return encoded(image, "JPEG", **options)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(11648, 8736), (12000, 9000), (16320, 12240)])
def test_the_largest_cameras_are_cropped_by_default(size: tuple[int, int]) -> None:
    data = large(*size, face=3000, at=(size[0] - 3000, size[1] - 3000))
    bounds = Bounds(DEFAULTS.max_pixels, DEFAULTS.image_seconds, DEFAULTS.image_mib)
    image, _ = crop_one_isolated(data, bounds)
    assert (image.width, image.height) == size
    assert len(image.crops) == 1
    assert image.warnings == []


def with_size(data: bytes, width: int, height: int) -> bytes:
    """The JPEG saying that it is larger than it is."""
    at = next(at for one in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(one)) >= 0)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


SMALL = encoded(astronaut(64), "JPEG")
PROGRESSIVE = encoded(astronaut(64), "JPEG", progressive=True, subsampling=0)


def test_a_jpeg_may_have_eight_times_the_pixels() -> None:
    Source.open(with_size(SMALL, 40_000, 20_000), 10**8)
    with pytest.raises(ImageError) as caught:
        Source.open(with_size(SMALL, 40_000, 20_001), 10**8)
    assert caught.value.code is ImageErrorCode.TOO_MANY_PIXELS
    assert str(caught.value) == (
        "40000 x 20001 pixels are more than the 800,000,000 allowed (limits.max_pixels): "
        "--limits-max-pixels 100005000 would do."
    )
    Source.open(with_size(SMALL, 40_000, 20_001), 100_005_000)


def test_what_is_no_jpeg_keeps_its_bound_and_the_message_says_what_would_do() -> None:
    data = encoded(astronaut(64), "PNG")
    data = data[:16] + struct.pack(">II", 12_000, 10_000) + data[24:]
    with pytest.raises(ImageError, match="--limits-max-pixels 120000000 would do"):
        Source.open(data, 10**8)
    with pytest.raises(ImageError, match="120000000 and --limits-image-mib 2746 would do"):
        Source.open(data, 10**8, 1024)
    with pytest.raises(ImageError, match=r"allowed \(limits\.max_pixels\)\.$"):
        Source.open(data[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + data[24:], 10**8)


@pytest.mark.parametrize(
    ("options", "samples"),
    [
        ({}, 0), ({"progressive": True}, 1.5), ({"progressive": True, "subsampling": 0}, 3),
        ({"progressive": True, "subsampling": "4:2:2"}, 2),
    ],
)  # fmt: skip
def test_what_a_decoder_keeps_of_a_jpeg(options: dict[str, Any], samples: float) -> None:
    assert coefficient_bytes(encoded(astronaut(64), "JPEG", **options)) == 2 * samples * 64 * 64


def test_scans_of_a_component_each_are_kept_as_well() -> None:
    data = encoded(astronaut(64), "JPEG", subsampling=0)
    at = data.index(b"\xff\xda")
    one = data[: at + 2] + b"\0\x08\1\1\0\0\x3f\0" + data[at + 14 :]
    assert coefficient_bytes(one) == 2 * 3 * 64 * 64


def test_a_progressive_jpeg_is_bound_by_memory() -> None:
    data = with_size(PROGRESSIVE, 20_000, 20_000)  # 2400 MB of coefficients
    with pytest.raises(ImageError, match=r"2048 MiB of memory allowed \(limits\.image_mib\)") as it:
        Source.open(data, 10**8, 2048)
    assert it.value.code is ImageErrorCode.TOO_MUCH_MEMORY
    enough = int(str(it.value).partition("--limits-image-mib ")[2].split()[0])
    assert 2350 < enough < 2450
    Source.open(data, 10**8, enough)


@pytest.mark.parametrize(("mib", "reduction"), [(3072, 1), (1000, 1), (500, 2), (200, 4)])
def test_no_finer_than_there_is_memory_for(mib: int, reduction: int) -> None:
    source = Source.open(with_size(SMALL, 20_000, 10_000), 10**8, mib)
    assert source.reduction_for(0.1) == 8
    assert source.warnings == set()
    assert source.reduction_for(1.0) == reduction
    assert source.warnings == ({ImageWarning.COARSE_CROPS} if reduction > 1 else set())


def test_a_small_face_is_cropped_as_fine_as_memory_allows() -> None:
    detection, cut = DetectionSettings(), CutSettings()
    data = large(6000, 5000, face=1200, at=(0, 3800))
    detector = make_detector(detection)
    fine = crop_faces(data, detector, detection, cut, 10**8)
    coarse = crop_faces(data, detector, detection, cut, 10**8, 100)
    assert (fine.warnings, coarse.warnings) == ([], [ImageWarning.COARSE_CROPS])
    [a], [b] = fine.crops, coarse.crops
    pixels = [simplejpeg.decode_jpeg(one.data).astype(int) for one in (a, b)]
    assert 0 < np.abs(pixels[0] - pixels[1]).mean() < 10
