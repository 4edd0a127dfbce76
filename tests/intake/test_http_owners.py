"""Whose batch it is: a real service with keys, a real Prefect server."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.states import Completed

from intake.control import batches
from intake.http.keys import make_key
from pipeline.local import crop
from pipeline.settings import CropSettings
from tests.intake.web import UPLOAD, Web, body, problem, serving, zip_of
from tests.workers import look

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class People:
    web: Web
    ann: httpx.Client
    bob: httpx.Client
    eve: httpx.Client  # an admin


@pytest.fixture(scope="module")
def people(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("owners")
    made = [make_key("ann"), make_key("bob"), make_key("eve", admin=True)]
    (folder / "keys").write_text("\n".join(line for _, line in made))
    with serving(folder, str(folder / "store"), deployed, keys=folder / "keys") as web:
        clients = [
            httpx.Client(base_url=web.url, timeout=60, headers={"X-API-Key": token})
            for token, _ in made
        ]
        yield People(web, *clients)
        for client in clients:
            client.close()


def hand_in(client: httpx.Client, **options: str | int) -> str:
    return str(body(client.post(UPLOAD, content=zip_of(b"x"), params=options), 201)["batchId"])


def from_the_command(people: People) -> str:
    """A batch that never came through the service."""
    archive = Path(people.web.store) / f"{uuid4().hex}.zip"
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(zip_of(b"x"))
    with get_client(sync_client=True) as client:
        run = batches.submit(
            client, "crop-archive/process", str(archive), f"{archive}.out", CropSettings()
        )
    return str(run.id)


def routes(people: People) -> list[tuple[str, str]]:
    """Each that is about one batch, by the service's own document, and HEAD where it has that."""
    paths = body(people.ann.get("/openapi.json"), 200)["paths"]
    found = [
        (method.upper(), path)
        for path, methods in paths.items()
        if "{batchId}" in path
        for method in methods
    ]
    assert len(found) >= 10
    downloads = ("failed", "manifest", "crops.zip", "report")
    return [*found, *(("HEAD", path) for _, path in found if path.endswith(downloads))]


def test_another_s_batch_is_as_one_that_does_not_exist(people: People) -> None:
    others = [hand_in(people.ann), hand_in(people.eve), from_the_command(people)]
    nobody = str(uuid4())
    for method, path in routes(people):
        wanted = people.bob.request(method, path.replace("{batchId}", nobody))
        assert wanted.status_code == 404
        for batch in others:
            answer = people.bob.request(method, path.replace("{batchId}", batch))
            assert answer.status_code == 404, (method, path)
            assert answer.text.replace(batch, nobody) == wanted.text
            assert answer.headers.keys() == wanted.headers.keys()
    states = {body(people.eve.get(f"/api/batch/status/{batch}"), 200)["state"] for batch in others}
    assert states == {"queued"}, "nothing was steered"


def test_whoever_handed_it_in_sees_and_steers_it_and_so_does_an_admin(people: People) -> None:
    batch = hand_in(people.ann, projectId="facecrop.owner:bob")
    for client in (people.ann, people.eve):
        assert body(client.get(f"/api/batch/status/{batch}"), 200)["state"] == "queued"
    assert people.ann.post(f"/api/batch/{batch}/pause").status_code == 202
    assert body(people.eve.post(f"/api/batch/{batch}/resume"), 202)["state"] == "queued"
    ours = from_the_command(people)
    assert body(people.eve.get(f"/api/batch/status/{ours}"), 200)["state"] == "queued"


def test_an_image_is_found_in_one_s_own_batches_alone(people: People) -> None:
    anns, bobs = hand_in(people.ann, projectId="find"), hand_in(people.bob, projectId="find")
    hand_in(people.ann)  # whose output is not begun
    for batch in (anns, bobs):
        given = look(UUID(batch)).parameters
        crop(given["archive"], given["output"], CropSettings.model_validate(given["settings"]))
    digest = hashlib.sha256(b"x").hexdigest()

    def found(client: httpx.Client, **query: str | int) -> set[str]:
        page = body(client.get("/api/batch/find", params=query), 200)
        assert (page["unread"], page["more"]) == ([], False)
        assert {(row["path"], row["status"]) for row in page["found"]} <= {("a.jpg", "failed")}
        return {row["batchId"] for row in page["found"]}

    assert found(people.ann, path="a.jpg") == found(people.ann, sha256=digest) == {anns}
    assert found(people.bob, path="a.jpg") == {bobs}
    assert found(people.eve, sha256=digest, limit=200) == {anns, bobs}
    assert found(people.ann, path="b.jpg") == set()
    page = body(people.ann.get("/api/batch/find", params={"path": "a.jpg", "limit": 1}), 200)
    assert page["more"]
    for query in ({}, {"path": "a.jpg", "sha256": digest}):
        assert "either path or sha256" in problem(
            people.ann.get("/api/batch/find", params=query), 422
        )


def test_a_status_just_seen_by_its_owner_is_not_shown_to_others(people: People) -> None:
    batch = hand_in(people.ann)
    for _ in range(3):
        assert people.ann.get(f"/api/batch/status/{batch}").status_code == 200
        assert people.bob.get(f"/api/batch/status/{batch}").status_code == 404


def test_counts_are_of_one_s_own_batches(
    people: People, deployed: dict[str, str], tmp_path: Path
) -> None:
    token, line = make_key(f"carl-{uuid4().hex[:8]}")
    (tmp_path / "keys").write_text(line)
    hand_in(people.ann, priority=3)
    with serving(
        tmp_path, str(tmp_path / "store"), deployed, token, keys=tmp_path / "keys"
    ) as carls:
        stats = body(carls.client.get("/api/batch/queue-stats"), 200)
        assert stats["totals"]["waiting"] == stats["totals"]["active"] == 0
        assert stats["totals"]["oldestWaitSeconds"] is None
        text = carls.client.get("/metrics").text
        assert 'facecrop_batches{state="queued"} 0.0' in text
        assert "facecrop_http_requests_total{" not in text
    with serving(
        tmp_path, str(tmp_path / "store"), deployed, token, keys=tmp_path / "keys"
    ) as carls:
        hand_in(carls.client, priority=3)
        hand_in(carls.client, priority=4)
        stats = body(carls.client.get("/api/batch/queue-stats"), 200)
        waiting = {queue: counts["waiting"] for queue, counts in stats["queues"].items()}
        assert {queue: count for queue, count in waiting.items() if count} == {"3": 1, "4": 1}
        assert stats["totals"]["oldestWaitSeconds"] >= 0
        assert 'facecrop_batches{state="queued"} 2.0' in carls.client.get("/metrics").text
    everybody = body(people.eve.get("/api/batch/queue-stats"), 200)
    assert everybody["queues"]["3"]["waiting"] >= 2
    assert "facecrop_http_requests_total{" in people.eve.get("/metrics").text


def test_what_others_handed_in_cannot_be_named(people: People) -> None:
    hand_in(people.ann)
    store = people.web.store
    upload = next(Path(store, "uploads").iterdir())
    for uri in (f"{store}/", store, f"{store}/uploads/", f"{store}/batches/", f"{upload}/archive"):
        problem(people.bob.post("/api/batch/from-uri", json={"archive": uri}), 403)
        problem(people.bob.post("/api/batch/add-images", json={"images": [uri]}), 403)
        problem(people.bob.post(UPLOAD, params={"filename": "a.txt"}, content=uri), 403)
    assert people.eve.post("/api/batch/from-uri", json={"archive": f"{upload}/archive"}).is_success


def test_a_retry_belongs_to_whoever_started_it(people: People) -> None:
    batch = hand_in(people.ann)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(batch), Completed(), force=True)
    for client_, name in ((people.ann, "ann"), (people.eve, "eve")):
        run = body(client_.post(f"/api/batch/{batch}/retry"), 202)["runId"]
        assert look(UUID(run)).tags == [f"facecrop.owner:{name}"]


def test_a_recrop_belongs_to_whoever_started_it_and_keeps_to_the_ceilings(people: People) -> None:
    batch = hand_in(people.ann)
    recrop = f"/api/batch/{batch}/recrop"
    assert "not completed" in problem(people.ann.post(recrop, json={}), 409)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(batch), Completed(), force=True)
    problem(people.bob.post(recrop, json={}), 404)
    asked = {"where": "kept", "crop": {"preset": "avatar"}, "layout": "shards"}
    made = body(people.ann.post(recrop, json=asked), 202)["batchId"]
    run = look(UUID(made))
    assert run.tags == ["facecrop.owner:ann"]
    assert run.parameters["settings"] == asked | {"run": {}}
    assert run.parameters["batch"] == look(UUID(batch)).parameters["output"]
    assert Path(run.parameters["output"]).parent == Path(run.parameters["batch"]).parent
    assert body(people.ann.get(f"/api/batch/status/{made}"), 200)["state"] == "queued"
    problem(people.bob.get(f"/api/batch/status/{made}"), 404)
    for wrong, said in {
        "where": ({"where": "sharp > 1"}, "there is no column sharp"),
        "cuts": ({"cuts": {"a": {"size": 64}}}, "one way to cut a request"),
        "crop": ({"crop": {"size": 5}}, "size"),
        "more": ({"archive": "x"}, "archive"),
    }.values():
        assert said in problem(people.ann.post(recrop, json=wrong), 422)


def test_a_retry_may_raise_limits_up_to_the_ceilings(people: People) -> None:
    batch = hand_in(people.ann)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(batch), Completed(), force=True)
    retry = f"/api/batch/{batch}/retry"
    run = look(UUID(body(people.ann.post(retry, params={"image_seconds": 119}), 202)["runId"]))
    assert run.parameters["limits"] == {"image_seconds": 119}
    assert "limits" not in look(UUID(body(people.ann.post(retry), 202)["runId"])).parameters
    refused = people.ann.post(retry, params={"image_mib": 65_000})
    assert "limits.image_mib: should be at most" in problem(refused, 422)
    for unknown in ({"side": 1}, {"max_pixels": "many"}):
        problem(people.ann.post(retry, params=unknown), 422)


# The same key


def test_a_key_that_cannot_be_is_a_400(people: People) -> None:
    token = people.ann.headers["X-API-Key"]
    for path in ("from-uri", "add-images", "upload-zip"):
        for key in ("", " ", "\t", "x" * 256, "\xe9", "a\x7f"):
            connection = HTTPConnection("127.0.0.1", people.web.port)  # it sends what it is given
            headers = {"X-API-Key": token, "Idempotency-Key": key}
            connection.request("POST", f"/api/batch/{path}", body=b"{}", headers=headers)
            answer = connection.getresponse()
            assert (answer.status, path, key) == (400, path, key)
            if key.isprintable():
                assert b"Idempotency-Key" in answer.read()
            connection.close()
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    problem(people.ann.post(UPLOAD, content=zip_of(b"x"), headers=twice), 400)


def test_the_same_key_with_another_request_is_a_422(people: People) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    first = body(people.ann.post(UPLOAD, content=zip_of(b"x"), headers=key), 201)
    stored = people.web.stored()
    same = people.ann.post(UPLOAD, content=zip_of(b"x"), headers=key)
    assert body(same, 200) == first
    archive = Path(people.web.store) / "there.zip"
    archive.write_bytes(zip_of(b"x"))
    others = [
        people.ann.post(UPLOAD, content=zip_of(b"y"), headers=key),
        people.ann.post(UPLOAD, files={"file": zip_of(b"y")}, headers=key),
        people.ann.post(UPLOAD, content=zip_of(b"x"), params={"priority": 1}, headers=key),
        people.ann.post(UPLOAD, content=zip_of(b"x"), params={"projectId": "a"}, headers=key),
        people.ann.post(
            UPLOAD,
            content=zip_of(b"x"),
            params={"settings": json.dumps({"crop": {"size": 100}})},
            headers=key,
        ),
        people.ann.post("/api/batch/from-uri", json={"archive": str(archive)}, headers=key),
        people.ann.post("/api/batch/add-images", json={"images": [str(archive)]}, headers=key),
        people.ann.post("/api/batch/add-images", files=[("files", b"x")], headers=key),
    ]
    for answer in others:
        said = problem(answer, 422)
        assert "Idempotency-Key was sent before" in said
        assert first["batchId"] in said
    assert people.web.stored() == stored


def test_the_same_key_of_lists_and_archives_in_storage(people: People) -> None:
    folder = Path(people.web.store)
    for name in ("1.zip", "2.zip"):
        (folder / name).write_bytes(zip_of(b"x"))
    for path, field, one, other in (
        ("from-uri", "archive", f"{folder}/1.zip", f"{folder}/2.zip"),
        ("add-images", "images", [f"{folder}/1.zip"], [f"{folder}/1.zip", f"{folder}/2.zip"]),
    ):
        key = {"Idempotency-Key": uuid4().hex}
        url = f"/api/batch/{path}"
        first = body(people.ann.post(url, json={field: one}, headers=key), 201)
        assert body(people.ann.post(url, json={field: one}, headers=key), 200) == first
        problem(people.ann.post(url, json={field: other}, headers=key), 422)
        problem(people.ann.post(url, json={field: one, "priority": 2}, headers=key), 422)


def test_what_the_service_can_do_is_for_those_with_a_key(people: People) -> None:
    for path in ("/docs", "/openapi.json"):
        problem(httpx.get(f"{people.web.url}{path}"), 401)
        assert people.ann.get(path).headers["Cache-Control"] == "private, no-store"
    for path in ("/redoc", "/docs/oauth2-redirect"):
        problem(httpx.get(f"{people.web.url}{path}"), 404)
    assert httpx.get(f"{people.web.url}/healthz").status_code == 200


def test_answers_are_private_and_not_sniffed(people: People) -> None:
    batch = hand_in(people.ann)
    answers = [
        people.ann.get(f"/api/batch/status/{batch}"),
        people.bob.get(f"/api/batch/status/{batch}"),
        people.ann.get("/api/batch/queue-stats"),
        people.ann.get(f"/api/batch/{batch}/failed"),
        people.ann.get("/metrics"),
        people.ann.get("/api/nothing"),
        people.ann.post(UPLOAD, content=b"x"),
        httpx.get(f"{people.web.url}/api/batch/queue-stats"),
    ]
    assert {answer.status_code for answer in answers} >= {200, 401, 404, 422}
    for answer in answers:
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
