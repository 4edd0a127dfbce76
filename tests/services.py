"""Real servers for the tests that need one, each started on free ports and ended again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from infra.servers.ports import free_ports
from infra.servers.seaweedfs import S3, SeaweedFS, seaweedfs
from intake.cli.samples import write_sample

__all__ = ["S3", "SeaweedFS", "free_ports", "seaweedfs"]  # and what is defined below

DATABASE = "TESTS_DATABASE_URL"
"""The variable that says where the tests' own Prefect server has its rows."""


@contextmanager
def web_server(folder: Path, handler: type[QuietHandler] | None = None) -> Iterator[str]:
    """Serve a folder over HTTP, with ranges unless a handler says otherwise; give its address."""
    answer = partial(handler or RangeHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Slow(NamedTuple):
    """An archive and where it is served slowly.

    A batch of it is in progress as long as a test needs, on any machine, at work on few images.

    Attributes:
        sample: the file.
        url: where it comes one range at a time, each after a pause.
        hurry: ends the pauses, for a test that has seen what it waited for.
    """

    sample: Path
    url: str
    hurry: Callable[[], None]


@contextmanager
def slow_sample(folder: Path, members: int, seconds: float) -> Iterator[Slow]:
    """Write a sample, and serve it with so long a pause before each range."""
    place = folder / "sample.zip"
    write_sample(place, members)
    with served_slowly(place, seconds) as slow:
        yield slow


@contextmanager
def served_slowly(file: Path, seconds: float) -> Iterator[Slow]:
    """Serve the files of a file's folder with so long a pause before each range."""
    turn = threading.Lock()
    hurry = threading.Event()

    class Handler(RangeHandler):
        def do_GET(self) -> None:
            with turn:
                hurry.wait(seconds)
            super().do_GET()

    with web_server(file.parent, Handler) as address:
        yield Slow(file, f"{address}/{file.name}", hurry.set)


class QuietHandler(SimpleHTTPRequestHandler):
    """Files without ranges, as the standard library serves them."""

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class RangeHandler(QuietHandler):
    """Files with ranges. A file called `error-<status>…` answers with that status instead."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.name.startswith("error-"):
            self.send_error(int(path.name[6:9]))
            return
        if not path.is_file() or "Range" not in self.headers:
            super().do_GET()
            return
        data = path.read_bytes()
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        if not part:
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        end = int(first) + len(part) - 1
        self.send_header("Content-Range", f"bytes {first}-{end}/{len(data)}")
        self.send_header("Last-Modified", self.date_time_string(path.stat().st_mtime))
        self.end_headers()
        self.wfile.write(part)

    def do_HEAD(self) -> None:
        if Path(self.translate_path(self.path)).name.startswith("error-"):
            self.do_GET()
        else:
            super().do_HEAD()
