"""What clients send to wear the service out: a real service, probed meanwhile."""

import json
import resource
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.intake.web import MIB, UPLOAD, Web, body, problem, serving, zip_of
from tests.workers import look

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

FROM_URI, ADD_IMAGES = "/api/batch/from-uri", "/api/batch/add-images"
NOBODY = "00000000-0000-0000-0000-000000000000"
KIB = 1 << 10


@pytest.fixture(scope="module")
def web(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("bears")
    settings: dict[str, Any] = {
        "stall_seconds": 5,
        "head_seconds": 3,
        "uploads": 100,
        "max_pixels": 10_000_000,
    }
    with serving(folder, str(folder / "store"), deployed, **settings) as service:
        yield service


@contextmanager
def probing(web: Web) -> Iterator[list[float]]:
    """Asks whether it is alive again and again; give the seconds that each answer took."""
    seconds: list[float] = []
    over = threading.Event()

    def probe() -> None:
        while not over.wait(0.02):
            began = time.monotonic()
            assert httpx.get(f"{web.url}/healthz", timeout=30).status_code == 200
            seconds.append(time.monotonic() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield seconds
    finally:
        over.set()
        thread.join()


def stays_alive(seconds: list[float]) -> None:
    """Whether probes were answered while the rest went on, on however busy a machine."""
    assert len(seconds) > 3
    assert statistics.median(seconds) < 1


# Sizes and counts


@pytest.mark.parametrize(
    ("method", "path", "size"),
    [
        ("POST", FROM_URI, 64 * KIB + 1),
        ("POST", FROM_URI, 25 * MIB),
        ("POST", ADD_IMAGES, 9 * MIB),
        ("POST", f"/api/batch/{NOBODY}/cancel", MIB),
        ("POST", f"/api/batch/{NOBODY}/retry", 25 * MIB),
        ("GET", f"/api/batch/status/{NOBODY}", MIB),
        ("GET", "/readyz", MIB),
        ("POST", "/api/nothing", MIB),
    ],
)
def test_a_body_is_no_larger_than_its_route_needs(
    web: Web, method: str, path: str, size: int
) -> None:
    problem(web.client.request(method, path, content=b"[" * size), 413)


@pytest.mark.parametrize("path", [FROM_URI, ADD_IMAGES])
def test_nor_is_one_that_does_not_say_its_size(web: Web, path: str) -> None:
    pieces = (b" " * (64 * KIB) for _ in range(400))
    problem(web.client.post(path, content=pieces), 413)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        '{"a":' * 10_000,
        "[" + "[]," * 20_000 + "[]]",
        "{" + ",".join(f'"{one}":1' for one in range(5000)) + "}",
        '"' * 60_000,
        "1" * 60_000,
    ],
)
def test_json_that_is_deep_or_long_is_a_422_everywhere(web: Web, text: str) -> None:
    images = {"images": ["/x"], "settings": text}
    nested = f'{{"archive": "/x", "settings": {text[:60_000]}}}'
    answers = [
        web.client.post(FROM_URI, content=text),
        web.client.post(FROM_URI, content=nested),
        web.client.post(ADD_IMAGES, content=text),
        web.client.post(ADD_IMAGES, json=images),
        web.client.post(UPLOAD, files={"file": b"x"}, data={"settings": text}),
        web.client.post(UPLOAD, content=b"x", params={"settings": text[:2000]}),
    ]
    for answer in answers:
        assert len(problem(answer, 422)) < 4100


def test_settings_of_200_000_brackets_are_refused(web: Web) -> None:
    deep = "[" * 200_000
    given = web.client.post(ADD_IMAGES, json={"images": ["/x"], "settings": deep})
    assert "characters" in problem(given, 422)
    bare = web.client.post(ADD_IMAGES, content=f'{{"images": ["/x"], "settings": {deep}}}')
    assert "in each other" in problem(bare, 422)
    form = web.client.post(UPLOAD, files={"file": b"x"}, data={"settings": deep})
    problem(form, 413)


def test_a_million_items_are_refused_before_they_are_validated(web: Web) -> None:
    with probing(web) as seconds:
        for item in ("0", "[]", '""', '"/x"', "{}"):
            most = (8 * MIB - 100) // (len(item) + 1)
            items = ",".join([item] * min(most, 1_000_000))
            said = problem(web.client.post(ADD_IMAGES, content=f'{{"images": [{items}]}}'), 422)
            assert "more than 100500 values" in said
    stays_alive(seconds)


def test_at_most_ten_faults_are_told_and_each_is_short(web: Web) -> None:
    many = {f"{one}-{'x' * 1000}": one for one in range(50)}
    said = problem(web.client.post(FROM_URI, json=many), 422)
    assert len(said.split("; ")) == 11
    assert said.endswith("more")
    assert len(said) < 4100
    wrong = problem(web.client.post(ADD_IMAGES, json={"images": [7] * 50_000}), 422)
    assert len(wrong.split("; ")) == 1
    query = problem(web.client.post(UPLOAD, params={f"{one}": "x" for one in range(500)}), 422)
    assert len(query.split("; ")) == 11
    surrogate = web.client.post(FROM_URI, content=b'{"\\ud800": "\\udfff"}')
    problem(surrogate, 422)


def test_what_is_given_twice_is_refused(web: Web) -> None:
    twice = b'{"archive": "/x", "archive": "/y"}'
    assert "twice" in problem(web.client.post(FROM_URI, content=twice), 422)
    assert "twice" in problem(web.client.post(f"{UPLOAD}?priority=1&priority=2"), 422)
    form: list[Any] = [("priority", (None, "1")), ("priority", (None, "2")), ("file", ("a", b"x"))]
    assert "twice" in problem(web.client.post(UPLOAD, files=form), 422)


def test_the_fields_of_a_form_are_few_and_short(web: Web) -> None:
    file = ("file", ("a", b"x"))
    many: list[Any] = [(f"f{one}", (None, "x")) for one in range(20_000)]
    with probing(web) as seconds:
        assert "at most 16 fields" in problem(web.client.post(UPLOAD, files=[*many, file]), 413)
        assert "at most 16 fields" in problem(web.client.post(ADD_IMAGES, files=many), 413)
    stays_alive(seconds)
    long: list[Any] = [(f"f{one}", (None, "x" * 10 * KIB)) for one in range(7)]
    assert "bytes together" in problem(web.client.post(UPLOAD, files=[*long, file]), 413)


@pytest.mark.parametrize("header", ["X: y\r\n" * 9, f"X: {'y' * 5000}\r\n", "X" * 5000])
def test_the_headers_of_a_part_are_few_and_short(web: Web, header: str) -> None:
    part = f'--f\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n{header}\r\nx'
    kind = {"Content-Type": "multipart/form-data; boundary=f"}
    answer = web.client.post(UPLOAD, content=f"{part}\r\n--f--\r\n".encode(), headers=kind)
    problem(answer, 400)


def test_who_asks_for_more_than_the_operator_gives_is_told(web: Web) -> None:
    asked = json.dumps({"limits": {"max_pixels": 20_000_000}})
    for answer in (
        web.client.post(UPLOAD, content=zip_of(b"x"), params={"settings": asked}),
        web.client.post(UPLOAD, files={"file": zip_of(b"x")}, data={"settings": asked}),
    ):
        assert "settings.limits.max_pixels: should be at most 10000000" in problem(answer, 422)
    batch = body(web.client.post(UPLOAD, content=zip_of(b"x")), 201)["batchId"]
    given = look(UUID(batch)).parameters["settings"]
    assert given["limits"]["max_pixels"] == 10_000_000


# Long work


def test_the_index_of_a_million_members_is_read_beside_the_rest(web: Web) -> None:
    archive = Path(web.store) / "million.zip"
    archive.parent.mkdir(exist_ok=True)
    write_zip(archive, 1_000_000)
    with probing(web) as seconds:
        before = len(seconds)
        queued = web.client.post(FROM_URI, json={"archive": str(archive)}, timeout=300)
        assert body(queued, 201)["imageCount"] == 1_000_000
        assert len(seconds) - before > 3, "it answered meanwhile"
    stays_alive(seconds)


def write_zip(path: Path, count: int) -> None:
    """A ZIP of empty members."""
    with path.open("wb") as file:
        directory, offset = bytearray(), 0
        for number in range(count):
            name = b"%03d/%07d.jpg" % (number % 100, number)
            sizes = (0, 0x21, 0, 0, 0, len(name))
            head = struct.pack("<4sHHHHHLLLHH", b"PK\3\4", 20, 0, 0, *sizes, 0) + name
            directory += struct.pack(
                "<4sHHHHHHLLLHHHHHLL", b"PK\1\2", 20, 20, 0, 0, *sizes, 0, 0, 0, 0, 0, offset
            )
            directory += name
            file.write(head)
            offset += len(head)
        file.write(directory)
        end = (44, 45, 45, 0, 0, count, count, len(directory), offset)
        file.write(struct.pack("<4sQHHLLQQQQ", b"PK\6\6", *end))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, offset + len(directory), 1))
        last = (0, 0, 0xFFFF, 0xFFFF, len(directory), min(offset, 0xFFFFFFFF), 0)
        file.write(struct.pack("<4sHHHHLLH", b"PK\5\6", *last))


# Connections


def open_connection(stack: ExitStack, web: Web, sent: bytes) -> socket.socket:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", web.port), timeout=60))
    connection.sendall(sent)
    return connection


@pytest.mark.parametrize(
    ("path", "kind"),
    [(FROM_URI, "application/json"), (ADD_IMAGES, "application/json"), (UPLOAD, "application/zip")],
)
def test_forty_bodies_that_dribble_are_given_up(web: Web, path: str, kind: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n"
    with ExitStack() as stack, probing(web) as seconds:
        slow = [
            open_connection(stack, web, f"{head}Content-Length: 60000\r\n\r\n".encode())
            for _ in range(40)
        ]
        answered: dict[int, bytes] = {}
        until = time.monotonic() + 120
        while len(answered) < len(slow):
            assert time.monotonic() < until, f"{len(answered)} were given up"
            for number, connection in enumerate(slow):
                if number not in answered:
                    answer = dribble(connection)
                    if answer is not None:
                        answered[number] = answer
            time.sleep(0.3)
    assert {answer[:12] for answer in answered.values()} == {b"HTTP/1.1 408"}
    stays_alive(seconds)


def dribble(connection: socket.socket) -> bytes | None:
    """Send a byte; give what it was answered, if it was."""
    connection.setblocking(False)
    try:
        return connection.recv(100)
    except BlockingIOError:
        connection.setblocking(True)
        connection.sendall(b" ")
        return None


@pytest.fixture(scope="module")
def few_files(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A service that may have 1,024 files open."""
    folder = tmp_path_factory.mktemp("few-files")
    with serving(folder, str(folder / "store"), deployed, limits="-n 1024") as service:
        yield service


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /hea",
        b"POST /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 60000\r\n\r\n",
    ],
)
def test_eleven_hundred_idle_connections_leave_it_alive_with_1024_files(
    few_files: Web, sent: bytes
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for this end of them
    try:
        with ExitStack() as stack, probing(few_files) as seconds:
            for _ in range(1100):
                open_connection(stack, few_files, sent)
            there = len(seconds)
            until = time.monotonic() + 60
            while len(seconds) < there + 10:
                assert time.monotonic() < until, "it does not answer"
                time.sleep(0.05)
            assert body(few_files.client.post(UPLOAD, content=zip_of(b"x")), 201)
            assert "Too many open files" not in few_files.log.read_text()
        stays_alive(seconds)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nA: b\r\n\r"]
)
def test_a_connection_without_a_request_is_closed(web: Web, sent: bytes) -> None:
    with ExitStack() as stack:
        connection = open_connection(stack, web, sent)
        assert gone(connection)


def test_a_head_that_dribbles_is_given_up(web: Web) -> None:
    with ExitStack() as stack:
        connection = open_connection(stack, web, b"GET / HTTP/1.1\r\nX: ")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.2)
            try:
                connection.sendall(b"y")
            except OSError:
                return
        pytest.fail("it was never given up")


def gone(connection: socket.socket) -> bool:
    """Whether the other end closes it, within a minute."""
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_more_requests_at_a_time_than_there_may_be_are_told_to_come_again(
    deployed: dict[str, str], tmp_path: Path
) -> None:
    few: dict[str, Any] = {"connections": 64, "uploads": 100}
    with serving(tmp_path, str(tmp_path / "store"), deployed, **few) as web, ExitStack() as stack:
        head = f"POST {UPLOAD} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n".encode()
        for _ in range(32):
            open_connection(stack, web, head)
        until = time.monotonic() + 30
        while (answer := web.client.get("/api/batch/queue-stats")).status_code == 200:
            assert time.monotonic() < until
        assert "Too many requests" in problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert body(web.client.get("/healthz"), 200)
