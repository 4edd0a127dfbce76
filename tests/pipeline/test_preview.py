"""A preview: which members stand for an archive, what is read, and what is told of the rest."""

import gzip
import io
import itertools
import math
import random
import tarfile
import zipfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import facecrop
from pipeline.local import crop
from pipeline.preview.compare import ProfileError
from pipeline.preview.estimate import Figure
from pipeline.preview.intervals import of_count, of_total, student
from pipeline.preview.run import preview
from pipeline.preview.sampling import spread
from pipeline.preview.schedule import Work, schedule
from pipeline.preview.told import lines
from storage.errors import OutputError
from storage.fs.location import RangeReader
from tests.pictures import astronaut_jpeg, encoded, group, no_face_jpeg
from tests.pipeline.test_report import Page


def archive(path: Path, members: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return str(path)


def mixed(path: Path, count: int) -> str:
    """Every third member has a face, every third is of nobody, the others are no pictures."""
    kinds = [("jpg", astronaut_jpeg(300)), ("jpg", no_face_jpeg()), ("txt", b"notes")]
    return archive(
        path, {f"{place:03}.{kinds[place % 3][0]}": kinds[place % 3][1] for place in range(count)}
    )


@pytest.fixture
def shown(tmp_path: Path) -> str:
    return str(tmp_path / "shown" / "report.html")


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How much each read of an archive asked for."""
    sizes: list[int] = []
    read = RangeReader.read

    def counted(self: RangeReader, start: int, end: int) -> bytes:
        sizes.append(end - start)
        return read(self, start, end)

    monkeypatch.setattr(RangeReader, "read", counted)
    return sizes


def test_a_sample_has_one_of_each_part_of_the_archive() -> None:
    for members, count in ((1000, 7), (10, 9), (200, 200), (5, 200), (1_000_003, 200)):
        found = spread(members, count, 1)
        assert found == spread(members, count, 1)
        assert found == sorted(set(found))
        assert len(found) == min(count, members)
        gaps = [b - a for a, b in itertools.pairwise(found)]
        assert all(gap <= 2 * math.ceil(members / count) for gap in gaps)
    drawn = Counter(one for seed in range(4000) for one in spread(10, 4, seed))
    assert all(1400 <= drawn[one] <= 1800 for one in range(10))  # 1600 each


def test_counts_have_the_bounds_that_tables_have() -> None:
    # P(X = 0) of 3 of 300 with 200 drawn is (100/300)(99/299)(98/298) = 0.0363, of 4 it is 0.0119
    assert of_count(0, 200, 300) == (0, 0, 3)
    assert of_count(7, 200, 200) == (7, 7, 7)
    _, low, high = of_count(5, 100, 10_000_000)  # Clopper and Pearson: 0.0164 and 0.1128
    assert (round(low / 1e7, 4), round(high / 1e7, 4)) == (0.0164, 0.1128)
    assert student(0.975, 1) == pytest.approx(12.7062, rel=1e-4)
    assert student(0.975, 4) == pytest.approx(2.7764, rel=1e-3)
    assert student(0.975, 199) == pytest.approx(1.9720, rel=1e-4)


def test_totals_hold_the_truth_as_often_as_they_say() -> None:
    for kind in (lambda chance: chance.choice([0, 0, 1, 1, 2, 3]), _of_crowds):
        held = above = 0
        for seed in range(200):
            chance = random.Random(seed)
            all_values = [kind(chance) for _ in range(1000)]
            sampled = [all_values[index] for index in spread(1000, 200, seed)]
            _, low, high = of_total(sampled, 1000)
            held += low <= sum(all_values) <= high
            above += high < sum(all_values)
        assert held >= 182  # of 200, 91 %: below it in one of a hundred sets of such seeds
        assert above <= 14
    alike, low, high = of_total([0.0] * 200, 1000)
    assert (alike, low) == (0, 0)
    assert high == of_count(0, 200, 1000)[2] > 0
    assert of_total([1.0, 2.0], 2) == (3, 3, 3)


@given(st.lists(st.integers(0, 3) | st.floats(0, 1e6), min_size=1, max_size=60), st.integers(0, 99))
def test_an_estimate_lies_within_its_interval(values: list[float], others: int) -> None:
    members = len(values) + others**3
    estimate, low, high = of_total(values, members)
    slack = 1e-9 * estimate
    assert sum(values) - slack <= low <= estimate + slack
    assert estimate - slack <= high
    found = sum(value > 2 for value in values)
    count, least, most = of_count(found, len(values), members)
    assert found <= least <= count <= most <= members - (len(values) - found)


def _of_crowds(chance: random.Random) -> int:
    """A few photographs have half of the faces: by t alone, a tenth of intervals is too low."""
    return chance.randint(20, 60) if chance.random() < 0.03 else chance.choice([0, 1, 1, 2])


@pytest.mark.slow
def test_a_preview_of_all_members_is_what_a_batch_comes_to(tmp_path: Path, shown: str) -> None:
    photos = mixed(tmp_path / "a.zip", 12)
    batch = crop(photos, str(tmp_path / "out"))
    made = preview(photos, shown)
    told = made.estimate
    for name in ("members", "faces", "cropped", "no_face", "skipped", "failed"):
        assert getattr(told, name) == Figure.known(getattr(batch, name)), name
    assert told.skips == {"not_an_image": Figure.known(4)}
    crops = [file.stat().st_size for file in (tmp_path / "out" / "crops").rglob("*.jpg")]
    assert sum(crops) < told.output_bytes.estimate < sum(crops) + 100_000
    page = Page(str(Path(shown).parent))
    assert page.data["preview"]["lines"][0] == ["Members", "12", "exact"]
    assert [face["of"] for face in page.data["shown"]] == [0, 3, 6, 9]
    assert page.bytes < 5_000_000


@pytest.mark.slow
def test_nothing_of_the_rest_is_read(tmp_path: Path, shown: str, read_bytes: list[int]) -> None:
    path = tmp_path / "a.zip"
    photos = mixed(path, 3000)
    before = preview(photos, shown, count=30)
    index = 3000 * 100
    assert sum(read_bytes) < 30 * path.stat().st_size / 3000 + index
    again = preview(photos, shown, count=30)
    assert again.estimate.faces == before.estimate.faces
    other = preview(photos, shown, count=30, seed=2)
    told = other.estimate
    assert not told.of_beginning
    assert told.faces.low is not None
    assert told.faces.high is not None
    assert told.faces.low <= 1000 <= told.faces.high
    assert told.failed.estimate == 0
    assert told.failed.high == of_count(0, 30, 3000)[2] > 300  # there may be some all the same
    assert any("only a few members" in line for line in other.notes)
    assert "\\u2026" not in Path(shown).read_text(), "a page has cut a note of ours short"


@pytest.mark.slow
def test_of_a_compressed_tar_the_beginning_is_told_as_such(tmp_path: Path, shown: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for place in range(300):
            data = random.Random(place).randbytes(12_000)
            data = astronaut_jpeg(300) + data if place < 100 else data
            info = tarfile.TarInfo(f"{place:03}.jpg")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    photos = tmp_path / "a.tar.gz"
    photos.write_bytes(gzip.compress(out.getvalue(), 1))
    told = preview(str(photos), shown, count=40).estimate
    assert (told.sampled, told.of_beginning) == (40, True)
    assert (told.faces.low, told.faces.high, told.failed.high) == (None, None, None)
    # by how far it was read: all its photographs are at its beginning, as the notes warn
    assert 150 < told.members.estimate < 450
    assert told.faces.estimate == told.members.estimate
    whole = preview(str(photos), shown, count=400).estimate
    assert (whole.members, whole.of_beginning) == (Figure.known(300), False)
    assert whole.faces == Figure.known(100)


@pytest.mark.slow
def test_profiles_disagree_on_faces_that_are_shown(tmp_path: Path, shown: str) -> None:
    small = encoded(group((700, 160), (2600, 1800)), "JPEG")
    photos = archive(tmp_path / "a.zip", {"one.jpg": astronaut_jpeg(400), "small.jpg": small})
    made = preview(photos, shown, compare=["fast", "thorough"])
    fast, thorough = made.profiles
    assert (fast.profile, fast.faces_seen, thorough.faces_seen) == ("fast", 2, 3)
    assert made.disagreements == 1
    page = Page(str(Path(shown).parent))
    [one] = page.data["preview"]["differences"]
    assert (one["path"], one["found"]) == ("small.jpg", ["thorough"])
    x, y, width, height = one["box"]
    assert 0.2 < x < x + width < 0.8  # a third of the picture, in its middle
    assert 0.2 < y < y + height < 0.8
    assert made.estimate.faces == Figure.known(2)  # of the settings, which are none of these


def test_a_page_of_somebody_else_s_stays(tmp_path: Path) -> None:
    photos = archive(tmp_path / "a.zip", {"a.txt": b"a"})
    theirs = tmp_path / "index.html"
    theirs.write_text("<p>mine</p>")
    with pytest.raises(OutputError, match=r"index\.html is there, and is no html of Facecrop's"):
        preview(photos, str(theirs))
    assert theirs.read_text() == "<p>mine</p>"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.txt").write_text("a")
    with pytest.raises(OutputError, match="would be taken for a member"):
        preview(f"{tmp_path}/photos/", f"{tmp_path}/photos/preview.html")
    with pytest.raises(ProfileError, match="quick is no profile; compare some of fast, balanced"):
        preview(photos, str(tmp_path / "p.html"), compare=["quick"])
    with pytest.raises(ValueError, match="give it a time zone"):
        preview(photos, str(tmp_path / "p.html"), by=datetime(2026, 3, 1))
    with pytest.raises(ValueError, match="choose 1 to 10,000 members"):
        preview(photos, str(tmp_path / "p.html"), count=0)
    assert facecrop.preview is preview


def test_workers_share_shards() -> None:
    hour = Figure(estimate=36_000, low=30_000, high=42_000)
    work = Work(before=10, core_seconds=hour, members=45_000, shard_members=10_000)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    plan = schedule(work, 2, 4, now + timedelta(hours=1), now)
    assert plan.most_workers == 5
    # three turns of a shard each, of 4.5 shards
    assert plan.seconds.estimate == pytest.approx(10 + 36_000 / 4 * 30 / 45)
    assert (plan.workers_by, plan.workers_by_surely) == (5, 5)
    late = schedule(work, 1, 4, now + timedelta(minutes=5), now)
    assert (late.workers_by, late.workers_by_surely) == (None, None)
    assert work.seconds(1, 4).estimate == 10 + 36_000 / 4


def test_figures_are_told_to_three_digits(tmp_path: Path, shown: str) -> None:
    photos = archive(tmp_path / "a.zip", {f"{place:05}.txt": b"a" for place in range(12_345)})
    made = preview(photos, shown, count=200)
    told = {line.label: line for line in lines(made.estimate, made.schedule)}
    assert told["Members"] == ("Members", "12,345", "exact")
    assert told["Faces"][1:] == ("about 0", f"0 to {of_count(0, 200, 12_345)[2]}")
    assert told["  not_an_image"].bounds == f"{told['  not_an_image'].bounds.split()[0]} to 12,300"
