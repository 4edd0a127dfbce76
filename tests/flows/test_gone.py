"""A Prefect server that goes away for good in the middle keeps no batch from its end."""

import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from sqlite3 import connect

import pytest

from infra.servers.prefect import one_authority
from intake.cli.console import DONE_WITH_FAILURES, INTERRUPTED
from intake.cli.samples import write_sample
from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.flows.batches import Result, result
from tests.flows.gate import gate
from tests.flows.test_kill import parts
from tests.services import free_ports, served_slowly

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(900)]

MEMBERS = 80
CHUNKS = 20
BEFORE = 6  # chunks that are done when the server goes
ENDS_SECONDS = 600
COMMAND = "from intake.cli.main import main; raise SystemExit(main())"
COMMANDS = {
    "whole": COMMAND,
    "short": "from tasks.environment import set_environment; set_environment();"
    f"from tasks.lifecycle import server; server.PATIENCE_SECONDS = 10.0; {COMMAND}",
}
"""The command that waits a minute for a server, of which once is enough, and one of 10 s."""


@dataclass(frozen=True)
class Served:
    """A server, and what a process needs to use it.

    Attributes:
        vanish, freeze: has it end at once, or answer nothing any more.
    """

    port: int
    environment: dict[str, str]
    vanish: Callable[[], object]
    freeze: Callable[[], object]


@contextmanager
def server(home: Path, like: Path | None = None) -> Iterator[Served]:
    """Run a server; one `like` another's home begins with a database that has its tables."""
    home.mkdir(exist_ok=True)
    if like is not None:
        with (
            closing(connect(like / "prefect.db")) as made,
            closing(connect(home / "prefect.db")) as new,
        ):
            made.backup(new)
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/api"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = clean | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_SSL_CERT_FILE": str(one_authority(home)),
    }
    command = [sys.executable, "-P", "-m", "prefect", "server", "start", "--no-ui"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], env=environment, stdout=log, stderr=log
        )
    try:
        while not is_ready(url):
            assert process.poll() is None, (home / "server.log").read_text()[-2000:]
            time.sleep(0.5)
        yield Served(
            port,
            environment | {"PREFECT_API_URL": url},
            partial(kill_process, process),
            partial(process.send_signal, signal.SIGSTOP),
        )
    finally:
        kill_process(process)


def kill_process(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def behind_a_gate(served: Served) -> Iterator[Served]:
    """What to a client is a server of its own, and costs no start of one."""
    with gate(served.port) as opened:
        address = {"PREFECT_API_URL": f"http://127.0.0.1:{opened.port}/api"}
        yield Served(opened.port, served.environment | address, opened.vanish, opened.freeze)


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def start(
    sample: Path | str, output: Path, environment: dict[str, str], command: str = COMMANDS["short"]
) -> subprocess.Popen[str]:
    options = ["--output", str(output), "--chunk-members", str(MEMBERS // CHUNKS)]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", command, "crop", str(sample), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "sample.zip"
    write_sample(path, MEMBERS)
    return path


@pytest.fixture(scope="module")
def undisturbed(photos: Path) -> Result:
    output = str(photos.parent / "undisturbed")
    crop(
        str(photos), output, CropSettings.model_validate({"chunk": {"members": MEMBERS // CHUNKS}})
    )
    return result(output)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """A server that stays, and its home."""
    home = tmp_path_factory.mktemp("healthy")
    with server(home) as served:
        yield served, home


def kill(served: Served) -> AbstractContextManager[None]:
    served.vanish()
    return nullcontext()


def stop(served: Served) -> AbstractContextManager[None]:
    served.freeze()
    return nullcontext()


@contextmanager
def refuse(served: Served) -> Iterator[None]:
    """Has something else listen in its place that says 503 to everything."""
    served.vanish()
    with ThreadingHTTPServer(("127.0.0.1", served.port), Unavailable) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield
        proxy.shutdown()


class Unavailable(BaseHTTPRequestHandler):
    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith("do_"):
            raise AttributeError(name)
        return lambda: self.send_error(503)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("how", "when", "patience"),
    [
        # each way at two moments, and at each moment two ways
        (kill, f"parts/{BEFORE:08d}-*", "whole"),
        (stop, f"parts/{BEFORE:08d}-*", "short"),
        (kill, "batch.json", "short"),
        (refuse, "batch.json", "short"),
        (stop, f"parts/{CHUNKS - 1:08d}-*", "short"),
        (refuse, f"parts/{CHUNKS - 1:08d}-*", "short"),
    ],
)
def test_the_output_is_finished_and_one_line_says_what_the_server_does_not_know(
    how: Callable[[Served], AbstractContextManager[None]],
    when: str,
    patience: str,
    photos: Path,
    undisturbed: Result,
    healthy: tuple[Served, Path],
    tmp_path: Path,
) -> None:
    really = patience == "whole"  # once a process that is really killed
    own = server(tmp_path / "home", healthy[1]) if really else behind_a_gate(healthy[0])
    with own as served:
        run = start(photos, tmp_path / "out", served.environment, COMMANDS[patience])
        while not list((tmp_path / "out").glob(when)):
            assert run.poll() is None, run.communicate()
            time.sleep(0.001)
        with how(served):
            said, complained = run.communicate(timeout=ENDS_SECONDS)
    assert run.returncode == DONE_WITH_FAILURES, complained
    assert "manifest.parquet" in said
    [told] = [line for line in complained.splitlines() if "has not answered since" in line]
    assert "the output is complete" in told
    assert "Traceback" not in complained
    assert len(complained) < 2000, complained
    assert result(str(tmp_path / "out")) == undisturbed


@pytest.mark.parametrize(("how", "end"), [(kill, signal.SIGTERM), (stop, signal.SIGINT)])
def test_a_signal_ends_it_and_it_resumes(
    how: Callable[[Served], AbstractContextManager[None]],
    end: signal.Signals,
    photos: Path,
    undisturbed: Result,
    healthy: tuple[Served, Path],
    tmp_path: Path,
) -> None:
    # each chunk takes a while to come, so that the signal does not come too late
    with served_slowly(photos, 0.5) as slow:
        with behind_a_gate(healthy[0]) as served:
            run = start(slow.url, tmp_path / "out", served.environment)
            while parts(tmp_path / "out") < BEFORE:
                assert run.poll() is None, run.communicate()
                time.sleep(0.01)
            how(served)
            time.sleep(1)  # so that some call has found nobody
            run.send_signal(end)
            _, complained = run.communicate(timeout=60)
        assert run.returncode == INTERRUPTED, complained
        assert "Traceback" not in complained
        assert len(complained) < 2000, complained
        assert not (tmp_path / "out" / "manifest.parquet").exists(), "too late to show anything"
        slow.hurry()
        run = start(slow.url, tmp_path / "out", healthy[0].environment)
        _, complained = run.communicate(timeout=ENDS_SECONDS)
    assert run.returncode == DONE_WITH_FAILURES, complained
    assert result(str(tmp_path / "out")) == undisturbed
