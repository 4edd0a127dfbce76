"""Whatever is done to a true reply, what comes through is still an image's."""

import json
import math
import re
from copy import deepcopy
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.codecs.sniff import sniff
from detection.errors import ImageError
from detection.image import crop_faces, make_detector
from detection.options import MOST_EXIF_BYTES, MOST_PROFILE_BYTES, MOST_XMP_BYTES, Pick
from detection.result import Image
from detection.sandbox.checks import ReplyError, most_crop_bytes
from detection.sandbox.protocol import Bounds, printable_trace, to_reply
from detection.sandbox.replies import (
    Job,
    ShortageError,
    UnforeseenError,
    read_ready,
    read_reply,
)
from detection.settings import CutSettings, DetectionSettings
from tests.pictures import encoded, group

JOB = Job(DetectionSettings(), CutSettings(), Bounds(10**8, 60, 1024))
WICKED: list[Any] = [
    None, True, False, -1, 0, 1, 2, 10**30, 0.5, 1e308, float("nan"), float("inf"), -float("inf"),
    "", "x", "/../../x", "\ud800", "\x1b[31m", "a\nb", [], {}, [[]], [1, 2, 3, 4], [0, 0, 1],
]  # fmt: skip


@pytest.fixture(scope="module")
def true() -> tuple[dict[str, Any], bytes]:
    data = encoded(group((300, 200), (600, 300)), "PNG")
    detector = make_detector(JOB.detection)
    reply, blob = to_reply(crop_faces(data, detector, JOB.detection, JOB.cut, 10**8))
    return {"number": 1, **reply, "sha256": "a" * 64}, blob


def holds(reply: dict[str, Any], blob: bytes) -> Any:
    """What is read of a reply; its properties are tried."""
    try:
        outcome = read_reply(json.dumps(reply).encode(), blob, 1, JOB)
    except ReplyError:
        return None
    if isinstance(outcome, ImageError | ShortageError):
        assert str(outcome).isprintable()
    elif not isinstance(outcome, UnforeseenError):
        image, digest = outcome
        assert isinstance(image, Image)
        assert len(digest) == 64
        assert int(digest, 16) >= 0
        assert re.fullmatch("[0-9a-f]{16}", image.phash)
        assert 1 <= image.width * image.height <= 10**8
        assert [crop.rank for crop in image.crops] == list(range(len(image.crops)))
        assert sum(len(crop.data) for crop in image.crops) == len(blob)
        for crop in image.crops:
            assert type(crop.rank) is int
            numbers = [*crop.box, crop.sharpness, *crop.square, crop.score or 0]
            numbers += [crop.pick_score, crop.sharpness_scale, crop.brightness, crop.contrast]
            numbers += crop.look or ()
            numbers += [value for point in crop.landmarks or () for value in point]
            assert all(math.isfinite(number) for number in numbers)
            assert all(type(side) is int for side in crop.square)
            assert sniff(crop.data) == "jpeg"
        times = (image.decode_ms, image.detect_ms, image.crop_ms, image.cpu_ms)
        assert all(0 <= ms < 1e10 for ms in times)
    return outcome


def test_a_true_reply_is_read_as_it_was_meant(true: tuple[dict[str, Any], bytes]) -> None:
    reply, blob = true
    outcome = holds(reply, blob)
    assert len(outcome[0].crops) == 2
    again, crops = to_reply(outcome[0])
    assert json.loads(json.dumps(again)).items() <= json.loads(json.dumps(reply)).items()
    assert crops == blob


@pytest.mark.parametrize("pick", get_args(Pick))
def test_faces_come_in_the_order_of_their_scores(pick: Pick) -> None:
    job = replace(JOB, cut=CutSettings(pick=pick))
    data = encoded(group((300, 200), (600, 300)), "PNG")
    image = crop_faces(data, make_detector(job.detection), job.detection, job.cut, 10**8)
    first, second = image.crops
    assert first.pick_score > second.pick_score
    for crops, fits in ((image.crops, True), ([second, first], False)):
        ranked = [replace(crop, rank=rank) for rank, crop in enumerate(crops)]
        reply, blob = to_reply(replace(image, crops=ranked))
        text = json.dumps({"number": 1, **reply, "sha256": "a" * 64}).encode()
        if fits:
            assert isinstance(read_reply(text, blob, 1, job), tuple)
        else:
            with pytest.raises(ReplyError, match="faces out of order"):
                read_reply(text, blob, 1, job)


@pytest.mark.parametrize("pick", get_args(Pick))
def test_no_face_is_ranked_by_what_it_has_not(pick: Pick) -> None:
    job = replace(JOB, cut=CutSettings(pick=pick))
    data = encoded(group((300,), (600, 300)), "PNG")
    image = crop_faces(data, make_detector(job.detection), job.detection, job.cut, 10**8)
    [face] = image.crops
    assert face.pick_score < 0.9
    for score in (0.0, 0.99):
        reply, blob = to_reply(replace(image, crops=[replace(face, pick_score=score)]))
        text = json.dumps({"number": 1, **reply, "sha256": "a" * 64}).encode()
        with pytest.raises(ReplyError, match="a rank that its face has not"):
            read_reply(text, blob, 1, job)


PLACES = st.lists(st.integers(0, 40), min_size=1, max_size=5)
VALUES = st.sampled_from(WICKED) | st.floats() | st.integers()


@pytest.mark.slow
@settings(max_examples=600, deadline=None)
@given(st.lists(st.tuples(PLACES, VALUES)), st.data())
def test_a_changed_reply_breaks_nothing(
    true: tuple[dict[str, Any], bytes], changes: list[tuple[list[int], Any]], data: st.DataObject
) -> None:
    reply, blob = json.loads(json.dumps(true[0])), true[1]
    for path, value in changes:
        at = reply
        for step in path[:-1]:
            key = _key(at, step)
            below = at.get(key) if isinstance(at, dict) else at[key]
            if not isinstance(below, dict | list) or not below:
                break
            at = below
        at[_key(at, path[-1])] = deepcopy(value)
    end = data.draw(st.sampled_from([len(blob), 0, len(blob) - 1]))
    holds(reply, blob[:end])


def _key(at: Any, step: int) -> Any:
    return [*at, "another"][step % (len(at) + 1)] if isinstance(at, dict) else step % len(at)


@settings(max_examples=4 * settings().max_examples)
@given(st.binary(max_size=400), st.binary(max_size=20))
def test_any_bytes_break_nothing(text: bytes, blob: bytes) -> None:
    for read in (lambda: read_reply(text, blob, 1, JOB), lambda: read_ready(text)):
        with pytest.raises(ReplyError):
            read()


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.text(max_size=6000))
def test_a_traceback_can_always_be_printed(trace: str) -> None:
    printable = printable_trace(trace)
    reply = {"number": 1, "failure": "KeyError", "trace": printable}
    text = json.dumps(reply).encode()
    assert len(text) <= JOB.text_bytes
    outcome = read_reply(text, b"", 1, JOB)
    assert isinstance(outcome, UnforeseenError)
    assert outcome.kind == "KeyError"


@pytest.fixture(scope="module")
def photograph() -> tuple[Job, dict[str, Any], bytes]:
    job = replace(JOB, cover="blur")
    data = encoded(group((300, 200), (600, 300)), "JPEG")
    options = job.detection, job.cut, 10**8, 1024, job.cover
    reply, blob = to_reply(crop_faces(data, make_detector(job.detection), *options))
    return job, {"number": 1, **reply, "sha256": "a" * 64}, blob


def test_a_photograph_is_read_as_it_was_meant(photograph: tuple[Job, Any, bytes]) -> None:
    job, reply, blob = photograph
    outcome = read_reply(json.dumps(reply).encode(), blob, 1, job)
    assert isinstance(outcome, tuple)
    assert (outcome[0].photo, outcome[0].photo_format) == (blob, "jpg")
    assert [crop.data for crop in outcome[0].crops] == [b"", b""]
    with pytest.raises(ReplyError):
        read_reply(json.dumps(reply).encode(), blob, 1, JOB)


@pytest.mark.parametrize(
    "lie",
    [
        {"photo": 0}, {"photo": 7}, {"photo": True}, {"photo": 1 << 60}, {"photo_format": None},
        {"photo_format": "png"}, {"photo_format": "../x"}, {"photo_format": ["jpg"]},
        {"width": 10**5, "height": 10**5},
    ],
    ids=str,
)  # fmt: skip
def test_a_lie_about_a_photograph_is_refused(
    photograph: tuple[Job, Any, bytes], lie: dict[str, Any]
) -> None:
    job, reply, blob = photograph
    with pytest.raises(ReplyError):
        read_reply(json.dumps({**reply, **lie}).encode(), blob, 1, job)
    first = {**reply["crops"][0], "data": 1}
    wrong = {**reply, "crops": [first, *reply["crops"][1:]]}
    with pytest.raises(ReplyError):
        read_reply(json.dumps(wrong).encode(), blob, 1, job)
    with pytest.raises(ReplyError):
        read_reply(json.dumps(reply).encode(), blob[:-1], 1, job)


def test_a_crop_has_room_for_what_goes_along() -> None:
    room = most_crop_bytes(CutSettings(metadata="safe"))
    assert room == most_crop_bytes(CutSettings()) + MOST_EXIF_BYTES + MOST_XMP_BYTES


def test_a_crop_has_room_for_its_profile_where_it_keeps_one() -> None:
    room = most_crop_bytes(CutSettings(color="keep"))
    assert room == most_crop_bytes(CutSettings()) + MOST_PROFILE_BYTES
