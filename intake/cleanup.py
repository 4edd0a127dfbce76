"""`facecrop cleanup`: shows what is old and needed by nothing, and removes it when told to."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from prefect.client.orchestration import SyncPrefectClient

from intake.exits import DONE, WRONG_USE, complain
from intake.oldruns import batches, old_runs, unfinished, watched_inboxes
from intake.queues import console
from intake.render import table
from intake.status import ROWS_SHOWN, asked, patience
from intake.uploads import UPLOADS
from storage.errors import ArchiveError, OutputError
from storage.location import probe, resolve
from storage.output import MANIFEST, Output
from storage.sweep import Shelf

_BATCHES = "batches"  # below the store, as uploads are
_DAY = 86_400.0  # seconds
_UPLOAD = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Old:
    """Something in the store that may go.

    Attributes:
        place: its path below the store.
        bytes: that it takes; None where the storage does not tell.
        days: since it was last written; of a batch, since it was begun.
        why: it may go.
        remove: does it.
    """

    place: str
    bytes: int | None
    days: float
    why: str
    remove: Callable[[], None]


def clean_up(days: float, store: str | None, *, outputs: bool, remove: bool, as_json: bool) -> int:
    """Prints what is old, removes it if that is asked for, and returns the exit code.

    Args:
        days: how long ago it ended, or was written.
        store: of the HTTP service; None for the one that its own setting names, and where there is
            none only runs are looked at.
        outputs: whether the outputs of finished batches in the store are to go, too.
        remove: whether anything is to go at all.
        as_json: JSON objects instead of a table.
    """
    store = store or os.environ.get("FACECROP_HTTP_STORE")
    if outputs and not store:
        complain("--batches: name the store, with --store or FACECROP_HTTP_STORE")
        return WRONG_USE

    def sweep(client: SyncPrefectClient) -> int:
        with patience():
            before = datetime.now(UTC) - timedelta(days=days)
            runs = old_runs(client, before, remove=False)
            old = list(_old(client, store, days, outputs=outputs)) if store else []
            show = _print_json if as_json else _print_table
            show(runs, old, days)
            if remove:
                old = _remove(client, old)
                runs = old_runs(client, before, remove=True)  # last: they know what uploads are for
            _print_end(runs.total(), old, removed=remove, as_json=as_json)
        return DONE

    return asked(sweep, as_json=as_json)


def _remove(client: SyncPrefectClient, old: list[Old]) -> list[Old]:
    """Removes all but what has been begun to be used meanwhile."""
    busy = busy_names(client)
    still = [one for one in old if _parts(one.place)[1] not in busy]
    for one in still:
        one.remove()
    return still


def _old(client: SyncPrefectClient, store: str, days: float, *, outputs: bool) -> Iterator[Old]:
    busy = busy_names(client)
    yield from old_uploads(client, Shelf(store, UPLOADS), busy, days, time.time())
    if outputs:
        yield from _old_batches(client, Shelf(store, _BATCHES), busy, days)


def old_uploads(
    client: SyncPrefectClient, shelf: Shelf, busy: set[str], days: float, now: float
) -> Iterator[Old]:
    """Uploads that are older than so many days, or than one day if no batch was ever made of them.

    Args:
        client: of the server that knows which batch uses which.
        shelf: of uploads, each in a folder that is named by its id.
        busy: what is in use, by name.
        days: since the last of it was written.
        now: seconds since 1970.
    """
    known = _used(client, busy)
    for name in shelf.names():
        if not _UPLOAD.fullmatch(name) or name in busy:
            continue
        contents = shelf.measure(name)
        age = (now - contents.written) / _DAY
        if age > (days if name in known else 1):
            why = "its batch has ended" if name in known else "no batch uses it"
            yield Old(f"{UPLOADS}/{name}", contents.bytes, age, why, partial(shelf.remove, name))
    try:
        for one in shelf.cut_off():
            age = (now - one.begun) / _DAY
            if age > 1 and _UPLOAD.fullmatch(_parts(one.name)[0]):
                yield Old(f"{UPLOADS}/{one.name}", None, age, "cut off", partial(shelf.abort, one))
    except OutputError as error:  # not every S3-compatible store lists them, nor lets everybody
        complain(f"{error}; they are left out")


def _old_batches(
    client: SyncPrefectClient, shelf: Shelf, busy: set[str], days: float
) -> Iterator[Old]:
    inboxes = watched_inboxes(client)
    now = datetime.now(UTC)
    for name in shelf.names():
        if name in busy:
            continue
        try:
            output = Output(f"{shelf.uri}/{name}")
            record = output.record()
            archive = str(record["archive"]["uri"])
            age = (now - datetime.fromisoformat(record["created"])) / timedelta(days=1)
        except (OutputError, LookupError, TypeError, ValueError):
            continue  # no batch's folder, or not one of ours
        if age <= days or output.size(MANIFEST) is None:
            continue
        if any(archive.startswith(inbox) for inbox in inboxes) and _is_there(archive):
            continue  # without its batch it would be a new one, and be cropped again
        size = shelf.measure(name).bytes
        yield Old(f"{_BATCHES}/{name}", size, age, "finished", partial(shelf.remove, name))


def busy_names(client: SyncPrefectClient) -> set[str]:
    """Every name on the way to an archive or output of a batch that has not ended.

    They are compared one by one: the same place may be called differently elsewhere.
    """
    return {
        part
        for run in unfinished(client)
        for uri in (run.parameters.get("archive"), run.parameters.get("output"))
        for part in _parts(str(uri or ""))
    }


def _used(client: SyncPrefectClient, busy: set[str]) -> set[str]:
    """The uploads that batches were made of; those whose batch is being retried become busy."""
    used: set[str] = set()
    for run in batches(client):
        names = {
            part for part in _parts(str(run.parameters.get("archive"))) if _UPLOAD.fullmatch(part)
        }
        used |= names
        if _parts(str(run.parameters.get("output")))[-1] in busy:
            busy |= names
    return used


def _parts(uri: str) -> list[str]:
    return re.split(r"[/\\]", uri.rstrip("/"))


def _is_there(archive: str) -> bool:
    try:
        probe(resolve(archive))
    except ArchiveError:
        return False
    return True


def _print_table(runs: Counter[str], old: list[Old], days: float) -> None:
    rows = [
        (f"runs of {flow}", f"{count:,}", "", f"over {days:g} days old")
        for flow, count in runs.items()
        if count
    ]
    rows += [
        (one.place, _size(one.bytes), f"{one.days:,.0f} days", one.why) for one in old[:ROWS_SHOWN]
    ]
    if rows:
        console().print(table(("what", "how much", "age", "why"), rows))
    if len(old) > ROWS_SHOWN:
        print(f"and {len(old) - ROWS_SHOWN:,} more places, which --json names")


def _print_json(runs: Counter[str], old: list[Old], days: float) -> None:
    for flow, count in runs.items():
        if count:
            print(json.dumps({"runs_of": flow, "count": count, "days": days}))
    for one in old:
        values = {"place": one.place, "bytes": one.bytes, "days": round(one.days, 1)}
        print(json.dumps(values | {"why": one.why}))


def _print_end(runs: int, old: list[Old], *, removed: bool, as_json: bool) -> None:
    size = sum(one.bytes or 0 for one in old)
    if as_json:
        values = {"removed": removed, "runs": runs, "places": len(old), "bytes": size}
        print(json.dumps(values), flush=True)
        return
    found = [f"{runs:,} runs"] if runs else []
    if old:
        found.append(f"{len(old):,} places in the store ({_size(size)})")
    if not found:
        line = "nothing to remove"
    elif removed:
        line = f"removed {' and '.join(found)}"
    else:
        line = f"{' and '.join(found)} may go; --yes removes them"
    print(line, flush=True)


def _size(count: int | None) -> str:
    """Bytes as `999 B`, `1.2 MB`."""
    if count is None:
        return "not told"
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "B" else f"{count} B"
