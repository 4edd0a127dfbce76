"""One image, from its bytes to its encoded crops."""

from __future__ import annotations

import math
from dataclasses import replace
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np

from detection.codecs.decode import Source
from detection.codecs.metadata import Carried
from detection.cutter import Cutter
from detection.decoded import Decoded
from detection.detectors.base import Detector, Faces
from detection.detectors.haar import Haar
from detection.detectors.yunet import Yunet
from detection.errors import ImageError, ImageWarning
from detection.framing.frame import Frame
from detection.framing.place import place
from detection.geometry import Region, around
from detection.options import MEMORY_MIB, MOST_FACES, Cover, Cut, Detection
from detection.passes import find_faces, first_share, lowest_score
from detection.photo import Photo, PhotoWriter
from detection.pick import pick_score
from detection.quality import measure
from detection.result import Box, Crop, Image, Points
from detection.warp import needed


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
    cover: Cover | None = None,
) -> Image:
    """Find and cut out the faces of one image file.

    Args:
        data: the file.
        detector: of the calling thread.
        detection, crop: how faces are found and cut out.
        max_pixels, memory_mib: bounds, as `Source.open` has them.
        cover: what is put in the place of faces in the photograph itself, which is then given back
            instead of crops; of the first page alone.

    Raises:
        ImageError: the bytes give no picture.
    """
    began = process_time()
    image = _of_file(data, detector, detection, crop, max_pixels, memory_mib, cover)
    return replace(image, cpu_ms=(process_time() - began) * 1e3)


def _of_file(
    data: bytes | memoryview,
    detector: Detector,
    detection: Detection,
    crop: Cut,
    max_pixels: int,
    memory_mib: int,
    cover: Cover | None,
) -> Image:
    image = _of_page(0, data, detector, detection, crop, max_pixels, memory_mib, cover)
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
    cover: Cover | None = None,
) -> Image:
    started = perf_counter()
    source = Source.open(data, max_pixels, memory_mib, page, full=cover is not None)
    image = Decoded(source)
    image.at(first_share(source, detection.passes))
    decoded = perf_counter()
    found = find_faces(image, detector, detection)
    if found.may_miss:
        source.warnings.add(ImageWarning.SMALL_FACES)
    faces = _select(image, found.faces, detection, crop)
    detected = perf_counter()
    level = crop.metadata if faces or cover else "none"
    carried = Carried(data, level, source.warnings)
    photo: Photo | None = None
    if cover is None:
        crops = _cut_all(image, page, faces, found.quarters, crop, carried)
    else:
        boxes = found.faces.boxes
        boxes = boxes[np.minimum(boxes[:, 2], boxes[:, 3]) >= detection.min_face]
        if len(boxes):
            image.at(1)
        writer = PhotoWriter(data, image, crop.quality, carried)
        # what is measured of faces is as it is of crops, from pixels that are not covered yet
        crops = _cut_all(image, page, faces, found.quarters, crop, carried)
        crops = [replace(one, data=b"") for one in crops]
        photo = writer.photo(boxes, cover, memory_mib)
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
        photo=photo.data if photo else b"",
        photo_format=photo.format if photo else None,
        phash=found.phash,
    )


class _Face(NamedTuple):
    """A face that is wanted, in Python's numbers; None for what its detector does not give."""

    box: Box
    score: float | None
    landmarks: Points | None
    pick_score: float


def _select(image: Decoded, faces: Faces, detection: Detection, crop: Cut) -> list[_Face]:
    """The faces that are wanted, in the order of `crop.pick`.

    Of equals the larger come first, then those from the top, then from the left.
    """
    width, height = image.source.width, image.source.height
    x, y, w, h = faces.boxes.T
    inside = (x + w / 2 >= 0) & (x + w / 2 < width) & (y + h / 2 >= 0) & (y + h / 2 < height)
    faces = faces.take(np.flatnonzero(inside & (np.minimum(w, h) >= detection.min_face)))
    found = _listed(image, faces, crop)
    x, y, w, h = faces.boxes.T
    keys = [x, y, -(w * h)]
    if crop.pick != "largest":
        keys.append(-np.array([face.pick_score for face in found]))
    return [found[place] for place in np.lexsort(keys)[: crop.max_faces or MOST_FACES]]


def _listed(image: Decoded, faces: Faces, crop: Cut) -> list[_Face]:
    pixels = image.at(0)  # those that there are
    size = image.source.width, image.source.height
    scale = pixels.shape[1] / size[0]
    listed = []
    rows = zip(faces.boxes.tolist(), faces.scores, faces.landmarks, strict=True)
    for sides, sure, places in rows:
        box: Box = tuple(sides)
        score = None if np.isnan(sure) else float(sure)
        points = None if np.isnan(places).any() else tuple(map(tuple, places.tolist()))
        sharpness = measure(pixels, box, scale).sharpness if crop.pick == "best" else 0.0
        picked = pick_score(crop.pick, box, size, score, points, sharpness)
        listed.append(_Face(box, score, points, picked))
    return listed


def _cut_all(
    image: Decoded,
    page: int,
    faces: list[_Face],
    quarters: int,
    settings: Cut,
    carried: Carried,
) -> list[Crop]:
    source = image.source
    size = source.width, source.height
    placed = [place(face.box, face.landmarks, size, quarters, settings) for face in faces]
    if not placed:
        return []
    if not all(one.as_asked for one in placed):
        source.warnings.add(ImageWarning.UNALIGNED)
    frames = [one.frame for one in placed]
    pixels, origin, reduction = image.at(0), (0, 0), image.reduction
    finest = source.reduction_for(max(frame.scale for frame in frames))
    if finest < reduction:
        regions = [_needed(*one, source, settings) for one in zip(faces, frames, strict=True)]
        pixels, origin = source.decode_around(around(regions), finest)
        reduction = finest
    scale = -(-source.width // reduction) / source.width
    cutter = Cutter(source, pixels, origin, reduction, settings, carried)
    crops = []
    for rank, (face, frame) in enumerate(zip(faces, frames, strict=True)):
        sharpness, brightness, contrast = measure(pixels, face.box, scale, origin)
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
                sharpness,
                cutter.crop(frame, quarters),
                face.pick_score,
                1 / reduction,
                brightness,
                contrast,
            )
        )
    return crops


def _needed(face: _Face, frame: Frame, source: Source, settings: Cut) -> Region:
    """What a crop is made of, and the box that is measured, which an exact frame holds."""
    part = needed(frame, source.width, source.height, settings.border)
    if frame.exact:
        return part
    x, y, w, h = face.box
    box = Region(math.floor(x), math.floor(y), math.ceil(x + w), math.ceil(y + h))
    return around([part, box])
