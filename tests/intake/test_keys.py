import hashlib
from pathlib import Path

import pytest

from intake.cli.main import main
from intake.http.keys import Client, make_key, read_keys
from intake.http.settings import ServiceError, is_loopback, read_settings


def test_a_key_is_known_by_its_hash_alone(tmp_path: Path) -> None:
    token, line = make_key("ann")
    other, second = make_key("bob")
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{line}\n\n{second}\n")
    assert token.startswith("facecrop-")
    assert len(token) > 50
    assert token not in file.read_text()
    assert line == f"ann:{hashlib.sha256(token.encode()).hexdigest()}"
    keys = read_keys(str(file))
    assert (keys.client(token), keys.client(other)) == (Client("ann"), Client("bob"))
    for wrong in ("", token[:-1], token + "x", token.upper(), line, line[4:], "ann"):
        assert keys.client(wrong) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has no API key"),
        ("# nobody yet\n", "has no API key"),
        ("ann:secret", "line 1, is no API key"),
        (f"\nann {'0' * 64}", "line 2, is no API key"),
        (f"a b:{'0' * 64}", "line 1, is no API key"),
        (f"ann:{'0' * 64}\nann:{'1' * 64}", "has ann twice"),
        (f"ann:{'0' * 64}\nann:{'1' * 64}:admin", "has ann twice"),
        (f"ann:{'0' * 64}\nbob:{'0' * 64}:admin", "has one key twice"),
        (f"ann:{'0' * 64}:root", "line 1, is no API key"),
        (f"ann:{'0' * 64}:", "line 1, is no API key"),
    ],
)
def test_a_file_of_keys_that_cannot_be_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ServiceError, match=why):
        read_keys(str(file))


def test_a_missing_file_of_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="cannot read the API keys of"):
        read_keys(str(tmp_path / "none"))


def test_the_command_prints_a_key_and_its_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["api-key", "ann"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (tmp_path / "keys").write_text(lines[-1])
    assert read_keys(str(tmp_path / "keys")).client(lines[0]) == Client("ann")
    assert main(["api-key", "eve", "--admin"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (tmp_path / "keys").write_text(lines[-1])
    assert read_keys(str(tmp_path / "keys")).client(lines[0]) == Client("eve", admin=True)
    assert main(["api-key", "ann:b"]) == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_without_keys_only_loopback_is_served(
    host: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACECROP_HTTP_KEYS", raising=False)
    assert main(["serve", "--host", host]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("facecrop: without API keys the service binds to 127.0.0.1 only")


def test_loopback_is_known() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "127.0.0.1.example.org", "localhost.")))


def test_settings_are_absolute_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings({"FACECROP_HTTP_PREFIXES": "s3://a/b, /data ,", "OTHER": "1"})
    assert settings.store == str(tmp_path / "facecrop-data")
    assert settings.prefixes == ("s3://a/b", "/data")
    assert read_settings({"FACECROP_HTTP_STORE": "s3://a/b/"}).store == "s3://a/b"
    for name, value in {
        "DEPLOYMENT": "crop-archive",
        "MAX_UPLOAD_GIB": "0",
        "UPLOADS": "many",
        "STORE": "https://example.org/x",
        "SPEED": "1",
    }.items():
        with pytest.raises(ServiceError, match=f"FACECROP_HTTP_{name}"):
            read_settings({f"FACECROP_HTTP_{name}": value})
