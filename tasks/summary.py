"""What came of a batch, as every way in returns it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from storage.manifest import Totals


class Summary(BaseModel):
    """Counts are of members, but for `faces`.

    Attributes:
        errors: how many members failed with each code.
        seconds: that this run took; a run that resumes a batch counts only itself.
    """

    model_config = ConfigDict(frozen=True)

    archive: str
    output: str
    members: int
    cropped: int
    no_face: int
    skipped: int
    failed: int
    faces: int
    errors: dict[str, int]
    seconds: float

    @classmethod
    def of(cls, archive: str, output: str, totals: Totals, seconds: float) -> Self:
        """The summary of a finished batch."""
        return cls(
            archive=archive,
            output=output,
            members=totals.members,
            cropped=totals.cropped,
            no_face=totals.no_face,
            skipped=totals.skipped,
            failed=totals.failed,
            faces=totals.faces,
            errors=dict(totals.errors.most_common()),
            seconds=seconds,
        )
