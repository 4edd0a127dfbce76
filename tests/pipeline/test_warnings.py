"""Every doubt that a manifest may tell of is explained."""

from pathlib import Path

from detection.errors import ImageWarning
from pipeline.summary import Summary
from storage.errors import MemberWarning
from storage.output.counts import Counts

OUTPUT = Path(__file__).resolve().parents[2] / "docs" / "crop" / "output.md"


def test_the_document_says_what_each_warning_means() -> None:
    rows = [line for line in OUTPUT.read_text().splitlines() if line.startswith("| `")]
    explained = {line.split("`")[1] for line in rows}
    assert {*ImageWarning, *MemberWarning} <= explained


def test_the_summary_counts_what_may_be_missing_and_says_what_would_find_it() -> None:
    totals = Counts()
    assert Summary.of("a.zip", "out", totals, 0, 1).notes == []
    totals.warnings.update({ImageWarning.SMALL_FACES: 3})
    summary = Summary.of("a.zip", "out", totals, 0, 1, ["of the archive"])
    assert summary.notes[0] == "of the archive"
    assert summary.notes[1].startswith("3 images have faces as small")
    assert "--detection-profile thorough" in summary.notes[1]
    assert summary.warnings == {"small_faces": 3}
