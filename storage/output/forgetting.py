"""Photographs removed from a finished batch's output, so that nothing of them is left in it.

`batch.json` says first that they are not to come back: from then on no run writes what it knows of
them, and whoever begins one is told to end this. Then their crops go, then their rows in the parts,
by which crops are found, and last the tables, which are made of the parts. So it can be cut off
anywhere, and done again from the beginning.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.errors import OutputError, SkipReason, TransientError
from storage.output import claim
from storage.output.changes import without_members
from storage.output.counts import Status
from storage.output.layout import (
    BATCH,
    CHANGES,
    FACES,
    FAILED,
    MANIFEST,
    PLAN,
    RECEIPTS,
    REPORT,
    SKIPPED,
    SUMMARY,
    UNMATCHED_LIST,
    lot_name,
    part_name,
)
from storage.output.layouts import layout_of
from storage.output.lots import encode_lot
from storage.output.manifest import MemberRow, decode_part, replace_rows
from storage.output.output import Output
from storage.output.parts import is_under
from storage.output.people import KeptPeople
from storage.output.tombs import FORGETTING, FORGOTTEN, Tombs, marked, path_hash

_REWRITTEN = (MANIFEST, FACES, FAILED, SKIPPED, CHANGES, UNMATCHED_LIST, SUMMARY, REPORT)


@dataclass(slots=True)
class Removed:
    """What went, for the receipt: nothing of it says who was on a photograph.

    Attributes:
        files: how many were removed, by the folder that they lay in.
        contents: hashes of those files, and of crops taken out of files with others.
        rows: how many went, by the table; a blank one stays in the manifest.
        rewritten: hashes of files before and after, by name.
    """

    files: Counter[str] = field(default_factory=Counter)
    contents: list[str] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    rewritten: dict[str, list[str | None]] = field(default_factory=dict)


class ForgettingOutput(Output):
    """The output of a batch out of which photographs are taken."""

    def open(self) -> dict[str, Any]:
        """Take part in the batch, also in one where this was begun and cut off.

        Raises:
            OutputError: it is not finished, or a run is at work on it.
        """
        record = self.record()
        claim.refuse_another_version(self._folder, record)
        self._take(record)
        if FORGETTING not in record and self._is_at_work():
            raise OutputError(
                f"{self.uri} is not finished, or a run is at work on it. Run the batch, its "
                "extension or its retry to the end first."
            )
        return record

    def _is_at_work(self) -> bool:
        finished = self.finished()
        if finished is None:
            return True
        lots = self.lots()
        if lots and lots[-1].last != finished.members:
            return True
        names = (str(file["name"]).rpartition("/")[2] for file in self._folder.list(PLAN))
        return any(is_under(self.claimed, name) for name in names)

    def bury(self, tombs: Iterable[Mapping[str, Any]]) -> None:
        """Say that photographs are not to come back; what other runs are writing ends."""
        with self._folder.errors("write"), self._folder.alone():
            record = self.record()
            self._check()
            # in the first format, the claim of the parts follows from its number
            version = {} if record.get("format", 1) == 1 else {"format": claim.FORMATS[-1]}
            entries = [*record.get(FORGOTTEN, []), *map(dict, tombs)]
            self._put_record({**record, **version, FORGOTTEN: entries, FORGETTING: True})
            self._folder.evict("")

    def remove_forgotten(self) -> Removed:
        """Remove all that is left of what `batch.json` says is not to come back."""
        removed = Removed()
        parts = sorted(self.parts())
        with self._folder.errors("write"):
            for chunk, members in self._chunks_of(self.tombs, parts).items():
                self._clear(chunk, members, removed)
            self._scrub_lists(removed)
        self._rewrite_tables(len(parts), removed)
        return removed

    def end(self, receipt: Mapping[str, Any]) -> None:
        """Write the receipt, and let runs begin again.

        Raises:
            TransientError: a run that had not ended has written meanwhile.
        """
        with self._folder.errors("write"), self._folder.alone():
            if self._chunks_of(self.tombs, sorted(self.parts())):
                raise TransientError(f"A run wrote to {self.uri} meanwhile; forget it once more")
            before = json.loads(self._folder.read(RECEIPTS) or b"[]")
            self._put({RECEIPTS: json.dumps([*before, receipt], indent=2).encode()})
            record = self.record()
            self._put_record({key: record[key] for key in record if key != FORGETTING})

    def digests(self) -> dict[str, str | None]:
        """Hashes of the tables, lists and the page, by name; None for what is not there."""
        return {name: self._digest(name) for name in _REWRITTEN}

    def _put_record(self, record: dict[str, Any]) -> None:
        self._put({BATCH: json.dumps(record, indent=2).encode()})
        self._take(self.record())
        if record.get(FORGOTTEN) != self._forgotten:
            raise TransientError(f"{self.uri} is being changed by another command; try it again")

    def _digest(self, name: str) -> str | None:
        with self._folder.errors("read"):
            if not self._folder.exists(name):
                return None
            digest = hashlib.sha256()
            for piece in self.pieces(name):
                digest.update(piece)
        return digest.hexdigest()

    def _chunks_of(self, tombs: Tombs, parts: list[int]) -> dict[int, list[int]]:
        """The members whose rows still say something, by chunk."""
        found: dict[int, list[int]] = {}
        for member in sorted(tombs.members):
            chunk = self._chunk_of(member, parts)
            if chunk is not None and _is_left(self._read_part(chunk), member):
                found.setdefault(chunk, []).append(member)
        return found

    def _chunk_of(self, member: int, parts: list[int]) -> int | None:
        """The chunk of a member: parts are in the order of members."""
        low, high = 0, len(parts)
        while low < high:
            middle = (low + high) // 2
            held = self._read_part(parts[middle])["member"].to_pylist()
            if member < held[0]:
                high = middle
            elif member > held[-1]:
                low = middle + 1
            else:
                return parts[middle]
        return None

    def _read_part(self, chunk: int) -> pa.Table:
        name = part_name(chunk, self.claimed)
        return decode_part(name, self._folder.read(name) or b"", self.claimed)

    def _clear(self, chunk: int, members: list[int], removed: Removed) -> None:
        """Remove the crops and photographs of some members, then their rows from the part."""
        part = self._read_part(chunk)
        rows = [row for row in part.to_pylist() if row["member"] in members]
        layout = layout_of(self.record())
        files, packs = [], dict[str, None]()
        for row in rows:
            crops = [face["crop"] for face in row["face_rows"] or () if face["crop"]]
            if layout.data_files:
                packs |= dict.fromkeys(crop.rpartition("/")[0] for crop in crops)
            else:
                files += crops
            files += [row["file"]] if row["file"] else []
            removed.rows["parts"] += 1
        for pack in packs:
            data = self._folder.read(pack)
            left = None if data is None else layout.without(data, members)
            if left is not None:
                self._rewrite(pack, left, removed)
            elif data is not None:
                files.append(pack)
        for name in files:
            data = self._folder.read(name)
            if data is not None:
                removed.files[name.partition("/")[0]] += 1
                removed.contents.append(hashlib.sha256(data).hexdigest())
        self._check()
        self._folder.remove(files)
        blank = [blank_row(member) for member in members]
        self._rewrite(
            part_name(chunk, self.claimed), replace_rows(part, blank, self.claimed), removed
        )

    def _scrub_lists(self, removed: Removed) -> None:
        """Take the paths out of the lots, and their rows out of the list of changes."""
        for number, lot in enumerate(self.lots()):
            paths, member = list(lot.files.paths), lot.first
            for place, count in enumerate(lot.files.members):
                # an archive that was opened stands for all of its members
                if member in self.tombs.members and path_hash(paths[place]) in self.tombs.paths:
                    paths[place] = marked(paths[place])
                member += count
            if paths != list(lot.files.paths):
                data = encode_lot(replace(lot, files=replace(lot.files, paths=paths)))
                self._rewrite(lot_name(number, self.claimed), data, removed)
        changes = self._folder.read(CHANGES)
        if changes is not None:
            left, count = without_members(changes, self.tombs.members)
            removed.rows[CHANGES] += count
            if count:
                self._put({CHANGES: left})

    def _rewrite(self, name: str, data: bytes, removed: Removed) -> None:
        before = self._digest(name)
        self._put({name: data})
        removed.rewritten[name] = [before, hashlib.sha256(data).hexdigest()]

    def _rewrite_tables(self, chunks: int, removed: Removed) -> None:
        """Make the tables of the parts anew; what a roster gave stays as it is."""
        before = self.totals()
        notes = self.notes()
        with self._folder.errors("read"):
            unmatched = self._folder.read(UNMATCHED_LIST)
        with self._table(MANIFEST) as file:
            table = pq.ParquetFile(file)
            old = None if unmatched is None else unmatched.decode("utf-8-sig")
            for path in _paths_of(table, self.tombs.members):  # where an archive breaks, for one
                notes = [line.replace(path, "(forgotten)") for line in notes]
            join = old and partial(KeptPeople, table, before, self.tombs.members, old)
            after = self._finish(before.members, chunks, notes, join or None)
        removed.rows[FACES] += before.faces - after.faces
        removed.rows[FAILED] += before.failed - after.failed


def blank_row(member: int) -> MemberRow:
    """The row of a member that was forgotten: that it was there is all that it says."""
    return MemberRow(member, "", Status.SKIPPED, 0, error=SkipReason.FORGOTTEN.value)


def _paths_of(manifest: pq.ParquetFile, members: Collection[int]) -> list[str]:
    """The paths of some members, where they are still told."""
    rows = manifest.read(columns=["member", "path"])
    some = rows.filter(pc.is_in(rows["member"], pa.array(sorted(members), pa.int64())))
    return [path for path in some["path"].to_pylist() if path]


def _is_left(part: pa.Table, member: int) -> bool:
    place = member - part["member"][0].as_py()
    return bool(part["error"][place].as_py() != SkipReason.FORGOTTEN)
