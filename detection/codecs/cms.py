"""Colours converted to sRGB by Little CMS, through Pillow. Imported for the first that need it."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from detection.codecs.icc import ProfileError, space

Pixels = NDArray[np.uint8]

_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}


@lru_cache(maxsize=8)
def to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """What converts images of a mode of Pillow's, with the intent that viewers have: perceptual.

    Raises:
        ProfileError: the profile is of other colours, or of none.
    """
    if space(profile) != _SPACES.get(mode):
        raise ProfileError("a profile of other colours than the picture's")
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        return _between(opened, mode)
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        raise ProfileError(str(error)) from None


@lru_cache(maxsize=1)
def lab_to_srgb() -> ImageCms.ImageCmsTransform:
    """What converts CIE L*a*b* of D50, which is all that a TIFF of that kind has to say."""
    return _between(ImageCms.createProfile("LAB"), "LAB")


def crop_to_srgb(pixels: Pixels, profile: bytes) -> Pixels:
    """(h, w, 3) uint8 BGR pixels of a profile's colours, RGB or grey, as sRGB's.

    Raises:
        ProfileError: it cannot be the profile of these.
    """
    if space(profile) == "GRAY":
        grey = pixels[:, :, 0]
        if not (pixels == grey[:, :, None]).all():
            raise ProfileError("a profile of grey, and a picture of colours")
        image, transform = Image.fromarray(grey), to_srgb(profile, "L")
    else:
        image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        transform = to_srgb(profile, "RGB")
    rgb = np.asarray(transform.apply(image))
    return cast(Pixels, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def _between(profile: Any, mode: str) -> ImageCms.ImageCmsTransform:
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(profile, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
