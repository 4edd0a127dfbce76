"""Large photographs of many small faces, made of labelled ones: real faces, shrunk, never enlarged.

A mosaic is a grid of cells, and a cell a square group of photographs, so that faces come in many
sizes. Heads stand alone in front of photographs without a face.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import cast

import cv2
import numpy as np

from benchmarks.photos import Boxes, Pixels
from detection.crop import encode

_GREY = (112, 104, 96)  # B, G, R
_QUALITY = 92
_HEADS = (10, 10)  # columns and rows
_HEAD_ROOM = 1.8  # sides of a head's picture over those of its face
_MOST_FACES = 3  # of a photograph with few


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded (h, w, 3) BGR photograph and its labelled faces, (n, 4) float32: x, y, w, h."""

    pixels: Pixels
    faces: Boxes


@dataclass(frozen=True, slots=True)
class Layout:
    """A sheet's size in pixels, its columns and rows, and in turn the photographs along a cell."""

    name: str
    width: int
    height: int
    columns: int
    rows: int
    groups: tuple[int, ...]


LAYOUTS = (
    Layout("24 MP, 24 cells", 6000, 4000, 6, 4, (1, 2, 3)),
    Layout("24 MP, 6 cells", 6000, 4000, 3, 2, (2, 4, 6)),
    Layout("panorama 12,000 x 1,500", 12_000, 1500, 12, 2, (1, 2, 3)),
    Layout("panorama 1,500 x 12,000", 1500, 12_000, 2, 12, (1, 2, 3)),
)
HEAD_SIDES = (60, 80, 100, 150)
"""Longer sides in px of the faces of a hundred heads in 24 megapixels."""


def mosaics(photos: Sequence[Photo], layout: Layout, count: int) -> Iterator[tuple[bytes, Boxes]]:
    """`count` JPEGs of one layout and their faces; photographs of people are used in turn."""
    people = cycle([photo for photo in photos if len(photo.faces)])
    groups = cycle(layout.groups)
    width, height = layout.width // layout.columns, layout.height // layout.rows
    for _ in range(count):
        sheet, boxes = _sheet(layout.width, layout.height), []
        for row in range(layout.rows):
            for column in range(layout.columns):
                group = next(groups)
                for place in range(group * group):
                    left = column * width + place % group * (width // group)
                    top = row * height + place // group * (height // group)
                    room = width // group, height // group
                    boxes.append(_put(sheet, next(people), (left, top), room))
        yield encode(sheet, "jpg", _QUALITY), np.concatenate(boxes)


def heads(photos: Sequence[Photo], side: int) -> tuple[bytes, Boxes]:
    """A JPEG of 24 megapixels with a hundred heads whose faces have `side` pixels, as above."""
    sheet = _sheet(6000, 4000)
    _cover(sheet, [photo.pixels for photo in photos if not len(photo.faces)])
    large = cycle(
        [_head(photo, box) for photo in photos for box in photo.faces if max(box[2:]) >= side]
    )
    columns, rows = _HEADS
    boxes = []
    for place in range(columns * rows):
        head = next(large)
        scale = side / float(head.faces[:, 2:].max())
        small = _shrunk(head, scale)
        # off the middle of its cell, each at another place in relation to any tiles
        left = place % columns * 600 + place * 37 % (600 - small.pixels.shape[1])
        top = place // columns * 400 + place * 53 % (400 - small.pixels.shape[0])
        boxes.append(_paste(sheet, small, left, top))
    return encode(sheet, "jpg", _QUALITY), np.concatenate(boxes)


def few_faces(photos: Sequence[Photo], megapixels: float, count: int) -> list[tuple[bytes, Boxes]]:
    """The largest photographs of one to three people, enlarged to one size."""
    few = [photo for photo in photos if 1 <= len(photo.faces) <= _MOST_FACES]
    few.sort(key=lambda photo: -photo.pixels.size)
    made = []
    for photo in few[:count]:
        scale = math.sqrt(megapixels * 1e6 / (photo.pixels.shape[0] * photo.pixels.shape[1]))
        smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        pixels = cv2.resize(photo.pixels, None, fx=scale, fy=scale, interpolation=smooth)
        made.append(
            (encode(cast(Pixels, pixels), "jpg", _QUALITY), photo.faces * np.float32(scale))
        )
    return made


def _sheet(width: int, height: int) -> Pixels:
    return np.full((height, width, 3), _GREY, np.uint8)


def _put(sheet: Pixels, photo: Photo, at: tuple[int, int], room: tuple[int, int]) -> Boxes:
    """Paste a photograph, shrunk to its room where it is larger, in the middle of that."""
    height, width = photo.pixels.shape[:2]
    small = _shrunk(photo, min(1.0, room[0] / width, room[1] / height))
    left = at[0] + (room[0] - small.pixels.shape[1]) // 2
    top = at[1] + (room[1] - small.pixels.shape[0]) // 2
    return _paste(sheet, small, left, top)


def _shrunk(photo: Photo, scale: float) -> Photo:
    height, width = photo.pixels.shape[:2]
    size = max(1, int(width * scale)), max(1, int(height * scale))
    small = cv2.resize(photo.pixels, size, interpolation=cv2.INTER_AREA)
    factors = np.tile(np.array([size[0] / width, size[1] / height], np.float32), 2)
    return Photo(cast(Pixels, small), photo.faces * factors)


def _paste(sheet: Pixels, photo: Photo, left: int, top: int) -> Boxes:
    height, width = photo.pixels.shape[:2]
    sheet[top : top + height, left : left + width] = photo.pixels
    return photo.faces + np.array([left, top, 0, 0], np.float32)


def _head(photo: Photo, box: Boxes) -> Photo:
    """The part of a photograph around one of its faces."""
    x, y, w, h = (float(value) for value in box)
    side = max(w, h) * _HEAD_ROOM
    left, top = max(0, round(x + w / 2 - side / 2)), max(0, round(y + h / 2 - side / 2))
    part = photo.pixels[top : round(top + side), left : round(left + side)]
    return Photo(part, (box - np.array([left, top, 0, 0], np.float32))[None])


def _cover(sheet: Pixels, pictures: Sequence[Pixels]) -> None:
    """Lay pictures on all of a sheet, as they are."""
    height, width = sheet.shape[:2]
    several, top = cycle(pictures), 0
    while pictures and top < height:
        left, lowest = 0, height
        while left < width:
            part = next(several)[: height - top, : width - left]
            sheet[top : top + part.shape[0], left : left + part.shape[1]] = part
            left, lowest = left + part.shape[1], min(lowest, part.shape[0])
        top += lowest
