"""What clients and terminals get to see of wicked names, redirects and secrets."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from rich.console import Console

from intake.cli.console import complain, explain
from intake.cli.render import render, render_status
from intake.cli.tables import table
from intake.control.batches import Status
from pipeline.summary import Summary
from storage.output.counts import Counts
from tests.intake.web import Web, body, problem, serving
from tests.services import QuietHandler, RangeHandler, web_server

ESCAPE, BELL, OTHER = "\x1b[31m", "\x07", "\x9b31m"  # the last is an escape in one character
TURNED = "\u202e"  # what follows is written from right to left
WICKED = [
    f"{ESCAPE}red{BELL}.jpg",
    f"{OTHER}red.jpg",
    f"{TURNED}gpj.exe",
    "[bold]x[/bold].jpg",
    "[link=javascript:alert(1)]x[/link].jpg",
    "<img src=x onerror=alert(1)>.jpg",
    "=cmd|' /C calc'!A0.jpg",
    "two\nlines\r.jpg",
]
SIGNED = "https://me:hush@host/a.zip?sig=hush"


def harmless(text: str) -> bool:
    """Whether a terminal would take nothing in it for a command."""
    return all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("name", WICKED)
def test_a_terminal_is_told_names_and_no_commands(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = Summary.of(f"/in/{name}", f"/out/{name}", Counts(), 0, 1)
    status = Status(
        id=uuid4(),
        name=name,
        state="failed",
        message=name,
        archive=f"/in/{name}",
        output=f"/out/{name}",
        project=name,
        counts=Counts(),
        total=None,
        share=0,
        images_per_second=0,
        seconds_left=None,
    )
    for text in (render(summary), render_status(status, "http://127.0.0.1/run")):
        assert harmless(text)
        assert len(text.splitlines()) == 5
    complain(f"{name} is paused already")
    Console(width=200, force_terminal=False).print(table(("path",), [(name,)]))
    told = capsys.readouterr()
    assert harmless(told.err)
    assert harmless(told.out)
    assert len(told.err.splitlines()) == 1
    plain = name.replace(ESCAPE[0], "\\x1b").replace(BELL, "\\x07").replace(OTHER[0], "\\x9b")
    plain = plain.replace(TURNED, "\\u202e")
    if "\n" not in name:  # and markup of rich's is shown, not obeyed
        assert plain in told.out


def test_a_terminal_is_told_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    told = [render(Summary.of(SIGNED, SIGNED, Counts(), 0, 1))]
    complain(f"cannot open {SIGNED}: permission denied")
    told.append(capsys.readouterr().err)
    try:
        raise ValueError(f"what is {SIGNED}?")
    except ValueError as error:
        complain(explain(error, verbose=True))
    told.append(capsys.readouterr().err)
    assert "Traceback" in told[-1]
    for text in told:
        assert "https://***@host/a.zip?***" in text
        assert "hush" not in text


class Leading(RangeHandler):
    """Sends whoever asks for `away.zip` on to where it was told to."""

    target = ""

    def do_GET(self) -> None:  # noqa: N802
        if not self.path.endswith("away.zip"):
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", self.target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:  # noqa: N802
        if self.path.endswith("away.zip"):
            self.do_GET()
        else:
            super().do_HEAD()


class Inside(QuietHandler):
    """Must not be reached."""

    reached = False

    def do_GET(self) -> None:  # noqa: N802
        type(self).reached = True
        super().do_GET()

    def do_HEAD(self) -> None:  # noqa: N802
        type(self).reached = True
        super().do_HEAD()


@pytest.fixture(scope="module")
def beside(
    deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Web, str]]:
    """A service whose clients may name what lies below one address, and that address."""
    folder = tmp_path_factory.mktemp("beside")
    with zipfile.ZipFile(folder / "a.zip", "w") as target:
        target.writestr("a.jpg", b"no picture")
    with web_server(folder, Inside) as inside:
        leading = type("Leading", (Leading,), {"target": f"{inside}/a.zip"})
        with web_server(folder, leading) as address:
            store = str(folder / "store")
            with serving(folder, store, deployed, prefixes=f"{address},{store}") as web:
                yield web, address


@pytest.mark.service
def test_no_redirect_leads_out_of_a_prefix(beside: tuple[Web, str]) -> None:
    web, address = beside
    asked = {"archive": f"{address}/away.zip"}
    refused = problem(web.client.post("/api/batch/from-uri", json=asked), 422)
    assert "redirects are not followed" in refused
    assert not Inside.reached


@pytest.mark.service
def test_answers_and_names_tell_no_signature(beside: tuple[Web, str]) -> None:
    web, address = beside
    asked = {"archive": f"{address}/a.zip?sig=hush"}
    answer = web.client.post("/api/batch/from-uri", json=asked)
    batch = body(answer, 201)["batchId"]
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(UUID(batch)).name == "a.zip"
    told = [answer.text, web.client.get(f"/api/batch/status/{batch}").text]
    for archive in (f"{address}/gone.zip?sig=hush", "https://me:hush@other.example/a.zip?sig=hush"):
        refused = web.client.post("/api/batch/from-uri", json={"archive": archive})
        assert refused.status_code in (403, 422)
        assert "?***" in refused.text
        told.append(refused.text)
    assert not [text for text in told if "hush" in text]
    assert "hush" not in web.log.read_text()
    body(web.client.post(f"/api/batch/{batch}/cancel"), 202)
