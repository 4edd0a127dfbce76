"""Images that crash, hang or eat memory are alone with it."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from detection.errors import ImageError, ImageErrorCode
from detection.image import crop_faces, make_detector
from detection.result import Image as Result
from detection.sandbox import pool as sandbox
from detection.sandbox.pool import crop_isolated
from detection.sandbox.protocol import Bounds
from detection.sandbox.replies import UnforeseenError
from detection.settings import CutSettings, DetectionSettings
from tests.colours import DISPLAY_P3, profile
from tests.detection import poison
from tests.detection.isolated import CUT, DETECTION, crop_one_isolated, gone
from tests.pictures import astronaut, astronaut_jpeg, encoded, group, no_face_jpeg

pytestmark = pytest.mark.usefixtures("started_images")

BOUNDS = Bounds(max_pixels=100_000_000, seconds=60, memory_mib=1024)


@pytest.fixture(autouse=True, scope="module")
def own_children() -> Iterator[None]:
    """No child is left by, or to, another file's tests."""
    sandbox.end_idle()
    yield
    sandbox.end_idle()


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(sandbox, "COMMAND", (sys.executable, "-m", poison.__name__))
    monkeypatch.setenv(poison.MEMORY_FILE, str(tmp_path / "done"))
    sandbox.end_idle()
    yield
    sandbox.end_idle()


def isolated(
    data: bytes, bounds: Bounds = BOUNDS, detection: DetectionSettings | None = None
) -> Result:
    return crop_one_isolated(data, bounds, detection or DETECTION)[0]


def without_times(image: Result) -> tuple[object, ...]:
    return image.width, image.height, image.crops


def code_of(data: bytes, bounds: Bounds = BOUNDS) -> ImageErrorCode:
    with pytest.raises(ImageError) as caught:
        isolated(data, bounds)
    return caught.value.code


@pytest.mark.parametrize("method", ["yunet", "haar"])
def test_the_result_is_the_same_as_in_this_process(method: str) -> None:
    detection = DetectionSettings.model_validate({"method": method})
    cut = CutSettings()
    for data in (astronaut_jpeg(), no_face_jpeg(), encoded(group((300, 200), (600, 300)), "PNG")):
        here = crop_faces(data, make_detector(detection), detection, cut, BOUNDS.max_pixels)
        there, digest = crop_one_isolated(memoryview(data), BOUNDS, detection, cut)
        assert without_times(there) == without_times(here)
        assert digest == hashlib.sha256(data).hexdigest()


def test_a_child_that_was_started_beforehand_is_used() -> None:
    sandbox.end_idle()
    sandbox.warm(1)
    [child] = sandbox.idle_pids()
    sandbox.warm(1)
    assert len(isolated(astronaut_jpeg()).crops) == 1
    assert sandbox.idle_pids() == [child]


def test_one_child_serves_images_and_settings_in_turn() -> None:
    small = CutSettings(size=64, format="png")
    for _ in range(2):
        assert len(isolated(astronaut_jpeg()).crops) == 1
        image, _ = crop_one_isolated(astronaut_jpeg(), BOUNDS, cut=small)
        [face] = image.crops
        with Image.open(BytesIO(face.data)) as picture:
            assert (picture.size, picture.format) == ((64, 64), "PNG")
    assert len(sandbox.idle_pids()) == 1


def test_an_image_error_is_the_same_as_in_this_process() -> None:
    damaged = astronaut_jpeg()[:2000]
    with pytest.raises(ImageError) as here:
        crop_faces(
            damaged, make_detector(DetectionSettings()), DetectionSettings(), CutSettings(), 10**8
        )
    with pytest.raises(ImageError) as there:
        isolated(damaged)
    assert (there.value.code, str(there.value)) == (here.value.code, str(here.value))


def test_images_of_any_size_come_back_in_their_order() -> None:
    """Those that a pipe does not hold, with replies that it does not hold, among others."""
    detailed = CutSettings(size=600, format="png")
    large = BytesIO()
    Image.effect_noise((1400, 1400), 80).convert("RGB").save(large, "PNG", compress_level=1)
    faces = encoded(group((300, 200), (600, 300)), "PNG")
    images = [faces, large.getvalue(), faces, faces, large.getvalue(), no_face_jpeg(), faces]
    assert len(large.getvalue()) > 1 << 21
    done = list(crop_isolated(enumerate(images), DETECTION, detailed, BOUNDS))
    assert [number for number, _ in done] == list(range(len(images)))
    for data, (_, outcome) in zip(images, done, strict=True):
        assert isinstance(outcome, tuple)
        image, digest = outcome
        assert digest == hashlib.sha256(data).hexdigest()
        assert len(image.crops) == (2 if data is faces else 0)
        assert sum(len(crop.data) for crop in image.crops) > (1 << 17 if data is faces else -1)
    assert len(sandbox.idle_pids()) == 1


@pytest.mark.usefixtures("poisoned")
def test_the_next_image_is_with_the_child_before_it_is_asked_for() -> None:
    isolated(no_face_jpeg())
    [child] = sandbox.idle_pids()
    images = [(0, no_face_jpeg()), (1, astronaut_jpeg() + poison.ABORTS), (2, no_face_jpeg())]
    done = crop_isolated(images, DETECTION, CUT, BOUNDS)
    assert next(done)[0] == 0
    assert gone(child, within=15)  # of an image that nobody has waited for yet
    assert [key for key, _ in done] == [1, 2]


@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
def test_poison_fails_its_image_alone_whatever_is_before_and_behind_it() -> None:
    endings = [poison.ABORTS, poison.ABORTS_ONCE, poison.HANGS, poison.EATS]
    codes = [ImageErrorCode.DECODER_CRASHED, None, ImageErrorCode.TOO_SLOW]
    codes += [ImageErrorCode.TOO_MUCH_MEMORY]
    order = [0, None, 1, None, 2, 3, None, None, 3, 0, 2, None, 3]
    images = [astronaut_jpeg() + (b"" if each is None else endings[each]) for each in order]
    bounds = Bounds(10**8, 15, 512)
    found = [
        outcome.code if isinstance(outcome, ImageError) else outcome
        for _, outcome in crop_isolated(enumerate(images), DETECTION, CUT, bounds)
    ]
    for number, each in enumerate(order):
        wanted = None if each is None else codes[each]
        if wanted is None:
            cropped = found[number]
            assert isinstance(cropped, tuple), (number, cropped)
            assert len(cropped[0].crops) == 1
        else:
            assert found[number] is wanted, number


def test_a_child_whose_answers_nobody_wants_is_not_used_again() -> None:
    images = [(number, astronaut_jpeg()) for number in range(3)]
    done = crop_isolated(images, DETECTION, CUT, BOUNDS)
    next(done)
    del done
    assert sandbox.idle_pids() == []
    assert len(isolated(astronaut_jpeg()).crops) == 1


def test_no_child_is_started_for_no_image() -> None:
    sandbox.end_idle()
    assert list(crop_isolated((), DETECTION, CUT, BOUNDS)) == []
    assert sandbox.idle_pids() == []


@pytest.mark.usefixtures("poisoned")
def test_a_crash_fails_its_image_alone() -> None:
    assert isolated(no_face_jpeg()).crops == []
    with pytest.raises(ImageError, match=r"2 times \(SIGABRT\)") as caught:
        isolated(astronaut_jpeg() + poison.ABORTS)
    assert caught.value.code is ImageErrorCode.DECODER_CRASHED
    assert len(isolated(astronaut_jpeg()).crops) == 1


@pytest.mark.usefixtures("poisoned")
def test_a_crash_that_does_not_come_again_costs_nothing() -> None:
    assert len(isolated(astronaut_jpeg() + poison.ABORTS_ONCE).crops) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
def test_an_image_that_hangs_is_ended_in_time() -> None:
    isolated(no_face_jpeg())
    started = time.monotonic()
    assert code_of(astronaut_jpeg() + poison.HANGS, Bounds(10**8, 2, 1024)) is (
        ImageErrorCode.TOO_SLOW
    )
    assert 2 <= time.monotonic() - started < 20
    assert len(isolated(astronaut_jpeg()).crops) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("poisoned")
def test_memory_has_an_end() -> None:
    assert code_of(astronaut_jpeg() + poison.EATS) is ImageErrorCode.TOO_MUCH_MEMORY
    assert len(isolated(astronaut_jpeg()).crops) == 1


@pytest.mark.usefixtures("poisoned")
def test_what_nobody_foresaw_comes_with_its_traceback() -> None:
    with pytest.raises(UnforeseenError, match=r"Traceback[\s\S]*nobody foresaw") as caught:
        isolated(astronaut_jpeg() + poison.BREAKS)
    assert caught.value.kind == "LookupError"
    assert "\x1b" not in str(caught.value)


def test_a_stop_meant_for_the_parent_does_not_reach_the_child() -> None:
    isolated(no_face_jpeg())
    [child] = sandbox.idle_pids()
    for stop in (signal.SIGINT, signal.SIGTERM):
        os.kill(child, stop)
    assert len(isolated(astronaut_jpeg()).crops) == 1
    assert sandbox.idle_pids() == [child]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("ending", [b"", poison.HANGS], ids=["idle", "at work"])
def test_a_child_does_not_outlive_a_parent_that_is_killed(ending: bytes, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(astronaut_jpeg() + ending)
    script = (
        "import pathlib, sys, time\n"
        "from detection.sandbox import pool as sandbox\n"
        "from detection.sandbox.protocol import Bounds\n"
        "from detection.settings import CutSettings, DetectionSettings\n"
        f"sandbox.COMMAND = (sys.executable, '-m', {poison.__name__!r})\n"
        f"data = pathlib.Path({str(tmp_path / 'image.jpg')!r}).read_bytes()\n"
        "print('begun', flush=True)\n"
        "list(sandbox.crop_isolated("
        "[(0, data)], DetectionSettings(), CutSettings(), Bounds(10**8, 5, 1024)))\n"
        "print('done', flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"begun\n"
    if not ending:
        assert parent.stdout.readline() == b"done\n"
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while not (found := children.read_text().split()):
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    [child] = found
    assert gone(int(child), within=15)


def test_a_crop_with_a_large_profile_comes_through() -> None:
    icc = profile(DISPLAY_P3, padding=3 << 20)
    data = encoded(astronaut(), "PNG", icc_profile=icc)
    image, _ = crop_one_isolated(data, BOUNDS, cut=CutSettings(color="keep"))
    with Image.open(BytesIO(image.crops[0].data)) as crop:
        assert crop.info["icc_profile"] == icc
