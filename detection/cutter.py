"""One way of cutting faces out of the decoded pixels of a page, up to the files of crops."""

from __future__ import annotations

from detection.codecs.decode import Pixels, Source
from detection.codecs.metadata import Carried
from detection.colours import CropColours
from detection.crop import cut, encode
from detection.framing.border import outside
from detection.framing.frame import Frame
from detection.options import Cut
from detection.turns import turned
from detection.warp import painted, warp


class Cutter:
    """Makes the crops of one page.

    Args:
        source: the page, decoded; it is told of a colour profile that makes no sense.
        pixels, origin: of it, as `Source.decode_around` gives them.
        reduction: at which they were decoded.
        settings: the way; no preset is left in it.
        carried: what goes along of the photograph's metadata.
    """

    def __init__(
        self,
        source: Source,
        pixels: Pixels,
        origin: tuple[int, int],
        reduction: int,
        settings: Cut,
        carried: Carried,
    ) -> None:
        self._pixels = pixels
        self._origin = origin
        self._size = source.width, source.height
        self._scale = -(-source.width // reduction) / source.width
        self._from_image = source.to_reduced(reduction, origin)
        self._colours = CropColours(source, keep=settings.color == "keep")
        self._settings = settings
        self._carried = carried

    def crop(self, frame: Frame, quarters: int) -> bytes:
        """The file of a crop.

        Args:
            frame: where it lies on the page.
            quarters: turns counterclockwise, 0 to 3, after which its face stands upright.
        """
        settings = self._settings
        if frame.exact:
            square = cut(self._pixels, frame.square, self._scale, frame.width, self._origin)
            crop = turned(square, quarters)
        else:
            crop = warp(self._pixels, frame, self._from_image, self._size, settings.border)
        crop = self._colours.of(crop)
        if settings.border == "color" and outside(frame, *self._size):
            crop = painted(crop, frame, *self._size, settings.border_color)
        profile = self._colours.embedded
        along = self._carried.along(frame.width, frame.height, profile=profile is not None)
        return encode(crop, settings.format, settings.quality, profile, along)
