import pytest

from storage.redact import hides, shown

SIGNED = "https://store.example/a.zip?X-Amz-Credential=AKIA%2Fx&X-Amz-Signature=hush"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("https://me:hush@host/a.zip", "https://***@host/a.zip"),
        ("https://hush@host/a.zip", "https://***@host/a.zip"),
        ("HTTP://me:hush@host:8080/a.zip", "HTTP://***@host:8080/a.zip"),
        ("https://me:hu/s@h@host/a.zip", "https://***@host/a.zip"),
        ("https://me:8080@host/a.zip", "https://***@host/a.zip"),
        ("sftp://me:hush@host/a.zip", "sftp://***@host/a.zip"),
        (SIGNED, "https://store.example/a.zip?***"),
        ("https://host/a.zip?hush", "https://host/a.zip?***"),
        ("https://host:9000/a.zip?sv=1&sig=hu%2Fsh%3D#x", "https://host:9000/a.zip?***"),
        ("https://me:hush@host/a.zip?sig=hush", "https://***@host/a.zip?***"),
        (f"404, url='{SIGNED}', and {SIGNED} too", None),
    ],
)
def test_what_lets_a_reader_in_is_hidden(text: str, seen: str | None) -> None:
    assert seen is None or shown(text) == seen
    assert "hu" not in shown(text)
    assert "AKIA" not in shown(text)
    assert hides(shown(text)) is (seen is not None)
    line = f"cannot open {shown(text)}: permission denied"
    assert shown(line) == line  # and nothing is hidden twice


@pytest.mark.parametrize(
    "text",
    [
        "/data/a?b=c.zip",
        "C:\\photos\\a@b.zip",
        "s3://photos/in/a.zip",
        "s3://photos/me:you@home?x=1.jpg",
        "memory://a/b.zip",
        "sftp://me@host/a.zip",
        "abfs://photos@account.example/a.zip",
        "https://host/a%20b.zip",
        "http://127.0.0.1:9000/photos/a@2x.jpg",
        "http://[::1]:9000/photos/a@2x.jpg",
        "http://host:1/a and me@home?",
        "cannot open https://host/a.zip: what now?",
        "",
    ],
)
def test_what_tells_nothing_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text
    assert not hides(text)
