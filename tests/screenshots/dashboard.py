"""Pictures of a batch on a Prefect server, from the form to the report; for the README, moving."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page
from prefect.settings import PREFECT_API_URL, temporary_settings

from infra.servers.prefect import prefect_server
from intake.http.keys import make_key
from tasks.reporting.dashboard import ADDRESS_VARIABLE
from tests.intake.web import Web, serving
from tests.screenshots import terminal
from tests.screenshots.album import NAME
from tests.screenshots.camera import Camera, take
from tests.screenshots.moving import PAGE, Moving
from tests.workers import Worker, at_work, process_workers, wait

_PORT = 4200
_HUNG_SECONDS = 600
_COLOURED = 0.005  # of a run's graph, at least, once its bars are there
_HELD_AT = (5, 40, 65)  # per cent, at least
_ON_POOL = "--deployment crop-archive/process"


@dataclass(frozen=True, slots=True)
class Stack:
    """A server with all of Facecrop deployed, a worker and the HTTP service.

    Attributes:
        url: of the server.
        key: of the service.
    """

    url: str
    worker: Worker
    service: Web
    key: str

    def ask(self, path: str, body: object = None) -> Any:
        """Prefect's API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api{path}", data)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def page_of(self, run: str) -> str:
        """The address of a run's page."""
        return f"{self.url}/v2/runs/flow-run/{run}"

    def artifact(self, run: str, key: str) -> str:
        """The page of one of a run's artifacts."""
        asked = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}}
        [found] = self.ask("/artifacts/filter", asked)
        return f"{self.url}/v2/artifacts/artifact/{found['id']}"


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    """Start all of it.

    Args:
        folder: for logs and the service's store.
    """
    token, line = make_key("ann", admin=True)
    (folder / "keys").write_text(line)
    with prefect_server(_free_port(), ui=True) as server:
        # Prefect was imported before, and did not know of this one
        known = temporary_settings({PREFECT_API_URL: server.url})
        command = [sys.executable, "-P", "-m", "deployments"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with (
            known,
            process_workers({}, folder) as start_worker,
            serving(folder, str(folder / "store"), {}, token, keys=folder / "keys") as service,
        ):
            url = server.url.removesuffix("/api")
            made = Stack(url, start_worker("worker-1"), service, token)
            made.ask("/variables/", {"name": ADDRESS_VARIABLE, "value": f"{service.url}/"})
            yield made


def _free_port() -> int:
    """Prefect's usual one, as it is in the pictures, or 0 where something listens on that."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", _PORT))
        except OSError:
            return 0
    return _PORT


def picture_batch(camera: Camera, data: Path, folder: Path) -> None:
    """All pictures that a server is needed for.

    Two batches: the first is held while it is looked at, and tells times of that.
    """
    moving = Moving()
    with stack(folder) as there, ThreadPoolExecutor(1) as pool:
        _picture_form(camera, there, data)
        held = f"facecrop submit {NAME} --output held {_ON_POOL} --watch"
        submitting = pool.submit(terminal.record, held, data)
        run = _newest_run(there, submitting)
        pages = _picture_run(camera, there, run)
        submitting.result()

        command = f"facecrop submit {NAME} --output portraits {_ON_POOL} --watch"
        recorded = terminal.record(command, data)
        run = recorded.end().partition(":")[0]
        half_way = recorded.first(r"\b[2-7]\d ?%")
        panels = [terminal.panel(command, screen) for screen in (half_way, recorded.end())]
        camera.keep_html("terminal-submit", terminal.page(*panels))
        for name, asked in {
            "doctor": "facecrop doctor --output portraits",
            "status": f"facecrop status {run}",
        }.items():
            told = terminal.record(asked, data)
            camera.keep_html(f"terminal-{name}", terminal.page(terminal.panel(asked, told.end())))
        pages.append(_picture_end(camera, there, run))

    moving.terminal(camera, command, "", 1300, "Hand in an archive")
    moving.terminal(camera, command, half_way, 1700, "Hand in an archive")
    for picture in pages:
        moving.add(picture, 1200, "Watch it run")
    with camera.page(*PAGE) as page:
        page.goto((data / "portraits" / "report.html").as_uri())
        moving.add(take(page), 1900, "One page tells what came out")
        page.evaluate("scrollTo(0, document.querySelector('#grid').offsetTop - 190)")
        moving.add(take(page), 2800, "One page tells what came out")
    moving.save(camera.folder / "batch.webp")


def _picture_form(camera: Camera, there: Stack, data: Path) -> None:
    deployment = there.ask("/deployments/name/crop-archive/process")["id"]
    queue = "/work_pools/facecrop-process/queues/priority-5"
    wait(lambda: bool(there.ask(queue)["status"] == "READY"), _HUNG_SECONDS)
    with camera.page() as page:
        page.goto(f"{there.url}/v2/deployments/deployment/{deployment}/run")
        page.get_by_role("button", name="Submit").wait_for()
        fields = page.locator("textarea")
        fields.nth(0).fill(str(data / NAME))
        fields.nth(1).fill(str(data / "portraits"))
        fields.nth(1).blur()
        camera.keep("run-form", page)
        page.goto(f"{there.url}/v2/work-pools/work-pool/facecrop-process")
        queues = page.get_by_role("tab", name="Work Queues")
        queues.click()
        page.get_by_text("priority-10").first.wait_for()
        queues.blur()
        camera.keep("work-pool", page)


def _newest_run(there: Stack, submitting: Future[terminal.Recording]) -> str:
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        assert not submitting.done(), submitting.result().end()
        found[:] = there.ask("/flow_runs/filter", {"flows": {"name": {"any_": ["crop-archive"]}}})
        return bool(found)

    wait(is_there, _HUNG_SECONDS, each=0.1)
    return str(found[0]["id"])


@contextmanager
def _held(there: Stack, run: str, percent: int) -> Iterator[None]:
    """Hold a batch when it says that it is so far: a page takes as long to load as some of it."""

    def has_said() -> bool:
        said = re.search(r" · (\d+) %", there.ask(f"/flow_runs/{run}")["name"])
        return said is not None and int(said[1]) >= percent

    wait(has_said, _HUNG_SECONDS, each=0.05)
    stopped = at_work(there.worker)
    assert stopped, "the batch was over before it could be held: give it more --members"
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


def _picture_run(camera: Camera, there: Stack, run: str) -> list[Image.Image]:
    """A run's page while it runs; the moving picture's are returned."""
    address, pages = there.page_of(run), []
    for percent in _HELD_AT:
        with _held(there, run, percent):
            with camera.page(*PAGE) as page:
                page.goto(address)
                page.get_by_text(re.compile(r" · \d+ %")).first.wait_for()
                _wait_for_graph(page)
                pages.append(take(page))
            if percent == _HELD_AT[-1]:
                with camera.page() as page:
                    page.goto(address)
                    page.get_by_text(re.compile(r"images/s")).first.wait_for()
                    _wait_for_graph(page)
                    camera.keep("run", page)
    return pages


def _picture_end(camera: Camera, there: Stack, run: str) -> Image.Image:
    """What is on a run's page at the end; the page itself is returned, for the moving picture."""
    with camera.page() as page:
        page.goto(there.artifact(run, "batch-summary"))
        page.get_by_text("Images with a face", exact=True).first.wait_for()
        camera.keep("summary", page)
        page.goto(there.artifact(run, "contact-sheet"))
        page.get_by_role("img", name="Some of the crops").wait_for()
        camera.keep("contact-sheet", page)
    with camera.page(*PAGE) as page:
        page.goto(there.page_of(run))
        page.get_by_text("Completed", exact=True).first.wait_for()
        _wait_for_graph(page)
        return take(page)


def _wait_for_graph(page: Page) -> None:
    """Wait until a run's graph is drawn: it is a canvas, of which nothing else tells."""
    canvas = page.locator("canvas").first
    canvas.wait_for()

    def is_drawn() -> bool:
        with Image.open(BytesIO(canvas.screenshot())) as picture:
            saturation = picture.convert("HSV").getchannel("S").histogram()
            return sum(saturation[100:]) > _COLOURED * sum(saturation)

    wait(is_drawn, _HUNG_SECONDS)
