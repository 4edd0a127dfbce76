"""What people see: the quickstart's stack in a real browser, from the run form to the report."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from infra import background, quickstart
from infra.servers.process import descendants
from intake.cli.samples import write_sample
from intake.http.keys import make_key
from tasks.reporting.dashboard import ADDRESS_VARIABLE
from tests.intake.web import Web, serving
from tests.services import Slow, served_slowly
from tests.workers import wait

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.browser]

CHROMIUM = "/usr/bin/chromium"
MEMBERS = 400
_PAUSE_SECONDS = 4.0  # before each range of the archive, so that a quick machine is seen half way
# However busy the machine is, these end a test that hangs, and nothing else.
_HUNG_SECONDS = 900
_PAGE_SECONDS = 180
_FAR = r"school-2026\.zip · [1-9]\d* %"
_SAID = rf"[\d,]+ of {MEMBERS:,} images, .* images/s"
# Prefect 3.9.1's V2 interface asks for icons that it does not have, for the task of an artifact
# that has none, and at every page for a host of Amplitude's, which these tests cannot reach.
_PREFECTS_OWN = re.compile(
    r" 404 .*:\d+/[\w-]+\.(svg|ico|png)$| 422 .*/api/task_runs/filter$"
    r"|NAME_NOT_RESOLVED https://[\w.-]+\.amplitude\.com/.*"
)
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
_SHOWN = {"batch-summary", "batch-counts", "batch-progress", "contact-sheet", "failed-images"}


@dataclass(frozen=True)
class Stack:
    """The quickstart's server and runner.

    Attributes:
        ui: where Prefect's V2 interface is, to which the server sends who just opens its address.
    """

    url: str
    ui: str
    runner: int
    archive: Path
    output: Path

    def ask(self, path: str, body: object = None) -> Any:
        """Prefect's API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api{path}", data)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("quickstart")
    pids = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quickstart, "STATE", folder / "state")
        quickstart.STATE.mkdir()
        try:
            port = quickstart._server()
            url = f"http://127.0.0.1:{port}"
            quickstart._runner(port, {**os.environ, "PREFECT_API_URL": f"{url}/api"})
            pids = [(quickstart._read(name) or {})["pid"] for name in ("runner", "server")]
            yield Stack(url, f"{url}/v2", pids[0], folder / "school-2026.zip", folder / "crops")
        finally:
            quickstart.stop()
        assert not any(background.is_running(pid, quickstart._mark()) for pid in pids)


@pytest.fixture(scope="module")
def service(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, str]]:
    """The HTTP service, known to the server, and a key of it."""
    folder = tmp_path_factory.mktemp("service")
    token, line = make_key("ann", admin=True)
    (folder / "keys").write_text(line)
    server = {"PREFECT_API_URL": f"{stack.url}/api"}
    with serving(folder, str(folder / "store"), server, token, keys=folder / "keys") as web:
        stack.ask("/variables/", {"name": ADDRESS_VARIABLE, "value": f"{web.url}/"})
        yield web, token


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=_PAGE_SECONDS * 1000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", OFFLINE]
        )
        yield started
        started.close()


class Watched:
    """A page, and what it complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        complaint = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not _PREFECTS_OWN.search(complaint):
            self.complaints.append(complaint)


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(_PAGE_SECONDS * 1000)
    yield Watched(page)
    page.close()


def artifact(stack: Stack, run: str, key: str) -> dict[str, Any]:
    """One of a run's artifacts."""
    [found] = stack.ask(
        "/artifacts/filter",
        {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}},
    )
    return dict(found)


@contextmanager
def held_half_way(stack: Stack, run: str) -> Iterator[None]:
    """Hold a batch when it has said how far it is: a quick machine is done before a page loads."""

    def has_said() -> bool:
        logs = stack.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
        seen = stack.ask(f"/flow_runs/{run}")
        assert not seen["end_time"], "the batch was over before it could be held"
        return bool(re.fullmatch(_FAR, seen["name"])) and any(
            re.match(_SAID, log["message"]) for log in logs
        )

    wait(has_said, _HUNG_SECONDS, each=0.1)
    stopped = descendants(stack.runner)
    for process in stopped:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


@pytest.fixture
def slow(stack: Stack) -> Iterator[Slow]:
    """The archive, and that it is read slowly until it may be read in a hurry."""
    write_sample(stack.archive, MEMBERS)
    with served_slowly(stack.archive, _PAUSE_SECONDS) as served:
        yield served


@pytest.mark.timeout(3 * _HUNG_SECONDS)
def test_a_batch_from_the_form_to_the_report(
    stack: Stack, service: tuple[Web, str], watched: Watched, slow: Slow
) -> None:
    page = watched.page
    deployment = stack.ask("/deployments/name/crop-archive/local")["id"]

    page.goto(stack.url)
    expect(page).to_have_url(re.compile(f"^{stack.ui}/"))
    page.goto(f"{stack.ui}/deployments/deployment/{deployment}/run")
    page.get_by_role("button", name="Submit").wait_for()
    described = page.get_by_text("Longest side in pixels, from 64, of the first detection pass")
    expect(described).to_be_visible()
    for group in ("Detection", "Crop", "Input", "Limits", "Chunk", "Output", "Run"):
        expect(page.get_by_text(f"{group} (Optional)", exact=True)).to_be_visible()
    fields = page.locator("textarea")
    fields.nth(0).fill(slow.url)
    fields.nth(1).fill(str(stack.output))
    # what the page says of the run is gone after some seconds, before a busy machine has seen it
    with page.expect_response(re.compile("/create_flow_run$")) as created:
        page.get_by_role("button", name="Submit").click()
    run = created.value.json()["id"]

    # it moves, and says how far it is in its very name
    with held_half_way(stack, run):
        page.goto(f"{stack.ui}/runs/flow-run/{run}")
        page.get_by_text(re.compile(f"^{_FAR}$")).first.wait_for()
        page.get_by_text(re.compile(_SAID)).first.wait_for()
        progress = artifact(stack, run, "batch-progress")
        page.goto(f"{stack.ui}/artifacts/artifact/{progress['id']}")
        page.get_by_text(re.compile(r"Images of .*school-2026\.zip done")).first.wait_for()

    # then it is done, and shows the result
    slow.hurry()
    page.goto(f"{stack.ui}/runs/flow-run/{run}")
    page.get_by_text(re.compile(rf"{MEMBERS:,} images, [\d,]+ faces, \d+ failed$")).first.wait_for(
        timeout=_HUNG_SECONDS * 1000
    )
    page.get_by_role("tab", name="Artifacts").click()
    for key in _SHOWN:
        expect(page.get_by_text(key, exact=True)).to_be_visible()
    summary = artifact(stack, run, "batch-summary")
    page.goto(f"{stack.ui}/artifacts/artifact/{summary['id']}")
    # its text as Markdown is on the page too, unseen
    page.get_by_text("Images with a face", exact=True).wait_for()
    expect(page.get_by_text(re.compile(rf"^Done: {MEMBERS:,} images"))).to_be_visible()
    opened = page.get_by_role("link", name="Report", exact=True).get_attribute("href")

    failed = artifact(stack, run, "failed-images")
    page.goto(f"{stack.ui}/artifacts/artifact/{failed['id']}")
    page.get_by_text("truncated_image").first.wait_for()

    pictures = artifact(stack, run, "contact-sheet")
    page.goto(f"{stack.ui}/artifacts/artifact/{pictures['id']}")
    picture = page.get_by_role("img", name="Some of the crops")
    picture.wait_for()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 300
    assert watched.complaints == []

    # the browser asks its user for the service's key
    assert page.context.browser is not None
    with page.context.browser.new_context(
        http_credentials={"username": "ann", "password": service[1]}
    ) as reader:
        report = Watched(reader.new_page())
        report.page.goto(str(opened))
        expect(report.page.get_by_role("heading", level=1)).to_contain_text("school-2026.zip")
        expect(report.page.locator("#members-body tr").first).to_be_visible()
        assert report.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_from_disk_filters_and_has_no_serious_fault(
    stack: Stack, browser: Browser, scheme: Any
) -> None:
    report = stack.output / "report.html"
    assert report.exists(), "the batch of the test above has left none"
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 900})
    watched = Watched(page)
    page.goto(report.as_uri())
    expect(page.get_by_role("heading", level=1)).to_contain_text("school-2026.zip")
    expect(page.locator("footer")).to_contain_text(f"Written by Facecrop {version('facecrop')}.")

    shown = page.locator("#members-body tr")
    everything = shown.count()
    page.locator("#filter-status").focus()
    page.keyboard.press("F")  # by keyboard alone: to "Failed"
    expect(page.locator("#filter-count")).to_contain_text(re.compile(r"\d"))
    assert 0 < shown.count() < everything
    expect(shown.first).to_contain_text("cut-short")
    page.locator("#filter-status").select_option("")
    page.locator("#filter-text").fill("no such file")
    expect(page.locator("#grid-empty")).to_be_visible()
    page.locator("#filter-text").fill("")
    assert shown.count() == everything
    first = page.locator("#grid button, #grid a").first
    first.focus()
    expect(page.locator("#tip")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#details")).to_be_visible()
    page.keyboard.press("Escape")

    found = Axe().run(page)
    serious = [
        (fault["id"], fault["help"])
        for fault in found.response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert watched.complaints == []
    page.close()
