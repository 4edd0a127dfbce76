"""Handing a batch in and waiting for its faces: a real service, Prefect server and worker."""

import re
import signal
import socket
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyarrow.parquet as pq
import pytest
from prefect.states import Completed

from intake.http.keys import make_key
from storage.output.counts import Status
from storage.output.manifest import FaceRow, MemberRow, encode_part
from storage.output.output import Output
from tests.flows.gate import gate
from tests.intake.runs import put
from tests.intake.web import UPLOAD, Web, body, problem, serving, zip_of
from tests.workers import look, process_workers, this_client, wait

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

FROM_URI, ADD_IMAGES = "/api/batch/from-uri", "/api/batch/add-images"
PHOTOS = 5
FOREVER = {"wait": 60}

Files = list[tuple[str, tuple[str, bytes]]]


@dataclass(frozen=True)
class People:
    web: Web  # whose own client is an admin's
    ann: httpx.Client
    bob: httpx.Client


@pytest.fixture(scope="module")
def people(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("wait")
    (ann, first), (bob, second), (eve, third) = (
        make_key("ann"),
        make_key("bob"),
        make_key("eve", admin=True),
    )
    (folder / "keys").write_text("\n".join([first, second, third]))
    with serving(folder, str(folder / "store"), deployed, eve, keys=folder / "keys") as web:
        clients = [
            httpx.Client(base_url=web.url, timeout=120, headers={"X-API-Key": token})
            for token in (ann, bob)
        ]
        yield People(web, *clients)
        for client in clients:
            client.close()


@pytest.fixture(scope="module")
def worker(
    people: People, deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """One that has started: a wait is too short for that on a busy machine."""
    with process_workers(deployed, tmp_path_factory.mktemp("workers")) as start:
        start("wait")
        first = body(people.web.client.post(UPLOAD, content=zip_of(b"x")), 201)
        people.web.follow(first["batchId"], "completed", "failed")
        yield


@pytest.fixture(scope="module")
def photos(sample: Path) -> Files:
    with zipfile.ZipFile(sample) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:PHOTOS]
        return [("files", (f"{at}.jpg", archive.read(name))) for at, name in enumerate(names)]


def output_of(batch: str) -> str:
    return str(look(UUID(batch)).parameters["output"])


def faces_of(batch: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(f"{output_of(batch)}/faces.parquet").to_pylist()
    return found


def waiting(web: Web) -> float:
    """How many requests wait for a batch's end."""
    (found,) = re.findall(r"^facecrop_http_waiting (.+)$", web.client.get("/metrics").text, re.M)
    return float(found)


# No worker is needed for these


@pytest.mark.parametrize("given", ["-1", "60.5", "soon", "nan", ""])
def test_what_is_no_wait_is_a_422(people: People, given: str) -> None:
    for path in (ADD_IMAGES, FROM_URI, UPLOAD):
        said = problem(people.ann.post(path, params={"wait": given}, json={}), 422)
        assert said.startswith("wait: should be ")
        assert "\n" not in said


def test_who_does_not_wait_long_enough_is_told_how_far_it_is(people: People, photos: Files) -> None:
    told = body(people.ann.post(ADD_IMAGES, files=photos, params={"wait": 0.2}), 201)
    assert (told["state"], told["faces"], told["moreFaces"]) == ("queued", None, False)
    assert told["progress"] == {
        "processed": 0,
        "total": None,
        "failed": 0,
        "faces": 0,
        "rejected": 0,
    }
    assert told["imageCount"] == PHOTOS
    at_once = body(people.ann.post(ADD_IMAGES, files=photos), 201)
    assert set(at_once) == {"batchId", "imageCount", "queued", "links"}
    assert at_once.keys() < told.keys()
    assert body(people.ann.get(told["links"]["status"]), 200).keys() < told.keys()


def test_a_client_that_goes_away_leaves_nobody_waiting(people: People) -> None:
    with ExitStack() as stack:
        wait_raw(stack, people.web, people.ann)
        wait(lambda: waiting(people.web) == 1, 30)
    wait(lambda: waiting(people.web) == 0, 30)


def wait_raw(stack: ExitStack, web: Web, client: httpx.Client, key: str = "") -> socket.socket:
    """A connection on which an upload waits for its answer, for longer than any test does."""
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", web.port)))
    request = client.build_request("POST", UPLOAD, content=zip_of(b"x"), params=FOREVER)
    request.headers["Idempotency-Key"] = key or uuid4().hex
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    first = f"POST {request.url.raw_path.decode()} HTTP/1.1"
    connection.sendall("\r\n".join([first, *lines, "", ""]).encode() + request.content)
    return connection


def test_a_service_that_stops_answers_those_that_wait(
    deployed: dict[str, str], tmp_path: Path
) -> None:
    with (
        serving(tmp_path, str(tmp_path / "store"), deployed) as web,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(web.client.post, UPLOAD, content=zip_of(b"x"), params=FOREVER)
        wait(lambda: waiting(web) == 1, 30)
        web.process.send_signal(signal.SIGTERM)
        assert body(answer.result(), 201)["state"] == "queued"


def test_a_server_that_hangs_costs_nobody_the_batch_s_id(
    deployed: dict[str, str], tmp_path: Path
) -> None:
    port = httpx.URL(deployed["PREFECT_API_URL"]).port
    assert port is not None
    with (
        gate(port) as door,
        ThreadPoolExecutor(1) as pool,
        serving(
            tmp_path,
            str(tmp_path / "store"),
            {**deployed, "PREFECT_API_URL": f"http://127.0.0.1:{door.port}/api"},
        ) as web,
    ):
        answer = pool.submit(web.client.post, UPLOAD, content=zip_of(b"x"), params=FOREVER)
        wait(lambda: waiting(web) == 1, 30)
        door.freeze()
        web.process.send_signal(signal.SIGTERM)
        told = body(answer.result(), 201)
        assert set(told) == {"batchId", "imageCount", "queued", "links"}
        door.vanish()  # or what is still asked would keep the service


def test_those_that_wait_leave_room_for_others(deployed: dict[str, str], tmp_path: Path) -> None:
    with (
        serving(tmp_path, str(tmp_path / "store"), deployed, connections=64) as web,
        ExitStack() as stack,
    ):
        key = uuid4().hex
        for _ in range(16):  # half of the requests that it answers at a time
            wait_raw(stack, web, web.client, key)
        wait(lambda: waiting(web) == 16, 60)
        again = {"Idempotency-Key": key}
        told = web.client.post(
            UPLOAD, content=zip_of(b"x"), params=FOREVER, headers=again, timeout=30
        )
        assert body(told, 200)["state"] == "queued"
        assert waiting(web) == 16
        assert body(web.client.get("/api/batch/queue-stats"), 200)


def test_of_many_faces_the_first_are_answered(people: People) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    sent: dict[str, Any] = {"content": zip_of(b"x"), "headers": key}
    batch = str(body(people.ann.post(UPLOAD, **sent), 201)["batchId"])
    output = Output(output_of(batch))
    output.claim({"format": 1, "archive": {}, "settings": {}}, "resume")
    names = [f"crops/{number}_0.jpg" for number in range(1001)]
    rows = [
        MemberRow(
            member=number,
            path=f"{number}.jpg",
            status=Status.CROPPED,
            bytes=1,
            face_rows=[FaceRow(0, 0, 1, 1, 1, 1, None, None, 1, 1, 1, 0, 1, name)],
        )
        for number, name in enumerate(names)
    ]
    output.put_part(0, encode_part(rows))
    output.finish(len(rows), 1)
    assert body(people.ann.get(f"/api/batch/status/{batch}"), 200)["state"] == "queued"
    put(this_client(), look(UUID(batch)), Completed())
    told = body(people.ann.post(UPLOAD, params=FOREVER, **sent), 200)
    assert (told["batchId"], told["progress"]["faces"]) == (batch, 1001)
    assert [face["crop"] for face in told["faces"]] == names[:1000]
    assert told["moreFaces"] is True


# From here on there is a worker


def test_photographs_are_answered_with_their_faces(
    people: People, worker: None, photos: Files
) -> None:
    told = body(people.ann.post(ADD_IMAGES, files=photos, params=FOREVER), 201)
    assert (told["state"], told["moreFaces"]) == ("completed", False), told
    assert told["progress"]["processed"] == told["imageCount"] == PHOTOS
    assert told["progress"]["faces"] == len(told["faces"]) > 0
    assert told["faces"] == faces_of(told["batchId"])
    output = Path(output_of(told["batchId"]))
    assert all((output / face["crop"]).is_file() for face in told["faces"])
    seen = body(people.ann.get(told["links"]["status"]), 200)
    assert {name: told[name] for name in seen} == seen


def test_archives_are_waited_for_as_well(people: People, worker: None, photos: Files) -> None:
    archive = Path(people.web.store) / "there.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for _, (name, data) in photos:
            target.writestr(name, data)
    named = people.ann.post(FROM_URI, json={"archive": str(archive)}, params=FOREVER)
    sent = people.ann.post(UPLOAD, content=archive.read_bytes(), params=FOREVER)
    for told in (body(named, 201), body(sent, 201)):
        assert told["state"] == "completed", told
        assert told["faces"] == faces_of(told["batchId"])


def test_the_same_key_waits_for_its_own_batch_and_no_other(
    people: People, worker: None, photos: Files
) -> None:
    sent: dict[str, Any] = {
        "files": photos,
        "params": FOREVER,
        "headers": {"Idempotency-Key": uuid4().hex},
    }
    first = body(people.ann.post(ADD_IMAGES, **sent), 201)
    assert body(people.ann.post(ADD_IMAGES, **sent), 200) == first
    theirs = body(people.bob.post(ADD_IMAGES, **sent), 201)
    assert theirs["batchId"] != first["batchId"]
    problem(people.bob.get(first["links"]["status"]), 404)
    problem(people.ann.get(theirs["links"]["status"]), 404)


def test_a_batch_that_fails_says_so(
    deployed: dict[str, str], worker: None, photos: Files, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "batches").write_text("where outputs would go")
    with serving(tmp_path, str(tmp_path / "store"), deployed) as web:
        told = body(web.client.post(ADD_IMAGES, files=photos, params=FOREVER, timeout=120), 201)
    assert (told["state"], told["faces"]) == ("failed", None), told
    assert str(tmp_path / "store" / "batches") in told["message"]
