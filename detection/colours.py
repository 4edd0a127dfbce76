"""The colours of an image's crops: as sRGB has them, or with the image's own profile."""

from __future__ import annotations

from detection.codecs.colour import stated_profile
from detection.codecs.decode import Pixels, Source
from detection.codecs.icc import ProfileError, is_srgb, space
from detection.errors import ImageWarning

# These may have other colours than RGB and grey, and `Source.decode` has converted them then.
_WITH_INKS = {"jpeg", "tiff", "psd", "jpeg2000"}


class CropColours:
    """What is done with the colours of the crops of one image.

    Attributes:
        embedded: the ICC profile that goes into each crop's file, or None.
    """

    def __init__(self, source: Source, *, keep: bool) -> None:
        """Read what an image says of its colours.

        Args:
            source: the image, decoded; it is told of a profile that makes no sense.
            keep: leave the pixels as they are, and embed the profile.
        """
        self._source = source
        self._convert_from: bytes | None = None
        self.embedded: bytes | None = None
        if ImageWarning.COLOUR_PROFILE_UNKNOWN in source.warnings:
            return
        try:
            self._choose(keep)
        except ProfileError:
            source.warnings.add(ImageWarning.COLOUR_PROFILE_UNKNOWN)

    def _choose(self, keep: bool) -> None:
        profile = stated_profile(self._source.data, self._source.format)
        if profile is None:
            return
        kind = space(profile)
        if kind not in ("RGB", "GRAY"):
            if self._source.format not in _WITH_INKS or self._source.reducible:
                raise ProfileError("a profile of other colours than the picture's")
            return
        other = not is_srgb(profile)
        if other:
            _require_use(profile, kind)
        if keep and kind == "RGB":
            self.embedded = profile
        elif other:
            self._convert_from = profile

    def of(self, crop: Pixels) -> Pixels:
        """A crop, (h, w, 3) uint8 BGR, as it is to be encoded."""
        if self._convert_from is None:
            return crop
        from detection.codecs import cms

        try:
            return cms.crop_to_srgb(crop, self._convert_from)
        except ProfileError:
            self._source.warnings.add(ImageWarning.COLOUR_PROFILE_UNKNOWN)
            return crop


def _require_use(profile: bytes, kind: str) -> None:
    from detection.codecs import cms

    cms.to_srgb(profile, "L" if kind == "GRAY" else "RGB")
