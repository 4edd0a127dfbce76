"""One image from its bytes to its encoded crops: what a worker does a million times a day."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.crop import cut, encode, sharpness
from detection.decode import Source
from detection.detector import Detector, Faces
from detection.geometry import Square, region_around, square_around
from detection.haar import Haar
from detection.look import look, lowest_score
from detection.settings import CutSettings, DetectionSettings
from detection.yunet import Yunet

Pixels = NDArray[np.uint8]

WHOLE_DECODE_PIXELS = 4_000_000
"""Up to here one whole decode costs less than a reduced one and, for most faces, a finer one
after it: see docs/decisions/0005-jpeg-reduction.md."""

cv2.setNumThreads(1)  # the parallelism is one image a thread


@dataclass(frozen=True, slots=True)
class Crop:
    """One face, cut out.

    Attributes:
        rank: 0 for the largest face of its image.
        box: x, y, w, h in pixels of the upright full image; may reach past its edge.
        score: 0 to 1, None from a detector without scores.
        landmarks: five x, y pairs in the same pixels, ordered as `detector.LANDMARKS`, or None.
        square: what was cut out, in the same pixels.
        sharpness: variance of the Laplacian of the crop.
        data: the encoded crop.
    """

    rank: int
    box: tuple[float, float, float, float]
    score: float | None
    landmarks: tuple[tuple[float, float], ...] | None
    square: Square
    sharpness: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """What became of one image.

    Attributes:
        width, height: of the upright full image, in pixels.
        crops: by rank.
        decode_ms, detect_ms, crop_ms: wall milliseconds; crop_ms holds a finer decode, cutting and
            encoding.
    """

    width: int
    height: int
    crops: list[Crop]
    decode_ms: float
    detect_ms: float
    crop_ms: float


def make_detector(settings: DetectionSettings) -> Detector:
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
    detection: DetectionSettings,
    crop: CutSettings,
    max_pixels: int,
) -> Image:
    """Finds and cuts out the faces of one image file.

    Raises:
        ImageError: the bytes give no picture.
    """
    started = perf_counter()
    source = Source.open(data, max_pixels)
    reduction = _first_reduction(source, detection.effort.finest_side)
    pixels = source.decode(reduction)
    decoded = perf_counter()
    found = look(pixels, detector, detection)
    found = found.scaled(source.width / pixels.shape[1], source.height / pixels.shape[0])
    faces = _select(found, source, detection, crop)
    detected = perf_counter()
    crops = _cut_all(source, pixels, reduction, faces, crop)
    done = perf_counter()
    return Image(
        source.width,
        source.height,
        crops,
        decode_ms=(decoded - started) * 1e3,
        detect_ms=(detected - decoded) * 1e3,
        crop_ms=(done - detected) * 1e3,
    )


def _first_reduction(source: Source, side: int) -> int:
    if source.width * source.height <= WHOLE_DECODE_PIXELS:
        return 1
    return source.reduction_for(side / max(source.width, source.height))


def _select(faces: Faces, source: Source, detection: DetectionSettings, crop: CutSettings) -> Faces:
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
    return faces.take(ranked[: crop.max_faces] if crop.max_faces else ranked)


def _cut_all(
    source: Source, pixels: Pixels, reduction: int, faces: Faces, settings: CutSettings
) -> list[Crop]:
    squares = [square_around(box, settings.padding) for box in faces.boxes]
    scale, origin = pixels.shape[1] / source.width, (0, 0)
    if squares:
        needed = source.reduction_for(settings.size / min(square.side for square in squares))
        if needed < reduction:
            pixels, origin = source.decode_around(region_around(squares), needed)
            scale = -(-source.width // needed) / source.width
    crops = []
    for rank, square in enumerate(squares):
        image = cut(pixels, square, scale, settings.size, origin)
        score, points = float(faces.scores[rank]), faces.landmarks[rank]
        x, y, w, h = (float(value) for value in faces.boxes[rank])
        crops.append(
            Crop(
                rank,
                (x, y, w, h),
                None if np.isnan(score) else score,
                None if np.isnan(points).any() else tuple((float(a), float(b)) for a, b in points),
                square,
                sharpness(image),
                encode(image, settings.format, settings.quality),
            )
        )
    return crops
