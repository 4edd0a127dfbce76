"""A finer pass: in tiles that overlap, over all of an image or where something gives reason.

A tile that shows small faces has its neighbours searched as well, so a pass spreads over a crowd
and ends with it. Each face lies whole in some tile, where it is no larger than the overlap: what a
tile's border cuts stays only where nothing else has that face.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.crop import Pixels
from detection.detectors.base import NO_FACES, Detector, Faces
from detection.detectors.overlap import joined

TILE = 1024
"""Longest side of a tile in pixels: larger ones take more memory and are no faster."""

OVERLAP = 128
"""Of two neighbours, in pixels. Larger faces than this are seen well in the pass before."""

SMALL_PX = 24
"""Smaller faces, in pixels of a pass, give reason for a finer one: they seldom come alone."""

WELL_PX = 32
"""Up to here, a finer pass still finds a few more."""

DOUBTFUL_SCORE = 0.4
"""From here up a detection may be a face that is too small to be seen well."""

FAINT_SCORE = 0.3
"""From here up it may be, where there are some, or where it is one that is too large."""

_DOUBTS = 3  # things that may be small faces
_REACH = 64  # px: how far from a small face there may be others
_TOUCH = 4  # px: a box that ends so near to a border, or past it, may be cut by it


class Tile(NamedTuple):
    """A part of an image, in its pixels; `right` and `bottom` are not in it."""

    left: int
    top: int
    right: int
    bottom: int


def size_of(faces: Faces) -> NDArray[np.float32]:
    """The square root of each box's area, in pixels, as (n,) float32."""
    return np.asarray(np.sqrt(np.prod(faces.boxes[:, 2:], axis=1)), np.float32)


def reasons(
    faces: Faces, share: float, min_score: float, *, any_doubt: bool
) -> NDArray[np.float32]:
    """Boxes (n, 4) of those of some faces that give reason for a finer pass.

    Args:
        faces: in pixels of the full image.
        share: of the full size, of the pass that they were found in.
        min_score: from which on they are faces, 0 to 1.
        any_doubt: whether one thing that may be a face is enough, of any size, and a face of up to
            `WELL_PX`. Every tenth photograph of nobody has such a thing, so else there have to be
            some, all small.
    """
    sizes, sure = size_of(faces) * share, faces.scores >= min_score
    if any_doubt:
        doubtful = (faces.scores >= DOUBTFUL_SCORE) & ~sure
        return faces.boxes[doubtful | (sure & (sizes < WELL_PX))]
    small = (sizes < WELL_PX) & (faces.scores >= FAINT_SCORE)
    enough = (sure & (sizes < SMALL_PX)).any() or small.sum() >= _DOUBTS
    return faces.boxes[small] if enough else faces.boxes[:0]


def search(
    pixels: Pixels, detector: Detector, seeds: NDArray[np.float32] | None, max_overlap: float
) -> tuple[Faces, Faces]:
    """Find the faces in the tiles of an image that some boxes lie in, and in those that follow.

    Args:
        pixels: (h, w, 3) uint8 BGR.
        detector: of the calling thread.
        seeds: (n, 4) float32 boxes in these pixels; None for all tiles.
        max_overlap: IoU above which two boxes are one face.

    Returns:
        Each once, in pixels of the image: the faces that are whole, and those that a tile's border
        may cut or that are larger than the overlap.
    """
    tiles = list(_tiles(pixels.shape[1], pixels.shape[0]))
    wanted = set(range(len(tiles))) if seeds is None else _around(tiles, seeds)
    done: set[int] = set()
    whole, cut = [NO_FACES], [NO_FACES]
    while wanted:
        number = min(wanted)
        done.add(number)
        tile = tiles[number]
        found = detector.detect(pixels[tile.top : tile.bottom, tile.left : tile.right])
        found = found.moved(tile.left, tile.top)
        doubt = _cut_by(found, tile, pixels) | (size_of(found) > OVERLAP)
        whole.append(found.take(np.flatnonzero(~doubt)))
        cut.append(found.take(np.flatnonzero(doubt)))
        small = (size_of(found) < WELL_PX) & (found.scores >= DOUBTFUL_SCORE)
        wanted = (wanted | _around(tiles, found.boxes[small])) - done
    return joined(whole, max_overlap), joined(cut, max_overlap)


def _spans(length: int) -> Iterator[tuple[int, int]]:
    """Starts and ends, equally long, that overlap by `OVERLAP` and cover a length."""
    count = max(1, math.ceil((length - OVERLAP) / (TILE - OVERLAP)))
    each = math.ceil((length + (count - 1) * OVERLAP) / count)
    for number in range(count):
        start = min(number * (each - OVERLAP), length - each)
        yield start, start + each


def _tiles(width: int, height: int) -> Iterator[Tile]:
    for top, bottom in _spans(height):
        for left, right in _spans(width):
            yield Tile(left, top, right, bottom)


def _around(tiles: list[Tile], boxes: NDArray[np.float32]) -> set[int]:
    """Numbers of the tiles that have within `_REACH` of a box what no other has."""
    near = set()
    own = OVERLAP // 2 - _REACH
    for x, y, w, h in boxes:
        for number, tile in enumerate(tiles):
            across = tile.left + own < x + w and x < tile.right - own
            if across and tile.top + own < y + h and y < tile.bottom - own:
                near.add(number)
    return near


def _cut_by(faces: Faces, tile: Tile, pixels: Pixels) -> NDArray[np.bool_]:
    """Which boxes reach a border of their tile that is not the image's."""
    left, top = faces.boxes[:, 0], faces.boxes[:, 1]
    right, bottom = left + faces.boxes[:, 2], top + faces.boxes[:, 3]
    touches = np.zeros(len(faces), np.bool_)
    if tile.left > 0:
        touches |= left < tile.left + _TOUCH
    if tile.top > 0:
        touches |= top < tile.top + _TOUCH
    if tile.right < pixels.shape[1]:
        touches |= right > tile.right - _TOUCH
    if tile.bottom < pixels.shape[0]:
        touches |= bottom > tile.bottom - _TOUCH
    return touches
