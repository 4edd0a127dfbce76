"""No image crashes its decoder, or takes more than its bounds in memory and time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection.errors import ImageError, ImageErrorCode
from detection.result import Image
from detection.sandbox import pool as sandbox
from detection.sandbox.pool import crop_isolated
from detection.sandbox.protocol import Bounds
from detection.settings import CutSettings
from tests.detection.isolated import DETECTION, crop_one_isolated
from tests.hostile.images import IMAGES, MAX_PIXELS
from tests.pictures import astronaut_jpeg

pytestmark = pytest.mark.slow  # all of them together

BOUNDS = Bounds(MAX_PIXELS, seconds=8, memory_mib=256)
SLACK_SECONDS = 10  # a child that is overdue is ended, and on a busy machine that takes a moment
SLACK_MIB = 32  # its code and the stacks of its threads are no data


def isolated(data: bytes) -> Image:
    return crop_one_isolated(data, BOUNDS)[0]


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.fixture(scope="module")
def begins_with() -> Iterator[float]:
    """MiB that a child has at its peak after an image that needs next to nothing."""
    sandbox.end_idle()
    isolated(astronaut_jpeg(128))
    [pid] = sandbox.idle_pids()
    yield peak_mib(pid)
    sandbox.end_idle()


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_ends_within_its_bounds(name: str, begins_with: float) -> None:
    hostile = IMAGES[name]
    data = hostile.make()
    children = sandbox.idle_pids()
    started = time.monotonic()
    code: ImageErrorCode | None = None
    try:
        image = isolated(data)
    except ImageError as error:
        code, line = error.code, str(error)
        assert line.endswith(".")
        assert line.isprintable()
        assert 10 < len(line) < 200
    else:
        assert 0 < image.width * image.height <= MAX_PIXELS
    assert time.monotonic() - started < BOUNDS.seconds + SLACK_SECONDS
    assert code in hostile.outcomes
    if code in (ImageErrorCode.TOO_SLOW, ImageErrorCode.TOO_MUCH_MEMORY):
        assert sandbox.idle_pids() == []  # whoever kept its bound only by being ended is gone
    else:
        [child] = sandbox.idle_pids()
        assert [child] == children or not children  # none ended, so none was begun
        peak = peak_mib(child)
        assert peak < begins_with + BOUNDS.memory_mib + SLACK_MIB
        if peak > begins_with + BOUNDS.memory_mib / 4:  # it keeps a part, which others then lack
            sandbox.end_idle()


@pytest.mark.parametrize("name", IMAGES)
def test_it_breaks_nothing_where_it_is_written_again_with_its_metadata(name: str) -> None:
    images, cut = [(name, IMAGES[name].make())], CutSettings(metadata="all")
    [(_, outcome)] = crop_isolated(images, DETECTION, cut, BOUNDS, "mask")
    if isinstance(outcome, tuple):
        image, _ = outcome
        assert image.photo
        # and what was written is a picture
        again = crop_one_isolated(image.photo, BOUNDS)[0]
        assert (again.width, again.height) == (image.width, image.height)
    else:
        assert isinstance(outcome, ImageError), outcome
