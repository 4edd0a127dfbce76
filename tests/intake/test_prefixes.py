import os
from pathlib import Path

import pytest

from intake.prefixes import ForbiddenUriError, Prefixes
from storage.archive import open_archive
from storage.members import Limits

REMOTE = Prefixes(["s3://photos/in", "https://Example.org/pub/", "s3://all"])


@pytest.mark.parametrize(
    "uri",
    [
        "s3://photos/in/a.zip",
        "s3://photos/in/day 1/a..b.zip",
        "s3://photos/in/",
        "s3://photos/in",
        "s3://all/x.zip",
        "https://example.org/pub/a%20b.zip",
        "https://example.org/pub/a.zip?part=1",
    ],
)
def test_what_lies_under_a_prefix_may_be_read(uri: str) -> None:
    assert REMOTE.check(uri) == uri


def test_the_host_of_a_web_address_has_no_case() -> None:
    assert REMOTE.check("HTTPS://EXAMPLE.ORG/pub/A.zip") == "https://example.org/pub/A.zip"


@pytest.mark.parametrize(
    "uri",
    [
        "s3://photos/inside/a.zip",
        "s3://photos/a.zip",
        "s3://photos/in/../a.zip",
        "s3://photos/in/%2e%2e/a.zip",
        "s3://photos/in/%252e%252e/a.zip",
        "s3://photos/in/..%2fa.zip",
        "s3://photos/in/..\\a.zip",
        "s3://photos/in/./a.zip",
        "s3://photos/in/a\nb",
        "s3://photos/in/a%00b",
        "s3://allofit/x",
        "S3A://photos/in/a.zip",
        "https://example.org@evil.example/pub/a.zip",
        "https://me:pw@example.org/pub/a.zip",
        "https://example.org.evil.example/pub/a.zip",
        "http://example.org/pub/a.zip",
        "https://example.org:8443/pub/a.zip",
        "https://example.org/pub/%2e%2e/secret.zip",
        "http://169.254.169.254/latest",
        "memory://a",
        "zip://a::s3://photos/in/a.zip",
        "simplecache::s3://photos/in/a.zip",
        "s3://photos/in/" + "a" * 5000,
        "/etc/passwd",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "local:///etc/passwd",
        "a.zip",
        "~/a.zip",
        "",
    ],
)
def test_what_lies_elsewhere_may_not(uri: str) -> None:
    with pytest.raises(ForbiddenUriError):
        REMOTE.check(uri)


def test_a_refusal_is_one_short_line() -> None:
    with pytest.raises(ForbiddenUriError) as refused:
        REMOTE.check("s3://other/\n" + "a" * 4000)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 300


def test_local_paths_are_followed_to_where_they_lead(tmp_path: Path) -> None:
    shared, secret = tmp_path / "shared", tmp_path / "secret"
    for folder in (shared, secret):
        folder.mkdir()
        (folder / "a.zip").write_bytes(b"")
    (shared / "out").symlink_to(secret)
    (shared / "in").symlink_to(shared)
    prefixes = Prefixes([str(shared)])
    assert prefixes.check(f"{shared}/a.zip") == f"{shared}/a.zip"
    assert prefixes.check(f"file://{shared}/a.zip") == f"{shared}/a.zip"
    assert prefixes.check(f"{shared}/in/a.zip") == f"{shared}/a.zip"
    assert prefixes.check(f"{shared}/none yet/") == f"{shared}/none yet/"
    assert prefixes.check(f"{secret}/../shared/a.zip") == f"{shared}/a.zip"
    for path in (
        f"{secret}/a.zip",
        f"{shared}/out/a.zip",
        f"{shared}/../secret/a.zip",
        f"{shared}x/a.zip",
        f"file:{shared}/a.zip",
        os.path.relpath(f"{shared}/a.zip"),
    ):
        with pytest.raises(ForbiddenUriError):
            prefixes.check(path)


def test_a_list_may_only_name_what_may_be_read(tmp_path: Path) -> None:
    prefixes = Prefixes([str(tmp_path)])
    listed = tmp_path / "images.txt"

    def check(*lines: str) -> None:
        listed.write_text("\n".join(lines))
        prefixes.check_list(open_archive(str(listed), Limits(1)))

    check("a.jpg", "sub/b.jpg", f"{tmp_path}/c.jpg", f"file://{tmp_path}/d.jpg", "# /etc")
    for bad in ("/etc/passwd", "../x.jpg", "http://127.0.0.1/x.jpg", "file:///etc/passwd"):
        with pytest.raises(ForbiddenUriError):
            check("a.jpg", bad)
