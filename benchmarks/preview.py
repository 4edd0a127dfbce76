"""Previews: how often their intervals hold the truth, and what one of a large ZIP in S3 reads.

Photographs, some cut short, and a few texts are cropped once each. Archives are then made up of
their rows: how many of which kind, in which order (mixed, sorted, one like the other for a stretch,
in a fixed rotation) and how many members in all differ from one archive to the next. So the truth
of each is known, and it can be sampled again and again, each time with other members.

A ZIP of small members is put into an S3-compatible server and previewed from there, in this
process, whose reads are counted. What all of it comes to is known, as its members repeat a few.
"""

from __future__ import annotations

import argparse
import io
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated
from unittest.mock import patch

import fsspec
from PIL import Image

from benchmarks.photos import open_photos, repeat, write_astronaut
from benchmarks.report import Column, Report
from infra.servers.seaweedfs import seaweedfs
from intake.http.crops_zip import stream_zip
from pipeline.batch import limits_of
from pipeline.preview.cropping import Tried, crop_once, each_member
from pipeline.preview.estimate import Estimate, Figure, Scale
from pipeline.preview.run import preview
from pipeline.preview.sampling import Sampled, spread
from pipeline.settings import CropSettings
from storage.archives.opening import open_archive
from storage.fs.location import RangeReader
from storage.output.counts import Status

_SETTINGS = CropSettings()
_CUT_SHORT, _TEXTS = 12, 4
_LEAST, _MOST = 400, 100_000  # members of an archive

Order = Callable[[list[int], random.Random], list[int]]


@dataclass(frozen=True, slots=True)
class Held:
    """One figure, over all samples of all archives.

    Attributes:
        held: share of the samples whose interval holds the truth.
        below, above: share of those whose interval lies above, or below, the truth.
        worst: the least share that is held of one archive's samples.
        width: half of the interval over the truth; the median of those whose truth is not 0.
    """

    figure: Annotated[str, Column("figure")]
    held: Annotated[float, Column("holds the truth", ".3f")]
    below: Annotated[float, Column("truth is below", ".3f")]
    above: Annotated[float, Column("truth is above", ".3f")]
    worst: Annotated[float, Column("worst archive", ".2f")]
    width: Annotated[float, Column("half its width", ".2f")]


@dataclass(frozen=True, slots=True)
class Read:
    """One preview of an archive in a store.

    Attributes:
        faces, low, high: the truth, and the interval of it.
    """

    members: Annotated[int, Column("members", ",")]
    gigabytes: Annotated[float, Column("GB", ".2f")]
    sampled: Annotated[int, Column("sampled", ",")]
    seconds: Annotated[float, Column("seconds", ".1f")]
    requests: Annotated[int, Column("requests", ",")]
    megabytes: Annotated[float, Column("MB read", ".1f")]
    faces: Annotated[int, Column("faces", ",")]
    low: Annotated[float, Column("from", ",.0f")]
    high: Annotated[float, Column("to", ",.0f")]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--archives", type=int, default=20, help="made up (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=20, help="samples of each (default 20)")
    parser.add_argument("--count", type=int, default=200, help="members of a sample (default 200)")
    parser.add_argument(
        "--members",
        type=int,
        default=0,
        help="of a ZIP that is previewed in a store (default: none is)",
    )


def run(options: argparse.Namespace) -> Report:
    with TemporaryDirectory() as temporary, open_photos(options.photos) as photos:
        kinds = _cropped(photos, Path(temporary))
        held = _coverage(kinds, options.archives, options.seeds, options.count)
        read = []
        if options.members:
            read = _in_store(Path(temporary), options.members, options.count, options.rounds)
    about = f"{options.archives} archives, {options.seeds} samples of {options.count} members each."
    return Report(about, {"held": held, "store": read})


def _cropped(photos: Sequence[Path], folder: Path) -> list[Tried]:
    """Each photograph, and members of other kinds, cropped once."""
    place = folder / "kinds"
    repeat(photos, place, len(photos))
    for number, photo in enumerate(photos[:: len(photos) // _CUT_SHORT or 1][:_CUT_SHORT]):
        data = photo.read_bytes()
        (place / f"cut-{number}{photo.suffix}").write_bytes(data[: len(data) // 3])
    for number in range(_TEXTS):
        (place / f"{number}.txt").write_text("Which photographs are ready?")
    archive = open_archive(f"{place}/", limits_of(_SETTINGS))
    sampled = Sampled.of(archive, archive.members or 0, 1)
    return each_member(
        sampled,
        0,
        lambda entry, chunk: crop_once(entry, chunk, _SETTINGS, pictured=False),
        lambda: None,
    )


def _mixed(members: list[int], chance: random.Random) -> list[int]:
    chance.shuffle(members)
    return members


def _sorted(members: list[int], _: random.Random) -> list[int]:
    return sorted(members)


def _stretches(members: list[int], chance: random.Random) -> list[int]:
    """Sorted, and then cut into pieces that change places."""
    length = max(1, len(members) // chance.randint(5, 60))
    ordered = sorted(members)
    pieces = [ordered[at : at + length] for at in range(0, len(ordered), length)]
    chance.shuffle(pieces)
    return [one for piece in pieces for one in piece]


def _rotation(members: list[int], chance: random.Random) -> list[int]:
    """The same few kinds again and again, as in bursts of three of each child."""
    few = chance.sample(members, min(len(members), chance.choice([3, 5, 10, 50])))
    return [few[place % len(few)] for place in range(len(members))]


_ORDERS: list[Order] = [_mixed, _sorted, _stretches, _rotation]


def _archive(kinds: Sequence[Tried], number: int) -> list[Tried]:
    """An archive of members of these kinds, another one for each number."""
    chance = random.Random(number)
    members = round(_LEAST * (_MOST / _LEAST) ** chance.random())
    liked = {status: chance.random() ** 2 for status in Status}
    liked[Status.FAILED] *= chance.choice([0.02, 0.1, 0.3])
    weights = [liked[kind.row.status] * chance.paretovariate(1.2) for kind in kinds]
    drawn = chance.choices(range(len(kinds)), weights, k=members)
    return [kinds[one] for one in _ORDERS[number % len(_ORDERS)](drawn, chance)]


def _figures(scale: Scale, tried: Sequence[Tried]) -> dict[str, Figure]:
    """Each figure of a sample, or of all members, in the way of `pipeline.preview.estimate`."""
    rows = [one.row for one in tried]
    counted = {
        status.value: scale.count(sum(row.status is status for row in rows)) for status in Status
    }
    return {
        "faces": scale.total(len(row.face_rows) for row in rows),
        **counted,
        "CPU": scale.total(one.ms for one in tried),
        "bytes of crops": scale.total(one.size for one in tried),
    }


def _coverage(kinds: Sequence[Tried], archives: int, seeds: int, count: int) -> list[Held]:
    found: dict[str, list[list[tuple[float, Figure]]]] = defaultdict(list)
    for number in range(archives):
        members = _archive(kinds, number)
        truths = _figures(Scale(len(members), len(members), of_beginning=False), members)
        for name in truths:
            found[name].append([])
        scale = Scale(min(count, len(members)), len(members), of_beginning=False)
        for seed in range(seeds):
            some = [members[index] for index in spread(len(members), count, seed)]
            for name, figure in _figures(scale, some).items():
                found[name][-1].append((truths[name].estimate, figure))
    return [_held(name, by_archive) for name, by_archive in found.items()]


def _held(name: str, by_archive: list[list[tuple[float, Figure]]]) -> Held:
    def share(some: list[tuple[float, Figure]], side: int) -> float:
        return sum(_side(truth, figure) == side for truth, figure in some) / len(some)

    every = [one for some in by_archive for one in some]
    widths = [
        ((figure.high or 0) - (figure.low or 0)) / 2 / truth for truth, figure in every if truth
    ]
    return Held(
        name,
        share(every, 0),
        share(every, -1),
        share(every, 1),
        min(share(some, 0) for some in by_archive),
        median(widths),
    )


def _side(truth: float, figure: Figure) -> int:
    """0 where the interval holds the truth, -1 where that is below it, 1 where it is above."""
    assert figure.low is not None
    assert figure.high is not None
    slack = 1e-9 * truth  # of the truth, too, is a sum of floats
    return (truth > figure.high + slack) - (truth < figure.low - slack)


def _in_store(folder: Path, members: int, count: int, rounds: int) -> list[Read]:
    path = folder / "million.zip"
    kinds = _small_members(folder)
    with path.open("wb") as file:
        for piece in stream_zip(_named(kinds, members)):
            file.write(piece)
    size = path.stat().st_size
    with seaweedfs(folder / "s3") as s3, patch.dict("os.environ", s3.environment):
        uri = f"s3://{s3.bucket}/million.zip"
        fsspec.filesystem("s3").put_file(str(path), uri.removeprefix("s3://"))
        path.unlink()
        read = []
        for seed in range(rounds):
            with _counted() as sizes:
                began = time.perf_counter()
                made = preview(uri, str(folder / "preview.html"), count=count, seed=seed)
                seconds = time.perf_counter() - began
            faces = members // len(kinds) * sum(face for _, face in kinds)
            told: Estimate = made.estimate
            assert told.faces.low is not None
            assert told.faces.high is not None
            figures = (
                seconds,
                len(sizes),
                sum(sizes) / 1e6,
                faces,
                told.faces.low,
                told.faces.high,
            )
            read.append(Read(members, size / 1e9, told.sampled, *figures))
        return read


def _small_members(folder: Path) -> list[tuple[bytes, int]]:
    """Small pictures, each with its number of faces."""
    face = folder / "face.jpg"
    write_astronaut(face, 128)
    grey = io.BytesIO()
    Image.new("RGB", (64, 64), (96, 104, 112)).save(grey, "JPEG")
    return [(face.read_bytes(), 1), (grey.getvalue(), 0), (grey.getvalue(), 0), (b"notes", 0)]


def _named(kinds: list[tuple[bytes, int]], members: int) -> Iterator[tuple[str, bytes]]:
    for number in range(members):
        data, _ = kinds[number % len(kinds)]
        suffix = "txt" if len(data) < 100 else "jpg"
        yield f"{number // 1000:04}/{number:07}.{suffix}", data


@contextmanager
def _counted() -> Iterator[list[int]]:
    """How many bytes each read of the archive asks for."""
    sizes: list[int] = []
    read = RangeReader.read

    def counting(reader: RangeReader, start: int, end: int) -> bytes:
        sizes.append(end - start)
        return read(reader, start, end)

    with patch.object(RangeReader, "read", counting):
        yield sizes
