"""Faces that are known, cut out of their image once more: nothing is searched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from time import perf_counter

from detection.codecs.decode import Source
from detection.codecs.metadata import Carried
from detection.cutter import Cutter
from detection.errors import ImageWarning
from detection.geometry import around
from detection.known import Changed, CutFace, KnownFaces, Recut
from detection.options import MEMORY_MIB, Cut
from detection.warp import needed


def recut(
    data: bytes,
    known: KnownFaces,
    cuts: Sequence[Cut],
    max_pixels: int,
    memory_mib: int = MEMORY_MIB,
) -> Recut | Changed:
    """Cut the known faces out of one image file, in each of some ways; it is decoded once.

    Args:
        data: the file.
        known: what is known of it.
        cuts: the ways; no preset is left in them.
        max_pixels, memory_mib: bounds, as `Source.open` has them.

    Raises:
        ImageError: the bytes give no picture.
    """
    started = perf_counter()
    digest = hashlib.sha256(data).hexdigest()
    if known.sha256 not in ("", digest):
        return Changed(digest)
    crops: list[list[CutFace]] = [[] for _ in cuts]
    doubts: list[set[ImageWarning]] = [set() for _ in cuts]
    decoding = 0.0
    for page in known.pages:
        began = perf_counter()
        source = Source.open(data, max_pixels, memory_mib, page)
        size = source.width, source.height
        faces = known.on(page)
        placed = [[face.placed(size, cut) for face in faces] for cut in cuts]
        finest = max(one.frame.scale for some in placed for one in some)
        reduction = min(known.coarsest, source.reduction_for(finest))
        regions = [
            needed(one.frame, *size, cut.border)
            for cut, some in zip(cuts, placed, strict=True)
            for one in some
        ]
        if known.whole:
            pixels, origin = source.decode(reduction), (0, 0)
        else:
            pixels, origin = source.decode_around(around(regions), reduction)
        decoding += perf_counter() - began
        for number, (cut, some) in enumerate(zip(cuts, placed, strict=True)):
            carried = Carried(data, cut.metadata, doubts[number])
            cutter = Cutter(source, pixels, origin, reduction, cut, carried)
            for face, one in zip(faces, some, strict=True):
                crop = cutter.crop(one.frame, face.quarters)
                crops[number].append(CutFace(size, one.frame, crop))
                if not one.as_asked:
                    doubts[number].add(ImageWarning.UNALIGNED)
        for doubt in doubts:
            doubt |= source.warnings
    ended = perf_counter()
    warnings = [sorted(doubt) for doubt in doubts]
    return Recut(crops, warnings, decoding * 1e3, (ended - started - decoding) * 1e3)
