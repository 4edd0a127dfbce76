"""What the HTTP service refuses, undoes and does once only, on a real Prefect server and S3."""

import io
import os
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client

from deployments.__main__ import main as apply_deployments
from intake import batches
from intake.keys import make_key
from storage.location import resolve
from tests.intake.web import Web, body, problem, serving
from tests.services import S3

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

UPLOAD = "/api/batch/upload-zip"
MIB = 1 << 20


@pytest.fixture(scope="module")
def deployed(prefect: dict[str, str]) -> dict[str, str]:
    os.environ["PREFECT_API_URL"] = prefect["PREFECT_API_URL"]
    assert apply_deployments() == 0
    return prefect


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ZIP of 30 MiB whose index is small."""
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    with zipfile.ZipFile(path, "w") as target:
        for number in range(3):
            target.writestr(f"{number}.jpg", os.urandom(10 * MIB))
    return path.read_bytes()


@pytest.fixture(scope="module", params=["local", "s3"])
def web(
    request: pytest.FixtureRequest,
    deployed: dict[str, str],
    s3: S3,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("guards")
    store = str(folder / "store") if request.param == "local" else f"s3://{s3.bucket}/{folder.name}"
    with serving(folder, store, {**deployed, **s3.environment}, stall_seconds=3) as service:
        yield service


@pytest.fixture
def nothing_new(web: Web) -> Iterator[None]:
    """Checks that a test leaves no file, folder, unfinished object or batch behind."""
    before = left(web), known_batches()
    yield
    until = time.monotonic() + 15
    while (left(web), known_batches()) != before:
        assert time.monotonic() < until, left(web)
        time.sleep(0.2)


def left(web: Web) -> tuple[list[str], list[Any]]:
    """What is in the store, and which objects are being uploaded into it."""
    place = resolve(web.store)
    if place.is_local:
        return sorted(map(str, Path(place.path).glob("uploads/**"))), []
    found = place.fs.find(place.path, detail=True)
    bucket = place.path.partition("/")[0]
    parts = place.fs.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads", [])
    return sorted(name for name, info in found.items() if info["type"] == "file"), parts


def known_batches() -> int:
    with get_client(sync_client=True) as client:
        return sum(batches.count_by_state(client).values())


def head(length: int, *lines: str) -> bytes:
    first = f"POST {UPLOAD} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}"
    return "\r\n".join([first, *lines, "", ""]).encode()


# Uploads that break


@pytest.mark.parametrize("sent", [0, 1000, 20 * MIB])
def test_a_connection_that_is_cut_leaves_nothing(
    web: Web, archive: bytes, nothing_new: None, sent: int
) -> None:
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        connection.sendall(head(len(archive)) + archive[:sent])
        time.sleep(0.5)
    assert body(web.client.get("/healthz"), 200)


def test_a_form_that_is_cut_leaves_nothing(web: Web, archive: bytes, nothing_new: None) -> None:
    form = httpx.Request("POST", web.url, files={"file": archive})
    sent = form.read()[: 25 * MIB]
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        kind = f"Content-Type: {form.headers['content-type']}"
        connection.sendall(head(len(form.content), kind) + sent)
        time.sleep(0.5)


def test_an_upload_that_stalls_is_given_up(web: Web, archive: bytes, nothing_new: None) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=30) as connection:
        connection.sendall(head(len(archive)) + archive[: 9 * MIB])
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"hello", "is not an archive that Facecrop reads"),
        (b"PK\3\4" + b"x" * 1000, ""),
        (b"\xff\xd8\xff" + b"x" * 1000, "is a single image"),
    ],
)
def test_what_is_no_archive_is_refused_and_removed(
    web: Web, nothing_new: None, content: bytes, why: str
) -> None:
    said = problem(web.client.post(UPLOAD, content=content), 422)
    assert why in said
    assert len(said.splitlines()) == 1


def test_an_archive_cut_short_is_refused_and_removed(
    web: Web, archive: bytes, nothing_new: None
) -> None:
    problem(web.client.post(UPLOAD, files={"file": ("a.zip", archive[:-5000])}), 422)


@pytest.mark.parametrize(
    ("files", "data", "field"),
    [
        ({"file": b"x"}, {"priority": "11"}, "priority: should be less than or equal to 10"),
        ({"file": b"x"}, {"priority": "high"}, "priority: should be a valid integer"),
        ({"file": b"x"}, {"settings": "{"}, "settings: is no JSON"),
        ({"file": b"x"}, {"settings": '{"crop": {"size": 1}}'}, "settings.crop.size: should be"),
        ({"file": b"x"}, {"settings": '{"crops": {}}'}, "settings.crops: Extra inputs"),
        ({"file": b"x"}, {"settings": '{"detection": {"model": "/x"}}'}, "detection.model is a pa"),
        ({"file": b"x"}, {"colour": "red"}, "colour: Extra inputs"),
        ({"file": b"x"}, {"projectId": "a\nb"}, "projectId: "),
        ({"photos": b"x"}, {}, "photos: files go into the field file"),
        ([("file", b"x"), ("file", b"y")], {}, "file: at most 1"),
        ({}, {"priority": "1"}, "file: the form has no such field"),
    ],
)
def test_a_form_that_cannot_be_says_which_field(
    web: Web, nothing_new: None, files: Any, data: dict[str, str], field: str
) -> None:
    if not files:  # httpx would send no multipart then
        files, data = {"priority": (None, "1")}, {}
    answer = web.client.post(UPLOAD, files=files, data=data)
    assert field in problem(answer, 413 if "at most 1" in field else 422)


def test_a_body_that_cannot_be_says_why(web: Web, nothing_new: None) -> None:
    for path in ("from-uri", "add-images"):
        url = f"/api/batch/{path}"
        assert "JSON" in problem(web.client.post(url, content=b"{"), 422)
        assert "JSON" in problem(web.client.post(url, content=b""), 422)
        assert "priority" in problem(web.client.post(url, json={"priority": 0}), 422)
    assert "archive: Field required" in problem(
        web.client.post("/api/batch/from-uri", json={}), 422
    )
    assert "images" in problem(web.client.post("/api/batch/add-images", json={"images": []}), 422)
    assert "priority" in problem(web.client.post(UPLOAD, params={"priority": 0}), 422)
    assert "no boundary" in problem(
        web.client.post(UPLOAD, headers={"Content-Type": "multipart/form-data"}), 400
    )


# What may be named


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../a.zip",
        "s3://other/a.zip",
        "http://169.254.169.254/latest/meta-data",
        "{store}/../a.zip",
        "{store}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "{store}x/a.zip",
    ],
)
def test_only_what_is_under_the_store_may_be_named(
    web: Web, nothing_new: None, uri: str, tmp_path: Path
) -> None:
    uri = uri.format(store=web.store)
    status = 422 if web.store.startswith("/") and "%2e" in uri else 403  # a folder called %2e%2e
    problem(web.client.post("/api/batch/from-uri", json={"archive": uri}), status)
    images = web.client.post("/api/batch/add-images", json={"images": [uri]})
    if status == 403:
        problem(images, 403)
        problem(web.client.post(UPLOAD, params={"filename": "a.txt"}, content=uri), 403)


def test_a_link_leads_nowhere(web: Web, nothing_new: None, tmp_path: Path) -> None:
    if not web.store.startswith("/"):
        pytest.skip("object stores have no links")
    link = Path(web.store) / "link"
    link.symlink_to("/etc")
    uri = f"{link}/passwd"
    assert "not under a prefix" in problem(
        web.client.post("/api/batch/from-uri", json={"archive": uri}), 403
    )


# Once only


def test_the_same_key_gives_the_same_batch(web: Web, archive: bytes) -> None:
    before = known_batches()
    headers = {"Idempotency-Key": f"once-{web.store}"}
    first = web.client.post(UPLOAD, content=archive, headers=headers)
    stored = left(web)
    again = web.client.post(UPLOAD, content=archive, headers=headers)
    other = web.client.post(UPLOAD, files={"file": archive}, headers=headers)
    assert body(again, 200) == body(other, 200) == body(first, 201)
    assert body(first, 201)["imageCount"] == 3
    assert known_batches() == before + 1
    assert left(web) == stored
    for path in ("add-images", "from-uri"):
        answer = web.client.post(f"/api/batch/{path}", json={}, headers=headers)
        assert body(answer, 200) == first.json()


def test_two_at_once_with_the_same_key_make_one_batch(
    web: Web, deployed: dict[str, str], s3: S3, archive: bytes, tmp_path: Path
) -> None:
    """At two copies of the service."""
    before, stored = known_batches(), len(left(web)[0])
    headers = {"Idempotency-Key": f"twice-{web.store}"}
    meet = threading.Barrier(2)

    def slowly() -> Iterator[bytes]:
        yield archive[:MIB]
        meet.wait(60)  # both are under way, so neither can have been told of the other
        yield archive[MIB:]

    with serving(tmp_path, web.store, {**deployed, **s3.environment}) as copy:
        with ThreadPoolExecutor() as pool:
            answers = list(
                pool.map(
                    lambda one: one.client.post(UPLOAD, content=slowly(), headers=headers),
                    (web, copy),
                )
            )
        assert sorted(answer.status_code for answer in answers) == [200, 201]
        assert answers[0].json() == answers[1].json()
        batch = answers[0].json()["batchId"]
        assert copy.status(batch) == web.status(batch)
    assert known_batches() == before + 1
    assert left(web)[1] == []
    added = len(left(web)[0]) - stored
    assert added == (2 if web.store.startswith("/") else 1)  # a folder is something, too


# Keys and limits


def test_a_key_is_needed_where_there_are_keys(
    deployed: dict[str, str], archive: bytes, tmp_path: Path
) -> None:
    token, line = make_key("ann")
    other, second = make_key("bob")
    (tmp_path / "keys").write_text(f"{line}\n{second}\n")
    limits = {"keys": tmp_path / "keys", "rate": 20, "max_upload_gib": MIB / (1 << 30)}
    with serving(tmp_path, str(tmp_path / "store"), deployed, token, **limits) as web:
        stranger = httpx.Client(base_url=web.url)
        for path in ("queue-stats", "status/x", f"{'0' * 8}-0000-0000-0000-{'0' * 12}/failed"):
            answer = stranger.get(f"/api/batch/{path}")
            assert "needs an API key" in problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
        problem(stranger.get("/metrics"), 401)
        problem(stranger.post(UPLOAD, content=archive), 401)
        problem(stranger.post("/api/batch/from-uri", json={}), 401)
        assert not (tmp_path / "store").exists()
        assert stranger.get("/healthz").status_code == stranger.get("/readyz").status_code == 200
        wrong = {"X-API-Key": token[:-1] + ("x" if token[-1] != "x" else "y")}
        problem(stranger.get("/metrics", headers=wrong), 401)
        bearer = {"Authorization": f"Bearer {other}"}
        assert stranger.get("/metrics", headers=bearer).status_code == 200

        # the same idempotency key from two clients means two batches
        small = zip_of(b"x")
        same = {"Idempotency-Key": "mine"}
        mine = body(web.client.post(UPLOAD, content=small, headers=same), 201)
        theirs = body(stranger.post(UPLOAD, content=small, headers={**same, **bearer}), 201)
        assert mine["batchId"] != theirs["batchId"]

        # the largest body
        for options in ({"content": archive}, {"files": {"file": archive}}):
            assert "more than 1048576 bytes" in problem(web.client.post(UPLOAD, **options), 413)
        pieces = (archive[start : start + MIB // 4] for start in range(0, len(archive), MIB // 4))
        problem(web.client.post(UPLOAD, content=pieces), 413)  # which does not say its length
        assert len(list((tmp_path / "store" / "uploads").iterdir())) == 2

        # requests a second
        time.sleep(1)
        answers = [web.client.get("/openapi.json") for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}  # asks for no key
        answers = [web.client.get("/api/batch/status/x") for _ in range(60)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) > 10
        assert "requests a second" in problem(refused[0], 429)
        assert int(refused[0].headers["retry-after"]) >= 1
        assert stranger.get("/api/batch/status/x", headers=bearer).status_code == 422


def test_only_so_many_uploads_at_a_time(
    deployed: dict[str, str], archive: bytes, tmp_path: Path
) -> None:
    with serving(tmp_path, str(tmp_path / "store"), deployed, uploads=1, max_images=2) as web:
        with socket.create_connection(("127.0.0.1", web.port)) as connection:
            connection.sendall(head(len(archive)) + archive[:MIB])
            time.sleep(1)
            full = web.client.post(UPLOAD, content=archive)
            assert "1 uploads are under way" in problem(full, 503)
            assert int(full.headers["retry-after"]) >= 1
            assert "facecrop_http_uploads_in_flight 1.0" in web.client.get("/metrics").text
        time.sleep(1)
        body(web.client.post(UPLOAD, content=archive), 201)
        images = [f"{web.store}/{number}.jpg" for number in range(3)]
        many = web.client.post("/api/batch/add-images", json={"images": images})
        assert "at most 2" in problem(many, 413)
        files = [("files", image.encode()) for image in images]
        assert "at most 2" in problem(web.client.post("/api/batch/add-images", files=files), 413)


def test_pages_of_other_sites_cannot_call_a_service_without_keys(
    web: Web, archive: bytes, nothing_new: None
) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        problem(web.client.post(UPLOAD, content=b"x", headers=headers), 403)


# Stopping, and servers that are not there


def test_uploads_get_time_to_end_and_are_removed_after_it(
    deployed: dict[str, str], archive: bytes, tmp_path: Path
) -> None:
    with serving(tmp_path, str(tmp_path / "store"), deployed, grace_seconds=4) as web:
        with (
            socket.create_connection(("127.0.0.1", web.port), timeout=30) as ends,
            socket.create_connection(("127.0.0.1", web.port)) as hangs,
        ):
            for connection in (ends, hangs):
                connection.sendall(head(len(archive)) + archive[: 5 * MIB])
            time.sleep(1)
            assert len(list((tmp_path / "store" / "uploads").iterdir())) == 2
            web.process.terminate()
            time.sleep(1)
            ends.sendall(archive[5 * MIB :])
            assert ends.recv(100).startswith(b"HTTP/1.1 201")
            assert web.process.wait(30) == 0
        (kept,) = (tmp_path / "store" / "uploads").iterdir()
        assert [path.name for path in kept.iterdir()] == ["archive"]


def test_a_prefect_server_that_does_not_answer_is_a_503(tmp_path: Path, archive: bytes) -> None:
    nobody = {"PREFECT_API_URL": "http://me:hush@127.0.0.1:9/api"}
    with serving(tmp_path, str(tmp_path / "store"), nobody) as web:
        for answer in (
            web.client.get("/readyz"),
            web.client.get(f"/api/batch/status/{'0' * 8}-0000-0000-0000-{'0' * 12}"),
            web.client.post(UPLOAD, content=zip_of(b"x")),
        ):
            said = problem(answer, 503)
            assert "no Prefect server answers" in said
            assert "hush" not in said
            assert int(answer.headers["retry-after"]) >= 1
        assert body(web.client.get("/healthz"), 200)
        assert list((tmp_path / "store" / "uploads").iterdir()) == []


def test_a_store_that_cannot_be_used_is_not_ready(
    deployed: dict[str, str], s3: S3, tmp_path: Path
) -> None:
    environment = {**deployed, **s3.environment}
    with serving(tmp_path, "s3://no-such-bucket/x", environment) as web:
        assert "no-such-bucket" in problem(web.client.get("/readyz"), 503)
        assert "no-such-bucket" in problem(web.client.post(UPLOAD, content=zip_of(b"x")), 409)
    (tmp_path / "file").write_text("")
    with serving(tmp_path, str(tmp_path / "file" / "store"), environment) as web:
        problem(web.client.get("/readyz"), 503)


def zip_of(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("a.jpg", content)
    return target.getvalue()
