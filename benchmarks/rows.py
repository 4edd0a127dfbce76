"""The rows that batches leave in the database of a Prefect server, and what pruning leaves of them.

Small batches of several sizes are run on a server of their own, and what each leaves is taken for a
sum: so many rows a chunk, a shard, a batch, and an hour of a run, for its progress and heartbeats.
Every shard is a run on a worker that starts late, as nearly all do in a large batch; else the run
that plans it would take some of them itself.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Timer
from unittest.mock import patch

import numpy as np

from benchmarks.server import POOL, prefect_server, process_worker, register

KIB = "KiB in use"
"""Stands among the tables."""

MANY = 4  # shards of the batches that have more than one

RETENTION_DAYS = 30
PRUNING = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(RETENTION_DAYS * 24 * 3600),
}
"""What an operator sets, so that flow runs go after a month. Events go after a week by default."""

_HURRY = {  # else it prunes hourly, and daily what has lost its flow run
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "5",
}
_DATES = (("flow_run", "end_time"), ("events", "occurred"), ("event_resources", "occurred"))
_HEARTBEAT_SECONDS = "30"  # of runs on our work pools, and here of the run that plans, too
_CHUNK = 64  # members
_PASSING = "automation_bucket"  # a table whose rows go by themselves
_LATE_SECONDS = 30.0  # without a worker, after which every run that waits for one is late
_LONG_SECONDS = 180.0  # the same of one batch, to tell hours from the rest
_QUIET_SECONDS = 15.0  # without a new row, after which there is none to come
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that was run, and the rows that it left."""

    chunks: int
    shards: int
    hours: float
    rows: dict[str, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one table, or KiB.

    Attributes:
        chunk, shard, hour, batch: for each of these; hours are of runs, all together.
        error: the most by which what a batch left differs from the sum.
    """

    chunk: float
    shard: float
    hour: float
    batch: float
    error: float

    def of(self, chunks: int, shards: int, hours: float) -> int:
        """What a batch of that size leaves."""
        return round(self.chunk * chunks + self.shard * shards + self.hour * hours + self.batch)


def fit(batches: Sequence[Batch]) -> dict[str, Rows]:
    """Takes what batches left apart, by least squares, for each table that grew."""
    sizes = np.array([[one.chunks, one.shards, one.hours, 1.0] for one in batches])
    found = {}
    for table in sorted({name for one in batches for name in one.rows}):
        left = np.array([one.rows.get(table, 0) for one in batches], float)
        shares = np.linalg.lstsq(sizes, left)[0]
        chunk, shard, hour, batch = shares.tolist()
        found[table] = Rows(chunk, shard, hour, batch, float(np.abs(sizes @ shares - left).max()))
    return found


def run_batches(archives: Mapping[int, Path], database: Path) -> list[Batch]:
    """Runs batches on a new server, and counts what each leaves.

    Args:
        archives: of members that cost next to nothing, by how many there are; two of them.
        database: file that the server makes.
    """
    with prefect_server(**_on(database)):
        os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = _HEARTBEAT_SECONDS
        register()
        from tasks.shards import _Fleet

        few, many = sorted(archives)
        batches = [(few, 1, _LATE_SECONDS), (few, 1, _LONG_SECONDS)]
        batches += product((few, many), (1, MANY), (_LATE_SECONDS,))
        with (
            process_worker("worker"),
            patch.object(_Fleet, "take", lambda self: None),  # leaves every shard to the worker
        ):
            left = [_run_batch(archives[batch[0]], *batch, database) for batch in batches]
    return left[1:]  # what the first one leaves is not all left again


def _run_batch(archive: Path, members: int, shards: int, wait: float, database: Path) -> Batch:
    from flows.crop_archive import crop_archive
    from tasks.settings import ChunkSettings, CropSettings, RunSettings

    chunks = math.ceil(members / _CHUNK)
    settings = CropSettings(
        chunk=ChunkSettings(members=_CHUNK),
        run=RunSettings(threads=1, shard_members=math.ceil(chunks / shards) * _CHUNK),
    )
    _pause(True)
    before, hours = settled(database), _hours(database)
    Timer(wait, _pause, [False]).start()
    output = archive.with_name(f"{archive.stem} {shards} {wait} {time.monotonic_ns()}")
    crop_archive(str(archive), str(output), settings, work_pool="process")
    after = settled(database)
    rows = {
        name: count - before[name]
        for name, count in after.items()
        if count != before[name] and name != _PASSING
    }
    return Batch(chunks, shards, _hours(database) - hours, rows)


def _pause(paused: bool) -> None:
    """Has the work pool give out no runs, or give them out again."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate

    with get_client(sync_client=True) as client:
        client.update_work_pool(POOL, WorkPoolUpdate(is_paused=paused))


def prune(database: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Has a server prune a database as PRUNING says; gives the rows before and after.

    All flow runs in it have ended, and are made to have ended a day more than the retention ago.
    """
    ago = f"-{RETENTION_DAYS + 1} days"
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in _DATES:
            earlier = f"strftime('%Y-%m-%d %H:%M:%f000', {column}, ?)"
            connection.execute(f"UPDATE {table} SET {column} = {earlier}", [ago])
    before = count_rows(database)
    with prefect_server(**_on(database), **PRUNING, **_HURRY):
        return before, settled(database, unlike=before)


def count_rows(database: Path) -> dict[str, int]:
    """Rows of each table of a database, and KIB."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:

        def ask(query: str) -> int:
            return int(connection.execute(query).fetchone()[0])

        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        ).fetchall()
        rows = {table: ask(f'SELECT count(*) FROM "{table}"') for (table,) in tables}
        pages = ask("PRAGMA page_count") - ask("PRAGMA freelist_count")
        return rows | {KIB: pages * ask("PRAGMA page_size") >> 10}


def settled(database: Path, unlike: Mapping[str, int] | None = None) -> dict[str, int]:
    """Rows of each table, once they do not change any more, and are not those of `unlike`.

    Raises:
        RuntimeError: that does not happen.
    """
    rows, since = count_rows(database), time.monotonic()
    give_up = since + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        time.sleep(1)
        if (now := count_rows(database)) != rows or now == unlike:
            rows, since = now, time.monotonic()
        elif time.monotonic() - since > _QUIET_SECONDS:
            return rows
    raise RuntimeError(f"The server's rows do not settle in {_PATIENCE_SECONDS:.0f} seconds.")


def _hours(database: Path) -> float:
    """How long all flow runs have run."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        days = "coalesce(sum(julianday(end_time) - julianday(start_time)), 0)"
        return float(connection.execute(f"SELECT 24 * {days} FROM flow_run").fetchone()[0])


def _on(database: Path) -> dict[str, str]:
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}"}
