"""Whom the HTTP service lets in, and how far: a real service, Prefect server and S3 server."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from intake.http.keys import make_key
from tests.intake.web import MIB, UPLOAD, Web, body, head, problem, serving, zip_of
from tests.services import S3

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]


# What may be named


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../../../a.zip",
        "s3://other/a.zip",
        "http://169.254.169.254/latest/meta-data",
        "{store}/../a.zip",
        "{store}x/a.zip",
    ],
)
def test_only_what_is_under_the_store_may_be_named(web: Web, nothing_new: None, uri: str) -> None:
    uri = uri.format(store=web.store)
    problem(web.client.post("/api/batch/from-uri", json={"archive": uri}), 403)
    problem(web.client.post("/api/batch/add-images", json={"images": [uri]}), 403)
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


# Keys and limits


def test_a_key_is_needed_where_there_are_keys(
    deployed: dict[str, str], archive: bytes, tmp_path: Path
) -> None:
    token, line = make_key("ann")
    other, second = make_key("bob")
    (tmp_path / "keys").write_text(f"{line}\n{second}\n")
    limits: dict[str, Any] = {"keys": tmp_path / "keys", "max_upload_gib": MIB / (1 << 30)}
    with serving(tmp_path, str(tmp_path / "store"), deployed, token, **limits) as web:
        stranger = httpx.Client(base_url=web.url)
        for path in ("queue-stats", "status/x", f"{'0' * 8}-0000-0000-0000-{'0' * 12}/failed"):
            answer = stranger.get(f"/api/batch/{path}")
            assert "needs an API key" in problem(answer, 401)
            assert answer.headers["www-authenticate"] == 'Basic realm="Facecrop"'
        problem(stranger.get("/metrics"), 401)
        problem(stranger.post(UPLOAD, content=archive), 401)
        problem(stranger.post("/api/batch/from-uri", json={}), 401)
        assert not (tmp_path / "store" / "uploads").exists()
        assert stranger.get("/healthz").status_code == stranger.get("/readyz").status_code == 200
        wrong = {"X-API-Key": token[:-1] + ("x" if token[-1] != "x" else "y")}
        problem(stranger.get("/metrics", headers=wrong), 401)
        bearer = {"Authorization": f"Bearer {other}"}
        assert stranger.get("/metrics", headers=bearer).status_code == 200
        # as a browser sends it, which any page can make send something: so it only reads
        basic = ("ann", token)
        assert stranger.get("/metrics", auth=basic).status_code == 200
        refused = stranger.post("/api/batch/from-uri", json={}, auth=basic)
        problem(refused, 401)
        assert refused.headers["www-authenticate"] == "Bearer"

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


def test_each_key_has_so_many_requests_a_second(deployed: dict[str, str], tmp_path: Path) -> None:
    (token, line), (other, second) = make_key("ann"), make_key("bob")
    (tmp_path / "keys").write_text(f"{line}\n{second}\n")
    limits: dict[str, Any] = {"keys": tmp_path / "keys", "rate": 3}
    with (
        serving(tmp_path, str(tmp_path / "store"), deployed, token, **limits) as web,
        ThreadPoolExecutor(10) as pool,
    ):
        ask = lambda _: web.client.get("/api/batch/queue-stats")  # noqa: E731
        answers = list(pool.map(ask, range(30)))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) > 10
        assert any(answer.status_code == 200 for answer in answers)
        assert "requests a second" in problem(refused[0], 429)
        assert int(refused[0].headers["retry-after"]) >= 1
        bob = {"Authorization": f"Bearer {other}"}
        assert httpx.get(f"{web.url}/api/batch/queue-stats", headers=bob).status_code == 200


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


# Servers that are not there


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
