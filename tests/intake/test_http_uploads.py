"""Uploads that break, repeat themselves or come at the wrong time: real service, server and S3."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.intake.web import MIB, UPLOAD, Web, body, head, known_batches, problem, serving
from tests.services import S3

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(650)]


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


# Once only


def test_the_same_key_gives_the_same_batch(web: Web, archive: bytes) -> None:
    before = known_batches()
    headers = {"Idempotency-Key": f"once-{web.store}"}
    first = web.client.post(UPLOAD, content=archive, headers=headers)
    stored = web.stored()
    again = web.client.post(UPLOAD, content=archive, headers=headers)
    other = web.client.post(UPLOAD, files={"file": archive}, headers=headers)
    assert body(again, 200) == body(other, 200) == body(first, 201)
    assert body(first, 201)["imageCount"] == 3
    assert known_batches() == before + 1
    assert web.stored() == stored


def test_two_at_once_with_the_same_key_make_one_batch(
    web: Web, deployed: dict[str, str], s3: S3, archive: bytes, tmp_path: Path
) -> None:
    """At two copies of the service."""
    before, stored = known_batches(), len(web.stored())
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
    assert web.unfinished() == []
    added = len(web.stored()) - stored
    assert added == (2 if web.store.startswith("/") else 1)  # a folder is something, too


# Stopping


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
            web.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            ends.sendall(archive[5 * MIB :])
            assert ends.recv(100).startswith(b"HTTP/1.1 201")
            assert web.process.wait(30) == 0
        (kept,) = (tmp_path / "store" / "uploads").iterdir()
        assert [path.name for path in kept.iterdir()] == ["archive"]
