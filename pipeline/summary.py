"""The result of a batch, as every entry point returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from detection.errors import ImageWarning
from storage.output.counts import Counts

_NOT_ALL = (
    "faces that were not found are not covered, and no detector finds all: look at what you publish"
)


class Summary(BaseModel):
    """The counts of a finished batch, which are of members but for `faces`, and how long it took.

    Attributes:
        archive, output: their URIs.
        errors: how many members failed with each code.
        skips: how many were skipped for each reason.
        warnings: how many were read with each doubt; their `about` says what each means.
        not_kept: how many faces were not worth keeping, by the settings.
        none_kept: how many members have faces of which none was.
        rejects: how many faces were not kept for each reason.
        gone, changed: how many files were gone, or other ones, when the batch was last extended.
        unknown_photos: how many photographs no row of the roster is for.
        missing_people: how many rows of the roster no photograph is for.
        notes: what a person should know of the batch as a whole, a line each.
        resumed: how many members earlier runs had done; None where only the output was read.
        seconds: that this run took.
        blurred: whether it has photographs with their faces covered, and no crops.
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
    skips: dict[str, int] = {}
    warnings: dict[str, int] = {}
    not_kept: int = 0
    none_kept: int = 0
    rejects: dict[str, int] = {}
    gone: int = 0
    changed: int = 0
    unknown_photos: int = 0
    missing_people: int = 0
    notes: list[str] = []
    resumed: int | None
    seconds: float
    blurred: bool = False

    @property
    def counts(self) -> Counts:
        """All of them together."""
        return Counts.of(dict(self))

    @property
    def images_per_second(self) -> float | None:
        """Members that this run did, a second; None where it cannot be told."""
        if self.resumed is None or self.resumed == self.members or not self.seconds:
            return None
        return (self.members - self.resumed) / self.seconds

    @classmethod
    def of(
        cls,
        archive: str,
        output: str,
        totals: Counts,
        resumed: int | None,
        seconds: float,
        notes: Sequence[str] = (),
        *,
        blurred: bool = False,
    ) -> Self:
        """The summary of a finished batch."""
        return cls(
            archive=archive,
            output=output,
            **totals.as_dict(),
            notes=[*notes, *_advice(totals), *([_NOT_ALL] if blurred else [])],
            resumed=resumed,
            seconds=seconds,
            blurred=blurred,
        )


def _advice(totals: Counts) -> list[str]:
    """What would find more, where something may have been missed; what is no longer so."""
    lines = []
    if number := totals.warnings[ImageWarning.SMALL_FACES]:
        have = "1 image has" if number == 1 else f"{number:,} images have"
        lines.append(
            f"{have} faces as small as can be seen in this way, so smaller ones may be missing: "
            "--detection-profile thorough goes down to full size"
        )
    if totals.gone or totals.changed:
        lines.append(
            f"of the files that were there before, gone: {totals.gone:,}, changed: "
            f"{totals.changed:,}; their rows and crops stay, and changes.csv names them"
        )
    return lines
