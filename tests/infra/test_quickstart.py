"""The quickstart ends what it starts, on each system in its way; Windows' script is PowerShell.

What Windows alone has is faked: it was never run there (docs/start/windows.md). That the server and
the runner start and end is seen by tests/browser/test_dashboard.py, which works on them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from infra import background, install, quickstart

INFRA = Path(__file__).resolve().parents[2] / "infra"
POWERSHELL = (INFRA / "quickstart.ps1").read_bytes()
MARK = "facecrop=/a place/with spaces"
# tells its child's number, and waits for ever; nothing that it is told by a terminal ends it
PARENT = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)\n"
)


def wait_for_line(log: Path) -> str:
    until = time.monotonic() + 60
    while not (text := log.read_text() if log.exists() else "").endswith("\n"):
        assert time.monotonic() < until
        time.sleep(0.05)
    return text.strip()


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_goes_on_in_the_background_is_ended_with_all_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_STOP_SECONDS", 0.5)
    log = tmp_path / "log"
    started = background.launch(
        Path(sys.executable), ["-c", PARENT], MARK, log, tmp_path, os.environ
    )
    child = int(wait_for_line(log))
    assert (
        os.getsid(started.pid) == started.pid
    )  # so that a terminal that is closed does not end it
    assert background.is_running(started.pid, MARK)
    assert not background.is_running(started.pid, "facecrop=/elsewhere")
    assert not background.is_running(child, MARK)
    background.end(started.pid, MARK)
    assert started.wait(30) == -9  # it heeded nothing else
    until = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not background.is_running(started.pid, MARK)
    background.end(started.pid, MARK)  # which is no error


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """`background` as on Windows; the commands that it runs, of which each ends with 0."""
    commands: list[list[str]] = []

    def run(command: list[str], **named: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        if "-Command" in command:
            environment = named["env"]
            assert isinstance(environment, dict)
            assert (environment["FACECROP_PID"], environment["FACECROP_MARK"]) == ("7", MARK)
        return subprocess.CompletedProcess(command, 0, b"", b"")

    def popen(command: list[str], **named: object) -> SimpleNamespace:
        commands.append(command)
        assert named["creationflags"] == 0x200 | 0x08000000
        assert "start_new_session" not in named
        return SimpleNamespace(pid=7)

    monkeypatch.setattr(background, "sys", SimpleNamespace(platform="win32"))
    fake = SimpleNamespace(
        run=run,
        Popen=popen,
        DEVNULL=subprocess.DEVNULL,
        CREATE_NEW_PROCESS_GROUP=0x200,
        CREATE_NO_WINDOW=0x08000000,
    )
    monkeypatch.setattr(background, "subprocess", fake)
    return commands


def test_windows_has_its_own_way_of_each(windows: list[list[str]], tmp_path: Path) -> None:
    background.launch(Path("py.exe"), ["-m", "x"], MARK, tmp_path / "log", tmp_path, {})
    assert background.is_running(7, MARK)
    background.end(7, MARK)
    started, asked, ended = windows
    assert started == ["py.exe", "-P", "-X", MARK, "-m", "x"]
    system = r"C:\Windows\System32"
    assert asked[0] == rf"{system}\WindowsPowerShell\v1.0\powershell.exe"
    assert asked[-2] == "-Command"
    assert not list(faults(asked[-1].encode()))
    assert ended == [rf"{system}\taskkill.exe", "/PID", "7", "/T", "/F"]


def test_windows_has_its_own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = (
        "import sys; sys.platform = 'win32'\n"
        "from infra import install, quickstart\n"
        "print(install.PYTHON.relative_to(install.ROOT), quickstart._CALL)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=INFRA.parent, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(".venv/Scripts/python.exe powershell -ExecutionPolicy Bypass")
    # as Windows PowerShell 5.1 hands on "…\"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quickstart, "sys", SimpleNamespace(platform="win32"))
    assert quickstart.local('my photographs"') == tmp_path / "my photographs"


def test_windows_is_asked_for_the_runtime_of_cplusplus(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = SimpleNamespace(platform="win32", version_info=(3, 13))
    monkeypatch.setattr(install, "sys", windows)
    monkeypatch.setattr(install, "find_library", lambda name: None)
    with pytest.raises(install.InstallError, match="winget install"):
        install.set_up("requirements.lock")


def test_pip_installs_what_uv_cannot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[tuple[str, str]] = []

    def run(command: list[str], **named: object) -> subprocess.CompletedProcess[str]:
        index = (named.get("env") or {}).get("UV_DEFAULT_INDEX", "")  # type: ignore[attr-defined]
        commands.append((Path(command[0]).name, index))
        said = "https://index.example/simple\n" if "config" in command else ""
        return subprocess.CompletedProcess(command, int("uv" in command[0]), said, "")

    (tmp_path / "a.lock").write_text("a==1")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(install, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(install, "subprocess", SimpleNamespace(run=run, DEVNULL=0))
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    install.set_up("a.lock")
    python = Path(sys.executable).name
    one = [(python, ""), ("uv", "https://index.example/simple"), (python, "")]
    assert commands == one + one  # what the lock names, then the project
    assert "uv could not install that" in capsys.readouterr().err
    install.set_up("a.lock")
    assert len(commands) == 6  # it was done


@pytest.mark.parametrize("user", [0, 1000])
def test_debian_is_asked_for_the_half_of_venv_that_it_keeps_apart(
    user: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, int("import ensurepip" in command))

    monkeypatch.setattr(install, "subprocess", SimpleNamespace(run=run, DEVNULL=0))
    monkeypatch.setattr(os, "getuid", lambda: user)
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    install._make_venv()
    package = "python{}.{}-venv".format(*sys.version_info)
    assert commands[2][-1] == package
    assert commands[2][0] == ("sudo" if user else "env")
    assert commands[3][1:3] == ["-m", "venv"]
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(install.InstallError, match=f"Please install: {package}"):
        install._make_venv()


def faults(script: bytes) -> Iterator[Node]:
    """What a script has that is no PowerShell, by tree-sitter's grammar of it."""
    tree = Parser(Language(tree_sitter_powershell.language())).parse(script)
    waiting = [tree.root_node]
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            yield node
        waiting += node.children


def test_the_script_for_windows_is_powershell() -> None:
    assert [(node.type, node.start_point) for node in faults(POWERSHELL)] == []
    assert POWERSHELL.isascii()  # Windows PowerShell 5.1 takes it for the machine's own code page
    code = re.sub(rb"'[^']*'|#.*", b"", POWERSHELL)
    assert not re.search(rb"&&|\|\||\?\?|\?\.", code)  # PowerShell 7 alone has these


@pytest.mark.parametrize(
    ("there", "broken"),
    [
        (b"foreach ($candidate in $candidates) {", b"foreach ($candidate of $candidates) {"),
        (b"exit 1", b"exit 1 }"),
        (b"@('py', '-3')", b"@('py', '-3'"),
        (b"if ($env:PYTHON)", b"if $env:PYTHON"),
        (b"return $false", b"return 'false"),
    ],
)
def test_a_broken_script_is_found(there: bytes, broken: bytes) -> None:
    assert there in POWERSHELL
    assert list(faults(POWERSHELL.replace(there, broken)))
