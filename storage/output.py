"""A batch's output folder: whose it is, its crops, its parts, and its finished tables.

Nothing is ever seen half-written. Object stores show an object when its put is complete; on a
local disk each file is written under `.tmp`, synced and renamed. The crops of a chunk are on disk
before its part is, and a chunk counts as done when its part is there, so a run that is killed
anywhere leaves an output that the next run completes.
"""

from __future__ import annotations

import csv
import glob
import io
import itertools
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import OutputError, TransientError
from storage.location import FOREIGN, resolve, translate
from storage.manifest import (
    AccountingError,
    Totals,
    assemble,
    count,
    decode_part,
    failed_members,
    failed_rows,
    failures,
)
from storage.objects import Objects
from storage.sample import Sample, read_sample

BATCH = "batch.json"
PARTS = "parts"
PLAN = "plan"  # chunks of each shard, while a batch runs on a work pool
CROPS = "crops"
MANIFEST = "manifest.parquet"
FACES = "faces.parquet"
FAILED = "failed.csv"
REPORT = "report.html"
TABLES = (FACES, FAILED, MANIFEST)  # the manifest last: where it is, the batch is finished
_FOLDERS = (PARTS, CROPS, PLAN)

Existing = Literal["resume", "overwrite"]

_IDENTITY = ("format", "archive", "settings")
_CUT = "settings.chunk."
_STAGING = ".tmp"
_PARTS_AT_ONCE = 64
_CROPS_AT_ONCE = 64
_PIECE = 1 << 20  # bytes
_NONE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Claim:
    """An output that belongs to a batch.

    Attributes:
        record: what `batch.json` says: of the run that made it, not of one that resumes it.
        done: numbers of the chunks that are done.
    """

    record: dict[str, Any]
    done: set[int]


class Output:
    """One batch's folder or prefix. Thread-safe.

    Every method raises OutputError where the output cannot be used, TransientError where another
    try may help.
    """

    def __init__(self, uri: str) -> None:
        if uri.startswith(("http://", "https://")):
            raise OutputError(f"{uri} cannot be written to. Name a folder or an s3:// prefix.")
        self._location = resolve(uri)
        # fsspec takes these for patterns when it removes a folder, and would reach its neighbours
        if not self._location.is_local and glob.has_magic(self._location.path):
            raise OutputError(f"{uri} has one of * ? [ in it. Name an output without them.")
        self._fs = self._location.fs
        self._objects = Objects(self._fs)
        self.uri = self._location.path if self._location.is_local else uri.rstrip("/")

    def lies_in(self, folder: str) -> bool:
        """Whether this output is the folder or prefix, or below it."""
        place = resolve(folder)
        inside = f"{self._location.path}/".startswith(f"{place.path.rstrip('/')}/")
        return inside and type(place.fs) is type(self._fs)

    def claim(
        self, record: Mapping[str, Any], existing: Existing, defaults: Mapping[str, Any] = _NONE
    ) -> Claim:
        """Makes this output the batch's, or takes it up again.

        Args:
            record: becomes `batch.json`; its `format`, `archive` and `settings` say which it is,
                all but those of chunks.
            existing: whether to complete what is there already or to remove it first.
            defaults: settings that the record of an older Facecrop may lack, as it had no others.

        Raises:
            OutputError: the output belongs to another batch.
        """
        with self._errors("read"):
            there = self._read_json(BATCH)
            if there is None or existing == "overwrite":
                self._make_room(existing)
                self._put({BATCH: json.dumps(record, indent=2).encode()})
                return Claim(dict(record), set())
        settings = _filled(there.get("settings"), defaults)
        self._refuse_another({**there, "settings": settings}, record)
        return Claim(there, self.parts())

    def record(self) -> dict[str, Any]:
        """What `batch.json` says.

        Raises:
            OutputError: no batch was begun here.
        """
        with self._errors("read"):
            there = self._read_json(BATCH)
        if there is None:
            raise OutputError(f"{self.uri} holds no batch: it has no {BATCH}.")
        return there

    def put_plan(self, shard: int, data: bytes) -> None:
        """Writes the chunks of a shard, for whoever works on it."""
        with self._errors("write"):
            self._put({_plan_name(shard): data})

    def plan(self, shard: int) -> bytes:
        """Reads the chunks of a shard."""
        with self._errors("read"):
            return bytes(self._fs.cat_file(self._path(_plan_name(shard))))

    def put_crops(self, crops: Mapping[str, bytes]) -> None:
        """Writes crops, by path below the output; each is there whole or not at all."""
        with self._errors("write"):
            self._put(crops)

    def put_part(self, chunk: int, data: bytes) -> None:
        """Commits a chunk. All its crops must be written before."""
        with self._errors("write"):
            self._put({_part_name(chunk): data})

    def put_report(self, page: bytes) -> None:
        """Writes `report.html`."""
        with self._errors("write"):
            self._put({REPORT: page})

    def finish(self, members: int, chunks: int) -> Totals:
        """Writes the tables of a batch all of whose chunks are done.

        Args:
            members: how many the plan had, in how many `chunks`.

        Raises:
            AccountingError: the parts do not hold every member exactly once.
        """
        with self._errors("finish"), self._folder_to_fill() as folder:
            # a byte-order mark, or spreadsheets take UTF-8 for something older
            with (folder / FAILED).open("w", encoding="utf-8-sig", newline="") as failed:
                totals = assemble(
                    self._read_parts(range(chunks)),
                    members,
                    folder / MANIFEST,
                    folder / FACES,
                    failed,
                )
            self._publish({name: folder / name for name in TABLES})
            if self._fs.exists(self._path(PLAN)):
                self._fs.rm(self._path(PLAN), recursive=True)
        if self._location.is_local:  # what a run that was killed left in the making
            shutil.rmtree(self._path(_STAGING), ignore_errors=True)
        return totals

    def totals(self) -> Totals:
        """Counts of a finished batch, from its manifest."""
        with self._table(MANIFEST) as file:
            return count(file)

    def sample(self, members: int, faces: int, failures: int) -> Sample:
        """What a report needs of a finished batch, with at most so many rows of each kind."""
        with self._table(MANIFEST) as manifest, self._table(FACES) as face_rows:
            return read_sample(manifest, face_rows, members, faces, failures)

    def part(self, chunk: int) -> pa.Table:
        """The rows of a chunk that is done."""
        with self._errors("read"):
            [(_, part)] = self._read_parts([chunk])
            return part

    def failed_chunks(self) -> dict[int, int]:
        """The chunks of a finished batch in which members failed: how many did, by its number.

        Raises:
            OutputError: the batch is not finished.
        """
        with self._errors("read"):
            if not self._fs.exists(self._path(MANIFEST)):
                raise OutputError(f"{self.uri} holds no finished batch. Run the batch to its end.")
        done = sorted(self.parts())
        with self._errors("read"):
            parts = zip(done, self._read_parts(done), strict=True)
            failed = {number: len(failed_members(part)) for number, (_, part) in parts}
        return {number: count for number, count in failed.items() if count}

    def counts(self, chunks: Iterable[int]) -> Totals:
        """Counts of chunks that are done, from their parts."""
        totals = Totals()
        with self._errors("read"):
            for _, part in self._read_parts(chunks):
                totals.add_part(part)
        return totals

    def failed_rows(self) -> Iterator[dict[str, Any]]:
        """The members that failed, in their order: member, path, error and message of each.

        While the batch is not finished, those of the parts that are there so far.
        """
        with self._errors("read"):
            finished = self._fs.exists(self._path(MANIFEST))
        if finished:
            with self._table(MANIFEST) as file:
                yield from failures(file)
            return
        done = sorted(self.parts())
        with self._errors("read"):
            for _, part in self._read_parts(done):
                yield from failed_rows(part)

    def size(self, name: str) -> int | None:
        """Bytes of a file of the output, such as MANIFEST; None while there is none."""
        with self._errors("read"):
            try:
                return int(self._fs.info(self._path(name))["size"])
            except FileNotFoundError:
                return None

    def pieces(self, name: str) -> Generator[bytes]:
        """The content of a file of the output, some of it at a time."""
        with self._errors("read"), self._fs.open(self._path(name), "rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def crops(self) -> Iterator[tuple[str, bytes]]:
        """Every crop of a finished batch, by the path that `faces.parquet` has, in its order.

        Raises:
            OutputError: the batch is not finished, or a crop of it is gone.
        """
        with self._table(FACES) as file:
            batches = pq.ParquetFile(file).iter_batches(columns=["crop"])
            yield from self.read_crops(
                name for rows in batches for name in rows["crop"].to_pylist()
            )

    def read_crops(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Some crops of a batch, by their paths in `faces.parquet`, which are in its order.

        Raises:
            OutputError: a crop is gone.
        """
        packed = self.record()["settings"]["output"]["layout"] == "shards"
        with self._errors("read"):
            yield from self._unpack(names) if packed else self._read_crops(iter(names))

    def _read_crops(self, names: Iterator[str]) -> Iterator[tuple[str, bytes]]:
        while some := list(itertools.islice(names, _CROPS_AT_ONCE)):
            paths = [self._path(name) for name in some]
            found = self._objects.get(paths)
            for name, data in zip(some, found, strict=True):
                if isinstance(data, Exception):
                    raise data
                yield name, data

    def _unpack(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for shard, held in itertools.groupby(names, lambda name: name.rpartition("/")[0]):
            data = self._fs.cat_file(self._path(shard))
            with tarfile.open(fileobj=io.BytesIO(data)) as crops:
                for name in held:
                    crop = crops.extractfile(name.rpartition("/")[2])
                    assert crop is not None  # `pack` makes nothing but files
                    yield name, crop.read()

    def failures(self, most: int) -> list[dict[str, str]]:
        """The first rows of a finished batch's `failed.csv`."""
        with self._errors("read"), self._fs.open(self._path(FAILED), "rb") as file:
            rows = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""))
            return list(itertools.islice(rows, most))

    def _refuse_another(self, there: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        # how it was cut changes no row and no crop's content: a batch keeps the cut that it has
        differences = [
            f"{name}: {old!r} there, {new!r} now"
            for name, old, new in _differences(
                {key: there.get(key) for key in _IDENTITY},
                {key: record.get(key) for key in _IDENTITY},
            )
            if not name.startswith(_CUT)
        ]
        if differences:
            raise OutputError(
                f"{self.uri} holds another batch ({'; '.join(differences[:3])}). "
                "Name another output, or choose to overwrite it."
            )

    def _make_room(self, existing: Existing) -> None:
        names = (*_FOLDERS, *TABLES, REPORT)
        left = [name for name in names if self._fs.exists(self._path(name))]
        if left and existing != "overwrite":
            raise OutputError(
                f"{self.uri} holds {left[0]} of a batch but no {BATCH}. "
                "Name another output, or choose to overwrite it."
            )
        for name in left:
            self._fs.rm(self._path(name), recursive=name in _FOLDERS)

    def parts(self) -> set[int]:
        """Numbers of the chunks that are done."""
        return set(self._list_parts())

    def part_times(self) -> dict[int, float]:
        """When each chunk that is done was committed, in seconds since the epoch, by its number.

        Empty where the file system does not tell.
        """
        times = {number: _modified(file) for number, file in self._list_parts().items()}
        return {number: time for number, time in times.items() if time is not None}

    def part_sizes(self, chunks: Iterable[int]) -> list[int]:
        """How many members each of these chunks has, all of which are done."""
        with self._errors("read"):
            return [part.num_rows for _, part in self._read_parts(chunks)]

    def _list_parts(self) -> dict[int, dict[str, Any]]:
        with self._errors("list"):
            try:
                files = self._fs.ls(self._path(PARTS), detail=True)
            except FileNotFoundError:
                return {}
        stems = ((Path(file["name"]).stem, file) for file in files)
        return {int(stem): file for stem, file in stems if stem.isdigit()}

    def _read_parts(self, chunks: Iterable[int]) -> Iterator[tuple[str, pa.Table]]:
        numbers = iter(chunks)
        while some := list(itertools.islice(numbers, _PARTS_AT_ONCE)):
            names = [_part_name(number) for number in some]
            paths = [self._path(name) for name in names]
            found = self._objects.get(paths)
            for name, data in zip(names, found, strict=True):
                if isinstance(data, FileNotFoundError):
                    raise AccountingError(f"{self.uri}/{name} is missing. Run it again.") from data
                if isinstance(data, Exception):
                    raise data
                yield name, decode_part(name, data)

    @contextmanager
    def _table(self, name: str) -> Iterator[Any]:
        """One of the finished tables, open.

        Raises:
            TransientError: an object store's answer was no piece of such a file.
        """
        with self._errors("read"), self._fs.open(self._path(name), "rb") as file:
            try:
                yield file
            except (pa.ArrowException, OSError) as error:
                of_storage = isinstance(error, OSError) and (error.errno or error.__cause__)
                if of_storage or self._location.is_local:
                    raise
                raise TransientError(f"cannot read {self.uri}/{name}: {error}") from error

    def _read_json(self, name: str) -> dict[str, Any] | None:
        try:
            data = self._fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        try:
            return dict(json.loads(data))
        except ValueError as error:
            raise OutputError(
                f"{self.uri}/{name} is damaged. Name another output, or choose to overwrite it."
            ) from error

    def _put(self, files: Mapping[str, bytes]) -> None:
        if self._location.is_local:
            with self._folder_to_fill() as folder:
                staged = {name: folder / str(number) for number, name in enumerate(files)}
                for name, file in staged.items():
                    file.write_bytes(files[name])
                self._publish(staged)
        else:
            self._objects.put({self._path(name): data for name, data in files.items()})

    def _publish(self, files: Mapping[str, Path]) -> None:
        """Moves complete local files to their places, or uploads them, in their order.

        The disk is asked for all of them before the first is moved, which it does faster so.
        """
        if not self._location.is_local:
            for name, file in files.items():
                self._fs.put_file(str(file), self._path(name))
            return
        for file in files.values():
            opened = os.open(file, os.O_RDWR)  # Windows syncs no file that is open to read alone
            try:
                os.fsync(opened)
            finally:
                os.close(opened)
        places = {name: self._path(name) for name in files}
        for parent in {place.rpartition("/")[0] for place in places.values()}:
            Path(parent).mkdir(parents=True, exist_ok=True)
        for name, file in files.items():
            file.replace(places[name])

    @contextmanager
    def _folder_to_fill(self) -> Iterator[Path]:
        """A folder of one's own for files in the making, on the output's disk where it has one."""
        parent = Path(self._path(_STAGING)) if self._location.is_local else None
        if parent:
            parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as folder:
            yield Path(folder)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FOREIGN as error:
            raise translate(error, self.uri, doing, permanent=OutputError) from error

    def _path(self, name: str) -> str:
        return f"{self._location.path}/{name}"


def shard_name(chunk: int) -> str:
    """The TAR below `crops/` that holds a chunk's crops, where they are packed."""
    return f"{chunk:08d}.tar"


def _plan_name(shard: int) -> str:
    return f"{PLAN}/{shard:06d}.parquet"


def _part_name(chunk: int) -> str:
    return f"{PARTS}/{chunk:08d}.parquet"


def _modified(file: Mapping[str, Any]) -> float | None:
    """When a file was written, by its fsspec info."""
    for key in ("mtime", "LastModified", "last_modified", "created"):
        match file.get(key):
            case datetime() as moment:
                return moment.timestamp()
            case float() | int() as seconds:
                return seconds
    return None


def _filled(there: Any, defaults: Any) -> Any:
    """A nested record, with what it lacks."""
    if not isinstance(there, dict) or not isinstance(defaults, Mapping):
        return there
    known = {key: _filled(value, defaults.get(key)) for key, value in there.items()}
    return {**defaults, **known}


def _differences(there: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each leaf in which two nested records differ."""
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted(there.keys() | now.keys()):
            yield from _differences(there.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif there != now:
        yield name, there, now
