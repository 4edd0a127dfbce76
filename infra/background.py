"""Processes that go on after the one that started them, and are ended by a later one.

Each is told by a mark in its command line, as process ids are given out again: on macOS the
program that a process shows is not the one that was started, and on Windows a virtual
environment's Python starts another.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_STOP_SECONDS = 20
# Asked of PowerShell, which every Windows has. The answer is its exit code, as text would come in
# the code page of whatever console this is.
_ASK = (
    "$found = Get-CimInstance Win32_Process -Filter ('ProcessId=' + $env:FACECROP_PID); "
    "if (('' + $found.CommandLine).Contains($env:FACECROP_MARK)) { exit 0 } else { exit 1 }"
)


def launch(
    python: Path, arguments: list[str], mark: str, log: Path, folder: Path, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start Python in the background, in a group of its own that no Ctrl-C and no hang-up reaches.

    Args:
        python: the interpreter.
        arguments: for it.
        mark: what tells this process; two that have the same are told apart by their ids alone.
        log: a file that what it writes is appended to.
        folder: that it runs in.
        env: all its variables.
    """
    command = [str(python), "-P", "-X", mark, *arguments]  # of -X Python takes what it knows
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        # with a console that is not seen, which its own children share: without one each of them
        # would open a window
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        apart = {"creationflags": flags}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **apart,
        )


def is_running(pid: int, mark: str) -> bool:
    """Whether a process lives and was started with a mark."""
    if sys.platform == "win32":
        powershell = _of_windows(r"WindowsPowerShell\v1.0\powershell.exe")
        ask = [powershell, "-NoProfile", "-NonInteractive", "-Command", _ASK]
        environment = os.environ | {"FACECROP_PID": str(pid), "FACECROP_MARK": mark}
        return subprocess.run(ask, env=environment, capture_output=True).returncode == 0
    proc = Path(f"/proc/{pid}/cmdline")
    if Path("/proc/self").exists():
        line = proc.read_bytes() if proc.exists() else b""
    else:  # macOS; -ww, as else a line ends where the terminal does
        ask = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        line = subprocess.run(ask, capture_output=True).stdout
    return os.fsencode(mark) in line


def end(pid: int, mark: str) -> None:
    """End a process and all that it has started; at once where that is the system's only way."""
    if sys.platform == "win32":
        # Nothing gentler reaches a process on another console.
        taskkill = [_of_windows("taskkill.exe"), "/PID", str(pid), "/T", "/F"]
        subprocess.run(taskkill, capture_output=True)
        return
    deadline = time.monotonic() + _STOP_SECONDS
    try:
        os.killpg(pid, signal.SIGTERM)
        while is_running(pid, mark) and time.monotonic() < deadline:
            time.sleep(0.2)
        os.killpg(pid, signal.SIGKILL)  # what it has left
    except ProcessLookupError:
        return


def _of_windows(program: str) -> str:
    """Where a program of Windows' own is; by its name alone the current folder's would be taken."""
    system = os.environ.get("SYSTEMROOT", r"C:\Windows")
    return rf"{system}\System32\{program}"
