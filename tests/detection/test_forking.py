"""Processes that are forked from a server are as good as those that are started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from detection.forking import request, start
from detection.forking.request import Forked, NotForkedError
from detection.forking.start import QUIET, ForkServerProcess
from detection.sandbox import pool as sandbox
from detection.sandbox.process import FORK_SERVER, child_environment
from detection.sandbox.protocol import Bounds
from infra.servers.process import descendants
from tests.detection import forked
from tests.detection.isolated import crop_one_isolated, gone
from tests.pictures import astronaut_jpeg

pytestmark = pytest.mark.skipif(not start.can_fork(), reason="fork servers need Linux")

ENVIRONMENT = {**os.environ, **QUIET}
BOUNDS = Bounds(max_pixels=100_000_000, seconds=60, memory_mib=1024)
# In short pieces: a signal that comes right before a sleep begins would be heeded at its end.
SLEEP = "import time\nwhile True: time.sleep(0.05)"


@contextmanager
def server(**variables: str) -> Iterator[ForkServerProcess]:
    with closing(ForkServerProcess(forked.__name__, {**ENVIRONMENT, **variables})) as running:
        yield running


@pytest.fixture(scope="module")
def path() -> Iterator[str]:
    """Of a server's socket."""
    with server() as running:
        yield running.path


class Process:
    """A forked process and the ends of its streams."""

    def __init__(self, path: str, code: str, **variables: str) -> None:
        ends = [os.pipe() for _ in range(3)]
        theirs = [ends[0][0], ends[1][1], ends[2][1]]
        try:
            environment = {**ENVIRONMENT, **variables, forked.CODE: code}
            self.forked = Forked(path, environment, theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        os.close(ends[2][0])
        self.input = os.fdopen(ends[0][1], "w")
        self.out = os.fdopen(ends[1][0])

    def said(self) -> str:
        """What it wrote on its standard output, until that is closed."""
        with self.out:
            return self.out.read()


def lines(*code: str) -> str:
    return "\n".join(code)


def test_it_has_what_it_was_asked_for(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = lines(
        "import os, sys",
        "print(os.getcwd(), os.environ['ONLY_HERE'], sys.stdin.read() == '')",
        "print(open('/proc/self/comm').read().strip(), os.getpid() == os.getpgid(0))",
    )
    process = Process(path, code, ONLY_HERE="ü" * 100_000)
    process.input.close()
    assert process.said() == f"{tmp_path} {'ü' * 100_000} True\nforked True\n"
    assert process.forked.wait(10) == 0


def test_two_at_once_with_different_environments(path: str) -> None:
    code = "import os, sys; print(os.environ['MINE'], 'FORKED_OTHER' in os.environ)"
    first, second = Process(path, code, MINE="1", FORKED_OTHER=""), Process(path, code, MINE="2")
    assert [first.said(), second.said()] == ["1 True\n", "2 False\n"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(7)", 7),
        ("1 / 0", 1),
        ("import os; os._exit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import os; os.kill(os.getpid(), 11)", -11),
    ],
)
def test_how_it_ended_is_told(path: str, code: str, expected: int) -> None:
    process = Process(path, code).forked
    assert process.wait(20) == process.poll() == process.returncode == expected


def test_signals_reach_it_and_mean_what_they_mean_elsewhere(path: str) -> None:
    handled = lines(
        "import signal, sys",
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))",
        "print('ready', flush=True)",
        SLEEP,
    )
    process = Process(path, handled)
    assert process.out.readline() == "ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.forked.wait(0.01)
    process.forked.send_signal(signal.SIGTERM)
    assert process.forked.wait(20) == 5
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        sleeping = Process(path, "print('ready', flush=True)\n" + SLEEP)
        assert sleeping.out.readline() == "ready\n"
        sleeping.forked.send_signal(number)
        # Python makes an exception of SIGINT, and ends with it as a shell expects
        assert sleeping.forked.wait(20) == -number


def test_a_signal_to_one_that_has_ended_reaches_no_other(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Process(path, "").forked
    assert ended.wait(30) == 0
    other = Process(path, "print('ready', flush=True)\n" + SLEEP)
    assert other.out.readline() == "ready\n"
    # numbers of descriptors are given again
    monkeypatch.setattr(ended, "_pidfd", other.forked.fileno())
    ended.send_signal(signal.SIGTERM)
    ended.kill()
    other.forked.send_signal(signal.SIGINT)
    assert other.forked.wait(30) == -signal.SIGINT


def test_no_two_draw_the_same_numbers(path: str) -> None:
    code = lines(
        "import random, numpy, uuid, tempfile",
        "print(random.random(), numpy.random.random(), uuid.uuid4(), tempfile.mktemp())",
    )
    one, other = (set(Process(path, code).said().split()) for _ in range(2))
    assert len(one) == len(other) == 4
    assert not one & other


@pytest.mark.parametrize("variables", [{"PREFECT_API_URL": "http://other"}, {"LD_PRELOAD": "x.so"}])
def test_what_is_read_at_import_must_be_the_servers(path: str, variables: dict[str, str]) -> None:
    with pytest.raises(NotForkedError, match="environment"):
        Process(path, SLEEP, **variables)


def test_what_belongs_to_one_run_may_differ(path: str) -> None:
    process = Process(path, "import os; print(os.environ['PREFECT__X'])", PREFECT__X="1")
    assert process.said() == "1\n"


def test_a_server_with_a_second_thread_forks_nothing() -> None:
    with server(**{forked.THREAD: "1"}) as running, pytest.raises(NotForkedError):
        Process(running.path, SLEEP, **{forked.THREAD: "1"})


def test_where_there_is_no_server_nothing_is_forked(tmp_path: Path) -> None:
    with pytest.raises(NotForkedError):
        Process(str(tmp_path / "none"), SLEEP)


def test_a_request_that_is_none_changes_nothing(path: str) -> None:
    import socket

    for garbage in (b"", b"\xff\xff\xff\xff", b"\x05\0\0\0hello"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(garbage)
    assert Process(path, "print(1)").said() == "1\n"


def test_it_ends_with_whoever_asked_for_it(path: str) -> None:
    ask = lines(
        "import os, sys, time",
        "from detection.forking.request import Forked",
        "run = Forked(sys.argv[1], os.environ, (0, 1, 2))",
        "print(run.pid, flush=True)",
        "time.sleep(600)",
    )
    asking = subprocess.Popen(
        [sys.executable, "-P", "-c", ask, path],
        env={**ENVIRONMENT, forked.CODE: SLEEP},
        stdout=subprocess.PIPE,
    )
    assert asking.stdout is not None
    pid = int(asking.stdout.readline())
    asking.kill()
    asking.wait()
    with closing(asking.stdout):
        assert asking.stdout.read() == b""  # which the forked one has, too, until it ends
    assert gone(pid, 60)


def test_it_outlives_its_server_and_another_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_RESTART_SECONDS", 0.0)
    with server() as running:
        code = "import sys; print('ready', flush=True); sys.stdin.read(); print('done')"
        process = Process(running.path, code)
        assert process.out.readline() == "ready\n"
        before = running.pid
        os.kill(before, signal.SIGKILL)
        assert gone(before, 60)
        assert process.forked.poll() is None
        process.input.close()
        assert process.said() == "done\n"
        # how it ended only its server could have told
        assert process.forked.wait(20) == -signal.SIGKILL
        assert Process(running.path, "print(1)").said() == "1\n"
        assert running.pid != before


def test_a_server_that_is_stopped_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with server() as running:
        process = Process(running.path, "import sys; sys.stdin.read()")
        monkeypatch.setattr(request, "_STATUS_SECONDS", 0.1)
        monkeypatch.setattr(request, "_ANSWER_SECONDS", 0.1)
        os.kill(running.pid, signal.SIGSTOP)
        try:
            process.input.close()
            assert process.forked.wait(20) == -signal.SIGKILL
            with pytest.raises(NotForkedError, match="timed out"):
                Process(running.path, SLEEP)
        finally:
            os.kill(running.pid, signal.SIGCONT)


def test_a_server_that_dies_at_once_is_not_started_again_and_again() -> None:
    with closing(ForkServerProcess("no_such_module", ENVIRONMENT)) as running:
        os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOWAIT)
        before = running.pid
        with pytest.raises(NotForkedError):
            Process(running.path, SLEEP)
        assert running.pid == before


def test_nothing_is_left() -> None:
    with server() as running:
        pid = running.pid
        sleeping = Process(running.path, SLEEP).forked
        assert Process(running.path, "print(1)").forked.wait(20) == 0
        assert descendants(pid) == [sleeping.pid]
        sleeping.kill()
        sleeping.wait()
        folder = Path(running.path).parent
    assert not folder.exists()
    assert gone(pid, 60)


@pytest.fixture
def images() -> Iterator[ForkServerProcess]:
    environment = child_environment({**os.environ, **QUIET})  # as it is now: others change it
    with closing(ForkServerProcess("detection.sandbox.forkserver", environment)) as running:
        yield running


@pytest.fixture
def forking(images: ForkServerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Have images worked on in forked processes; the process id of their server."""
    sandbox.end_idle()
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(FORK_SERVER, images.path)
    yield images.pid
    sandbox.end_idle()


def test_an_image_comes_out_of_a_forked_process_as_of_another(
    forking: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = astronaut_jpeg()
    one, digest = crop_one_isolated(data, BOUNDS)
    assert sandbox.idle_pids() == descendants(forking)
    sandbox.end_idle()
    assert descendants(forking) == []
    monkeypatch.delenv(FORK_SERVER)
    other, other_digest = crop_one_isolated(data, BOUNDS)
    assert (one.crops, digest) == (other.crops, other_digest)


def test_a_process_for_images_is_forked_whatever_prefects_settings_are(
    forking: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")
    crop_one_isolated(astronaut_jpeg(), BOUNDS)
    assert sandbox.idle_pids() == descendants(forking) != []


def test_a_forked_process_for_images_is_replaced_when_it_dies(forking: int) -> None:
    data = astronaut_jpeg()
    crop_one_isolated(data, BOUNDS)
    (pid,) = sandbox.idle_pids()
    os.kill(pid, signal.SIGKILL)
    assert len(crop_one_isolated(data, BOUNDS)[0].crops) == 1
    (after,) = sandbox.idle_pids()
    assert after != pid
    assert descendants(forking) == [after]


def test_images_have_a_process_where_the_server_is_dead(
    forking: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORK_SERVER, os.environ[FORK_SERVER] + ".none")
    assert len(crop_one_isolated(astronaut_jpeg(), BOUNDS)[0].crops) == 1
    assert descendants(forking) == []
    assert FORK_SERVER not in os.environ  # it is not asked again
