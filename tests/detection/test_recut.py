"""Faces that are known give the crops that they gave when they were found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache, partial
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from detection.codecs.decode import Source
from detection.errors import ImageWarning
from detection.geometry import Region
from detection.image import crop_faces, make_detector
from detection.known import COARSEST_REDUCTION, Changed, KnownFace, KnownFaces, Recut
from detection.recut import recut
from detection.result import Image as Found
from detection.sandbox.checks import ReplyError
from detection.sandbox.known import RecutJob, RecutQuestion
from detection.sandbox.pool import recut_isolated
from detection.sandbox.protocol import Bounds, to_known, to_recut_reply
from detection.sandbox.replies import read_reply
from detection.settings import CutSettings, DetectionSettings
from tests.detection.test_replies import WICKED
from tests.pictures import astronaut, astronaut_jpeg, encoded, group

BOUNDS = Bounds(10**8, 60, 1024)
CUTS = {
    "square": CutSettings(),
    "own pixels": CutSettings(size=0, format="png"),
    "id": CutSettings(preset="id-35x45"),
    "arcface": CutSettings(preset="dataset-112", format="webp", border="reflect"),
    "color": CutSettings(align="level", width=700, height=900, padding=1, border="color"),
}


def found(data: bytes, cut: CutSettings, pages: str = "first") -> Found:
    detection = DetectionSettings.model_validate({"pages": pages})
    return crop_faces(data, make_detector(detection), detection, cut.spelled_out(), 10**8)


def known(image: Found, data: bytes, *, as_batch: bool = True) -> KnownFaces:
    crops = image.crops
    return KnownFaces(
        hashlib.sha256(data).hexdigest(),
        (image.width, image.height),
        [KnownFace(crop.page, crop.box, crop.landmarks, crop.turn) for crop in crops],
        round(1 / crops[0].sharpness_scale) if as_batch else COARSEST_REDUCTION,
        whole=ImageWarning.DAMAGED_DATA in image.warnings,
    )


def bits(image: Image.Image, orientation: int) -> bytes:
    return encoded(image, "JPEG", orientation, quality=92)


def tiff(*pages: Image.Image) -> bytes:
    target = BytesIO()
    first, *others = (page.copy() for page in pages)  # without what another format left in it
    first.save(target, "TIFF", save_all=True, append_images=others)
    return target.getvalue()


def upended(side: int, turn: Image.Transpose) -> Image.Image:
    return astronaut(side).transpose(turn)


# above four megapixels a JPEG is decoded reduced: by as much as the faces' sizes allow
large = cache(partial(group, (2600, 700, 420), (3900, 2600)))


def large_turned(orientation: int) -> bytes:
    return bits(large(), orientation)


PHOTOGRAPHS: dict[str, Callable[[], bytes]] = {
    **{f"orientation {n}": partial(large_turned, n) for n in range(1, 9)},
    "a half or a quarter": lambda: bits(astronaut(4000), 6),
    "full": lambda: bits(group((300,), (3200, 2400)), 1),
    "lies": lambda: encoded(upended(700, Image.Transpose.ROTATE_90), "PNG"),
    "on its head": lambda: bits(upended(2400, Image.Transpose.ROTATE_180), 1),
    "tiff": lambda: tiff(astronaut(), Image.new("RGB", (64, 48)), astronaut(800)),
    "no end": lambda: astronaut_jpeg(2200)[:-2],
}
"""What makes each: to make all of them takes seconds, in every process that collects tests."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_what_is_known_is_cut_as_when_it_was_found(name: str) -> None:
    data = PHOTOGRAPHS[name]()
    for cut in CUTS.values():
        image = found(data, cut, "all")
        assert image.crops
        again = recut(data, known(image, data), [cut.spelled_out()], 10**8)
        assert isinstance(again, Recut)
        [crops] = again.crops
        assert [crop.data for crop in crops] == [crop.data for crop in image.crops]
        assert [crop.frame for crop in crops] == [crop.frame for crop in image.crops]


def test_photographs_are_decoded_once_and_no_finer_than_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = bits(astronaut(4000), 1)  # its face is 800 pixels wide
    decoded: list[int] = []
    around = Source.decode_around

    def counted(source: Source, region: Region, reduction: int) -> Any:
        decoded.append(reduction)
        return around(source, region, reduction)

    monkeypatch.setattr(Source, "decode_around", counted)
    faces = known(found(data, CutSettings()), data, as_batch=False)
    small, large = CutSettings(size=64), CutSettings(size=500)
    for cuts in ([small], [small, large], [large]):
        again = recut(data, faces, cuts, 10**8)
        assert isinstance(again, Recut)
        assert [len(crops) for crops in again.crops] == [1] * len(cuts)
    assert decoded == [8, 2, 2]


def test_another_photograph_is_not_cut() -> None:
    data = astronaut_jpeg()
    faces = known(found(data, CutSettings()), data)
    other = encoded(astronaut(), "JPEG", quality=60)
    job = [CutSettings(), CutSettings(size=112)]
    done = dict(recut_isolated([(0, faces, other), (1, faces, data)], job, BOUNDS))
    assert done[0] == Changed(hashlib.sha256(other).hexdigest())
    again = done[1]
    assert isinstance(again, Recut)
    assert [[crop.frame.width for crop in crops] for crops in again.crops] == [[300], [112]]


def test_a_face_without_landmarks_is_told_where_it_was_to_be_aligned() -> None:
    data = astronaut_jpeg()
    faces = known(found(data, CutSettings()), data)
    bare = [face._replace(landmarks=None) for face in faces.faces]
    faces = KnownFaces(faces.sha256, faces.size, bare)
    cuts = [CutSettings(preset="id-35x45"), CutSettings()]
    [(_, again)] = recut_isolated([(0, faces, data)], cuts, BOUNDS)
    assert isinstance(again, Recut)
    assert again.warnings == [[ImageWarning.UNALIGNED], []]


@pytest.fixture(scope="module")
def answered() -> tuple[RecutQuestion, dict[str, Any], bytes]:
    data = tiff(group((300, 200), (600, 300)), astronaut())
    cuts = tuple(CUTS[name].spelled_out() for name in ("square", "id"))
    question = RecutJob(cuts, BOUNDS).about(known(found(data, cuts[0], "all"), data))
    asked = to_known(question.text)
    assert asked == question.known
    reply, blob = to_recut_reply(recut(data, asked, cuts, 10**8), asked)
    return question, {"number": 1, **reply}, blob


def test_a_true_reply_is_believed(answered: tuple[RecutQuestion, Any, bytes]) -> None:
    question, reply, blob = answered
    text = json.dumps(reply).encode()
    assert len(text) < question.text_bytes
    again = read_reply(text, blob, 1, question)
    assert isinstance(again, Recut)
    assert [[crop.size for crop in crops] for crops in again.crops] == [
        [(600, 300), (600, 300), (512, 512)]
    ] * 2


@pytest.mark.parametrize(
    "lie",
    [
        {"crops": []}, {"crops": [[1, 2, 3], [1, 2, 3]]}, {"crops": None}, {"sizes": [[600, 300]]},
        {"sizes": [[300, 600], [512, 512]]}, {"sizes": [[600, 300], [10**9, 10**9]]},
        {"warnings": [[], ["unaligned"]]}, {"warnings": [[], ["no such"]]}, {"warnings": [[]]},
        {"decode_ms": -1}, {"crop_ms": float("nan")}, {"more": 1}, {"number": 2},
        {"changed": "a" * 64},
    ],
    ids=str,
)  # fmt: skip
def test_a_lie_is_refused(answered: tuple[RecutQuestion, Any, bytes], lie: dict[str, Any]) -> None:
    question, reply, blob = answered
    with pytest.raises(ReplyError):
        read_reply(json.dumps({**reply, **lie}).encode(), blob, 1, question)


def test_bytes_too_few_or_of_another_format_are_refused(
    answered: tuple[RecutQuestion, Any, bytes],
) -> None:
    question, reply, blob = answered
    for other in (blob[:-1], blob + b"x", b"\x89PNG\r\n\x1a\n" + blob[8:]):
        with pytest.raises(ReplyError):
            read_reply(json.dumps(reply).encode(), other, 1, question)
    for changed in (question.known.sha256, "A" * 64, 7):
        with pytest.raises(ReplyError):
            read_reply(json.dumps({"number": 1, "changed": changed}).encode(), b"", 1, question)


@given(st.sampled_from(["crops", "sizes", "warnings", "decode_ms"]), st.sampled_from(WICKED))
@settings(deadline=None)
def test_whatever_is_said_is_checked(
    answered: tuple[RecutQuestion, Any, bytes], field: str, wicked: Any
) -> None:
    question, reply, blob = answered
    try:
        text = json.dumps({**reply, field: wicked}).encode()
        again = read_reply(text, blob, 1, question)
    except ReplyError:
        return
    assert isinstance(again, Recut)
    assert sum(len(crop.data) for crops in again.crops for crop in crops) == len(blob)
