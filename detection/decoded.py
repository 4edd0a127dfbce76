"""The pixels of one image, as fine as they have been asked for."""

from __future__ import annotations

from detection.codecs.decode import Source
from detection.crop import Pixels

WHOLE_DECODE_PIXELS = 4_000_000
"""Up to here one whole decode costs less than a reduced one and, for most faces, a finer one
after it: see docs/decisions/0005-jpeg-reduction.md."""


class Decoded:
    """An image that is decoded when its pixels are asked for, and again where finer ones are.

    Attributes:
        source: the image.
        reduction: denominator of the size of the pixels that there are; 0 for none yet.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.reduction = 0
        self._pixels: Pixels | None = None

    def at(self, share: float) -> Pixels:
        """Upright (h, w, 3) uint8 BGR pixels, at `share` of the full size or finer.

        They are coarser where there is no memory for that.

        Raises:
            ImageError: as `Source.decode`.
        """
        source = self.source
        wanted = source.reduction_within_memory(share)
        if source.width * source.height <= WHOLE_DECODE_PIXELS:
            wanted = 1
        if self._pixels is None or wanted < self.reduction:
            self._pixels = None  # so that the coarser ones take no memory meanwhile
            self._pixels = source.decode(wanted)
            self.reduction = wanted
        return self._pixels
