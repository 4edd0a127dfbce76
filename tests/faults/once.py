"""Exactly one batch an archive: `python -m tests.faults.once [--seconds 300] [--seed 1] [--json]`.

Two copies of the HTTP service and three watchers of an inbox work on one Prefect server, on
PostgreSQL and Redis, and are killed with SIGKILL at random moments and started again. Meanwhile
archives arrive in the inbox and are uploaded, each upload with a key and until it is answered.
At the end every archive has one batch.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from infra.servers.stack import prefect_stack
from tests.services import free_ports

_SERVICES, _WATCHERS = 2, 3
_BETWEEN_KILLS = (1.0, 4.0)  # seconds
_BETWEEN_ARRIVALS = (1.0, 3.0)
_PATIENCE_SECONDS = 120  # for the last archives, once nobody is killed any more


@dataclass(frozen=True, slots=True)
class Result:
    """The result.

    Attributes:
        seconds: of killing.
        kills: of services and watchers, together.
        arrived, uploaded: archives that were put into the inbox, and that were uploaded.
        lost: archives without a batch.
        doubled: archives with more than one.
        answers: batches that an upload's answers named, where they named several for one key.
        orphans: uploads that no batch has, which `facecrop cleanup` removes.
    """

    seconds: float
    kills: int
    arrived: int
    uploaded: int
    lost: int
    doubled: int
    answers: int
    orphans: int


class Mortal:
    """A process that is killed and started again, by the same command."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def run(seconds: float, seed: int) -> Result:
    """Do it all, in a temporary folder."""
    chance = random.Random(seed)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        server = stack.enter_context(prefect_stack())
        environment = {**os.environ, **server.environment, "FACECROP_HTTP_STORE": f"{folder}/store"}
        subprocess.run([sys.executable, "-m", "deployments"], env=environment, check=True)
        inbox, output = folder / "inbox", folder / "batches"
        inbox.mkdir()
        addresses, mortals = [], []
        for number, port in enumerate(free_ports(_SERVICES)):
            addresses.append(f"http://127.0.0.1:{port}")
            serve = [sys.executable, "-m", "facecrop", "serve", "--port", str(port)]
            name = f"service-{number}"
            mortals.append(Mortal(serve, environment, folder / f"{name}.log"))
        for number in range(_WATCHERS):
            watch = [sys.executable, "-m", "tests.faults.watcher", str(inbox), str(output)]
            name = f"watcher-{number}"
            mortals.append(Mortal(watch, environment, folder / f"{name}.log"))
        for mortal in mortals:
            stack.callback(mortal.kill)
        over = threading.Event()
        uploads = [Uploads(number, addresses, over, seed) for number in range(2)]
        arrivals = Arrivals(inbox, over, seed)
        for thread in (arrivals, *uploads):
            thread.start()
        kills, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(chance.uniform(*_BETWEEN_KILLS))
            mortal = chance.choice(mortals)
            mortal.kill()
            mortal.start()
            kills += 1
        over.set()
        for thread in (arrivals, *uploads):
            thread.join(_PATIENCE_SECONDS)
        api = server.environment["PREFECT_API_URL"]
        wanted = arrivals.count + sum(len(one.answers) for one in uploads)
        patience = time.monotonic() + _PATIENCE_SECONDS
        while len(set(_archives(api))) < wanted and time.monotonic() < patience:
            time.sleep(2)
        time.sleep(10)  # whoever would start a second batch has the time to do so
        return _judge(folder, seconds, kills, arrivals, uploads, Counter(_archives(api)))


class Arrivals(threading.Thread):
    """Puts archives into the inbox, now and then, each whole at once."""

    def __init__(self, inbox: Path, over: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._inbox, self._over, self._chance = inbox, over, random.Random(seed + 100)

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(*_BETWEEN_ARRIVALS)):
            part = self._inbox / f"{self.count:05}.zip.part"
            part.write_bytes(_archive(f"arrived-{self.count}"))
            part.rename(self._inbox / f"{self.count:05}.zip")
            self.count += 1


class Uploads(threading.Thread):
    """Uploads archives one after the other, each with a key and until it is answered."""

    def __init__(self, number: int, addresses: list[str], over: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self.answers: dict[str, set[str]] = {}
        self._number, self._addresses = number, addresses
        self._over, self._chance = over, random.Random(seed + 200 + number)

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(*_BETWEEN_ARRIVALS)):
            key = f"upload-{self._number}-{len(self.answers)}"
            self.answers[key] = set()
            for again in range(2):  # an answer may be lost, so a client asks once more
                while not (batch := self._upload(key)):
                    time.sleep(self._chance.uniform(0.1, 0.5))
                self.answers[key].add(batch)
                if again or self._chance.random() < 0.5:
                    break

    def _upload(self, key: str) -> str | None:
        address = self._chance.choice(self._addresses)
        try:
            answer = httpx.post(
                f"{address}/api/batch/upload-zip",
                params={"filename": f"{key}.zip"},
                content=_archive(key),
                headers={"Idempotency-Key": key, "Content-Type": "application/zip"},
                timeout=30,
            )
        except httpx.TransportError:
            return None
        if answer.status_code >= 500:
            return None
        answer.raise_for_status()
        return str(answer.json()["batchId"])


def _archive(name: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(f"{name}.txt", name)
    return sink.getvalue()


def _archives(api: str) -> Iterator[str]:
    """The archive of every batch that there is."""
    offset = 0
    while True:
        page = httpx.post(
            f"{api}/flow_runs/filter",
            json={
                "flows": {"name": {"any_": ["crop-archive"]}},
                "offset": offset,
                "limit": 200,
                "sort": "ID_DESC",
            },
            timeout=60,
        )
        page.raise_for_status()
        rows = page.json()
        yield from (row["parameters"]["archive"] for row in rows)
        if len(rows) < 200:
            return
        offset += len(rows)


def _judge(
    folder: Path,
    seconds: float,
    kills: int,
    arrivals: Arrivals,
    uploads: list[Uploads],
    batches: Counter[str],
) -> Result:
    answered = [named for one in uploads for named in one.answers.values()]
    arrived = {f"{folder}/inbox/{number:05}.zip" for number in range(arrivals.count)}
    stored = {str(path) for path in (folder / "store" / "uploads").glob("*/*")}
    uploaded = {archive for archive in batches if archive not in arrived}
    lost = len(arrived - batches.keys()) + max(0, len(answered) - len(uploaded))
    doubled = sum(count - 1 for count in batches.values())
    doubled += max(0, len(uploaded) - len(answered))
    return Result(
        seconds,
        kills,
        len(arrived),
        len(answered),
        lost,
        doubled,
        sum(len(named) - 1 for named in answered if len(named) > 1),
        len(stored - uploaded),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.once", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="of killing (default 300)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = run(options.seconds, options.seed)
    if options.json:
        print(json.dumps(asdict(result)))
    else:
        for name, value in asdict(result).items():
            print(f"{name:10}{value:>8}")
    return 1 if result.lost or result.doubled or result.answers else 0


if __name__ == "__main__":
    sys.exit(main())
