"""One image, from its bytes to its encoded crops."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import numpy as np

from detection.codecs.decode import Source
from detection.colours import CropColours
from detection.crop import cut, encode, sharpness
from detection.decoded import Decoded
from detection.detectors.base import Detector, Faces
from detection.detectors.haar import Haar
from detection.detectors.yunet import Yunet
from detection.errors import ImageError, ImageWarning
from detection.framing.border import outside
from detection.framing.place import place
from detection.geometry import around
from detection.options import MEMORY_MIB, MOST_FACES, Cut, Detection
from detection.passes import find_faces, first_share, lowest_score
from detection.result import Crop, Image
from detection.turns import turned
from detection.warp import needed, painted, warp


def make_detector(settings: Detection) -> Detector:
    """A new detector, for the calling thread alone.

    Raises:
        ValueError: the model file cannot be used.
    """
    if settings.method == "haar":
        return Haar()
    return Yunet(lowest_score(settings), settings.max_overlap, settings.model)


def crop_faces(
    data: bytes | memoryview,
    detector: Detector,
    detection: Detection,
    crop: Cut,
    max_pixels: int,
    memory_mib: int = MEMORY_MIB,
) -> Image:
    """Find and cut out the faces of one image file.

    Args:
        data: the file.
        detector: of the calling thread.
        detection, crop: how faces are found and cut out.
        max_pixels, memory_mib: bounds, as `Source.open` has them.

    Raises:
        ImageError: the bytes give no picture.
    """
    image = _of_page(0, data, detector, detection, crop, max_pixels, memory_mib)
    if detection.pages == "first" or (image.pages or 1) == 1:
        return image
    images, doubts = [image], {*image.warnings}
    for page in range(1, image.pages or 1):
        try:
            images.append(_of_page(page, data, detector, detection, crop, max_pixels, memory_mib))
        except ImageError:
            doubts.add(ImageWarning.PAGE_UNREADABLE)
        else:
            doubts.update(images[-1].warnings)
    return _together(images, doubts - {ImageWarning.FIRST_PAGE_OF_N})


def _together(images: list[Image], doubts: set[ImageWarning]) -> Image:
    """The pages of one file as one image, its faces page by page."""
    crops = [crop for image in images for crop in image.crops][:MOST_FACES]
    return replace(
        images[0],
        crops=[replace(crop, rank=rank) for rank, crop in enumerate(crops)],
        warnings=sorted(doubts),
        decode_ms=sum(image.decode_ms for image in images),
        detect_ms=sum(image.detect_ms for image in images),
        crop_ms=sum(image.crop_ms for image in images),
    )


def _of_page(
    page: int,
    data: bytes | memoryview,
    detector: Detector,
    detection: Detection,
    crop: Cut,
    max_pixels: int,
    memory_mib: int,
) -> Image:
    started = perf_counter()
    source = Source.open(data, max_pixels, memory_mib, page)
    image = Decoded(source)
    image.at(first_share(source, detection.passes))
    decoded = perf_counter()
    found = find_faces(image, detector, detection)
    if found.may_miss:
        source.warnings.add(ImageWarning.SMALL_FACES)
    faces = _select(found.faces, source, detection, crop)
    detected = perf_counter()
    crops = _cut_all(image, page, faces, found.quarters, crop)
    if crops and found.quarters:
        source.warnings.add(ImageWarning.TURNED)
    done = perf_counter()
    return Image(
        source.width,
        source.height,
        crops,
        source.pages,
        sorted(source.warnings),
        decode_ms=(decoded - started) * 1e3,
        detect_ms=(detected - decoded) * 1e3,
        crop_ms=(done - detected) * 1e3,
    )


def _select(faces: Faces, source: Source, detection: Detection, crop: Cut) -> Faces:
    """The faces that are wanted, largest first; equals from the top, then from the left."""
    x, y, w, h = faces.boxes.T
    inside = (
        (x + w / 2 >= 0)
        & (x + w / 2 < source.width)
        & (y + h / 2 >= 0)
        & (y + h / 2 < source.height)
    )
    wanted = np.flatnonzero(inside & (np.minimum(w, h) >= detection.min_face))
    order = np.lexsort((x[wanted], y[wanted], -(w * h)[wanted]))
    ranked = wanted[order]
    return faces.take(ranked[: crop.max_faces or MOST_FACES])


def _cut_all(image: Decoded, page: int, faces: Faces, quarters: int, settings: Cut) -> list[Crop]:
    source = image.source
    size = source.width, source.height
    found = [_found(faces, rank) for rank in range(len(faces))]
    placed = [place(face.box, face.landmarks, size, quarters, settings) for face in found]
    if not placed:
        return []
    if not all(one.as_asked for one in placed):
        source.warnings.add(ImageWarning.UNALIGNED)
    frames = [one.frame for one in placed]
    pixels, origin, reduction = image.at(0), (0, 0), image.reduction
    finest = source.reduction_for(max(frame.scale for frame in frames))
    if finest < reduction:
        regions = [needed(frame, *size, settings.border) for frame in frames]
        pixels, origin = source.decode_around(around(regions), finest)
        reduction = finest
    scale = -(-source.width // reduction) / source.width
    from_image = source.to_reduced(reduction, origin)
    colours = CropColours(source, keep=settings.color == "keep")
    crops = []
    for rank, (face, frame) in enumerate(zip(found, frames, strict=True)):
        if frame.exact:
            crop = turned(cut(pixels, frame.square, scale, frame.width, origin), quarters)
        else:
            crop = warp(pixels, frame, from_image, size, settings.border)
        crop = colours.of(crop)
        if settings.border == "color" and outside(frame, *size):
            crop = painted(crop, frame, *size, settings.border_color)
        crops.append(
            Crop(
                rank,
                page,
                size,
                face.box,
                face.score,
                face.landmarks,
                frame,
                -90 * quarters % 360,
                sharpness(crop),
                encode(crop, settings.format, settings.quality, colours.embedded),
            )
        )
    return crops


class _Face(NamedTuple):
    """One of some faces, in Python's numbers."""

    box: tuple[float, float, float, float]
    score: float | None
    landmarks: tuple[tuple[float, float], ...] | None


def _found(faces: Faces, rank: int) -> _Face:
    score, points = float(faces.scores[rank]), faces.landmarks[rank]
    x, y, w, h = (float(value) for value in faces.boxes[rank])
    return _Face(
        (x, y, w, h),
        None if np.isnan(score) else score,
        None if np.isnan(points).any() else tuple((float(a), float(b)) for a, b in points),
    )
