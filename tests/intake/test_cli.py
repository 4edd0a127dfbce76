"""The command, called as its entry point is, on a real Prefect server."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from intake.cli import main
from tests.pictures import astronaut_jpeg, no_face_jpeg
from tests.services import S3

pytestmark = pytest.mark.usefixtures("prefect")
service = pytest.mark.service


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A ZIP of one face and none."""
    path = tmp_path / "pair.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("face.jpg", astronaut_jpeg())
        archive.writestr("none.jpg", no_face_jpeg())
    return path


@service
def test_a_batch_without_failures_exits_0_and_says_what_came_of_it(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crop", str(pair), "--output", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{pair}: 2 images, 1 faces\n")
    assert f"manifest  {tmp_path}/out/manifest.parquet" in out
    assert "Traceback" not in err


@service
def test_a_batch_with_failed_images_exits_3_and_names_the_list(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crop", str(sample), "--output", str(tmp_path / "out")]) == 3
    out = capsys.readouterr().out
    assert f"failed    {tmp_path}/out/failed.csv (truncated_image 1)" in out


@service
def test_json_is_one_object_an_archive(
    pair: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent.zip")
    output = str(tmp_path / "out")
    assert main(["crop", str(pair), absent, str(sample), "--output", output, "--json"]) == 1
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["members"], first["faces"], first["output"]) == (2, 1, f"{output}/pair.zip")
    assert second["error"].startswith(f"cannot open {absent}: not found")
    assert third["errors"] == {"truncated_image": 1}


@service
def test_flags_and_the_environment_reach_the_crops(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACECROP_CROP_FORMAT", "png")
    assert main(["crop", str(pair), "--output", str(tmp_path / "out"), "--crop-size", "64"]) == 0
    (crop,) = (tmp_path / "out" / "crops").iterdir()
    assert crop.name == "face.jpg_0.png"
    assert crop.read_bytes()[16:24] == (64).to_bytes(4, "big") * 2  # the PNG header's size


def test_wrong_use_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crop", "a.zip", "--output", "out", "--crop-size", "9999"]) == 2
    assert "--crop-size 9999: should be less than or equal to 2048" in capsys.readouterr().err
    assert main(["crop", "x/a.zip", "y/a.zip", "--output", "out"]) == 2
    assert "two archives are named a.zip" in capsys.readouterr().err
    assert main(["sample", "s.zip", "--count", "0"]) == 2
    for arguments in (["crop"], ["crop", "a.zip"], ["nonsense"], ["crop", "a", "--out", "b"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


def _truncated(pair: Path) -> bytes:
    return pair.read_bytes()[:-100]


@service
@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", b"just some text, no archive", "is not an archive that Facecrop reads"),
        ("a.zip", b"", "is empty (0 bytes)"),
        ("a.zip", b"PK\5\6" + bytes(18), "is an empty ZIP"),
        ("a.tar", bytes(10240), "is an empty TAR"),
        ("a.jpg", astronaut_jpeg(), "is a single image"),
        ("a.rar", b"Rar!\x1a\x07\x01\x00" + bytes(100), "is not an archive that Facecrop reads"),
        ("a.zip", None, "cut short"),
    ],
    ids=["text", "nothing", "empty ZIP", "empty TAR", "an image", "RAR", "truncated ZIP"],
)
def test_an_archive_that_cannot_be_used_is_one_line_and_exits_1(
    name: str,
    data: bytes | None,
    words: str,
    pair: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = tmp_path / name
    archive.write_bytes(_truncated(pair) if data is None else data)
    assert main(["crop", str(archive), "--output", str(tmp_path / "out")]) == 1
    line = _only_line(capsys)
    assert str(archive) in line
    assert words in line
    assert not (tmp_path / "out").exists()


@service
def test_an_output_that_cannot_be_used_is_one_line_and_exits_1(
    pair: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["crop", str(pair), "--output", str(tmp_path / "file")]) == 1
    assert str(tmp_path / "file") in _only_line(capsys)
    assert main(["crop", str(pair), "--output", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["crop", str(sample), "--output", str(tmp_path / "out")]) == 1
    assert "holds another batch (archive.size: " in _only_line(capsys)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(astronaut_jpeg())
    assert main(["crop", str(folder), "--output", str(folder / "out")]) == 1
    assert "its crops would be taken for photographs" in _only_line(capsys)


@service
def test_what_the_store_forbids_is_one_line_and_exits_1(
    pair: Path, s3: S3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert main(["crop", f"s3://{s3.bucket}/a.zip", "--output", "out"]) == 1
        assert "check the credentials" in _only_line(capsys)
        assert main(["crop", str(pair), "--output", f"s3://{s3.bucket}/out"]) == 1
        assert "check the credentials" in _only_line(capsys)
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_server_that_does_not_answer_is_one_line_and_exits_1(pair: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    command = [
        sys.executable,
        "-m",
        "intake.cli",
        "crop",
        str(pair),
        "--output",
        str(tmp_path / "o"),
    ]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "facecrop: no Prefect server answers at http://127.0.0.1:9/api; "
        "start it, or unset PREFECT_API_URL"
    ]


@service
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_seconds_and_it_goes_on_from_there(
    number: signal.Signals, prefect: dict[str, str], sample: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "intake.cli", "crop", str(sample), "--output", str(output)]
    run = subprocess.Popen(
        [*command, "--chunk-members", "4"],
        env=os.environ | prefect,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (output / "parts").exists():
        assert run.poll() is None
        time.sleep(0.01)
    sent = time.monotonic()
    run.send_signal(number)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert time.monotonic() - sent < 10
    assert err.splitlines() == ["facecrop: interrupted; the same command goes on from here"]
    assert not (output / "manifest.parquet").exists()
    assert main(["crop", str(sample), "--output", str(output), "--chunk-members", "4"]) == 3
    assert (output / "manifest.parquet").exists()


def _only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, which must be one line that begins with the command's name."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("facecrop: ")
    return line
