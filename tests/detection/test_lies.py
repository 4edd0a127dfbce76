"""What a child says is not believed, and how long it takes is not left to it."""

import sys
import time
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from detection.errors import ImageError, ImageErrorCode
from detection.sandbox import pool as sandbox
from detection.sandbox import process
from detection.sandbox.pool import crop_isolated
from detection.sandbox.protocol import Bounds
from tests.detection import deaf, liar
from tests.detection.isolated import CUT, DETECTION
from tests.pictures import astronaut_jpeg, no_face_jpeg

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("started_images")]

BOUNDS = Bounds(max_pixels=100_000_000, seconds=60, memory_mib=1024)
CRASHED, TOO_SLOW = ImageErrorCode.DECODER_CRASHED, ImageErrorCode.TOO_SLOW


@pytest.fixture(autouse=True, scope="module")
def own_children() -> Iterator[None]:
    """The child that has done one test's last image serves the next, as children do."""
    sandbox.end_idle()
    yield
    sandbox.end_idle()


def lying(lie: str, monkeypatch: pytest.MonkeyPatch, bounds: Bounds = BOUNDS) -> list[object]:
    """The results of an image, of one that is lied about, and of another: faces or a code."""
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-m", liar.__name__))
    liars = astronaut_jpeg() + liar.LIES + lie.encode()
    images = [no_face_jpeg(), liars, astronaut_jpeg()]
    found: list[object] = []
    for _, outcome in crop_isolated(enumerate(images), DETECTION, CUT, bounds):
        if isinstance(outcome, ImageError):
            found.append(outcome.code)
            assert str(outcome).isprintable()
        else:
            assert isinstance(outcome, tuple)
            found.append(len(outcome[0].crops))
    return found


@pytest.mark.parametrize("lie", liar.ANSWERS)
def test_a_lie_fails_its_image_alone(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lying(lie, monkeypatch) == [0, CRASHED, 1]


def test_an_answer_too_many_is_not_the_next_image_s(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lying("answers twice", monkeypatch) == [0, 1, 1]


@pytest.mark.parametrize("lie", ["stops", "dribbles", "leaves its pipe to another"])
def test_the_time_is_kept_whatever_a_child_does(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 1)
    assert lying(lie, monkeypatch, Bounds(10**8, 4, 1024)) == [0, TOO_SLOW, 1]


def test_a_child_that_never_reads_is_ended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.end_idle()
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-m", deaf.__name__))
    monkeypatch.setattr(process, "GRACE_SECONDS", 1)
    large = BytesIO()
    Image.effect_noise((1400, 1400), 80).convert("RGB").save(large, "PNG", compress_level=1)
    assert len(large.getvalue()) > 1 << 21
    started = time.monotonic()
    images = [(0, large.getvalue())]
    [(_, outcome)] = crop_isolated(images, DETECTION, CUT, Bounds(10**8, 2, 1024))
    assert isinstance(outcome, ImageError)
    assert outcome.code is TOO_SLOW
    assert time.monotonic() - started >= 2 * 3
