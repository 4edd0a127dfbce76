"""A Prefect server that goes away for good in the middle keeps no batch from its end."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.servers.ports import answers
from infra.servers.stack import Daemon
from intake.cli.console import DONE_WITH_FAILURES, INTERRUPTED
from intake.cli.samples import write_sample
from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.flows.batches import Result, result
from tests.flows.gate import gate
from tests.flows.test_kill import parts
from tests.services import DATABASE, free_ports, served_slowly

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
def own_server(folder: Path) -> Iterator[Served]:
    """Run a server that is a process of its own, with the rows of the tests' own."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-P", "-m", "prefect", "server", "start", "--no-ui"]
    environment = {
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": os.environ[DATABASE],
    }
    command += ["--port", str(port)]
    server = Daemon("server", command, folder, lambda _: answers(f"{url}/ready"), environment)
    with server.running():
        freeze = partial(os.kill, server.pid, signal.SIGSTOP)
        yield Served(port, os.environ | {"PREFECT_API_URL": url}, server.kill, freeze)


@contextmanager
def behind_a_gate(prefect: dict[str, str]) -> Iterator[Served]:
    """What to a client is a server of its own, and costs no start of one."""
    port = urlsplit(prefect["PREFECT_API_URL"]).port
    assert port is not None
    with gate(port) as opened:
        address = {"PREFECT_API_URL": f"http://127.0.0.1:{opened.port}/api"}
        yield Served(opened.port, os.environ | address, opened.vanish, opened.freeze)


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
    prefect: dict[str, str],
    tmp_path: Path,
) -> None:
    really = patience == "whole"  # once a process that is really killed
    with own_server(tmp_path) if really else behind_a_gate(prefect) as served:
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
    prefect: dict[str, str],
    tmp_path: Path,
) -> None:
    # each chunk takes a while to come, so that the signal does not come too late
    with served_slowly(photos, 0.5) as slow:
        with behind_a_gate(prefect) as served:
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
        run = start(slow.url, tmp_path / "out", os.environ | prefect)
        _, complained = run.communicate(timeout=ENDS_SECONDS)
    assert run.returncode == DONE_WITH_FAILURES, complained
    assert result(str(tmp_path / "out")) == undisturbed
