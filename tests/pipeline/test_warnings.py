"""What a summary advises where something may have been missed."""

from detection.errors import ImageWarning
from pipeline.summary import Summary
from storage.output.counts import Counts


def test_the_summary_counts_what_may_be_missing_and_says_what_would_find_it() -> None:
    totals = Counts()
    assert Summary.of("a.zip", "out", totals, 0, 1).notes == []
    totals.warnings.update({ImageWarning.SMALL_FACES: 3})
    summary = Summary.of("a.zip", "out", totals, 0, 1, ["of the archive"])
    assert summary.notes[0] == "of the archive"
    assert summary.notes[1].startswith("3 images have faces as small")
    assert "--detection-profile thorough" in summary.notes[1]
    assert summary.warnings == {"small_faces": 3}
