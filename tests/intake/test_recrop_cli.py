"""`facecrop recrop`, called as its entry point is."""

import json
from pathlib import Path

import pytest

from intake.cli.main import main
from pipeline.local import crop
from tests.flows.batches import result


@pytest.fixture(scope="module")
def cropped(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("batch") / "out"
    crop(str(sample), str(output))
    return output


@pytest.mark.slow
def test_each_output_is_told_and_made(
    cropped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = str(tmp_path / "sets")
    cuts = ["--cut", "dataset-112", "--cut", "web:size=64,format=webp", "--crop-quality", "70"]
    given = ["recrop", str(cropped), "--into", into, "--where", "rank = 0", *cuts]
    assert main([*given, "--json"]) == 3  # one of its photographs failed, and so it does here
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    first, second = (json.loads(line) for line in out.splitlines())
    assert [Path(one["output"]).name for one in (first, second)] == ["dataset-112", "web"]
    assert first["faces"] == second["faces"] == first["cropped"] > 0
    assert {face["crop_w"] for face in result(second["output"]).faces} == {64}
    assert all(name.endswith(".webp") for name in result(second["output"]).crops)
    record = json.loads((Path(second["output"]) / "batch.json").read_text())
    assert record["settings"]["crop"]["quality"] == 70

    assert main(given) == 3
    assert f"crops     {into}/web/crops" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--where", "sharpnes > 1"], 2, "where: there is no column sharpnes; there are "),
        (["--where", "yaw >"], 2, "where: the end stands where a column should be"),
        (["--cut", "mine"], 2, "--cut mine: say how, as in mine:size=600, or name a preset: id-"),
        (["--cut", "a:size"], 2, "--cut a:size: size should be FIELD=VALUE, such as size=600"),
        (["--cut", "a:side=3"], 2, "--cut a:side=3: side is none of preset, size, "),
        (["--cut", "a:size=3"], 2, "--cut a:size=3: size 3: should be 0 or at least 16"),
        (["--cut", "a:size=30", "--cut", "a:size=40"], 2, "a is there twice"),
        (["--cut", "../a:size=30"], 2, "'../a' is no name for a folder"),
        (["--crop-size", "7"], 2, "--crop-size 7: should be 0 or at least 16"),
        (["--run-existing", "extend"], 2, "a recrop is not extended"),
        (["--crop-pick", "best"], 1, "crop.pick: the faces of the batch are in the order of l"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_said_in_a_line(
    cropped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    code: int,
    said: str,
) -> None:
    assert main(["recrop", str(cropped), "--into", str(tmp_path / "x"), *given]) == code
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("facecrop: ")
    assert said in line
    assert not (tmp_path / "x").exists()
