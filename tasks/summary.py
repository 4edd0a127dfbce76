"""What came of a batch, as every way in returns it."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from storage.manifest import Totals


class Summary(BaseModel):
    """Counts are of members, but for `faces`.

    Attributes:
        errors: how many members failed with each code.
        resumed: how many members earlier runs had done; None where only the output was looked at.
        seconds: that this run took.
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
    resumed: int | None
    seconds: float

    @property
    def images_per_second(self) -> float | None:
        """Members that this run did, a second; None where it cannot be told."""
        if self.resumed is None or self.resumed == self.members or not self.seconds:
            return None
        return (self.members - self.resumed) / self.seconds

    @classmethod
    def of(
        cls, archive: str, output: str, totals: Totals, resumed: int | None, seconds: float
    ) -> Self:
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
            resumed=resumed,
            seconds=seconds,
        )
