"""What people would use instead, side by side with Facecrop, on the same photos and all cores.

Each runs in a process of its own, in turn with the others; a first few photos are not counted.
Seconds are of the wall. `pip install -r requirements-peers.lock` brings those that are not
Facecrop's own parts; Redis is Debian's `redis-server`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.peer import PEERS
from benchmarks.photos import open_photos
from benchmarks.server import free_port, prefect_server

_NEEDS = {"mtcnn": ("mtcnn", "tensorflow"), "celery": ("celery", "redis"), "rq": ("rq", "redis")}
_ON_REDIS = ("celery", "rq")
_ON_PREFECT = ("facecrop", "prefect-task-an-image")
_WAIT_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Peer:
    """One of them.

    Attributes:
        images_per_second: median over the rounds; None where it is not installed.
        times: Facecrop's images a second over its own, medians.
        faces: that it wrote.
        seconds: of each round.
    """

    name: str
    about: str
    images_per_second: float | None
    times: float | None
    faces: int | None
    seconds: list[float]


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured."""

    images: int
    rounds: int
    peers: list[Peer]

    def show(self, console: Console) -> None:
        """Prints it for people."""
        console.print(f"{self.images} photos, all cores, medians of {self.rounds} rounds in turn.")
        table = Table("")
        for title in ("images/s", "Facecrop is", "faces"):
            table.add_column(title, justify="right")
        for peer in self.peers:
            if peer.images_per_second is None or peer.times is None:
                table.add_row(peer.name, "not installed", "", "")
                continue
            times = "" if peer.name == "facecrop" else f"{peer.times:.1f} times as fast"
            table.add_row(peer.name, f"{peer.images_per_second:.1f}", times, str(peer.faces))
        console.print(table)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=int,
        default=1000,
        help="photos, repeated under other names where they run out (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="of each (default: %(default)s)")
    parser.add_argument(
        "--only", nargs="+", choices=[*PEERS], default=[*PEERS], help="these (default: all)"
    )


def run(options: argparse.Namespace) -> Result:
    names = [name for name in PEERS if name in {"facecrop", *options.only} and _is_there(name)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    faces: dict[str, int] = {}
    with (
        open_photos(options.photos) as photos,
        TemporaryDirectory() as temporary,
        _redis(any(name in _ON_REDIS for name in names)),
    ):
        folder = Path(temporary) / "photos"
        folder.mkdir()
        for number in range(options.images):
            # evenly from all of them; where they run out, again under other names
            photo = photos[number * max(1, len(photos) // options.images) % len(photos)]
            shutil.copy(photo, folder / f"{number:06d}-{photo.name}")
        turns = [(turn, name) for turn in range(options.rounds) for name in names]
        for turn, name in track(turns, "Peers", console=Console(stderr=True), transient=True):
            output = Path(temporary) / f"{name}-{turn}"
            # one's own: a server works on for a while after a batch of a task an image
            with prefect_server() if name in _ON_PREFECT else nullcontext():
                one = _run(name, folder, output)
            seconds[name].append(one["seconds"])
            faces[name] = int(one["faces"])
            shutil.rmtree(output)
    ours = statistics.median(seconds["facecrop"])
    peers = []
    for name in dict.fromkeys(["facecrop", *options.only]):
        about = (PEERS[name].__doc__ or "").partition("\n")[0]
        if name not in seconds:
            peers.append(Peer(name, about, None, None, None, []))
            continue
        median = statistics.median(seconds[name])
        peers.append(
            Peer(name, about, options.images / median, median / ours, faces[name], seconds[name])
        )
    return Result(options.images, options.rounds, peers)


def _run(name: str, photos: Path, output: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.peer", name, str(photos), str(output)]
    # `autocrop` and the queues' commands are beside the interpreter
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=_WAIT_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-2000:]}")
    printed: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return printed


def _is_there(name: str) -> bool:
    there = all(find_spec(module) is not None for module in _NEEDS.get(name, ()))
    return there and (name not in _ON_REDIS or shutil.which("redis-server") is not None)


@contextmanager
def _redis(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    port = str(free_port())
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    os.environ["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    try:
        yield
    finally:
        server.terminate()
        server.wait(20)
