import logging

import fsspec
import pytest

from storage.puts import Puts
from tests.services import S3

pytestmark = pytest.mark.service

NAMES = (
    "a b.jpg", "x~12_0.jpg", "50%.jpg", "50%25.jpg", "ü/é.jpg", "e\u0301.jpg", "日本/写真_0.jpg",
    "c#d?.jpg", "[1].jpg", "a+b&c=d.jpg", "q'u\"o.jpg", "a;b:c@d!$.jpg", "{x}^|`.jpg", "star*.jpg",
)  # fmt: skip


def test_every_object_has_the_very_name_that_it_was_given(
    s3: S3, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "storage.puts")
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    files = {f"{s3.bucket}/names/{name}": name.encode() for name in NAMES}
    Puts(fs).put(files)
    assert {path: fs.cat_file(path) for path in files} == files
    assert sorted(fs.find(f"{s3.bucket}/names")) == sorted(files)
    assert not caplog.records


def test_what_obstore_refuses_s3fs_writes(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "storage.puts")
    fs = fsspec.filesystem("s3", use_listings_cache=False)
    files = {f"{s3.bucket}/refused/{name}": b"data" for name in ("a\tb.jpg", "c.jpg")}
    Puts(fs).put(files)
    assert {path: fs.cat_file(path) for path in files} == files
    assert "obstore could not write, s3fs does" in caplog.text


def test_keys_that_s3fs_was_given_are_used(
    s3: S3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "storage.puts")
    key, secret = (s3.environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    fs = fsspec.filesystem("s3", use_listings_cache=False, key=key, secret=secret)
    Puts(fs).put({f"{s3.bucket}/given/a.jpg": b"data"})
    assert fs.cat_file(f"{s3.bucket}/given/a.jpg") == b"data"
    assert not caplog.records


def test_wrong_keys_are_what_s3fs_says_they_are(s3: S3) -> None:
    fs = fsspec.filesystem("s3", use_listings_cache=False, key="wrong", secret="wrong")
    with pytest.raises(PermissionError):
        Puts(fs).put({f"{s3.bucket}/wrong/a.jpg": b"data"})


def test_other_file_systems_write_by_themselves() -> None:
    fs = fsspec.filesystem("memory")
    Puts(fs).put({"/puts/a.jpg": b"data"})
    assert fs.cat_file("/puts/a.jpg") == b"data"
