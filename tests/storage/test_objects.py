import logging

import fsspec
import pytest

from storage.fs.objects import Objects
from storage.fs.s3objects import S3Objects
from tests.services import S3

pytestmark = pytest.mark.service

NAMES = (
    "a b.jpg", "x~12_0.jpg", "50%.jpg", "50%25.jpg", "ü/é.jpg", "e\u0301.jpg", "日本/写真_0.jpg",
    "c#d?.jpg", "[1].jpg", "a+b&c=d.jpg", "q'u\"o.jpg", "a;b:c@d!$.jpg", "{x}^|`.jpg", "star*.jpg",
)  # fmt: skip


def test_every_object_has_the_very_name_that_it_was_given(
    s3: S3, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "storage.fs.s3objects")
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    files = {f"{s3.bucket}/names/{name}": name.encode() for name in NAMES}
    S3Objects(fs).put(files)
    assert {path: fs.cat_file(path) for path in files} == files
    assert sorted(fs.find(f"{s3.bucket}/names")) == sorted(files)
    assert not caplog.records


def test_what_obstore_refuses_s3fs_writes(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "storage.fs.s3objects")
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    files = {f"{s3.bucket}/refused/{name}": b"data" for name in ("a\tb.jpg", "c.jpg")}
    S3Objects(fs).put(files)
    assert {path: fs.cat_file(path) for path in files} == files
    assert "obstore could not do it, s3fs tries" in caplog.text


def test_keys_that_s3fs_was_given_are_used(
    s3: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "storage.fs.s3objects")
    key, secret = (s3.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    fs = fsspec.filesystem("s3", use_listings_cache=False, key=key, secret=secret)
    S3Objects(fs).put({f"{s3.bucket}/given/a.jpg": b"data"})
    assert fs.cat_file(f"{s3.bucket}/given/a.jpg") == b"data"
    assert not caplog.records


def test_wrong_keys_are_what_s3fs_says_they_are(s3: S3) -> None:
    fs = fsspec.filesystem("s3", use_listings_cache=False, key="wrong", secret="wrong")
    with pytest.raises(PermissionError):
        S3Objects(fs).put({f"{s3.bucket}/wrong/a.jpg": b"data"})


def test_other_file_systems_write_by_themselves() -> None:
    fs = fsspec.filesystem("memory")
    Objects(fs).put({"/objects/a.jpg": b"data"})
    assert fs.cat_file("/objects/a.jpg") == b"data"
    assert Objects(fs).get(["/objects/a.jpg"]) == [b"data"]


def test_objects_are_read_in_the_order_asked_for(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "storage.fs.s3objects")
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    files = {f"{s3.bucket}/read/{name}": name.encode() * 1000 for name in NAMES}
    files[f"{s3.bucket}/read/empty"] = b""
    fs.pipe(files)
    assert S3Objects(fs).get(list(reversed(files))) == list(reversed(files.values()))
    assert not caplog.records


def test_one_that_is_missing_leaves_the_others(s3: S3) -> None:
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    fs.pipe(f"{s3.bucket}/some/a.jpg", b"data")
    paths = [f"{s3.bucket}/some/{name}.jpg" for name in ("a", "b", "a")]
    first, missing, last = S3Objects(fs).get(paths)
    assert (first, last) == (b"data", b"data")
    assert isinstance(missing, FileNotFoundError)
