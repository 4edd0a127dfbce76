"""Installs Facecrop, starts a Prefect server and its deployment in the background, and crops there.

What it starts goes on after it, so that its UI can be used and a second call is quick;
`--stop` ends it. All that it keeps is in `.venv/`, `.facecrop/` and `facecrop-output/` at the root.
Run by any Python from 3.11 on, which `quickstart.sh` and `quickstart.ps1` find.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from infra import background
from infra.install import PYTHON, ROOT, InstallError, set_up
from infra.servers.ports import answers

STATE = ROOT / ".facecrop"
OUTPUT = ROOT / "facecrop-output"

_DEPLOYMENT = "crop-archive/local"
_PREFERRED_PORT = 4200
_READY_SECONDS = 180
_SAMPLE_MEMBERS = 200
_DONE_WITH_FAILED_IMAGES = 3
_POWERSHELL = r"powershell -ExecutionPolicy Bypass -File infra\quickstart.ps1"
_CALL = _POWERSHELL if sys.platform == "win32" else "bash infra/quickstart.sh"


class QuickstartError(Exception):
    """One line that says what did not start, and where to look."""


def main() -> int:
    """Run the command; return its exit code."""
    arguments = _arguments()
    if arguments.stop:
        return stop()
    archive = arguments.archive
    if archive is not None and "://" not in archive:
        archive = str(local(archive))
    os.chdir(ROOT)  # Windows looks for programs in the current folder first
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process compiles all it imports
    try:
        set_up("requirements.lock")
        return start(archive)
    except (InstallError, QuickstartError) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1


def start(archive: str | None) -> int:
    """Start what is not running yet, then crop the archive and say where everything is."""
    STATE.mkdir(exist_ok=True)
    port = _server()
    environment = os.environ | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    _runner(port, environment)
    if archive is None:
        source = STATE / "sample.zip"
        if not source.exists():
            _facecrop(["sample", str(source), "--count", str(_SAMPLE_MEMBERS)], environment)
        archive = str(source)
    name = Path(archive.rstrip("/")).name
    print(f"Cropping {archive}", flush=True)
    code = _facecrop(["submit", archive, "--output", str(OUTPUT / name), "--watch"], environment)
    print(
        f"\nPrefect UI  http://127.0.0.1:{port}/v2/runs\n"
        f"Stop it     {_CALL} --stop\n"
        f"Again       {_CALL} ARCHIVE"
    )
    return 0 if code == _DONE_WITH_FAILED_IMAGES else code


def local(archive: str) -> Path:
    """Where an archive of this machine is.

    Windows PowerShell 5.1 hands on `"C:\\My photographs\\"` with a quote as its last sign.
    """
    if sys.platform == "win32":
        archive = archive.rstrip('"')
    return Path(archive).resolve()


def stop() -> int:
    """End the processes that earlier calls started, the runner before its server."""
    for name in ("runner", "server"):
        record = _read(name)
        if record is None:
            continue
        background.end(record["pid"], _mark())
        _record(name).unlink()
        print(f"stopped the {name}")
    return 0


def _server() -> int:
    """The port of the server, which is started where it is not up."""
    record = _read("server")
    if record is not None:
        return int(record["port"])
    port = _free_port()
    print("Starting a Prefect server ...", flush=True)
    api = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {
        "PREFECT_HOME": str(STATE / "prefect"),
        "PREFECT_UI_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    environment.pop("PREFECT_API_URL", None)
    prefect = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = _launch("server", prefect, environment)
    _wait_for(f"{api}/ready", process, "server")
    _write("server", process.pid, port)
    return port


def _runner(port: int, environment: Mapping[str, str]) -> None:
    """The process that runs what is handed to the deployment."""
    if _read("runner") is not None:
        return
    process = _launch("runner", ["-m", "deployments.serve"], environment)
    url = f"http://127.0.0.1:{port}/api/deployments/name/{_DEPLOYMENT}"
    _wait_for(url, process, "runner")
    _write("runner", process.pid, port)


def _launch(
    name: str, arguments: list[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    log = STATE / f"{name}.log"
    return background.launch(PYTHON, arguments, _mark(), log, ROOT, environment)


def _mark() -> str:
    """What tells the processes of this project's quickstart from those of all others."""
    return f"facecrop={STATE}"


def _wait_for(url: str, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if answers(url):
            return
        if process.poll() is not None:
            raise QuickstartError(f"the {name} ended at once; see {STATE / name}.log")
        time.sleep(0.3)
    background.end(process.pid, _mark())
    raise QuickstartError(f"the {name} was not ready in {_READY_SECONDS} s; see {STATE / name}.log")


def _facecrop(arguments: list[str], environment: Mapping[str, str]) -> int:
    command = [str(PYTHON), "-P", "-m", "facecrop", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def _free_port() -> int:
    """Prefect's usual port, or another where something listens on that."""
    for port in (_PREFERRED_PORT, 0):
        with socket.socket() as listener:
            if sys.platform != "win32":  # where it lets two listen on one port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise QuickstartError("no free port on 127.0.0.1")


def _record(name: str) -> Path:
    return STATE / f"{name}.json"


def _write(name: str, pid: int, port: int) -> None:
    _record(name).write_text(json.dumps({"pid": pid, "port": port}))


def _read(name: str) -> dict[str, int] | None:
    """What was noted of a process that still runs; None where it does not."""
    try:
        record: dict[str, int] = json.loads(_record(name).read_text())
    except FileNotFoundError:
        return None
    if background.is_running(record["pid"], _mark()):
        return record
    _record(name).unlink()
    return None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=_CALL, description=__doc__)
    parser.add_argument("archive", nargs="?", help="a sample is made where none is named")
    parser.add_argument("--stop", action="store_true", help="end what earlier calls started")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
