"""A batch over HTTP from upload to crops: a real service, Prefect server, worker and S3 server."""

import csv
import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from tests.flows.batches import picture, result
from tests.intake.web import Web, body, problem, serving, settings
from tests.services import S3
from tests.workers import StartWorker, look, process_workers

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def start_worker(
    deployed: dict[str, str], s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartWorker]:
    folder = tmp_path_factory.mktemp("workers")
    with process_workers({**deployed, **s3.environment}, folder) as start:
        yield start


@pytest.fixture(scope="module")
def worker(start_worker: StartWorker) -> None:
    start_worker("http")


@pytest.fixture(scope="module")
def on_disk(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("disk")
    with serving(folder, str(folder / "store"), deployed) as service:
        yield service


@pytest.fixture(scope="module")
def on_s3(
    deployed: dict[str, str], s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("s3")
    store = f"s3://{s3.bucket}/{folder.name}"
    with serving(folder, store, {**deployed, **s3.environment}) as service:
        yield service


def follow_to_its_crops(on_disk: Web, batch: str) -> None:
    """What a client does after an upload of `sample`."""
    seen = on_disk.follow(batch, "completed", "failed")
    links = seen["links"]
    assert seen["state"] == "completed", seen
    assert seen["progressPercent"] == 100.0
    progress = seen["progress"]
    assert progress["processed"] == progress["total"] == 40
    assert progress["faces"] > 0

    output = result(output_of(batch))
    archive = zipfile.ZipFile(io.BytesIO(on_disk.client.get(links["crops"]).content))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == output.crops
    assert len(archive.namelist()) == progress["faces"]

    manifest = on_disk.client.get(links["manifest"])
    assert manifest.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(manifest.content)).num_rows == 40

    page = body(on_disk.client.get(links["failed"]), 200)
    assert len(page["failed"]) == progress["failed"] > 0
    assert not page["more"]
    first = body(on_disk.client.get(links["failed"], params={"limit": 1, "offset": 1}), 200)
    assert first["failed"] == page["failed"][1:2]
    text = on_disk.client.get(links["failed"], headers={"Accept": "text/csv"})
    assert text.headers["content-type"].startswith("text/csv")
    assert text.content.decode("utf-8-sig") == output.failed
    rows = list(csv.DictReader(io.StringIO(output.failed)))
    assert [row["path"] for row in rows] == [row["path"] for row in page["failed"]]

    retried = body(on_disk.client.post(links["retry"]), 202)
    run = on_disk.follow(retried["runId"], "completed", "failed")
    assert run["state"] == "completed", run
    table = pq.read_table(io.BytesIO(on_disk.client.get(links["manifest"]).content)).to_pylist()
    assert {row["attempts"] for row in table if row["status"] == "failed"} == {2}
    assert {row["attempts"] for row in table if row["status"] != "failed"} == {1}

    asked = {"where": "rank = 0", "crop": {"size": 64}}
    recropped = body(on_disk.client.post(links["recrop"], json=asked), 202)
    assert recropped["ofBatchId"] == batch
    run = on_disk.follow(recropped["batchId"], "completed", "failed")
    assert run["state"] == "completed", run
    small = zipfile.ZipFile(io.BytesIO(on_disk.client.get(run["links"]["crops"]).content))
    wanted = [one for one in output.crops if one.endswith("_0.jpg")]
    assert sorted(small.namelist()) == sorted(wanted)
    assert {picture(small.read(one)).shape for one in wanted} == {(64, 64, 3)}


def output_of(batch: str) -> str:
    return str(look(UUID(batch)).parameters["output"])


def archives(web: Web) -> list[str]:
    return [path.rpartition("/")[2] for path in web.stored() if path.endswith(".zip")]


def test_a_form_to_crops_on_local_disk(on_disk: Web, worker: None, sample: Path) -> None:
    before = archives(on_disk)
    with sample.open("rb") as file:
        answer = on_disk.client.post(
            "/api/batch/upload-zip",
            files={"file": ("Väter & Söhne.zip", file, "application/zip")},
            data={"projectId": "family", "priority": "2", "settings": settings()},
        )
    queued = body(answer, 201)
    assert queued["imageCount"] == 40
    assert queued["queued"] is True
    assert answer.headers["location"] == queued["links"]["status"]
    assert sorted(archives(on_disk)) == sorted([*before, "Väter & Söhne.zip"])
    assert on_disk.status(queued["batchId"])["project"] == "family"
    assert "not finished" in problem(on_disk.client.get(queued["links"]["manifest"]), 409)
    assert "not finished" in problem(on_disk.client.get(queued["links"]["crops"]), 409)
    assert "no report yet" in problem(on_disk.client.get(queued["links"]["report"]), 404)
    follow_to_its_crops(on_disk, queued["batchId"])
    report = Path(output_of(queued["batchId"]), "report.html")
    assert report.is_relative_to(on_disk.store)
    report.write_text("<p>The result</p>")
    page = on_disk.client.get(queued["links"]["report"])
    assert page.text == report.read_text()
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"] == "sandbox allow-scripts"


@pytest.mark.parametrize("layout", ["shards", "parquet"])
def test_a_raw_body_to_crops_on_s3(on_s3: Web, worker: None, sample: Path, layout: str) -> None:
    before = archives(on_s3)
    queued = body(
        on_s3.client.post(
            "/api/batch/upload-zip",
            params={"filename": "photos.zip", "settings": settings(output={"layout": layout})},
            headers={"Content-Type": "application/zip"},
            content=sample.read_bytes(),
        ),
        201,
    )
    assert queued["imageCount"] == 40
    assert sorted(archives(on_s3)) == sorted([*before, "photos.zip"])
    batch = queued["batchId"]
    seen = on_s3.follow(batch, "completed", "failed")
    assert seen["state"] == "completed", seen
    archive = zipfile.ZipFile(io.BytesIO(on_s3.client.get(queued["links"]["crops"]).content))
    assert archive.testzip() is None
    faces = result(output_of(batch)).faces
    assert archive.namelist() == [face["crop"] for face in faces]
    assert len(faces) == seen["progress"]["faces"] > 0
    assert all(picture(archive.read(name)).shape == (300, 300, 3) for name in archive.namelist())


def test_files_of_a_form_become_a_folder(on_s3: Web, worker: None, sample: Path) -> None:
    with zipfile.ZipFile(sample) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:3]
        files = [("files", ("a.jpg", archive.read(name))) for name in names]
    queued = body(on_s3.client.post("/api/batch/add-images", files=files), 201)
    assert queued["imageCount"] == 3
    seen = on_s3.follow(queued["batchId"], "completed", "failed")
    assert seen["progress"]["processed"] == 3
    assert seen["progress"]["failed"] == 0


def test_images_and_archives_that_are_in_storage_already(
    on_disk: Web, worker: None, sample: Path
) -> None:
    folder = Path(on_disk.store) / "there"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(sample) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:2]
        for number, name in enumerate(names):
            (folder / f"{number}.jpg").write_bytes(archive.read(name))
    images = [str(folder / "0.jpg"), f"file://{folder}/1.jpg"]
    listed = body(on_disk.client.post("/api/batch/add-images", json={"images": images}), 201)
    whole = body(on_disk.client.post("/api/batch/from-uri", json={"archive": f"{folder}/"}), 201)
    assert (listed["imageCount"], whole["imageCount"]) == (2, 2)
    for queued in (listed, whole):
        seen = on_disk.follow(queued["batchId"], "completed", "failed")
        assert (seen["state"], seen["progress"]["failed"]) == ("completed", 0), seen


def test_events_follow_a_batch_to_its_end(on_disk: Web, worker: None, sample: Path) -> None:
    queued = body(on_disk.client.post("/api/batch/upload-zip", content=sample.read_bytes()), 201)
    seen: list[tuple[str, dict[str, object]]] = []
    with on_disk.client.stream("GET", queued["links"]["events"], timeout=240) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        event = ""
        for line in stream.iter_lines():
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                seen.append((event, json.loads(line.removeprefix("data: "))))
    assert [event for event, _ in seen[:-1]] == ["status"] * (len(seen) - 1)
    assert seen[-1][0] == "end"
    assert seen[-1][1]["state"] == "completed"
    assert {"queued", "running"} & {str(status["state"]) for _, status in seen}


def test_a_batch_is_paused_resumed_and_cancelled(
    on_disk: Web, worker: None, tmp_path: Path, sample: Path
) -> None:
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(sample) as source, zipfile.ZipFile(many, "w") as target:
        for number in range(150):
            for name in source.namelist():
                target.writestr(f"{number}/{name}", source.read(name))
    with many.open("rb") as file:
        queued = body(on_disk.client.post("/api/batch/upload-zip", files={"file": file}), 201)
    batch, links = queued["batchId"], queued["links"]
    assert "not paused" in problem(on_disk.client.post(links["resume"]), 409)
    assert "not completed" in problem(on_disk.client.post(links["retry"]), 409)
    on_disk.follow(batch, "running")
    assert body(on_disk.client.post(links["pause"]), 202)["state"] == "paused"
    assert "paused already" in problem(on_disk.client.post(links["pause"]), 409)
    time.sleep(6)
    assert on_disk.status(batch)["state"] == "paused"
    assert body(on_disk.client.post(links["resume"]), 202)["state"] == "queued"
    on_disk.follow(batch, "running")
    assert (
        body(on_disk.client.get(links["failed"]), 200)["batchId"] == batch
    )  # from its parts so far
    assert body(on_disk.client.post(links["cancel"]), 202)["state"] in ("cancelling", "cancelled")
    on_disk.follow(batch, "cancelled")
    assert "cannot be cancelled" in problem(on_disk.client.post(links["cancel"]), 409)


def test_what_is_no_batch_is_not_found(on_disk: Web) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    for method, path in (
        ("GET", f"status/{nobody}"),
        ("GET", f"status/{nobody}/events"),
        *(("GET", f"{nobody}/{part}") for part in ("failed", "manifest", "crops.zip", "report")),
        *(("POST", f"{nobody}/{act}") for act in ("retry", "recrop", "cancel", "pause", "resume")),
    ):
        said = problem(on_disk.client.request(method, f"/api/batch/{path}"), 404)
        assert f"there is no batch {nobody}" in said
    assert "batchId" in problem(on_disk.client.get("/api/batch/status/seven"), 422)
    assert "There is nothing" in problem(on_disk.client.get("/api/batches"), 404)
    assert "method" in problem(on_disk.client.delete("/healthz"), 405)


@pytest.fixture
def fresh(deployed: dict[str, str], tmp_path: Path) -> Iterator[Web]:
    with serving(tmp_path, str(tmp_path / "store"), deployed) as service:
        yield service


def test_probes_and_documents(fresh: Web, sample: Path) -> None:
    body(fresh.client.post("/api/batch/upload-zip", content=sample.read_bytes()), 201)
    assert body(fresh.client.get("/healthz"), 200) == {"status": "alive"}
    assert body(fresh.client.get("/readyz"), 200) == {"status": "ready"}
    stats = body(fresh.client.get("/api/batch/queue-stats"), 200)
    assert set(stats["queues"]) >= {str(priority) for priority in range(1, 11)}
    assert set(stats["totals"]) == {
        *("waiting", "active", "completed", "failed", "late", "oldestWaitSeconds")
    }
    assert stats["totals"]["waiting"] + stats["totals"]["active"] >= 1
    text = fresh.client.get("/metrics").text
    (taken,) = re.findall(r"^facecrop_http_upload_bytes_total (.+)$", text, re.MULTILINE)
    assert float(taken) == sample.stat().st_size
    assert "facecrop_http_uploads_in_flight 0.0" in text
    assert 'facecrop_batches{state="queued"}' in text
    labels = 'method="POST",route="/api/batch/upload-zip",status="201"'
    assert f"facecrop_http_requests_total{{{labels}}} 1.0" in text
    document = body(fresh.client.get("/openapi.json"), 200)
    assert document["info"]["version"] == version("facecrop")
    assert "CropSettings" in document["components"]["schemas"]
    page = fresh.client.get("/docs").text
    outside = re.findall(r"<(?:script|link)[^>]*https://[^>]*>", page)
    assert len(outside) == 2
    assert all(re.search(r"@\d+\.\d+\.\d+/.* integrity=\"sha384-", tag) for tag in outside)
