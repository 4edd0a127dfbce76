"""What a photograph's file says besides its pixels, as far as that may go along with a crop of it.

By `safe`, time, camera and rights; by `all`, Exif with the place, and XMP. Of either everything is
read by a list, checked, and written anew, so that nothing else slips through; what makes no sense
is left out, and costs the picture nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from detection.codecs.directories import pages
from detection.codecs.exif import EXIF_MARK, XMP_MARK, blocks
from detection.codecs.sniff import Format, jpeg_start, sniff
from detection.codecs.tags import NO_TAGS, Picture, Tags, TagsError, orientation_alone, tags_of
from detection.errors import ImageError, ImageWarning
from detection.options import MOST_XMP_BYTES, Metadata

_TIFF_XMP = 700  # XMP part 3, 1.1.5
_FROM_PILLOW = {"heic", "avif"}


@dataclass(frozen=True, slots=True)
class Along:
    """Blocks of metadata that go into a picture's file.

    Attributes:
        exif: a TIFF structure; empty for none.
        xmp: a packet; empty for none.
    """

    exif: bytes = b""
    xmp: bytes = b""


NOTHING = Along()


class Carried:
    """What of one photograph's metadata goes along with its pictures.

    Args:
        data: the photograph's file, as it was handed in.
        level: how much.
        doubts: METADATA_UNREADABLE is added where some of it makes no sense.
    """

    def __init__(
        self, data: bytes | memoryview, level: Metadata, doubts: set[ImageWarning]
    ) -> None:
        self._tags: Tags | None = None
        self._xmp = b""
        if level == "none":
            return
        exif, xmp = _found(bytes(data))
        if exif:
            try:
                self._tags = tags_of(exif, level)
            except TagsError:
                doubts.add(ImageWarning.METADATA_UNREADABLE)
            else:
                doubts |= set() if self._tags.complete else {ImageWarning.METADATA_UNREADABLE}
        if xmp and level == "all":
            from detection.codecs.xmp import XmpError, cleaned  # with Python's own parser of XML

            try:
                self._xmp = cleaned(xmp)
            except XmpError:
                doubts.add(ImageWarning.METADATA_UNREADABLE)

    def along(self, width: int, height: int, orientation: int = 1, *, profile: bool) -> Along:
        """The blocks for one picture.

        Args:
            width, height: as it is stored, in pixels.
            orientation: EXIF 1-8, by which it still has to be turned.
            profile: whether it has an ICC profile, and so perhaps other colours than sRGB's.
        """
        if self._tags is None and not self._xmp:
            return Along(orientation_alone(orientation)) if orientation != 1 else NOTHING
        tags = self._tags or NO_TAGS
        return Along(tags.block(width, height, orientation, calibrated=not profile), self._xmp)

    def tiff(
        self, strip: bytes, picture: Picture, orientation: int, profile: bytes | None
    ) -> bytes:
        """A TIFF of a picture, with these in it; its arguments are those of `Tags.tiff`."""
        return (self._tags or NO_TAGS).tiff(strip, picture, orientation, profile, self._xmp)


def _found(data: bytes) -> tuple[bytes, bytes]:
    """The first Exif block, as a TIFF structure, and the first XMP packet; empty where none is."""
    kind = sniff(data)
    if kind == "tiff":  # a camera's RAW file, too
        first = next(pages(data), None)
        if first is None:
            return b"", b""
        _, count, _ = first.entries.get(_TIFF_XMP, (0, 0, 0))
        return data, first.raw(_TIFF_XMP) if count <= MOST_XMP_BYTES else b"<"
    if kind in _FROM_PILLOW:
        return _by_pillow(data, kind)
    if kind == "jpeg":
        data = data[jpeg_start(data) :]
    found = {True: b"", False: b""}
    if kind in ("jpeg", "png", "webp"):
        for is_xmp, block in blocks(data, kind):
            found[is_xmp] = found[is_xmp] or block.removeprefix(XMP_MARK if is_xmp else EXIF_MARK)
    return found[False], found[True]


def _by_pillow(data: bytes, kind: Format) -> tuple[bytes, bytes]:
    from detection.codecs import pillow

    try:
        exif, xmp = pillow.metadata(data, kind)
    except ImageError:  # the picture was read, so it is nothing
        return b"", b""
    return exif.removeprefix(EXIF_MARK), xmp
