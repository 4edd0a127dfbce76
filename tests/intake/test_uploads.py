"""What is streamed into storage is there whole or not at all: on local disk and on a real S3."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import botocore.session  # type: ignore[import-untyped]
import pytest

from intake.control.records import Record
from intake.http.uploads import Upload, file_name
from storage.errors import OutputError, TransientError
from storage.fs.location import resolve
from tests.services import S3

GIB = 1 << 30
DATA = bytes(range(256)) * 4096 * 20  # 20 MiB: three parts of an object


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.service)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "store")
        return
    s3: S3 = request.getfixturevalue("s3")
    yield f"s3://{s3.bucket}/{tmp_path.name}"
    assert parts_in_flight(s3) == []


def parts_in_flight(s3: S3) -> list[object]:
    client = botocore.session.get_session().create_client("s3", endpoint_url=s3.endpoint)
    return list(client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", []))


def there(uri: str) -> list[str]:
    """Files below; SeaweedFS lists its own empty folders as well."""
    place = resolve(uri)
    found = place.fs.find(place.path, detail=True)
    files = [name for name, info in found.items() if info["type"] == "file"]
    return [name.removeprefix(f"{place.path}/") for name in files]


async def send(upload: Upload, name: str, data: bytes = DATA) -> None:
    await upload.begin(name)
    for start in range(0, len(data), 100_000):
        await upload.write(data[start : start + 100_000])


def test_what_is_kept_is_there(store: str) -> None:
    async def run() -> Upload:
        async with Upload(store, GIB) as upload:
            for name, data in (("a.zip", DATA), ("b", b"small"), ("none", b"")):
                await send(upload, name, data)
                await upload.end()
            upload.keep()
            return upload

    upload = asyncio.run(run())
    assert upload.uri == f"{store}/uploads/{upload.id}"
    assert there(upload.uri) == ["a.zip", "b", "none"]
    place = resolve(upload.uri)
    assert place.fs.cat_file(f"{place.path}/a.zip") == DATA
    assert place.fs.cat_file(f"{place.path}/none") == b""
    upload.remove()
    assert there(store) == []
    with pytest.raises(TransientError, match="was given up"):
        upload.keep()


def test_what_another_puts_into_its_folder_stays(store: str) -> None:
    def mine(upload: Upload) -> None:
        place = resolve(f"{upload.uri}/mine.jpg")
        place.fs.makedirs(place.path.rpartition("/")[0], exist_ok=True)
        place.fs.pipe_file(place.path, b"mine")

    async def run(broken: bool) -> Upload:
        async with Upload(store, GIB) as upload:
            await send(upload, "whole")
            await upload.end()
            await send(upload, "part")
            mine(upload)
            if broken:
                raise ConnectionError(upload.id)
            await upload.end()
            upload.keep()
            return upload

    upload = asyncio.run(run(False))
    upload.remove()
    assert there(store) == [f"uploads/{upload.id}/mine.jpg"]
    with pytest.raises(ConnectionError) as broken:
        asyncio.run(run(True))
    expected = {f"uploads/{one}/mine.jpg" for one in (upload.id, str(broken.value))}
    assert set(there(store)) == expected


def test_each_name_is_on_record_before_its_file_is_begun(store: str) -> None:
    names = [f"{number}.jpg" for number in range(30)]

    async def run() -> None:
        async with Upload(store, GIB) as upload:
            record = Record(store, upload.id)
            assert record.read() is None
            for number, name in enumerate(names, start=1):
                await upload.begin(name)
                noted = record.read()
                assert noted is not None
                assert noted <= set(names[:number])
                least = number if store.startswith("/") else number - number // 8
                assert len(noted) >= least
                await upload.end()
            upload.keep()
            assert record.read() == set(names)

    asyncio.run(run())


@pytest.mark.parametrize("ended", [False, True])
def test_nothing_is_left_of_what_breaks(store: str, ended: bool) -> None:
    async def run() -> None:
        async with Upload(store, GIB) as upload:
            await send(upload, "whole")
            await upload.end()
            await send(upload, "part")
            if ended:
                await upload.end()
            raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(run())
    assert there(store) == []
    assert not list(Path(store).glob("uploads/*"))


def test_nothing_is_left_of_what_is_cancelled_while_it_is_written(store: str) -> None:
    async def run() -> None:
        async with Upload(store, GIB) as upload:
            while True:
                await send(upload, "endless")
                await upload.end()

    async def cancel() -> None:
        task = asyncio.ensure_future(run())
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(cancel())
    assert there(store) == []


@pytest.mark.service
def test_a_store_that_is_not_there_is_one_line(s3: S3) -> None:
    async def run() -> None:
        async with Upload("s3://no-such-bucket/x", GIB) as upload:
            await send(upload, "a")
            await upload.end()

    with pytest.raises(OutputError, match="cannot write s3://no-such-bucket/x/uploads"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("photos.zip", "photos.zip"),
        ("Väter & Söhne.tar.gz", "Väter & Söhne.tar.gz"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.zip", "a.zip"),
        ("/", "_~0"),
        ("..", "_~0"),
        (".hidden.zip", "hidden.zip"),
        ("a\0b\n.txt", "a_b_~0.txt"),
        ("con.zip", "_con~0.zip"),
        ("a?.list", "a_~0.list"),
        ("x" * 300 + ".zip", "x" * 200 + "~0.zip"),
        ("", "_~0"),
    ],
)
def test_a_clients_name_is_made_safe(given: str, stored: str) -> None:
    assert file_name(given) == stored


def test_a_second_file_of_the_same_name_gets_another() -> None:
    assert file_name("a.jpg", 3, duplicate=True) == "a~3.jpg"
