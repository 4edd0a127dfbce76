"""A preview: some members of an archive cropped, and what all of it would come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.batch import limits_of, roster_of
from pipeline.cores import cores as own_cores
from pipeline.images import warm_up
from pipeline.naming import check_names
from pipeline.preview import COUNT, MOST
from pipeline.preview.compare import Compared, compared, profiles_of
from pipeline.preview.cropping import each_member
from pipeline.preview.estimate import Estimate, Scale, Way, core_seconds, estimate
from pipeline.preview.page import make_page
from pipeline.preview.sampling import Sampled
from pipeline.preview.schedule import Schedule, Work, schedule
from pipeline.progress import Progress, Snapshot
from pipeline.retries import retried
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.archives.members import Archive, Chunk, Entry
from storage.archives.opening import open_archive
from storage.errors import OutputError
from storage.fs.redact import shown
from storage.output.counts import Counts
from storage.output.ownfile import OwnFile

DEFAULTS = CropSettings()
PAGE, TOLD = "preview.html", "preview.json"
"""What a preview is called where it has a folder of its own: the report, and what it says."""

_MARK = b"<!-- Facecrop preview -->"
_KIND: Final = "facecrop-preview/1"
_CHUNK = 0  # as which the sample counts


class Preview(BaseModel):
    """What a batch would come to, and how that is known.

    Attributes:
        kind: of what is written as JSON.
        archive, report: their URIs.
        seed: of the sample: the same one gives the same members.
        estimate: of the batch.
        schedule: how long it takes, and how many workers have it done by some time.
        profiles: what each profile that was compared would come to.
        disagreements: faces of the sample that not all of these find.
        notes: what a person should know of it, a line each.
        seconds: that the preview took.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["facecrop-preview/1"] = _KIND
    archive: str
    report: str
    seed: int
    estimate: Estimate
    schedule: Schedule
    profiles: list[Way]
    disagreements: int
    notes: list[str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be previewed.

    Attributes:
        count: members in the sample, at most.
        seed: of the sample.
        compare: profiles to be put side by side.
        workers, cores: that the batch is to have; 0 cores for as many as this machine has.
        by: when it is to be done, if somebody asks; with a time zone.

    Raises:
        ValueError: one of them cannot be.
    """

    count: int = COUNT
    seed: int = 1
    compare: Sequence[str] = ()
    workers: int = 1
    cores: int = 0
    by: datetime | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST:
            raise ValueError(f"count is {self.count}; choose 1 to {MOST:,} members")
        if self.workers < 1 or self.cores < 0:
            raise ValueError("there is at least 1 worker; 0 cores stand for those of this machine")
        if self.by is not None and self.by.tzinfo is None:
            raise ValueError(f"by is {self.by}; give it a time zone, as with .astimezone()")


def preview(
    archive: str,
    output: str = "preview.html",
    settings: CropSettings = DEFAULTS,
    *,
    count: int = COUNT,
    seed: int = 1,
    compare: Sequence[str] = (),
    workers: int = 1,
    cores: int = 0,
    by: datetime | None = None,
    on_progress: Callable[[Snapshot], None] = lambda _: None,
) -> Preview:
    """Crop some members of an archive, spread evenly over it, and estimate what all would come to.

    Nothing is read of the others, but for an archive's index. Of a compressed TAR the beginning is
    read, as it has none; the estimate then says so, and has no intervals.

    Args:
        archive: as `pipeline.local.crop` takes it.
        output: of the report, one HTML file; a path or a URI. A preview that is there is replaced.
        settings: everything that may be chosen of the batch.
        count, seed, compare, workers, cores, by: see `Asked`.
        on_progress: called with the counts so far, in the calling thread.

    Raises:
        ArchiveError: the archive cannot be used; the message says why and what to do.
        OutputError: the report cannot be written there, or crops would share a name.
        ProfileError: what is to be compared is no profile.
        ValueError: one of the numbers cannot be.
        TransientError: storage failed on every attempt; run it again.
    """
    asked = Asked(count, seed, compare, workers, cores, by)
    page = OwnFile(output, _MARK)
    page.check()
    made, html = make_preview(archive, settings, asked, on_progress, page)
    retried(lambda _: page.put(html))
    return made


def files_in(folder: str) -> tuple[OwnFile, OwnFile]:
    """PAGE and TOLD in a folder or prefix."""
    place = folder.rstrip("/")
    return OwnFile(f"{place}/{PAGE}", _MARK), OwnFile(f"{place}/{TOLD}", _KIND.encode())


def preview_into(
    folder: str,
    archive: str,
    settings: CropSettings,
    asked: Asked,
    on_progress: Callable[[Snapshot], None],
) -> Preview:
    """Do as `preview` does, and write PAGE and TOLD into a folder or prefix.

    Args:
        folder: a path or a URI.
        archive, settings, on_progress: as of `preview`.
        asked: how many members, which, and what else is to be told.

    Raises:
        What `preview` raises.
    """
    page, told = files_in(folder)
    for file in (page, told):
        file.check()
    made, html = make_preview(archive, settings, asked, on_progress, page)
    retried(lambda _: page.put(html))
    as_json = made.model_dump_json(indent=2).encode()
    retried(lambda _: told.put(as_json))  # last: where it is, all is there
    return made


def make_preview(
    archive: str,
    settings: CropSettings,
    asked: Asked,
    on_progress: Callable[[Snapshot], None],
    page: OwnFile,
) -> tuple[Preview, bytes]:
    """The preview, and its page, which is not written.

    Args and errors are those of `preview`; `page` is where it is to be written.
    """
    began = time.monotonic()
    created = datetime.now(UTC)
    chosen = settings
    nameless = settings.output.model_copy(update={"name": ""})  # no file is written
    settings = settings.model_copy(update={"output": nameless})
    profiles = profiles_of(list(asked.compare), settings)
    warm_up(settings.run.threads)
    limits, names = limits_of(settings), settings.input.name_encoding
    opened = retried(lambda _: open_archive(archive, limits, names=names))
    if opened.kind == "folder" and page.lies_in(archive):
        raise OutputError(
            f"{page.uri} lies in {archive}, so it would be taken for a member. Name another place."
        )
    retried(lambda _: check_names(opened, chosen, roster_of(chosen)))
    sampled = retried(lambda _: Sampled.of(opened, asked.count, asked.seed))
    indexed = time.monotonic() - began
    progress = Progress(sampled.count, opened)
    progress.begin(_CHUNK)

    def work(entry: Entry, chunk: Chunk) -> Compared:
        done = compared(entry, chunk, settings, profiles)
        progress.add(_CHUNK, done.chosen.row)
        return done

    def tick() -> None:
        on_progress(progress.snapshot())

    found = each_member(sampled, settings.run.threads, work, tick)
    found.sort(key=lambda one: one.chosen.row.member)
    tick()
    tried = [one.chosen for one in found]
    told = estimate(sampled, tried, settings)
    streams = opened.members is None
    to_do = Work.of(told, indexed, settings.run.shard_members, whole=streams)
    plan = schedule(to_do, asked.workers, asked.cores or own_cores(), asked.by, datetime.now(UTC))
    counts = Counts()
    for one in tried:
        counts.add(one.row)
    seconds = time.monotonic() - began
    blurred = settings.covers is not None
    summary = Summary.of(
        opened.uri, page.uri, counts, 0, seconds, _notes(opened, told), blurred=blurred
    )
    differences = [difference for one in found for difference in one.differences]
    made = Preview(
        archive=shown(opened.uri),
        report=shown(page.uri),
        seed=asked.seed,
        estimate=told,
        schedule=plan,
        profiles=_ways(sampled, found, profiles),
        disagreements=len(differences),
        notes=[shown(line) for line in summary.notes],
        seconds=round(seconds, 3),
    )
    return made, make_page(made, summary, tried, differences, settings, created)


def _ways(
    sampled: Sampled, found: Sequence[Compared], profiles: Mapping[str, CropSettings]
) -> list[Way]:
    """What each profile would come to."""
    scale = Scale.of(sampled)
    ways = []
    for name in profiles:
        faces = [len(one.profiles[name].row.face_rows) for one in found]
        ways.append(
            Way(
                profile=name,
                faces_seen=sum(faces),
                faces=scale.total(map(float, faces)),
                core_seconds=core_seconds(scale, [one.profiles[name] for one in found]),
            )
        )
    return ways


def _notes(archive: Archive, told: Estimate) -> list[str]:
    """What is to be said of the estimate before anybody believes it."""
    notes = list(archive.notes)
    if told.of_beginning:
        notes.insert(
            0,
            f"only the beginning of a compressed TAR can be read by itself: the estimate takes all "
            f"to be like its first {told.sampled:,} members, and has no intervals",
        )
    elif told.sampled < told.members.estimate:
        notes.append(
            "the sample may have none of what only a few members are, such as large crowds: then "
            "there are more faces, bytes and hours than the intervals say"
        )
    return notes
