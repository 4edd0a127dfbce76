"""A signed webhook is posted when a batch has ended, set off by the real automation."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prefect.blocks.system import Secret
from pydantic import SecretStr

from deployments.apply import main as apply_deployments
from infra.docs import ROOT
from intake.cli.samples import write_sample
from storage.errors import TransientError
from tasks.notify import URL_BLOCK, NotifyError, post
from tests.deployed import forget_webhook
from tests.docs.blocks import blocks_of
from tests.workers import process_workers, submit, wait, wait_for_end

pytestmark = [pytest.mark.service, pytest.mark.slow]
SECRET = "known to two"


@dataclass
class Receiver:
    """Somebody's web service: what it got, and how it is to answer."""

    url: str
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def verified(self) -> list[dict[str, Any]]:
        """What it got, each checked by what the document has a receiver do."""
        page = "docs/operate/notifications.md"
        blocks = blocks_of(page, (ROOT / page).read_text())
        sample: dict[str, Any] = {}
        exec(next(one.text for one in blocks if one.language == "python"), sample)
        for headers, body in self.got:
            assert sample["is_genuine"](headers["Facecrop-Signature"], body, SECRET)
            assert not sample["is_genuine"](headers["Facecrop-Signature"], body + b" ", SECRET)
        return [json.loads(body) for _, body in self.got]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    there = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            there.got.append((dict(self.headers), body))
            self.send_response(there.answers.pop(0) if there.answers else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there.url = f"http://127.0.0.1:{server.server_port}/facecrop"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield there
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def registered(prefect: dict[str, str], receiver: Receiver) -> Iterator[Receiver]:
    """With the automation on the server, which would go on to tell of other tests' batches."""
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACECROP_WEBHOOK_URL", receiver.url)
        patch.setenv("FACECROP_WEBHOOK_SECRET", SECRET)
        assert apply_deployments() == 0
    yield receiver
    forget_webhook()


@pytest.fixture
def applied(registered: Receiver) -> Receiver:
    registered.answers.clear()
    registered.got.clear()
    return registered


def test_a_batch_that_is_done_and_one_that_failed_are_told_of(
    applied: Receiver, prefect: dict[str, str], tmp_path: Path
) -> None:
    write_sample(tmp_path / "sample.zip", 12)
    with process_workers(prefect, tmp_path) as start_worker:
        start_worker("only")
        done = submit(str(tmp_path / "sample.zip"), str(tmp_path / "out"), {})
        failed = submit(str(tmp_path / "absent.zip"), str(tmp_path / "none"), {})
        wait_for_end(done.id)
        wait_for_end(failed.id)
        wait(lambda: len(applied.got) == 2)
    told = {one["batchId"]: one for one in applied.verified()}
    assert told[str(done.id)]["event"] == "batch.completed"
    assert told[str(done.id)]["members"] == 12
    assert told[str(done.id)]["output"] == str(tmp_path / "out")
    assert told[str(failed.id)]["event"] == "batch.failed"
    assert "absent.zip" in told[str(failed.id)]["message"]


def test_a_service_that_is_being_restarted_is_told_later(applied: Receiver) -> None:
    applied.answers = [503, 429]
    post({"event": "batch.completed"})
    assert len(applied.got) == 3
    assert applied.verified()[-1] == {"event": "batch.completed"}


def test_a_service_that_refuses_is_not_asked_again(applied: Receiver) -> None:
    applied.answers = [404]
    with pytest.raises(NotifyError, match="refused with 404"):
        post({})
    assert len(applied.got) == 1


def test_nobody_there_is_transient(applied: Receiver) -> None:
    Secret(value=SecretStr("http://127.0.0.1:9/")).save(URL_BLOCK, overwrite=True)
    with pytest.raises(TransientError, match="did not answer: ConnectError"):
        post.fn({})
    Secret(value=SecretStr(applied.url)).save(URL_BLOCK, overwrite=True)


def test_an_address_without_a_secret_is_refused(
    prefect: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACECROP_WEBHOOK_URL", "http://127.0.0.1:9/")
    monkeypatch.delenv("FACECROP_WEBHOOK_SECRET", raising=False)
    assert apply_deployments() == 1
    assert "not FACECROP_WEBHOOK_SECRET" in capsys.readouterr().err
