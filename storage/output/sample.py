"""What a report needs of a finished batch: counts over all of it, and some of its rows.

Both tables are read once, a thousand rows at a time: a row may hold a very long name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.output.counts import Status
from storage.output.manifest import FAILED_COLUMNS, failed_rows

MOST_FACES = 10
"""Images with this many faces or more are counted together."""

FACE_SIZES = (0, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Where each bin of face sizes begins, in pixels; the last has no end."""

FACE_BINS: Mapping[str, list[float]] = {
    "sharpness": [place / 25 for place in range(25)],
    "yaw": [5.0 * place for place in range(18)],
    "score": [place / 20 for place in range(20)],
}
"""Where each bin begins of what else is counted of faces; the last has no end. Yaw has no sign."""

SPREADS = ("head_height", "eye_line")
"""Columns of `faces.parquet` whose spread over the batch is told."""

_FINENESS = 1000  # steps of a spread in 1
_MOST = 4  # beyond it, whatever it is, a share of a crop's height counts as that
_MEMBER_COLUMNS = (
    *("member", "path", "status", "error", "width", "height", "faces", "warnings"),
    "file",
)
_FACE_COLUMNS = (
    *("member", "x", "y", "w", "h", "score", "crop"),
    *("sharpness", "sharpness_scale", "yaw", "pitch", "kept_why", *SPREADS),
)
ROWS_AT_ONCE = 1024
BUFFER = 1 << 16  # bytes of a column at a time: without one, all of a row group is in memory
_IMAGES = pa.array([Status.CROPPED.value, Status.NO_FACE.value])


@dataclass(frozen=True, slots=True)
class Spread:
    """The 5th, 50th and 95th percentile of a column, to a thousandth."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a batch, and counts over all of them.

    Attributes:
        members: evenly spread over the batch; all of them where there are few.
        faces: evenly spread over those of `members`; all of them where there are few.
        member_faces: how many faces `members` have.
        failures: the first members that failed, with what `failed.csv` says of them.
        faces_per_image: how many images have 0, 1, … faces, and MOST_FACES or more.
        face_sizes: how many faces have a box whose shorter side lies in each bin of FACE_SIZES.
        face_values: how many have a value in each bin of FACE_BINS, by its name; those that have
            none are in no bin.
        spreads: of each of SPREADS that has any value.
    """

    members: list[dict[str, Any]]
    faces: list[dict[str, Any]]
    member_faces: int
    failures: list[dict[str, Any]]
    faces_per_image: list[int]
    face_sizes: list[int]
    face_values: dict[str, list[int]]
    spreads: dict[str, Spread]


@dataclass(frozen=True, slots=True)
class Throughput:
    """How many members were done when.

    Attributes:
        seconds: that each of `members` spans, the first from the batch's beginning on.
        members: done in each span, one after the other; none where that is not known.
    """

    seconds: float
    members: list[int]


def read_sample(
    manifest: IO[bytes],
    faces: IO[bytes],
    most_members: int,
    most_faces: int,
    most_failures: int,
) -> Sample:
    """Read the two tables of a finished batch.

    Args:
        manifest, faces: `manifest.parquet` and `faces.parquet`.
        most_members, most_faces, most_failures: bounds on the rows that are kept.
    """
    members: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    faces_per_image = np.zeros(MOST_FACES + 1, np.int64)
    table = pq.ParquetFile(manifest, buffer_size=BUFFER)
    wanted = _spread(most_members, table.metadata.num_rows)
    there = set(table.schema_arrow.names)  # an older Facecrop has written fewer
    member_columns = tuple(name for name in _MEMBER_COLUMNS if name in there)
    columns = list(dict.fromkeys((*member_columns, *FAILED_COLUMNS)))
    read = 0
    for rows in table.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False):
        members += _rows(rows, member_columns, _within(wanted, read, rows.num_rows))
        read += rows.num_rows
        if len(failures) < most_failures:
            failures += failed_rows(rows)[: most_failures - len(failures)]
        images = rows.filter(pc.is_in(rows["status"], value_set=_IMAGES))
        counts = np.minimum(images["faces"].to_numpy(), MOST_FACES)
        faces_per_image += np.bincount(counts, minlength=MOST_FACES + 1)

    member_faces = sum(row["faces"] for row in members)
    wanted_faces = _spread(most_faces, member_faces)
    indices = np.array([row["member"] for row in members], np.int64)
    found: list[dict[str, Any]] = []
    face_sizes = np.zeros(len(FACE_SIZES), np.int64)
    values = {name: np.zeros(len(bins), np.int64) for name, bins in FACE_BINS.items()}
    read = 0
    table = pq.ParquetFile(faces, buffer_size=BUFFER)
    there = set(table.schema_arrow.names)  # an older Facecrop has measured less
    face_columns = tuple(name for name in _FACE_COLUMNS if name in there)
    shares = {name: np.zeros(_MOST * _FINENESS + 1, np.int64) for name in SPREADS if name in there}
    for rows in table.iter_batches(ROWS_AT_ONCE, columns=face_columns, use_threads=False):
        face_sizes += _binned(np.minimum(rows["w"].to_numpy(), rows["h"].to_numpy()), FACE_SIZES)
        for name, counts in values.items():
            counts += _binned(_known(rows, name), FACE_BINS[name])
        for name, counted in shares.items():
            known = rows[name].drop_null().to_numpy()
            steps = np.rint(np.clip(known, 0, _MOST) * _FINENESS).astype(np.int64)
            counted += np.bincount(steps, minlength=len(counted))
        (theirs,) = np.nonzero(np.isin(rows["member"].to_numpy(), indices))
        found += _rows(rows, face_columns, theirs[_within(wanted_faces, read, len(theirs))])
        read += len(theirs)
    return Sample(
        members,
        found,
        member_faces,
        failures,
        faces_per_image.tolist(),
        face_sizes.tolist(),
        {name: counts.tolist() for name, counts in values.items()},
        {name: _spread_of(counted) for name, counted in shares.items() if counted.any()},
    )


def _known(rows: pa.RecordBatch, name: str) -> npt.NDArray[np.float32]:
    """The values of a column of FACE_BINS that are there, and mean what it means today."""
    if name not in rows.schema.names:
        return np.empty(0, np.float32)
    column = rows[name]
    if name == "sharpness":  # that of an older Facecrop has no scale, and is another measure
        if "sharpness_scale" not in rows.schema.names:
            return np.empty(0, np.float32)
        column = column.filter(rows["sharpness_scale"].is_valid())
    values: npt.NDArray[np.float32] = column.drop_null().to_numpy()
    return np.abs(values)


def _binned(values: npt.NDArray[np.float32], bins: Sequence[float]) -> npt.NDArray[np.int64]:
    places = np.searchsorted(bins, values, side="right") - 1
    return np.bincount(np.maximum(places, 0), minlength=len(bins))


def _spread_of(counted: npt.NDArray[np.int64]) -> Spread:
    """Of values that were counted by their thousandths; one at least."""
    up_to = np.cumsum(counted)
    places = np.searchsorted(up_to, np.array([0.05, 0.5, 0.95]) * up_to[-1])
    return Spread(*(places / _FINENESS).tolist())


def throughput(
    began: float, times: Mapping[int, float], rows: Mapping[int, int], most: int
) -> Throughput:
    """Count members over time.

    Args:
        began: when the batch was begun, in seconds since the epoch.
        times: when each chunk was committed, likewise, by its number.
        rows: members of some of these chunks; the others are taken to be like their neighbours.
        most: most spans of time; none is shorter than a second.
    """
    if not times:
        return Throughput(0.0, [])
    chunks = np.array(sorted(times), np.int64)
    when = np.array([times[chunk] for chunk in chunks])
    known = sorted(rows)
    members = np.interp(chunks, known, [rows[chunk] for chunk in known])
    began = min(began, float(when.min()))
    length = max(1.0, float(when.max()) - began)
    spans = min(most, math.ceil(length))
    done, _ = np.histogram(when, spans, (began, began + length), weights=members)
    return Throughput(length / spans, np.rint(done).astype(int).tolist())


def _spread(most: int, total: int) -> npt.NDArray[np.int64]:
    """At most so many of the numbers below `total`, evenly spread."""
    return np.arange(min(most, total), dtype=np.int64) * total // max(1, min(most, total))


def _within(numbers: npt.NDArray[np.int64], first: int, count: int) -> npt.NDArray[np.int64]:
    """Those of sorted numbers that are among `count` from `first` on, counted from there."""
    begin, end = np.searchsorted(numbers, (first, first + count))
    return numbers[begin:end] - first


def _rows(
    batch: pa.RecordBatch, columns: tuple[str, ...], numbers: npt.NDArray[np.int64]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = batch.select(list(columns)).take(pa.array(numbers)).to_pylist()
    return found
