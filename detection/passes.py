"""Detection in as many passes over one image as it takes.

The time of a pass grows with its pixels, and most photographs need but one. The first has more
of them where the picture is large or long; where it shows small faces, finer ones follow around
these: see docs/decisions/0011-profiles.md for what that finds and what it costs.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.codecs.decode import Source
from detection.crop import Pixels
from detection.decoded import WHOLE_DECODE_PIXELS, Decoded
from detection.detectors.base import Detector, Faces
from detection.detectors.overlap import joined, with_unsure
from detection.options import Detection, DetectionPasses
from detection.phash import phash
from detection.tiles import DOUBTFUL_SCORE, FAINT_SCORE, reasons, search, size_of
from detection.turns import best_score, find_turn, stands, turned, turned_back

LIMIT_PX = 14
"""Smaller faces than this, in pixels of a pass, are missed more often than not."""

CLOSE_PX = 256
"""Larger faces than this, in pixels of a pass, are seen better in a coarser one."""

_COARSER_SIDE = 256  # px, of that one
_ORDINARY_PIXELS = 3_000_000  # up to here the first pass is of one size
_GROWTH = 0.3  # exponent of its pixels against the picture's, from there on
_LONGEST = 8192  # px, of a first pass: a row of pixels takes as much memory as 32 of them
_MOST_PIXELS = 800_000  # of a first pass that follows the picture: 1,100 x 730
_LONG = 2.0  # a longer shape than this has as many pixels in the first pass as this has
_MOST_FINER_PIXELS = 50_000_000  # of a finer pass: some seconds, a minute on a busy machine
_WORTH = 1.3  # a pass that is not so many times finer than the one before finds little more


class Found(NamedTuple):
    """What was found in an image.

    Attributes:
        faces: in pixels of the full image, as upright as its file says.
        quarters: turns counterclockwise after which they stand upright, 0 to 3.
        may_miss: whether some are as small as the finest pass can see, so that there may be smaller
            ones.
        phash: of the pixels of the first pass, as upright as its file says: `detection.phash`.
    """

    faces: Faces
    quarters: int
    may_miss: bool
    phash: str = ""


class _View(NamedTuple):
    """An image after so many quarter turns counterclockwise."""

    image: Decoded
    quarters: int

    @property
    def width(self) -> int:
        source = self.image.source
        return source.height if self.quarters % 2 else source.width

    @property
    def height(self) -> int:
        source = self.image.source
        return source.width if self.quarters % 2 else source.height

    def at(self, share: float) -> Pixels:
        """The image at `share` of its size; coarser where there is no memory for that."""
        pixels, source = self.image.at(share), self.image.source
        width, height = max(1, round(source.width * share)), max(1, round(source.height * share))
        # they are rounded up
        if width + 1 < pixels.shape[1] or height + 1 < pixels.shape[0]:
            pixels = _resized(pixels, width, height)
        return turned(pixels, self.quarters) if self.quarters else pixels

    def enlarged(self, faces: Faces, small: Pixels) -> Faces:
        """Faces found in `small`, in the pixels of the full image."""
        return faces.scaled(self.width / small.shape[1], self.height / small.shape[0])


def first_share(source: Source, passes: DetectionPasses) -> float:
    """Size of an image in the first pass, over its full size; 1 at most.

    One that follows the picture has the pixels that are decoded anyway, up to a bound that grows
    with the picture: most of the time goes into decoding a large JPEG, and finer takes more of it.
    """
    # a damaged file may say that it has no pixels at all
    shortest, longest = sorted(max(side, 1) for side in (source.width, source.height))
    if not passes.follows:
        return min(1.0, passes.side / longest)
    pixels = longest * shortest
    least = passes.side**2 / min(longest / shortest, _LONG)
    most = min(least * max(1.0, pixels / _ORDINARY_PIXELS) ** _GROWTH, _MOST_PIXELS)
    share = min(1.0, math.sqrt(most / pixels), _LONGEST / longest)
    if pixels <= WHOLE_DECODE_PIXELS or not source.reducible:
        return share
    return min(share, 1 / source.reduction_within_memory(math.sqrt(least / pixels)))


def find_faces(image: Decoded, detector: Detector, options: Detection) -> Found:
    """Find the faces in an image.

    Args:
        image: decoded as finely as its passes ask for.
        detector: made for the same options by `detection.image.make_detector`.
        options: how they are found.
    """
    passes = options.passes
    share = first_share(image.source, passes)
    first = _View(image, 0).at(share)
    faces, quarters = _stood_up(first, detector, options)
    view = _View(image, quarters)
    faces = view.enlarged(faces, turned(first, quarters))
    if options.method == "haar":  # whose faces have no scores
        return Found(faces, quarters, may_miss=False, phash=phash(first))
    faint = min(FAINT_SCORE, passes.min_score)  # what is fainter says which way is up, and no more
    faces = faces.take(np.flatnonzero(faces.scores >= faint))
    for finer in passes.finer:
        finer = min(finer, math.sqrt(_MOST_FINER_PIXELS / (view.width * view.height)))
        seeds = None
        if finer > passes.everywhere:
            any_doubt = passes.everywhere > 0
            seeds = reasons(faces, share, passes.min_score, any_doubt=any_doubt)
        if finer >= share * _WORTH and (seeds is None or len(seeds)):
            faces, share = _with_finer(view, detector, faces, share, finer, seeds, options)
    sure = faces.take(np.flatnonzero(faces.scores >= passes.min_score))
    limit = LIMIT_PX / share
    least = (size_of(faces) < limit) & (faces.scores >= DOUBTFUL_SCORE)
    may_miss = share < 1 and limit > options.min_face and bool(least.any())
    width, height = image.source.width, image.source.height
    faces = turned_back(sure, quarters, width, height)
    return Found(faces, quarters, may_miss, phash(first))


def _stood_up(first: Pixels, detector: Detector, options: Detection) -> tuple[Faces, int]:
    """The faces of the first pass, and the quarter turns after which they are where they are."""
    passes = options.passes
    faces = _first_pass(first, detector, options)
    best = best_score(faces)
    if passes.turned_side and passes.turned_from <= best < passes.turned_below:
        small = _shrunk(first, passes.turned_side)
        quarters = find_turn(small, detector, best)
        if quarters:  # fewer pixels said so: it has to be so in all of them
            standing = _first_pass(turned(first, quarters), detector, options)
            if stands(best_score(standing), best, passes.min_score):
                return standing, quarters
    return faces, 0


def _first_pass(first: Pixels, detector: Detector, options: Detection) -> Faces:
    faces = detector.detect(first)
    return _with_coarser(first, detector, faces, options) if options.passes.finer else faces


def lowest_score(options: Detection) -> float:
    """The lowest score that a detector has to report for `find_faces`, 0 to 1."""
    passes = options.passes
    wanted = [passes.min_score, FAINT_SCORE]
    if passes.turned_side and passes.turned_from:
        wanted.append(passes.turned_from)
    return min(wanted)


def _with_coarser(first: Pixels, detector: Detector, faces: Faces, options: Detection) -> Faces:
    """The faces found in an image, joined with a coarser pass's where one is too large for this."""
    close = (size_of(faces) > CLOSE_PX) & (faces.scores >= FAINT_SCORE)
    if max(first.shape[:2]) <= _COARSER_SIDE or not close.any():
        return faces
    small = _shrunk(first, _COARSER_SIDE)
    height, width = small.shape[:2]
    found = detector.detect(small).scaled(first.shape[1] / width, first.shape[0] / height)
    faces, unsure = faces.take(np.flatnonzero(~close)), faces.take(np.flatnonzero(close))
    faces = joined([faces, found], options.max_overlap)
    return with_unsure(faces, unsure, options.passes.min_score, options.max_overlap)


def _with_finer(
    view: _View,
    detector: Detector,
    faces: Faces,
    share: float,
    finer: float,
    seeds: NDArray[np.float32] | None,
    options: Detection,
) -> tuple[Faces, float]:
    """The faces found so far, joined with those of a finer pass, and that one's share.

    Both stay as they are where there is no memory for finer pixels.
    """
    pixels = view.at(finer)
    reached = pixels.shape[1] / view.width
    if reached < share * _WORTH:
        return faces, share
    if seeds is not None:
        seeds = seeds * np.float32(reached)
    whole, cut = search(pixels, detector, seeds, options.max_overlap)
    whole, cut = (view.enlarged(part, pixels) for part in (whole, cut))
    faces = joined([faces, whole], options.max_overlap)
    return with_unsure(faces, cut, options.passes.min_score, options.max_overlap), reached


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    return _resized(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def _resized(pixels: Pixels, width: int, height: int) -> Pixels:
    return cast(Pixels, cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR))
