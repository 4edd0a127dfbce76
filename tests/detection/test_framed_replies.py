"""A child says how it framed a face, and its parent works out whether that is so."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.errors import ImageWarning
from detection.image import crop_faces, make_detector
from detection.result import Image
from detection.sandbox.checks import ReplyError
from detection.sandbox.protocol import Bounds, to_reply
from detection.sandbox.replies import Job, read_reply
from detection.settings import CutSettings, DetectionSettings
from tests.pictures import astronaut_jpeg

HEAD = CutSettings(preset="id-35x45").spelled_out()
NATIVE = CutSettings(size=0, align="level", border="shrink")
CUTS = [HEAD, NATIVE, CutSettings(align="arcface"), CutSettings(align="ffhq", border="color")]


def job_of(cut: CutSettings, method: str = "yunet") -> Job:
    detection = DetectionSettings.model_validate({"method": method})
    return Job(detection, cut, Bounds(10**8, 60, 1024))


def reply_of(job: Job) -> tuple[dict[str, Any], bytes]:
    detector = make_detector(job.detection)
    image = crop_faces(astronaut_jpeg(), detector, job.detection, job.cut, 10**8)
    reply, blob = to_reply(image)
    return json.loads(json.dumps({"number": 1, **reply, "sha256": "a" * 64})), blob


def read(reply: dict[str, Any], blob: bytes, job: Job) -> Image:
    outcome = read_reply(json.dumps(reply).encode(), blob, 1, job)
    assert isinstance(outcome, tuple)
    return outcome[0]


@pytest.fixture(scope="module", params=CUTS, ids=lambda cut: cut.align + cut.frame)
def framed(request: pytest.FixtureRequest) -> tuple[dict[str, Any], bytes, Job]:
    job = job_of(request.param)
    return *reply_of(job), job


def test_a_true_frame_is_believed(framed: tuple[dict[str, Any], bytes, Job]) -> None:
    reply, blob, job = framed
    (crop,) = read(reply, blob, job).crops
    assert list(crop.frame.matrix) == reply["crops"][0]["frame"][0]


@pytest.mark.parametrize(
    ("path", "by"),
    [
        (("frame", 0, 0), 0.001),
        (("frame", 0, 2), 0.01),
        (("frame", 0, 5), -0.01),
        (("frame", 1), 1),
        (("frame", 2), -1),
        (("frame", 3, 0), 1),
        (("frame", 3, 2), 1),
        (("landmarks", 0, 1), 0.5),
        (("landmarks", 1, 0), -0.5),
    ],
    ids=str,
)
def test_what_does_not_follow_is_refused(
    path: tuple[Any, ...], by: float, framed: tuple[dict[str, Any], bytes, Job]
) -> None:
    reply, blob, job = framed
    reply = deepcopy(reply)
    at = reply["crops"][0]
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] += by
    with pytest.raises(ReplyError, match="a frame that is not around its face"):
        read(reply, blob, job)


@pytest.mark.parametrize("cut", [HEAD, NATIVE], ids=["head", "native"])
def test_another_box_is_refused(cut: CutSettings) -> None:
    job = job_of(cut)
    reply, blob = reply_of(job)
    reply["crops"][0]["box"][2] += 30
    with pytest.raises(ReplyError, match="a frame that is not around its face"):
        read(reply, blob, job)


def test_another_kind_of_frame_is_refused(framed: tuple[dict[str, Any], bytes, Job]) -> None:
    reply, blob, job = framed
    reply = deepcopy(reply)
    reply["crops"][0]["frame"][4] = True
    with pytest.raises(ReplyError, match="a frame that is not around its face"):
        read(reply, blob, job)


def test_a_face_is_not_left_unaligned_in_silence() -> None:
    job = job_of(HEAD, "haar")
    reply, blob = reply_of(job)
    assert reply["warnings"] == [ImageWarning.UNALIGNED]
    assert read(reply, blob, job).crops
    reply["warnings"] = []
    with pytest.raises(ReplyError, match="in silence"):
        read(reply, blob, job)


FAR = st.floats(-30000, 30000) | st.sampled_from([0.0, 1e-300, -1e-300, 1e-9, 36000.0])


@given(st.lists(st.lists(FAR, min_size=2, max_size=2), min_size=5, max_size=5), st.data())
def test_no_landmarks_break_anything(
    framed: tuple[dict[str, Any], bytes, Job], points: list[list[float]], data: st.DataObject
) -> None:
    reply, blob, job = framed
    reply = deepcopy(reply)
    if data.draw(st.booleans()):
        points[1:] = [list(points[0])] * data.draw(st.integers(1, 4)) + points[1:]
    reply["crops"][0]["landmarks"] = points[:5]
    reply["warnings"] = [ImageWarning.UNALIGNED.value]
    with pytest.raises(ReplyError, match="a frame that is not around its face"):
        read(reply, blob, job)
