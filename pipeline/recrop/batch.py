"""A recrop under way: a finished batch that is read, and the outputs that its faces are cut for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow.compute as pc

from detection.settings import CutSettings
from pipeline.batch import (
    Batch,
    open_again,
    record_of,
    refuse_inside,
    refuse_other_members,
    roster_of,
    sources_of,
)
from pipeline.extend import without
from pipeline.recrop.settings import RecropSettings
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.archives.members import Archive
from storage.errors import OutputError
from storage.fs.redact import shown
from storage.output.counts import Counts
from storage.output.manifest import failed_members
from storage.output.output import Output
from storage.output.reading import OutputReader
from storage.output.where import parse_where


@dataclass(frozen=True, slots=True)
class Target:
    """One of the outputs of a recrop.

    Attributes:
        id: of it, the same in each run that works on it.
        output, settings: its own.
        done: numbers of the chunks that earlier runs completed.
        as_batch: whether its crops are cut as those of the batch were.
    """

    id: str
    output: Output
    settings: CropSettings
    done: set[int]
    as_batch: bool


class Recrop(Batch):
    """What every task of one run shares. The first of its outputs stands for all where one has to.

    Attributes:
        source: the batch that its faces are from.
        targets: its outputs, one at least.
        where: which faces are wanted, for `wanted_faces`; None for all.
    """

    def __init__(
        self,
        source: OutputReader,
        archive: Archive,
        targets: list[Target],
        where: str,
        told: list[str],
    ) -> None:
        first = targets[0]
        done = set.intersection(*(target.done for target in targets))
        super().__init__(first.id, archive, first.output, first.settings, done, archive.members)
        self.source = source
        self.targets = targets
        self.where: pc.Expression | None = parse_where(where) if where else None
        self._told = told

    @property
    def notes(self) -> list[str]:
        """What a person should know of each of its outputs, a line each."""
        return [*self._told, *super().notes]

    def summary_of(
        self, target: Target, totals: Counts, resumed: int | None, seconds: float
    ) -> Summary:
        """What has come of one of its outputs; the arguments are those of `Summary.of`."""
        uris = self.archive.uri, target.output.uri
        return Summary.of(*uris, totals, resumed, seconds, self.notes)


def plan(
    output: str,
    into: str,
    settings: RecropSettings,
    run: str = "",
    asked: datetime | None = None,
) -> Recrop:
    """Open a finished batch and its archive, and claim the outputs that its faces are cut for.

    Args:
        output: the batch's.
        into: the output to be made; of several, the folder that they are made in.
        settings: of the recrop.
        run: id of the run that claims the outputs, however often it has begun; "" for none.
        asked: when the run was asked for; None for now.

    Raises:
        ArchiveError: the archive is gone, or no longer the one that the batch was made of.
        OutputError: there is no finished batch, or an output cannot be used, or is another's.
    """
    source = Output(output)
    record = source.join()
    source.require_finished()
    opened, made_with, lots = open_again(source, record, settings.run)
    work = without(opened, lots, [0])  # from the first on, and so all of them
    if work.lots <= 1:
        refuse_other_members(source, record, opened)
    archive, roster = work.archive, roster_of(made_with)
    cuts = settings.cuts or {"": settings.crop}
    places = {name: f"{into.rstrip('/')}/{name}" if name else into for name in cuts}
    cut_as = {name: _cut(cut, made_with) for name, cut in cuts.items()}
    about = {
        "output": shown(source.uri),
        "batch": record["id"],
        "where": settings.where,
        # the photographs are decoded as finely as all of these need
        "along_with": {name: _said(cut) for name, cut in cut_as.items() if len(cuts) > 1},
    }
    of_crops = made_with.covers is None
    targets = []
    for name, cut in cut_as.items():
        place = Output(places[name])
        if place.lies_in(output):
            raise OutputError(
                f"{place.uri} lies in {source.uri}, which stays as it is. Name an output elsewhere."
            )
        refuse_inside(place, archive)
        laid_out = made_with.output.model_copy(
            update={"kind": "crops", "layout": settings.layout}
            # which is for the files of crops
            | ({} if of_crops and settings.layout == "files" else {"name": ""})
        )
        chosen = made_with.model_copy(update={"crop": cut, "output": laid_out})
        made = record_of(archive, chosen, run, asked or datetime.now(UTC), counted=True)
        made["recrop"] = about
        claim = place.claim(
            made,
            settings.run.existing,
            CropSettings().identity(),
            lambda: [*sources_of(archive, roster), output],
        )
        as_batch = of_crops and "recrop" not in record and cut == made_with.crop.spelled_out()
        done = claim.done - _failed_here(place, source)
        targets.append(Target(claim.record["id"], place, chosen, done, as_batch))
    told = _told(source, settings, made_with, cut_as.values())
    return Recrop(source, archive, targets, settings.where, told)


def _failed_here(place: Output, source: Output) -> set[int]:
    """The chunks of a finished recrop in which something failed that is well in its batch.

    They are gone through again: what storage did not give may be there by now, and what had failed
    in the batch may have been retried there.
    """
    finished, known = place.finished(), source.finished()
    if finished is None or known is None or finished.failed <= known.failed:
        return set()
    return {
        number
        for number in place.failed_chunks()
        if not failed_members(place.part(number)).keys()
        <= failed_members(source.part(number)).keys()
    }


def _cut(cut: CutSettings, made_with: CropSettings) -> CutSettings:
    """How faces are cut out, nothing left to a preset; they keep the order that they have."""
    pick = made_with.crop.pick
    if "pick" in cut.model_fields_set and cut.pick != pick:
        raise OutputError(
            f"crop.pick: the faces of the batch are in the order of {pick}, and keep it. "
            "Leave it out, or crop the archive again."
        )
    return cut.spelled_out().model_copy(update={"pick": pick})


def _said(cut: CutSettings) -> str:
    """What of the settings is not as usual, such as `size=112,format=webp`."""
    chosen = cut.model_dump(mode="json", exclude_defaults=True)
    return ",".join(f"{name}={value}" for name, value in chosen.items())


def _told(
    source: OutputReader,
    settings: RecropSettings,
    made_with: CropSettings,
    cuts: Iterable[CutSettings],
) -> list[str]:
    faces = source.totals().faces
    lines = [f"cut from the {faces:,} faces of {shown(source.uri)}"]
    if settings.where:
        lines[0] += f", of which those are wanted where {settings.where}"
    most = made_with.crop.max_faces
    if most and any(cut.max_faces == 0 or cut.max_faces > most for cut in cuts):
        lines.append(f"that batch was asked for {most} faces an image at most: there may be others")
    return lines
