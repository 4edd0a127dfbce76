import os
from pathlib import Path

import pytest

from intake.http.prefixes import Prefixes
from intake.http.problems import ProblemError
from pipeline.settings import CropSettings
from storage.archives.members import ChunkSize, Limits
from storage.archives.opening import open_archive

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
    with pytest.raises(ProblemError):
        REMOTE.check(uri)


def test_a_refusal_is_one_short_line() -> None:
    with pytest.raises(ProblemError) as refused:
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
        with pytest.raises(ProblemError):
            prefixes.check(path)


def test_a_list_may_only_name_what_may_be_read(tmp_path: Path) -> None:
    prefixes = Prefixes([str(tmp_path)])
    listed = tmp_path / "images.txt"

    def check(*lines: str) -> None:
        listed.write_text("\n".join(lines))
        prefixes.check_list(open_archive(str(listed), Limits(1)))

    check("a.jpg", "sub/b.jpg", f"{tmp_path}/c.jpg", f"file://{tmp_path}/d.jpg", "# /etc")
    for bad in ("/etc/passwd", "../x.jpg", "http://127.0.0.1/x.jpg", "file:///etc/passwd"):
        with pytest.raises(ProblemError):
            check("a.jpg", bad)


def test_a_refusal_tells_no_secret() -> None:
    for uri in (f"https://{'x' * 300}hush@host/a", "https://host/a?hush", "http://me:hush@h:x/"):
        with pytest.raises(ProblemError) as refused:
            REMOTE.check(uri)
        assert "hush" not in str(refused.value)
        assert "xxx" not in str(refused.value)


def test_what_a_list_s_line_is_opened_as_is_what_is_checked(tmp_path: Path) -> None:
    shared, secret = tmp_path / "shared", tmp_path / "secret"
    for folder in (shared, secret):
        folder.mkdir()
    (secret / "a.jpg").write_bytes(b"secret")
    listed = shared / "images.txt"
    for line in (f"FILE://{secret}/a.jpg", f"File://localhost{secret}/a.jpg", "S3://other/a.jpg"):
        listed.write_text(line)
        with pytest.raises(ProblemError):
            Prefixes([str(shared), "s3://photos"]).check_list(open_archive(str(listed), Limits(1)))
    listed.write_text(f"FILE://{secret}/a.jpg")
    archive = open_archive(str(listed), Limits(9))
    Prefixes([str(tmp_path)]).check_list(archive)
    (entry,) = archive.read(next(archive.chunks(ChunkSize(9, 9))))
    assert entry.data == b"secret"


def test_a_prefix_that_is_one_file_is_that_file() -> None:
    assert Prefixes(["https://host/a.zip"]).check("https://HOST:443/a.zip") == "https://host/a.zip"
    with pytest.raises(ProblemError):
        Prefixes(["https://host/a.zip"]).check("https://host/a.zip?x")


def test_a_roster_has_to_lie_under_a_prefix(tmp_path: Path) -> None:
    def held(file: str) -> str:
        asked = CropSettings.model_validate({"roster": {"file": file}})
        return Prefixes([str(tmp_path / "in"), "s3://photos"]).hold(asked).roster.file

    assert held(f"{tmp_path}/in/./people.csv") == f"{tmp_path}/in/people.csv"
    assert held("s3://photos/people.csv") == "s3://photos/people.csv"
    assert held("") == ""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.csv").symlink_to("/etc/passwd")
    for outside in (
        "/etc/passwd",
        f"{tmp_path}/in/../x.csv",
        f"{tmp_path}/in/link.csv",
        "s3://b/x",
    ):
        with pytest.raises(ProblemError):
            held(outside)


def test_redirects_lead_to_nothing_but_what_may_be_named() -> None:
    asked = CropSettings.model_validate({"input": {"redirects": "https://elsewhere.example/"}})
    prefixes = Prefixes(["s3://photos", "https://b.example/in/", "https://a.example"])
    held = prefixes.hold(asked).input.redirects
    assert held == "https://a.example/ https://b.example/in/"
    assert Prefixes(["s3://photos"]).hold(asked).input.redirects == "no"
    assert CropSettings.model_validate({"input": {"redirects": held}}).input.redirects == held
