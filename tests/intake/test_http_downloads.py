"""Downloads of a large batch: in little memory, and no longer than somebody wants them."""

import hashlib
import socket
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from storage.output.counts import Status
from storage.output.manifest import FaceRow, MemberRow, encode_part
from storage.output.output import Output
from tests.intake.web import MIB, UPLOAD, Web, body, serving, zip_of
from tests.workers import look, wait

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.timeout(600)]

CHUNKS, CROPS = 50, 40  # and in each chunk so many crops
CROP = bytes(range(256)) * 400  # 100 KiB


@pytest.fixture(scope="module")
def web(deployed: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web")
    with serving(folder, str(folder / "store"), deployed, stall_seconds=3) as service:
        yield service


@pytest.fixture(scope="module")
def batch(web: Web) -> str:
    """A batch that no worker has begun, with 200 MiB of crops at its output."""
    found = str(body(web.client.post(UPLOAD, content=zip_of(b"x")), 201)["batchId"])
    output = Output(look(UUID(found)).parameters["output"])
    settings = {"output": {"layout": "files"}}
    output.claim({"format": 1, "archive": {}, "settings": settings}, "resume")
    for chunk in range(CHUNKS):
        names = [f"crops/{chunk}/{number}_0.jpg" for number in range(CROPS)]
        output.put_crops(0, dict.fromkeys(names, CROP))
        rows = [
            MemberRow(
                member=chunk * CROPS + number,
                path=f"{chunk}/{number}.jpg",
                status=Status.CROPPED,
                bytes=1,
                face_rows=[FaceRow(0, 0, 1, 1, 1, 1, None, None, 1, 1, 1, 0, 1, name)],
            )
            for number, name in enumerate(names)
        ]
        output.put_part(chunk, encode_part(rows))
    output.finish(CHUNKS * CROPS, CHUNKS)
    return found


def memory(web: Web, name: str) -> int:
    """Bytes, by proc(5)."""
    lines = Path(f"/proc/{web.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def bytes_read(web: Web) -> int:
    """What it has read of files since it started, by proc(5)."""
    lines = Path(f"/proc/{web.process.pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("rchar:"))


def test_a_large_batch_is_sent_in_little_memory(web: Web, batch: str, tmp_path: Path) -> None:
    before = memory(web, "VmRSS")
    Path(f"/proc/{web.process.pid}/clear_refs").write_text("5")  # the peak counts from here
    target = tmp_path / "crops.zip"
    with (
        web.client.stream("GET", f"/api/batch/{batch}/crops.zip") as answer,
        target.open("wb") as file,
    ):
        for piece in answer.iter_bytes():
            file.write(piece)
    assert memory(web, "VmHWM") - before < 64 * MIB
    with zipfile.ZipFile(target) as archive:
        assert len(archive.namelist()) == CHUNKS * CROPS
        digests = {hashlib.sha256(archive.read(name)).digest() for name in archive.namelist()}
    assert digests == {hashlib.sha256(CROP).digest()}


def test_a_client_that_goes_away_ends_the_work(web: Web, batch: str) -> None:
    def rests() -> bool:
        before = bytes_read(web)
        time.sleep(0.5)
        return bytes_read(web) - before < MIB

    for _ in range(3):
        before = bytes_read(web)
        with web.client.stream("GET", f"/api/batch/{batch}/crops.zip") as answer:
            next(answer.iter_bytes())
        wait(rests, 20)
        assert bytes_read(web) - before < CHUNKS * CROPS * len(CROP) / 2


def test_a_crop_that_is_gone_cuts_the_download_short(web: Web, batch: str) -> None:
    crop = Path(look(UUID(batch)).parameters["output"]) / "crops" / f"{CHUNKS - 1}" / "0_0.jpg"
    with (
        moved(crop),
        pytest.raises(Exception, match="incomplete chunked read"),
        web.client.stream("GET", f"/api/batch/{batch}/crops.zip") as answer,
    ):
        assert sum(map(len, answer.iter_bytes())) == 0


@contextmanager
def moved(file: Path) -> Iterator[None]:
    away = file.with_suffix(".away")
    file.rename(away)
    try:
        yield
    finally:
        away.rename(file)


def test_a_client_that_takes_nothing_is_given_up(web: Web, batch: str) -> None:
    def files() -> int:
        return sum(1 for _ in Path(f"/proc/{web.process.pid}/fd").iterdir())

    def settled() -> bool:
        before = files()
        time.sleep(1)
        return files() == before

    body(web.client.get("/healthz"), 200)
    wait(settled, 60)  # what other tests have opened is closed
    before = files()
    with socket.create_connection(("127.0.0.1", web.port)) as connection:
        connection.sendall(
            f"GET /api/batch/{batch}/crops.zip HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        )
        wait(lambda: files() > before, 20)
        wait(lambda: files() <= before, 60)


def test_a_head_says_what_a_get_would_send_and_reads_nothing(web: Web, batch: str) -> None:
    (Path(look(UUID(batch)).parameters["output"]) / "report.html").write_text("<p>done</p>")
    for name in ("crops.zip", "manifest", "report", "failed?format=csv", "failed"):
        url = f"/api/batch/{batch}/{name}"
        before = bytes_read(web)
        head = web.client.head(url)
        assert bytes_read(web) - before < MIB
        assert (head.status_code, head.content) == (200, b"")
        with web.client.stream("GET", url) as got:
            wanted = {key: value for key, value in got.headers.items() if key != "date"}
        found = {key: value for key, value in head.headers.items() if key != "date"}
        if name == "failed":  # which is only known once its rows are
            wanted.pop("content-length")
            found.pop("transfer-encoding")
        assert found == wanted
        assert ("content-length" in found) == (name in ("manifest", "report"))
    nobody = "00000000-0000-0000-0000-000000000000"
    assert web.client.head(f"/api/batch/{nobody}/crops.zip").status_code == 404
