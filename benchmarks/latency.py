"""From submitted to completed: small batches on an idle worker, warm (forked runs) or cold.

PostgreSQL, Redis, Prefect's server and services, the HTTP service and a worker run on this machine;
with `--workers quickstart`, in a command of its own, one server on SQLite with the worker that it
starts, which is warm. `--workers celery`: Celery on a worker that is warm, with the same functions,
a task an image.
Batches are handed in one after the other, by `facecrop submit` and by `POST upload-zip`. Seconds
are by the server's clock from the run's creation to its end, and from the prompt to that end.
`POST add-images?wait` is measured as its client sees it, from the request to the answer with faces.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Self
from uuid import UUID

import httpx

from benchmarks.photos import open_photos, pack, repeat
from benchmarks.queues import is_there, running
from benchmarks.report import Column, Report
from benchmarks.rounds import timed
from benchmarks.server import POOL, ended, process_worker, production, quickstart, service, upload
from benchmarks.small_side import celery_tasks
from pipeline.cores import cores

_PROCESS, _LOCAL = "crop-archive/process", "crop-archive/local"
_QUICKSTART, _CELERY = "quickstart", "celery"
_ON_STACK = ["warm", "cold"]
_WORKERS = [*_ON_STACK, _QUICKSTART, _CELERY]
_IMAGES = 5  # in a request that waits for its answer
_WAIT_SECONDS = 60
_PROCESS_ENDS_SECONDS = 1.5
_FACECROP = [sys.executable, "-P", "-m", "facecrop"]


@dataclass(frozen=True, slots=True)
class Row:
    """So many batches of one size, one after the other, handed in in one way.

    Attributes:
        p50, p95: seconds from created to completed.
        prompt: seconds from the prompt to completed, the median.
    """

    worker: Annotated[str, Column("worker")]
    way: Annotated[str, Column("handed in by")]
    photos: Annotated[int, Column("photos", ",")]
    p50: Annotated[float, Column("p50 s", ".2f")]
    p95: Annotated[float, Column("p95 s", ".2f")]
    prompt: Annotated[float, Column("from prompt, p50 s", ".2f")]
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class Answer:
    """So many requests that wait for their batch, one after the other.

    Attributes:
        p50, p95: seconds from the request's beginning to its answer.
    """

    worker: Annotated[str, Column("worker")]
    way: Annotated[str, Column("request")]
    photos: Annotated[int, Column("photos", ",")]
    p50: Annotated[float, Column("p50 s", ".2f")]
    p95: Annotated[float, Column("p95 s", ".2f")]
    seconds: list[float]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 5, 20, 200])
    parser.add_argument("--batches", type=int, default=20, help="of each kind (default 20)")
    parser.add_argument("--workers", nargs="+", default=_ON_STACK, choices=_WORKERS)


def run(options: argparse.Namespace) -> Report:
    rows: list[Row] = []
    answers: list[Answer] = []
    with open_photos(options.photos) as photos:
        on_stack = [worker for worker in options.workers if worker in _ON_STACK]
        if on_stack and _QUICKSTART in options.workers:
            raise SystemExit(
                "The quickstart is another server: measure it in a command of its own."
            )
        if on_stack:
            with production() as (_, folder), service(folder) as (_, url):
                place = _Place.made(photos, options, folder, url, _PROCESS)
                for worker in on_stack:
                    with _worker(worker):
                        answers.append(_answered(worker, place))
                        rows += _measured(worker, place)
        if _QUICKSTART in options.workers:
            with quickstart() as folder, service(folder, _LOCAL) as (_, url):
                place = _Place.made(photos, options, folder, url, _LOCAL)
                answers.append(_answered(_QUICKSTART, place))
                rows += _measured(_QUICKSTART, place)
        if _CELERY in options.workers and is_there(_CELERY):
            rows += _with_celery(photos, options)
    about = f"{options.batches} batches of each kind, one after the other."
    return Report(about, {"answers": answers, "rows": rows}, {"cores": cores()})


@dataclass(frozen=True, slots=True)
class _Place:
    """Where batches are handed in, and which.

    Attributes:
        archives: by the count of their photographs.
        images: an archive of those of one request.
        batches: of each kind.
    """

    folder: Path
    url: str
    deployment: str
    archives: dict[int, Path]
    images: Path
    batches: int

    @classmethod
    def made(
        cls,
        photos: Sequence[Path],
        options: argparse.Namespace,
        folder: Path,
        url: str,
        deployment: str,
    ) -> Self:
        """With the archives, which are written into the folder."""
        archives = {count: folder / f"{count}.zip" for count in options.counts}
        images = folder / "images.zip"
        for count, archive in [*archives.items(), (_IMAGES, images)]:
            pack(photos, archive, count)
        return cls(folder, url, deployment, archives, images, options.batches)


@contextmanager
def _worker(kind: str) -> Iterator[None]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate

    with get_client(sync_client=True) as client:
        template = client.read_work_pool(POOL).base_job_template
        template["variables"]["properties"]["warm"]["default"] = kind == "warm"
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
    with process_worker(kind):
        yield


def _measured(worker: str, place: _Place) -> Iterator[Row]:
    ways: dict[str, Callable[[Path], UUID]] = {
        "facecrop submit": partial(_submitted, place),
        "POST upload-zip": lambda archive: UUID(upload(place.url, archive, as_form=False)),
    }
    for count, archive in place.archives.items():
        for way, hand_in in ways.items():
            times = [_one(hand_in, archive) for _ in range(place.batches + 1)][1:]  # one warms up
            seconds = [created for created, _ in times]
            yield Row(
                worker,
                way,
                count,
                statistics.median(seconds),
                _p95(seconds),
                statistics.median(prompt for _, prompt in times),
                seconds,
            )


def _with_celery(photos: Sequence[Path], options: argparse.Namespace) -> Iterator[Row]:
    """Seconds from handing in the tasks of a folder's photographs to the last one's result."""
    with running([_CELERY]), TemporaryDirectory() as name:
        for count in options.counts:
            folder, output = Path(name) / str(count), Path(name) / f"{count}-crops"
            repeat(photos, folder, count)
            output.mkdir()
            seconds = [
                timed(partial(celery_tasks, folder, output))[1].wall
                for _ in range(options.batches + 1)
            ][1:]  # one warms up
            median = statistics.median(seconds)
            yield Row(_CELERY, "tasks", count, median, _p95(seconds), median, seconds)


def _answered(worker: str, place: _Place) -> Answer:
    with zipfile.ZipFile(place.images) as archive:
        files = [("files", (name, archive.read(name))) for name in archive.namelist()]
    with httpx.Client(base_url=place.url, timeout=2 * _WAIT_SECONDS) as client:
        seconds = [_wait_for(client, files) for _ in range(place.batches + 1)][1:]  # one warms up
    median = statistics.median(seconds)
    return Answer(worker, "POST add-images?wait", len(files), median, _p95(seconds), seconds)


def _wait_for(client: httpx.Client, files: list[tuple[str, tuple[str, bytes]]]) -> float:
    """Seconds from a request's beginning to the answer that has its faces."""
    _let_worker_idle()
    began = time.monotonic()
    answer = client.post("/api/batch/add-images", params={"wait": _WAIT_SECONDS}, files=files)
    seconds = time.monotonic() - began
    if answer.status_code != 201 or answer.json()["state"] != "completed":
        raise RuntimeError(f"{answer.status_code}: {answer.text}")
    return seconds


def _one(hand_in: Callable[[Path], UUID], archive: Path) -> tuple[float, float]:
    """Seconds from created to completed, and from now to completed."""
    _let_worker_idle()
    began = time.time()
    (run,) = ended([hand_in(archive)], poll_seconds=0.25)
    assert run.created
    assert run.end_time
    return (run.end_time - run.created).total_seconds(), run.end_time.timestamp() - began


def _let_worker_idle() -> None:
    """Wait until the process of the run before has ended, too, and at no moment of the clock.

    Prefect's thread for heartbeats sleeps for a second at a time, and the process waits for it.
    """
    time.sleep(_PROCESS_ENDS_SECONDS + random.random())


def _submitted(place: _Place, archive: Path) -> UUID:
    output = place.folder / "outputs" / str(time.time_ns())
    command = [*_FACECROP, "submit", str(archive), "--output", str(output), "--json"]
    command += ["--deployment", place.deployment]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`facecrop submit` failed:\n{done.stdout}{done.stderr}")
    return UUID(json.loads(done.stdout)["id"])


def _p95(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
