"""`facecrop crop`, called as its entry point is: a plain batch, and a flow run on a real server."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from intake.cli.main import main
from tests.flows.batches import result
from tests.pictures import astronaut_jpeg, no_face_jpeg
from tests.services import S3

pytestmark = pytest.mark.usefixtures("started_images")  # as people run it

service = pytest.mark.service
either_way = pytest.mark.parametrize(
    "way", ["--no-prefect", pytest.param("--prefect", marks=service)], indirect=True
)


@pytest.fixture
def way(request: pytest.FixtureRequest) -> str:
    """`--prefect`, with a server to run on, or `--no-prefect`."""
    if request.param == "--prefect":
        request.getfixturevalue("prefect")
    return str(request.param)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A ZIP of one face and none."""
    path = tmp_path / "pair.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("face.jpg", astronaut_jpeg())
        archive.writestr("none.jpg", no_face_jpeg())
    return path


@either_way
def test_a_batch_without_failures_exits_0_and_says_what_came_of_it(
    way: str, pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crop", way, str(pair), "--output", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{pair}: 2 images, 1 faces\n")
    assert f"manifest  {tmp_path}/out/manifest.parquet" in out
    assert "Traceback" not in err


def test_an_output_that_lacks_a_name_s_signs_is_written_to_all_the_same(
    pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pair.rename(tmp_path / "фото.zip")
    with TextIOWrapper(BytesIO(), encoding="cp1252") as pipe:  # as Windows has it
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["crop", "--no-prefect", str(archive), "--output", str(tmp_path / "out")]) == 0
        pipe.seek(0)
        assert r"\u0444\u043e\u0442\u043e.zip: 2 images" in pipe.read()


@either_way
def test_a_batch_with_failed_images_exits_3_and_names_the_list(
    way: str, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crop", way, str(sample), "--output", str(tmp_path / "out")]) == 3
    out = capsys.readouterr().out
    assert f"failed    {tmp_path}/out/failed.csv (truncated_image 1)" in out


@either_way
def test_a_batch_of_which_nothing_is_an_image_exits_3_and_tells_why(
    way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "year.zip", "w") as archive:
        archive.writestr("3a.7z", b"7z")
        archive.writestr("list.txt", b"anna, ben")
    output = tmp_path / "out"
    assert main(["crop", way, str(tmp_path / "year.zip"), "--output", str(output)]) == 3
    out = capsys.readouterr().out
    assert "none of its files is an image" in out
    assert f"skipped   {output}/skipped.csv (nested_archive 1, not_an_image 1)" in out
    assert (output / "skipped.csv").read_text("utf-8-sig").splitlines() == [
        "member,path,error,message",
        "0,3a.7z,nested_archive,",
        "1,list.txt,not_an_image,",
    ]


@either_way
def test_json_is_one_object_an_archive(
    way: str, pair: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent.zip")
    output = str(tmp_path / "out")
    assert main(["crop", way, str(pair), absent, str(sample), "--output", output, "--json"]) == 1
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["members"], first["faces"], first["output"]) == (2, 1, f"{output}/pair.zip")
    assert second["error"].startswith(f"cannot open {absent}: not found")
    assert third["errors"] == {"truncated_image": 1}


@either_way
def test_flags_and_the_environment_reach_the_crops(
    way: str, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACECROP_CROP_FORMAT", "png")
    assert (
        main(["crop", way, str(pair), "--output", str(tmp_path / "out"), "--crop-size", "64"]) == 0
    )
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


@either_way
@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.zip", b"just some text, no archive", "is not an archive that Facecrop reads"),
        ("a.zip", b"", "is empty (0 bytes)"),
        ("a.zip", b"PK\5\6" + bytes(18), "is an empty ZIP"),
        ("a.tar", bytes(10240), "is an empty TAR"),
        ("a.jpg", astronaut_jpeg(), "is a single image"),
        ("a.rar", b"Rar!\x1a\x07\x01\x00" + bytes(100), "is a RAR archive"),
        ("a.zip", None, "cut short"),
    ],
    ids=["text", "nothing", "empty ZIP", "empty TAR", "an image", "RAR", "truncated ZIP"],
)
def test_an_archive_that_cannot_be_used_is_one_line_and_exits_1(
    way: str,
    name: str,
    data: bytes | None,
    words: str,
    pair: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = tmp_path / name
    archive.write_bytes(_truncated(pair) if data is None else data)
    assert main(["crop", way, str(archive), "--output", str(tmp_path / "out")]) == 1
    line = _only_line(capsys)
    assert str(archive) in line
    assert words in line
    assert not (tmp_path / "out").exists()


@either_way
def test_an_output_that_cannot_be_used_is_one_line_and_exits_1(
    way: str, pair: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main(["crop", way, str(pair), "--output", str(tmp_path / "file")]) == 1
    assert str(tmp_path / "file") in _only_line(capsys)
    assert main(["crop", way, str(pair), "--output", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["crop", way, str(sample), "--output", str(tmp_path / "out")]) == 1
    assert "holds another batch (archive.size: " in _only_line(capsys)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(astronaut_jpeg())
    assert main(["crop", way, str(folder), "--output", str(folder / "out")]) == 1
    assert "its crops would be taken for photographs" in _only_line(capsys)


@service
@either_way
def test_what_the_store_forbids_is_one_line_and_exits_1(
    way: str,
    pair: Path,
    s3: S3,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert main(["crop", way, f"s3://{s3.bucket}/a.zip", "--output", "out"]) == 1
        assert "check the credentials" in _only_line(capsys)
        assert main(["crop", way, str(pair), "--output", f"s3://{s3.bucket}/out"]) == 1
        assert "check the credentials" in _only_line(capsys)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_one_line_and_exits_1(pair: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    command = [
        sys.executable,
        "-m",
        "facecrop",
        "crop",
        str(pair),
        "--output",
        str(tmp_path / "o"),
    ]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "facecrop: no Prefect server answers at http://127.0.0.1:9/api; "
        "start it, or give --no-prefect"
    ]


@either_way
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_seconds_and_it_goes_on_from_there(
    way: str,
    number: signal.Signals,
    sample: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    environment = dict(os.environ)
    if way == "--prefect":
        environment |= request.getfixturevalue("prefect")
    output = tmp_path / "out"
    arguments = ["crop", way, str(sample), "--output", str(output), "--chunk-members", "4"]
    run = subprocess.Popen(
        [sys.executable, "-P", "-m", "facecrop", *arguments],
        env=environment,
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
    told = [line for line in err.splitlines() if not line.startswith(f"{sample}: ")]  # progress
    assert told == ["facecrop: interrupted; the same command goes on from here"]
    assert not (output / "manifest.parquet").exists()
    assert main(arguments) == 3
    assert (output / "manifest.parquet").exists()


def test_a_preview_tells_what_all_would_come_to(
    pair: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = str(tmp_path / "preview.html")
    asked = ["preview", str(pair), "--output", page, "--workers", "2", "--cores", "4"]
    assert main([*asked, "--by", "08:00", "--compare", "fast,balanced"]) == 0
    out = capsys.readouterr().out
    assert f"{pair}: 2 members cropped in " in out
    assert re.search(r"^  Faces +1 +exact$", out, re.MULTILINE)
    assert re.search(r"^  Time on 2 workers of 4 cores, 1 of them at work +\d+ s ", out, re.M)
    assert re.search(r"^  To be done by [-0-9]+ 08:00 +1 worker of 4 cores ", out, re.MULTILINE)
    assert re.search(r"^  fast +1 +1 \(exact\) ", out, re.MULTILINE)
    assert out.endswith(f"  report  {page}\n")

    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["estimate"]["faces"] == {"estimate": 1, "low": 1, "high": 1}
    (tmp_path / "preview.html").write_text("mine")
    assert main(asked) == 1
    assert "is no html of Facecrop's. Move it away" in capsys.readouterr().err
    for wrong, said in (
        ("--compare=fast,quick", "'quick' is no profile; compare some of fast,balanced,thorough"),
        ("--compare=fast,fast", "should name each profile once"),
        ("--by=25:00", "should be a time such as 08:00"),
        ("--count=0", "should be a number from 1 to 10000"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main([*asked, wrong])
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", ["crop", "preview"])
def test_without_a_server_a_batch_imports_nothing_of_prefect_nor_pandas(
    command: str, pair: Path, tmp_path: Path
) -> None:
    program = """
import sys
from intake.cli.main import main
code = main(sys.argv[1:])
there = {name.partition(".")[0] for name in sys.modules}
print(there & {"prefect", "httpx", "fastapi", "rich", "pandas"})
sys.exit(code)
"""
    without = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    ended = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            program,
            command,
            str(pair),
            "--output",
            str(tmp_path / "out"),
        ],
        cwd=tmp_path,
        env=without | {"PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "set()"


@service
@pytest.mark.slow
def test_where_a_profile_names_a_server_the_batch_is_a_run_on_it(
    prefect: dict[str, str], pair: Path, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client

    url = prefect["PREFECT_API_URL"]
    (tmp_path / "profiles.toml").write_text(
        f'active = "one"\n[profiles.one]\nPREFECT_API_URL = "{url}"\n'
    )
    without = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-P", "-m", "facecrop", "crop", str(pair), "--output"]
    for flags, runs in (([], 1), (["--no-prefect"], 0)):
        output = tmp_path / f"out-{runs}"
        subprocess.run(
            [*command, str(output), *flags],
            cwd=tmp_path,
            env=without | {"PREFECT_HOME": str(tmp_path)},
            check=True,
            timeout=300,
        )
        with get_client(sync_client=True) as client:
            found = client.read_flow_runs(limit=200)
        assert sum(run.parameters.get("output") == str(output) for run in found) == runs


@service
def test_a_plain_batch_leaves_the_same_bytes_as_the_flow(
    prefect: dict[str, str], sample: Path, tmp_path: Path
) -> None:
    outputs = [str(tmp_path / name) for name in ("plain", "flow")]
    for output, way in zip(outputs, ("--no-prefect", "--prefect"), strict=True):
        command = ["crop", way, str(sample), "--output", output, "--chunk-members", "16"]
        assert main(command) == 3
    plain, flow = map(result, outputs)
    assert plain == flow


def _only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, which must be one line that begins with the command's name."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("facecrop: ")
    return line
