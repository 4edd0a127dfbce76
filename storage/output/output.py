"""A batch's output as those have it who work on the batch: claimed, written to, finished.

The crops of a chunk are written before its part is, and a chunk counts as done when its part is
there, so a run that is killed anywhere leaves an output that the next run completes. The output is
one batch's, by the id in `batch.json`; parts are named by it, and who finds another there stops.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from storage.errors import OutputError
from storage.output import claim
from storage.output.card import card
from storage.output.changes import Change, Changed, encode_changes
from storage.output.claim import Existing
from storage.output.counts import Counts
from storage.output.layout import (
    CARD,
    CHANGES,
    FACES,
    FAILED,
    MANIFEST,
    PLAN,
    REPORT,
    SKIPPED,
    SUMMARY,
    TABLES,
    UNMATCHED_LIST,
    copies_name,
    list_name,
    lot_name,
    part_name,
    plan_name,
)
from storage.output.layouts import layout_of
from storage.output.lots import Lot, count_lots, encode_lot, read_lots
from storage.output.manifest import assemble
from storage.output.parts import is_under, read_parts
from storage.output.people import Joined, People
from storage.output.pictures import ABOUT_FIELDS
from storage.output.reading import OutputReader
from storage.output.summary import encode_summary
from storage.output.tombs import FORGOTTEN, Tombs, marked, path_hash
from storage.output.written import in_the_way, is_anothers, refuse_in_the_way
from storage.roster import Roster

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


class Output(OutputReader):
    """One batch's folder or prefix. Thread-safe.

    Every method raises OutputError where the output cannot be used, TransientError where another
    try may help.
    """

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self._claim: str | None = None
        self._owner: object = None
        self._forgotten: object = None
        self.tombs = Tombs.of({})
        self._kept: frozenset[str] = frozenset()
        self._lots: int | None = None

    def claim(
        self,
        record: Mapping[str, Any],
        existing: Existing,
        defaults: Mapping[str, Any] = _NONE,
        sources: Callable[[], Iterable[str]] = tuple,
    ) -> Claim:
        """Make this output the batch's, or resume it. One batch alone is granted it.

        Args:
            record: becomes `batch.json`; its `archive` and `settings` say which it is, all but
                those of chunks; `id` is the claim's, and `run` whose it is.
            existing: whether to complete what is there already, also where the archive has grown
                since, or to remove first what Facecrop wrote there: never anything else, and
                nothing at all without a `batch.json`.
            defaults: settings that the record of an older Facecrop may lack, as it had no others.
            sources: gives the paths and URIs that the batch reads; asked before anything is
                removed, which must not be one of them.

        Raises:
            OutputError: the output is another batch's, or holds what nobody knows whose it is.
        """
        there = claim.claim(self._folder, record, existing, defaults, sources)
        self._take(there)
        return Claim(there, self.parts())

    def join(self) -> dict[str, Any]:
        """Take part in the batch that is here; give what `batch.json` says.

        Raises:
            OutputError: no batch was begun here, or by a version that this one does not know.
        """
        record = self.record()
        claim.refuse_another_version(self._folder, record)
        claim.refuse_half_forgotten(self._folder, record)
        self._take(record)
        return record

    @property
    def claimed(self) -> str:
        """The id that parts of this batch carry; "" in the first format.

        Raises:
            OutputError: the output was not claimed, and holds no batch to join.
        """
        if self._claim is None:
            self.join()
        assert self._claim is not None
        return self._claim

    def remove(self) -> list[str]:
        """Remove what Facecrop wrote here, and nothing else; the folder too, if it is empty then.

        Returns:
            What others have put into the batch's folders, some of it at least.

        Raises:
            OutputError: there is no batch of Facecrop's; nothing was removed.
        """
        return claim.remove(self._folder)

    def lots(self) -> list[Lot]:
        """What the batch was made of, where it can be extended: see `storage.output.lots`."""
        with self._folder.errors("read"):
            found = read_lots(self._folder, self.claimed)
        self._lots = len(found)
        return found

    def count_lots(self) -> int:
        """How many of them there are."""
        with self._folder.errors("read"):
            self._lots = count_lots(self._folder, self.claimed)
        return self._lots

    def add_lot(self, number: int, lot: Lot) -> bool:
        """Extend the batch; False where another run has just done so, and nothing was written.

        The first lot is another matter: each run would write the same one.
        """
        name, data = lot_name(number, self.claimed), encode_lot(self._without_forgotten(lot))
        if number:
            with self._folder.errors("write"):
                self._check()
                if not self._folder.create(name, data):
                    return False
        else:
            self._put({name: data})
        self._lots = number + 1
        return True

    def _without_forgotten(self, lot: Lot) -> Lot:
        """The lot, with what stands for the paths of files that are not to come back."""
        if not self.tombs.paths:
            return lot
        paths = [
            marked(path) if path_hash(path) in self.tombs.paths else path
            for path in lot.files.paths
        ]
        return replace(lot, files=replace(lot.files, paths=paths))

    def put_changes(self, changes: Sequence[Changed]) -> None:
        """Write what became of the batch's files at their source; nothing where nothing did."""
        with self._folder.errors("write"):
            refuse_in_the_way(self._folder, (CHANGES,))
            if changes:
                self._put({CHANGES: encode_changes(changes)})
            elif self._folder.exists(CHANGES):
                self._check()
                self._folder.remove([CHANGES])

    def put_plan(self, shard: int, data: bytes) -> None:
        """Write the chunks of a shard, for whoever works on it."""
        self._put({plan_name(shard, self.claimed): data})

    def plan(self, shard: int) -> bytes:
        """Read the chunks of a shard."""
        with self._folder.errors("read"):
            return bytes(self._fs.cat_file(self._path(plan_name(shard, self.claimed))))

    def put_copies(self, data: bytes) -> None:
        """Write which members come twice, for whoever goes on with the batch."""
        self._put({copies_name(self.claimed): data})

    def copies(self) -> bytes | None:
        """Read which members come twice; None where nobody has looked yet."""
        with self._folder.errors("read"):
            return self._folder.read(copies_name(self.claimed))

    def put_crops(self, chunk: int, crops: Mapping[str, bytes], *, adding: bool = False) -> None:
        """Write a chunk's crops, by path below the output; each is there whole or not at all.

        Their names are written down before: a run may be killed before the part names them, and
        what is not known to be Facecrop's is never removed.

        Args:
            chunk: its number.
            crops: the files, also of photographs.
            adding: whether more of the chunk may have been written, whose names stay written down.
        """
        if not crops:
            return
        if foreign := sorted(self._kept & crops.keys()):
            raise in_the_way(self._folder, foreign[0])
        if self.claimed:
            listed = list_name(chunk, self.claimed)
            names = {*crops, *(self._listed(listed) if adding else ())}
            self._put({listed: json.dumps(sorted(names)).encode()})
        self._put(crops)

    def _listed(self, name: str) -> list[str]:
        with self._folder.errors("read"):
            found: list[str] = json.loads(self._folder.read(name) or b"[]")
        return found

    def put_part(self, chunk: int, data: bytes) -> None:
        """Commit a chunk. All its crops must be written before.

        Raises:
            OutputError: the output has become another batch's.
        """
        self._put({part_name(chunk, self.claimed): data})

    def put_report(self, page: bytes) -> None:
        """Write `report.html`."""
        with self._folder.errors("read"):
            refuse_in_the_way(self._folder, (REPORT,))
        self._put({REPORT: page})

    def finish(
        self,
        members: int,
        chunks: int,
        notes: Sequence[str] = (),
        roster: Roster | None = None,
    ) -> Counts:
        """Write the tables of a batch all of whose chunks are done.

        Args:
            members: how many the plan had, in how many `chunks`.
            notes: what a person should know of the archive, a line each.
            roster: whose columns are joined to the tables.

        Raises:
            AccountingError: the parts do not hold every member exactly once.
            OutputError: the batch was extended meanwhile, and the tables are another run's.
        """
        join = None if roster is None else partial(People, roster)
        return self._finish(members, chunks, notes, join)

    def _finish(
        self,
        members: int,
        chunks: int,
        notes: Sequence[str],
        join: Callable[[IO[str]], Joined] | None,
    ) -> Counts:
        """See `finish`; `join` is given the file for those who are left over."""
        with self._folder.errors("finish"), self._folder.room(self.claimed) as folder:
            refuse_in_the_way(self._folder, (FACES, FAILED, SKIPPED, MANIFEST, UNMATCHED_LIST))
            # a byte-order mark, or spreadsheets take UTF-8 for something older
            with (
                (folder / FAILED).open("w", encoding="utf-8-sig", newline="") as failed,
                (folder / SKIPPED).open("w", encoding="utf-8-sig", newline="") as skipped,
                (folder / UNMATCHED_LIST).open("w", encoding="utf-8-sig", newline="") as unmatched,
            ):
                totals = assemble(
                    read_parts(self._folder, self.claimed, range(chunks)),
                    members,
                    folder / MANIFEST,
                    folder / FACES,
                    failed,
                    skipped,
                    join(unmatched) if join else None,
                )
            self._count_changes(totals)
            size = (folder / MANIFEST).stat().st_size
            (folder / SUMMARY).write_bytes(encode_summary(totals, size, notes))
            lists = (UNMATCHED_LIST,) if join else ()
            made = {name: folder / name for name in (*lists, *TABLES)}
            if is_anothers(self._folder, SUMMARY):
                del made[SUMMARY]  # somebody else's; who asks for counts has the manifest
            self._put_card(totals)
            self._put(made, self._check_lots)
            plan = (str(file["name"]).rpartition("/")[2] for file in self._folder.list(PLAN))
            mine = [f"{PLAN}/{name}" for name in plan if is_under(self.claimed, name)]
            self._folder.remove(mine)
        self._folder.tidy()
        return totals

    def _count_changes(self, totals: Counts) -> None:
        if self._lots is None:
            return  # nothing of the kind is known of its archive
        counted = self.changes()
        totals.gone, totals.changed = counted[Change.GONE], counted[Change.CHANGED]

    def _put_card(self, totals: Counts) -> None:
        """Write the card of packed crops, unless somebody else's README.md is in its place."""
        record = self.record()
        pattern = layout_of(record).data_files
        if pattern and not is_anothers(self._folder, CARD):
            self._put({CARD: card(record, totals, pattern, pa.schema(ABOUT_FIELDS))})

    def _take(self, record: Mapping[str, Any]) -> None:
        self._claim = claim.claim_of(record)
        self._owner = record.get("id")
        self._forgotten = record.get(FORGOTTEN)
        self.tombs = Tombs.of(record)
        self._kept = frozenset(record.get("beside", ()))

    def _claim_there(self) -> str:
        return super()._claim_there() if self._claim is None else self._claim

    def _check(self) -> None:
        """Raise OutputError unless the output is still the batch's."""
        claim.check_owner(self._folder, self._owner, self._forgotten)

    def _check_lots(self) -> None:
        """Raise OutputError also where the batch has been extended since this run read its lots."""
        self._check()
        if self._lots is not None and count_lots(self._folder, self.claimed) != self._lots:
            raise OutputError(
                f"{self.uri} was extended by another run meanwhile. Run it again to complete it."
            )

    def _put(
        self, files: Mapping[str, bytes | Path], check: Callable[[], None] | None = None
    ) -> None:
        with self._folder.errors("write"):
            self._folder.put(files, claim.writer_of(self.claimed), check or self._check)
