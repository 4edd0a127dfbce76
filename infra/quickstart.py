"""Starts a Prefect server and Facecrop's deployment in the background, and crops an archive there.

What it starts goes on after it, so that its UI can be used and a second call is quick;
`--stop` ends it. All that it keeps is in `.facecrop/` and `facecrop-output/` at the root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".facecrop"
OUTPUT = ROOT / "facecrop-output"
BIN = Path(sys.executable).parent

_DEPLOYMENT = "crop-archive/local"
_PREFERRED_PORT = 4200
_READY_SECONDS = 180
_STOP_SECONDS = 20
_SAMPLE_MEMBERS = 200
_DONE_WITH_FAILED_IMAGES = 3


class QuickstartError(Exception):
    """One line that says what did not start, and where to look."""


def main() -> int:
    """Run the command; return its exit code."""
    arguments = _arguments()
    if arguments.stop:
        return stop()
    try:
        return start(arguments.archive, arguments.started_in)
    except QuickstartError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 1


def start(archive: str | None, started_in: Path) -> int:
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
    elif "://" not in archive:
        archive = str((started_in / archive).resolve())
    name = archive.rstrip("/").rpartition("/")[2]
    print(f"Cropping {archive}", flush=True)
    code = _facecrop(["submit", archive, "--output", str(OUTPUT / name), "--watch"], environment)
    print(
        f"\nPrefect UI  http://127.0.0.1:{port}/v2/runs\n"
        "Stop it     bash infra/quickstart.sh --stop\n"
        "Again       bash infra/quickstart.sh ARCHIVE"
    )
    return 0 if code == _DONE_WITH_FAILED_IMAGES else code


def stop() -> int:
    """End the processes that earlier calls started, the runner before its server."""
    for name in ("runner", "server"):
        record = _read(name)
        if record is None:
            continue
        _end(int(record["pid"]))
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
    prefect = str(BIN / "prefect")
    command = [prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = _launch("server", command, environment)
    _wait_for(f"{api}/ready", process, "server")
    _write("server", process.pid, port)
    return port


def _runner(port: int, environment: dict[str, str]) -> None:
    """The process that runs what is handed to the deployment."""
    if _read("runner") is not None:
        return
    process = _launch("runner", [str(BIN / "python"), "-P", "-m", "deployments.serve"], environment)
    url = f"http://127.0.0.1:{port}/api/deployments/name/{_DEPLOYMENT}"
    _wait_for(url, process, "runner")
    _write("runner", process.pid, port)


def _launch(name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (STATE / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a group of its own, which `--stop` ends as a whole
        )


def _wait_for(url: str, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            pass
        if process.poll() is not None:
            raise QuickstartError(f"the {name} ended at once; see {STATE / name}.log")
        time.sleep(0.3)
    _end(process.pid)
    raise QuickstartError(f"the {name} was not ready in {_READY_SECONDS} s; see {STATE / name}.log")


def _facecrop(arguments: list[str], environment: dict[str, str]) -> int:
    return subprocess.run([BIN / "facecrop", *arguments], env=environment, check=False).returncode


def _free_port() -> int:
    """Prefect's usual port, or another where something listens on that."""
    for port in (_PREFERRED_PORT, 0):
        with socket.socket() as listener:
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
    if _is_ours(record["pid"]):
        return record
    _record(name).unlink()
    return None


def _is_ours(pid: int) -> bool:
    """Whether a process lives and was started from this project: numbers are given out again."""
    proc = Path(f"/proc/{pid}/cmdline")
    if proc.parent.parent.joinpath("self").exists():
        line = proc.read_bytes() if proc.exists() else b""
    else:
        shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True)
        line = shown.stdout
    return str(BIN).encode() in line


def _end(pid: int) -> None:
    deadline = time.monotonic() + _STOP_SECONDS
    try:
        os.killpg(pid, signal.SIGTERM)
        while _is_ours(pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        os.killpg(pid, signal.SIGKILL)  # what it has left
    except ProcessLookupError:
        return


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bash infra/quickstart.sh", description=__doc__)
    parser.add_argument("archive", nargs="?", help="a sample is made where none is named")
    parser.add_argument("--stop", action="store_true", help="end what earlier calls started")
    parser.add_argument(
        "--from", dest="started_in", type=Path, default=Path.cwd(), help=argparse.SUPPRESS
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
