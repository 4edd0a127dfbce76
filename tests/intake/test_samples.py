from __future__ import annotations

import re
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from detection.codecs.decode import Source
from detection.detectors.yunet import Yunet
from detection.errors import ImageError, ImageErrorCode
from detection.image import crop_faces
from detection.settings import CutSettings, DetectionSettings
from intake.cli import samples
from intake.cli.main import main
from intake.cli.samples import write_sample
from tests.pictures import EXIF_ORIENTATION

MAX_PIXELS = 10_000_000


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names))
        return {name: archive.read(name) for name in names}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("sample") / "sample.zip"
    write_sample(path, 40)
    return members(path)


def codes(sample: dict[str, bytes]) -> Counter[str]:
    def code(data: bytes) -> str:
        try:
            Source.open(data, MAX_PIXELS).decode()
        except ImageError as error:
            return error.code.value
        return "picture"

    return Counter(map(code, sample.values()))


def kind(data: bytes) -> tuple[str | None, str]:
    with Image.open(BytesIO(data)) as image:
        return image.format, image.mode


def test_forty_members_are_what_they_promise(sample: dict[str, bytes]) -> None:
    assert len(sample) == 40
    assert codes(sample) == {
        "picture": 37,
        ImageErrorCode.TRUNCATED_IMAGE.value: 1,
        ImageErrorCode.NOT_AN_IMAGE.value: 2,  # the text and the system file
    }
    assert len({name.split("/")[0] for name in sample}) == 3
    assert any(" " in name for name in sample)
    assert not all(name.isascii() for name in sample)
    assert sum(name.endswith(".txt") for name in sample) == 1
    assert sum(name.endswith("/.DS_Store") for name in sample) == 1
    assert "class-3a/astronaut-0001.jpg" in sample


def test_every_format_is_there(sample: dict[str, bytes]) -> None:
    pictures = [
        data for name, data in sample.items() if not re.search(r"\.txt|DS_Store|cut-short", name)
    ]
    assert {kind(data) for data in pictures} >= {
        ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
        ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"),
        ("WEBP", "RGB"), ("TIFF", "RGB"), ("BMP", "RGB"), ("GIF", "P"), ("AVIF", "RGB"),
    }  # fmt: skip


def test_every_orientation_shows_the_same_picture(sample: dict[str, bytes]) -> None:
    upright = {}
    for data in (data for name, data in sample.items() if "orientation" in name):
        with Image.open(BytesIO(data)) as image:
            orientation = image.getexif()[EXIF_ORIENTATION]
            upright[orientation] = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    assert sorted(upright) == list(range(1, 9))
    for orientation in range(2, 9):
        assert np.abs(upright[orientation] - upright[1]).mean() < 3


def test_names_tell_how_many_faces_are_found(sample: dict[str, bytes]) -> None:
    detector = Yunet(0.7, 0.3)
    for name, data in sample.items():
        if re.search(r"\.txt|DS_Store|cut-short", name):
            continue
        image = crop_faces(data, detector, DetectionSettings(), CutSettings(), MAX_PIXELS)
        if "group" in name:
            assert len(image.crops) >= 3, name
        else:
            nobody = re.search("coffee|chelsea|rocket", name)
            assert len(image.crops) == (0 if nobody else 1), name


def test_a_dozen_shows_the_most_important(sample: dict[str, bytes]) -> None:
    dozen = dict(list(sample.items())[:12])
    assert codes(dozen)[ImageErrorCode.TRUNCATED_IMAGE.value] == 1
    assert any("group" in name for name in dozen)
    assert any("coffee" in name for name in dozen)
    assert any("orientation" in name for name in dozen)
    assert any(name.endswith(".txt") for name in dozen)


def test_the_same_count_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    write_sample(first, 14)
    write_sample(second, 14)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    photos, link = tmp_path / "photos.zip", tmp_path / "link.zip"
    for data in (b"somebody's photographs", b""):
        photos.write_bytes(data)
        link.unlink(missing_ok=True)
        link.symlink_to(photos)
        for path in (photos, link):
            with pytest.raises(FileExistsError, match="not overwritten"):
                write_sample(path, 1)
        assert photos.read_bytes() == data
    link.unlink()
    link.symlink_to(tmp_path / "nowhere.zip")
    with pytest.raises(FileExistsError, match="not overwritten"):
        write_sample(link, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"photos.zip", "link.zip"}


def test_the_same_sample_may_be_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "sample.zip"
    write_sample(path, 2)
    before = path.stat().st_mtime_ns, path.read_bytes()
    write_sample(path, 2)
    with pytest.raises(FileExistsError):
        write_sample(path, 3)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_says_in_one_line_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "photos.zip"
    path.write_bytes(b"mine")
    assert main(["sample", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"facecrop: cannot write {path}: another file is there and is not overwritten; "
        "name another file"
    )
    assert path.read_bytes() == b"mine"


@pytest.mark.slow
def test_many_are_all_different(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.zip"
    monkeypatch.setattr(samples, "_VARIANTS", 10)
    write_sample(path, 60)  # so that variants come again
    many = members(path)
    assert len(many) == 60
    assert len(set(many.values())) == 60
    assert sum("cut-short" in name for name in many) == 1
    first, again = (data for name, data in many.items() if re.search("-(0040|0050)[.]", name))
    assert (
        Source.open(first, MAX_PIXELS).decode() == Source.open(again, MAX_PIXELS).decode()
    ).all()


def test_one_is_a_face(tmp_path: Path) -> None:
    path = tmp_path / "one.zip"
    write_sample(path, 1)
    assert list(members(path)) == ["class-3a/astronaut-0001.jpg"]
    assert list(tmp_path.iterdir()) == [path]  # nothing half-written is left


@pytest.mark.parametrize("count", [0, -3])
def test_none_is_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1 member, not {count}") as caught:
        write_sample(tmp_path / "none.zip", count)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        write_sample(tmp_path / "missing" / "sample.zip", 1)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_sample(tmp_path / "folder", 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
