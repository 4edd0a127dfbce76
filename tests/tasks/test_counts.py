"""What a run tells of itself, and what is read of it elsewhere."""

from collections import Counter
from pathlib import Path

import pytest

from intake.cli.samples import write_sample
from pipeline.progress import Progress, Snapshot, describe
from storage.archives.members import Limits
from storage.archives.opening import open_archive
from storage.output.counts import Counts, Status
from storage.output.manifest import MemberRow
from tasks.reporting.counts import from_rows, to_rows

TOTALS = Counts(9, 4, 2, 1, 2, 7, Counter({"truncated": 1, "encrypted": 1}))
NOT_KEPT = Counts(9, 9, faces=12, not_kept=5, none_kept=2, rejects=Counter(high_yaw=5, low_score=1))


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot(TOTALS, 20, 0.45, 12.25, 11.5, 7.5),
        Snapshot(Counts(), None, 0.0, 0.0, 0.0, None),
        Snapshot(NOT_KEPT, 20, 0.45, 12.25, 11.5, 7.5),
    ],
)
def test_a_table_says_all_of_a_snapshot(snapshot: Snapshot) -> None:
    assert from_rows(to_rows(snapshot)) == snapshot


def test_an_older_table_kept_all_faces() -> None:
    snapshot = Snapshot(TOTALS, 20, 0.45, 12.25, 11.5, 7.5)
    rows = [row for row in to_rows(snapshot) if "kept" not in row["count"]]
    assert len(rows) == len(to_rows(snapshot)) - 2
    assert from_rows(rows) == snapshot


def test_everything_that_was_done_anywhere_counts_once(tmp_path: Path) -> None:
    write_sample(tmp_path / "a.zip", 20)
    progress = Progress(20, open_archive(str(tmp_path / "a.zip"), Limits(1 << 20)))
    progress.resume(Counts(5, cropped=5, faces=6))
    progress.begin(0)
    progress.add(0, MemberRow(0, "a.jpg", Status.FAILED, 10, error="truncated"))
    progress.begin(0)  # its chunk is tried again
    progress.add(0, MemberRow(0, "a.jpg", Status.FAILED, 10, error="truncated"))
    progress.elsewhere({"a": Counts(3, no_face=3)})
    progress.elsewhere({"a": Counts(1, no_face=1), "b": Counts(3, no_face=3)})
    progress.commit(0)
    progress.finish_elsewhere("b", Counts(2, skipped=2))
    snapshot = progress.snapshot()
    assert snapshot.counts == Counts(12, 5, 4, 2, 1, 6, Counter({"truncated": 1}))
    assert (snapshot.total, snapshot.share, progress.resumed) == (20, 0.6, 5)
    assert progress.by_worker("here") == {"here": 1, "a": 1, "b": 5}
    assert describe(snapshot).startswith("12 of 20 images, ")
    assert describe(snapshot).endswith("1 failed")
