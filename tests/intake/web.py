"""The HTTP service as a real process, and a client for it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import httpx

from infra.servers.process import Process
from intake.control import batches
from storage.fs.location import resolve
from tests import warm
from tests.workers import pauses, this_client

UPLOAD = "/api/batch/upload-zip"
MIB = 1 << 20


@dataclass(frozen=True)
class Web:
    """A running service.

    Attributes:
        url: of it.
        process: of it.
        store: where it puts uploads.
        log: its standard error.
        client: with its key, where it has one.
    """

    url: str
    process: Process
    store: str
    log: Path
    client: httpx.Client

    @property
    def port(self) -> int:
        """Where it listens."""
        return httpx.URL(self.url).port or 0

    def status(self, batch: str) -> dict[str, Any]:
        """How far a batch is."""
        return body(self.client.get(f"/api/batch/status/{batch}"), 200)

    def follow(self, batch: str, *states: str, seconds: float = 240) -> dict[str, Any]:
        """Wait until a batch is in one of some states."""
        for pause in pauses(seconds):
            seen = self.status(batch)
            if seen["state"] in states:
                break
            assert pause, seen
            time.sleep(pause)
        return seen

    def stored(self) -> list[str]:
        """Paths of what lies among its uploads, below the store; of a local one folders as well."""
        place = resolve(self.store)
        if place.is_local:
            # `rglob` would fail on a folder that the service removes meanwhile.
            walked = os.walk(Path(place.path, "uploads"))
            paths = (Path(at, name) for at, *names in walked for name in chain(*names))
            return sorted(str(path.relative_to(place.path)) for path in paths)
        found = place.fs.find(f"{place.path}/uploads", detail=True)
        files = [name for name, info in found.items() if info["type"] == "file"]
        return [name.removeprefix(f"{place.path}/") for name in files]

    def unfinished(self) -> list[Any]:
        """Objects of its bucket that are being uploaded."""
        place = resolve(self.store)
        if place.is_local:
            return []
        bucket = place.path.partition("/")[0]
        parts = place.fs.call_s3("list_multipart_uploads", Bucket=bucket)
        return list(parts.get("Uploads", []))


@contextmanager
def serving(
    folder: Path,
    store: str,
    environment: Mapping[str, str],
    key: str = "",
    *,
    limits: str = "",
    **settings: Any,
) -> Iterator[Web]:
    """Run a service on a free port, and end it.

    Args:
        folder: for its log.
        store: FACECROP_HTTP_STORE.
        environment: of the process, beside this one's.
        key: that its client sends.
        limits: of the process, as `ulimit` takes them.
        settings: others of FACECROP_HTTP_*, in small letters.
    """
    chosen = {f"FACECROP_HTTP_{name.upper()}": str(value) for name, value in settings.items()}
    log = folder / f"http-{time.monotonic_ns()}.log"
    words = ["facecrop", "serve", "--port", "0"]
    variables = {**os.environ, **environment, **chosen, "FACECROP_HTTP_STORE": store}
    said, says = os.pipe()
    with log.open("wb") as errors, os.fdopen(says, "wb"):
        if limits:
            limited = ["sh", "-c", f'ulimit {limits} && exec "$@"', "sh"]
            process: Process = subprocess.Popen(
                [*limited, sys.executable, "-m", *words], env=variables, stdout=says, stderr=errors
            )
        else:
            process = warm.start(words, variables, says, errors.fileno())
    output = os.fdopen(said)
    try:
        url = output.readline().strip().rpartition(" ")[2]
        assert url.startswith("http://"), log.read_text()
        headers = {"X-API-Key": key} if key else {}
        with httpx.Client(base_url=url, timeout=60, headers=headers) as client:
            yield Web(url, process, store, log, client)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.close()


def body(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The JSON of an answer that has to have a status."""
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def problem(answer: httpx.Response, status: int) -> str:
    """The one sentence of a problem that has to have a status."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found = body(answer, status)
    assert (found["type"], found["status"]) == ("about:blank", status)
    assert found["title"]
    assert "Traceback" not in found["detail"]
    return str(found["detail"])


def settings(**groups: Any) -> str:
    """Settings as a form has them."""
    return json.dumps({"chunk": {"members": 10}, "run": {"threads": 1}, **groups})


def known_batches() -> int:
    """How many batches the Prefect server knows."""
    return sum(batches.count_by_state(this_client()).values())


def head(length: int, *lines: str) -> bytes:
    """The first lines of an upload, for a client that sends what it likes after them."""
    first = f"POST {UPLOAD} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}"
    return "\r\n".join([first, *lines, "", ""]).encode()


def zip_of(content: bytes) -> bytes:
    """A ZIP with one member, the same bytes whenever it is made (a ZIP tells the time)."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.jpg"), content)
    return target.getvalue()
