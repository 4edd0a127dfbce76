"""No archive crashes, hangs, writes elsewhere, or takes more than its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.local import crop
from pipeline.settings import CropSettings
from storage.archives.members import ChunkSize, Limits
from storage.archives.opening import open_archive
from storage.errors import ArchiveError, MemberErrorCode
from tests.flows.batches import result
from tests.hostile.archives import ARCHIVES, MEMBER_MIB, MIB, TRIPLE, Hostile
from tests.hostile.bounded import crop_bounded
from tests.storage.archives import LIMITS, read_all
from tests.storage.test_tar import SUFFIXES, tarred

pytestmark = pytest.mark.slow  # all of them together

SECONDS = 30
SLOW_SECONDS = 180
PEAK_MIB = 448
"""Above what the process begins with: chunks of 32 MiB, here read, there done, and what zstd makes
of 4 KiB, which is 128 MiB at most."""

SETTINGS = CropSettings.model_validate(
    {
        "chunk": {"mib": MEMBER_MIB},
        "limits": {"max_member_mib": MEMBER_MIB, "image_seconds": 20, "image_mib": 512},
    }
)


class Place:
    """A folder with an archive, an output beside it, and a file that is nobody's."""

    def __init__(self, folder: Path, hostile: Hostile) -> None:
        self._folder = folder
        self.archive = folder / "in" / hostile.file
        self.output = folder / "in" / "out"
        self.archive.parent.mkdir()
        hostile.write(self.archive)
        (folder / "canary").write_text("alive")
        self._before = self._outside()

    def _outside(self) -> dict[Path, tuple[int, int, int]]:
        found = {}
        for path in [self._folder, *self._folder.rglob("*")]:
            if not path.is_relative_to(self.output) and path != self.archive.parent:
                status = path.lstat()
                found[path] = (status.st_mode, status.st_size, status.st_mtime_ns)
        return found

    def check(self) -> None:
        """Nothing was written outside of the output, and nothing but files and folders in it."""
        assert self._outside() == self._before
        assert {path.name for path in self.archive.parent.iterdir()} <= {
            self.archive.name, self.output.name,
        }  # fmt: skip
        for path in self.output.rglob("*"):
            assert not path.is_symlink()
            assert path.is_file() or path.is_dir()


def assert_is_a_line(line: str, archive: Path) -> None:
    assert str(archive) in line
    assert line.isprintable()
    assert len(line) < len(str(archive)) + 250


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_is_refused_or_has_a_row_a_member(name: str, tmp_path: Path) -> None:
    hostile = ARCHIVES[name]
    place = Place(tmp_path, hostile)
    seconds = SLOW_SECONDS if hostile.slow else SECONDS
    ending = crop_bounded(place.archive, place.output, SETTINGS, seconds)
    assert ending is not None, f"it ended its process, or took longer than {seconds} s"
    place.check()
    assert not ending.fault
    assert ending.mib < PEAK_MIB
    if isinstance(hostile.outcome, str):
        assert hostile.outcome in ending.refused
        assert_is_a_line(ending.refused, place.archive)
        return
    assert not ending.refused
    found = result(str(place.output))
    assert [row["error"] or row["status"] for row in found.manifest] == hostile.outcome
    assert [row["member"] for row in found.manifest] == list(range(len(hostile.outcome)))
    for row in found.manifest:
        assert len(row["path"]) <= 1024
        assert (row["message"] is not None) == (row["status"] == "failed")
        assert row["message"] is None or row["message"].isprintable()
    # each face has a file, and each file a face
    assert sorted(row["crop"] for row in found.faces) == sorted(found.crops)


PAIR = tarred([("a.bin", b"one"), ("b.bin", b"two" * 200)])


@pytest.mark.parametrize(
    ("file", "data"),
    [("a.zip", TRIPLE), *((f"a{suffix}", compress(PAIR)) for suffix, compress in SUFFIXES)],
    ids=["a.zip", *(f"a{suffix}" for suffix, _ in SUFFIXES)],
)
def test_of_an_archive_that_is_cut_anywhere_what_is_whole_is_read(
    tmp_path: Path, file: str, data: bytes
) -> None:
    path = tmp_path / file
    path.write_bytes(data)
    whole = read_all(open_archive(str(path), LIMITS), ChunkSize(9, MIB))
    for length in range(0, len(data), 1 if len(data) < 2000 else 13):
        path.write_bytes(data[:length])
        try:
            archive = open_archive(str(path), LIMITS)
            entries = read_all(archive, ChunkSize(9, MIB))
        except ArchiveError as error:
            assert_is_a_line(str(error), path)
        else:
            # without the end marker a TAR ends behind any of its members
            assert file != "a.zip"
            last = entries[-1].error
            if last is not None and last.code is MemberErrorCode.ARCHIVE_DAMAGED:
                entries.pop()
            assert entries == whole[: len(entries)]


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("a.zip", TRIPLE),
        ("a.txt", b"a\rb\nc\n"),
        *(
            (f"a{suffix}", compress(tarred([(name, b"") for name in "abc"])))
            for suffix, compress in SUFFIXES
        ),
    ],
    ids=["a.zip", "a.txt", *(f"a{suffix}" for suffix, _ in SUFFIXES)],
)
def test_members_are_bounded(tmp_path: Path, file: str, data: bytes) -> None:
    path = tmp_path / file
    path.write_bytes(data)

    def count(most: int) -> int:
        archive = open_archive(str(path), Limits(MIB, most))
        return sum(chunk.count for chunk in archive.chunks(ChunkSize(1, MIB)))

    assert count(3) == 3
    with pytest.raises(ArchiveError, match="more than 2 members, the most") as caught:
        count(2)
    assert_is_a_line(str(caught.value), path)


@pytest.mark.parametrize("name", ["tar with links and devices", "10 GiB of zeros"])
def test_a_batch_accounts_for_each_member(name: str, tmp_path: Path) -> None:
    place = Place(tmp_path, ARCHIVES[name])
    crop(str(place.archive), str(place.output), SETTINGS)
    place.check()
    rows = result(str(place.output)).manifest
    assert [row["error"] or row["status"] for row in rows] == ARCHIVES[name].outcome


def test_a_batch_is_refused_with_one_line(tmp_path: Path) -> None:
    place = Place(tmp_path, ARCHIVES["zip_of_100_million_entries_in_holes"])
    with pytest.raises(ArchiveError) as caught:
        crop(str(place.archive), str(place.output), SETTINGS)
    assert_is_a_line(str(caught.value), place.archive)
    place.check()
    assert not place.output.exists()
