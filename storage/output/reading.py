"""What a batch's output holds, read back: its record, parts, counts, tables and crops."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import OutputError, TransientError
from storage.fs.fingerprint import written_at
from storage.output.changes import count_changes
from storage.output.claim import claim_there, read_record
from storage.output.counts import Counts, count
from storage.output.finding import FACE_COLUMNS, Wanted, find_in_part, find_rows, rows_of
from storage.output.folder import Folder
from storage.output.layout import (
    BATCH,
    CHANGES,
    FACES,
    FAILED,
    MANIFEST,
    REPORT,
    SUMMARY,
    UNMATCHED_LIST,
)
from storage.output.layouts import is_blurred, layout_of
from storage.output.lots import extended_at
from storage.output.manifest import failed_members, failed_rows, failures, read_duplicates
from storage.output.parts import list_parts, read_parts
from storage.output.people import read_unmatched
from storage.output.sample import BUFFER, ROWS_AT_ONCE, Sample, read_sample
from storage.output.summary import decode_notes, decode_summary

_PIECE = 1 << 20  # bytes


class OutputReader:
    """One batch's folder or prefix, to be read. Thread-safe.

    Every method raises OutputError where the output cannot be used, TransientError where another
    try may help.
    """

    def __init__(self, uri: str) -> None:
        self._folder = Folder(uri)
        self._fs = self._folder.fs
        self._path = self._folder.path
        self.uri = self._folder.uri

    def lies_in(self, folder: str) -> bool:
        """Whether this output is the folder or prefix, or below it, however both are spelled."""
        return self._folder.lies_in(folder)

    def record(self) -> dict[str, Any]:
        """What `batch.json` says.

        Raises:
            OutputError: no batch was begun here.
        """
        return read_record(self._folder)

    def _claim_there(self) -> str:
        """The id that parts carry, by `batch.json`; "" where none says so."""
        return claim_there(self._folder)

    def parts(self) -> set[int]:
        """Numbers of the chunks that are done."""
        return set(list_parts(self._folder, self._claim_there()))

    def part_times(self) -> dict[int, float]:
        """When each chunk that is done was committed, in seconds since the epoch, by its number.

        Empty where the file system does not tell.
        """
        times = list_parts(self._folder, self._claim_there())
        return {number: time for number, time in times.items() if time is not None}

    def extended_at(self) -> float | None:
        """When the batch was last extended, in seconds since 1970; None where it never was."""
        with self._folder.errors("read"):
            return extended_at(self._folder, self._claim_there())

    def part_sizes(self, chunks: Iterable[int]) -> list[int]:
        """How many members each of these chunks has, all of which are done."""
        with self._folder.errors("read"):
            return [part.num_rows for part in self._read_parts(chunks)]

    def part(self, chunk: int) -> pa.Table:
        """The rows of a chunk that is done."""
        with self._folder.errors("read"):
            [part] = self._read_parts([chunk])
            return part

    def counts(self, chunks: Iterable[int]) -> Counts:
        """Counts of chunks that are done, from their parts."""
        totals = Counts()
        with self._folder.errors("read"):
            for part in self._read_parts(chunks):
                totals.add_part(part)
        return totals

    def totals(self) -> Counts:
        """Counts of a finished batch; from its manifest, where an older Facecrop finished it."""
        size = self.size(MANIFEST)
        if size is not None:
            with self._folder.errors("read"):
                data = self._folder.read(SUMMARY)
            if data is not None and (totals := decode_summary(data, size)) is not None:
                return totals
        with self._table(MANIFEST) as manifest, self._table(FACES) as faces:
            return count(manifest, faces)

    def is_begun(self) -> bool:
        """Whether a batch was begun here."""
        with self._folder.errors("read"):
            return self._folder.exists(BATCH)

    def finished(self) -> Counts | None:
        """The counts of its tables, None where it has none: it was not finished so far.

        Of a batch that was extended since they are those of before.
        """
        return self.totals() if self._is_finished() else None

    def is_reported(self) -> bool:
        """Whether its report is not older than its tables, by the storage's clock."""
        with self._folder.errors("read"):
            try:
                infos = [self._fs.info(self._path(name)) for name in (MANIFEST, REPORT)]
            except FileNotFoundError:
                return False
        table, report = map(written_at, infos)
        return None not in (table, report) and (report or 0) >= (table or 0)

    def changes(self) -> Counter[str]:
        """How many of its files were gone or other ones when it was last extended."""
        with self._folder.errors("read"):
            data = self._folder.read(CHANGES)
        return Counter() if data is None else count_changes(data)

    def paths(self) -> Iterator[tuple[str, int]]:
        """Path and bytes of every member of a finished batch."""
        with self._table(MANIFEST) as file:
            for rows in pq.ParquetFile(file).iter_batches(columns=["path", "bytes"]):
                yield from zip(rows["path"].to_pylist(), rows["bytes"].to_pylist(), strict=True)

    def notes(self) -> list[str]:
        """What a person should know of the archive, a line each; nothing before it is finished."""
        with self._folder.errors("read"):
            data = self._folder.read(SUMMARY)
        return [] if data is None else decode_notes(data)

    def sample(self, members: int, faces: int, failures: int) -> Sample:
        """What a report needs of a finished batch, with at most so many rows of each kind."""
        with self._table(MANIFEST) as manifest, self._table(FACES) as face_rows:
            return read_sample(manifest, face_rows, members, faces, failures)

    def require_finished(self) -> None:
        """Raise OutputError unless the batch is finished."""
        if not self._is_finished():
            raise OutputError(f"{self.uri} holds no finished batch. Run the batch to its end.")

    def failed_chunks(self) -> dict[int, int]:
        """The chunks of a finished batch in which members failed: how many did, by its number.

        Raises:
            OutputError: the batch is not finished.
        """
        self.require_finished()
        done = sorted(self.parts())
        with self._folder.errors("read"):
            parts = zip(done, self._read_parts(done), strict=True)
            failed = {number: len(failed_members(part)) for number, part in parts}
        return {number: count for number, count in failed.items() if count}

    def failed_rows(self) -> Iterator[dict[str, Any]]:
        """The members that failed, in their order: member, path, error and message of each.

        While the batch is not finished, those of the parts that are there so far.
        """
        if self._is_finished():
            with self._table(MANIFEST) as file:
                yield from failures(file)
            return
        done = sorted(self.parts())
        with self._folder.errors("read"):
            for part in self._read_parts(done):
                yield from failed_rows(part)

    def face_rows(self) -> Iterator[dict[str, Any]]:
        """The faces of a finished batch, in their order: the row of each in `faces.parquet`."""
        with self._table(FACES) as file:
            table = pq.ParquetFile(file, buffer_size=BUFFER)
            for rows in table.iter_batches(ROWS_AT_ONCE, use_threads=False):
                yield from rows.to_pylist()

    def find(self, wanted: Wanted) -> list[dict[str, Any]]:
        """What became of a photograph: ROW_COLUMNS of each of its rows, with its `faces`.

        While the batch is not finished, by the parts that are there so far.
        """
        if not self._is_finished():
            with self._folder.errors("read"):
                parts = self._read_parts(sorted(self.parts()))
                return [row for part in parts for row in find_in_part(part, wanted)]
        with self._table(MANIFEST) as manifest:
            found = {row["member"]: row | {"faces": []} for row in find_rows(manifest, wanted)}
        if found:
            with self._table(FACES) as table:
                for member, face in rows_of(table, found, FACE_COLUMNS):
                    found[member]["faces"].append(face)
        return list(found.values())

    def rows_of(
        self, members: Collection[int], columns: Sequence[str], *, faces: bool = False
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """See `finding.rows_of`, of a finished batch.

        Args:
            members, columns: as there.
            faces: whether the rows of `faces.parquet` are meant, not those of the manifest.
        """
        with self._table(FACES if faces else MANIFEST) as table:
            yield from rows_of(table, members, columns)

    def failures(self, most: int) -> list[dict[str, str]]:
        """The first rows of a finished batch's `failed.csv`."""
        with self._folder.errors("read"), self._fs.open(self._path(FAILED), "rb") as file:
            rows = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""))
            return list(itertools.islice(rows, most))

    def duplicates(self, most: int) -> list[tuple[str, str]]:
        """The first photographs of a finished batch that come again: each path, and the first's."""
        with self._table(MANIFEST) as file:
            return read_duplicates(file, most)

    def unmatched(self, most: int) -> tuple[list[str], list[list[str]]] | None:
        """The first of a finished batch's `unmatched.csv`; None where it has no roster.

        Returns:
            Paths of photographs of nobody, and the cells of people without a photograph.
        """
        if self.size(UNMATCHED_LIST) is None:
            return None
        with self._folder.errors("read"), self._fs.open(self._path(UNMATCHED_LIST), "rb") as file:
            return read_unmatched(io.TextIOWrapper(file, "utf-8-sig", newline=""), most)

    def size(self, name: str) -> int | None:
        """Bytes of a file of the output, such as MANIFEST; None while there is none."""
        with self._folder.errors("read"):
            try:
                return int(self._fs.info(self._path(name))["size"])
            except FileNotFoundError:
                return None

    def pieces(self, name: str) -> Generator[bytes]:
        """The content of a file of the output, some of it at a time."""
        with self._folder.errors("read"), self._fs.open(self._path(name), "rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def crops(self) -> Iterator[tuple[str, bytes]]:
        """Every crop of a finished batch, by the path that `faces.parquet` has, in its order.

        Of blurred photographs those, by the path that `manifest.parquet` has.

        Raises:
            OutputError: the batch is not finished, or a crop of it is gone.
        """
        name, column = (MANIFEST, "file") if self.is_blurred else (FACES, "crop")
        with self._table(name) as file:
            batches = pq.ParquetFile(file).iter_batches(columns=[column])
            paths = (path for rows in batches for path in rows[column].to_pylist())
            yield from self.read_crops(path for path in paths if path is not None)

    @property
    def is_blurred(self) -> bool:
        """Whether it has photographs with their faces covered, and no crops."""
        return is_blurred(self.record())

    def read_crops(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Some crops of a batch, by their paths in `faces.parquet`, which are in its order.

        Or some of its photographs, by their paths in `manifest.parquet`.

        Raises:
            OutputError: a crop is gone.
        """
        layout = layout_of(self.record())
        with self._folder.errors("read"):
            try:
                yield from layout.read(self._folder, iter(names))
            except FileNotFoundError as error:
                raise OutputError(
                    f"{self.uri} has lost {error.filename or error}; put it back, or make all of "
                    "the batch again with --run-existing overwrite"
                ) from error

    def _is_finished(self) -> bool:
        with self._folder.errors("read"):
            return bool(self._fs.exists(self._path(MANIFEST)))

    def _read_parts(self, chunks: Iterable[int]) -> Iterator[pa.Table]:
        return (part for _, part in read_parts(self._folder, self._claim_there(), chunks))

    @contextmanager
    def _table(self, name: str) -> Iterator[Any]:
        """One of the finished tables, open.

        Raises:
            TransientError: an object store's answer was no piece of such a file.
        """
        with self._folder.errors("read"), self._fs.open(self._path(name), "rb") as file:
            try:
                yield file
            except (pa.ArrowException, OSError) as error:
                of_storage = isinstance(error, OSError) and (error.errno or error.__cause__)
                if of_storage or self._folder.is_local:
                    raise
                raise TransientError(f"cannot read {self.uri}/{name}: {error}") from error
