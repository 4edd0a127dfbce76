"""A batch cut into shards, each a run of `crop-shard` on a work pool.

The run that plans a batch holds a worker's slot of its own, so it does not only wait: it crops
shards, too, those that no worker has begun. A batch therefore ends however few workers there are,
down to none, and every worker that is added takes shards from it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import Abort, ObjectNotFound, TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling, Crashed

from pipeline.batch import Batch
from pipeline.retries import ATTEMPTS
from pipeline.window import crop_chunks
from storage.archives.members import Chunk
from storage.archives.plan import decode_chunks, encode_chunks
from storage.errors import RedactedError
from storage.output.counts import Counts
from tasks.lifecycle.current import current_run
from tasks.lifecycle.priority import preempt, queue_name
from tasks.lifecycle.server import hurry, hurry_if_ended_by, impatient, is_away, is_gone
from tasks.reporting.counts import read_snapshots
from tasks.reporting.names import name_shard, worker_of
from tasks.reporting.reporter import Reporter
from tasks.window import task_runs

_POLL_SECONDS = 4.0
_SILENT_SECONDS = 600


class ShardError(RedactedError):
    """A shard failed on every attempt."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A contiguous run of chunks that are not all done.

    Attributes:
        number: 0-based; its chunks are in the output's plan under it.
        members: in all of its chunks.
    """

    number: int
    members: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch cut up: what is in the whole archive, and the shards that are still to do."""

    members: int
    chunks: int
    shards: list[Shard]


@dataclass(slots=True)
class _Run:
    shard: Shard
    attempt: int
    done: Counts = field(default_factory=Counts)
    worker: str = ""
    state: str | None = None
    is_scheduled: bool = True  # no worker had begun it when it was last asked about
    unchanged_polls: int = 0  # in a row that found nothing changed


def plan_shards(batch: Batch) -> Plan:
    """Cuts a batch into shards of `run.shard_members`, and writes the plan of each to the output.

    The plan is a function of the archive and the settings: made again, it is the same.
    """
    members = chunks = 0
    shards: list[Shard] = []
    for number, run in enumerate(_runs(batch.chunks(), batch.settings.run.shard_members)):
        held = sum(chunk.count for chunk in run)
        members, chunks = members + held, chunks + len(run)
        if all(chunk.number in batch.done for chunk in run):
            batch.progress.resume(batch.output.counts(chunk.number for chunk in run))
        else:
            batch.output.put_plan(number, encode_chunks(run))
            shards.append(Shard(number, held))
    return Plan(members, chunks, shards)


def _runs(chunks: Iterator[Chunk], most: int) -> Iterator[list[Chunk]]:
    run: list[Chunk] = []
    for chunk in chunks:
        if run and sum(one.count for one in run) + chunk.count > most:
            yield run
            run = []
        run.append(chunk)
    if run:
        yield run


def crop_shards(
    batch: Batch, shards: list[Shard], deployment: str, priority: int, reporter: Reporter
) -> None:
    """Has every shard cropped, on the deployment's work pool and here.

    Args:
        batch: whose shards they are; its id makes the runs' idempotency keys.
        shards: what is to do.
        deployment: `FLOW/NAME` of what runs one shard.
        priority: 1 (first) to 10.
        reporter: notified of how far the whole batch is.

    Raises:
        ShardError: one failed `ATTEMPTS` times.
        Abort: the run was preempted by one of a higher priority, and is rescheduled.
    """
    with get_client(sync_client=True) as client:
        runner = task_runs(batch)
        fleet = _Fleet(client, batch, shards, deployment, queue_name(priority))

        def tick() -> None:
            fleet.poll()
            reporter.tick()

        try:
            fleet.poll()
            while (shard := fleet.take()) or fleet.runs:
                if shard is None:
                    time.sleep(1)
                    tick()
                    continue
                if is_gone():  # others may have been at work on it
                    batch.done |= batch.output.parts()
                chunks = decode_chunks(batch.output.plan(shard.number))
                crop_chunks(batch, chunks, tick, runner)
                with suppress(httpx.HTTPError), impatient():
                    preempt(client, priority)
        except Abort:  # to go on later: the shards' runs are found again by their keys
            raise
        except TerminationSignal:  # to go on elsewhere, unless it is for good
            hurry()
            with suppress(httpx.HTTPError):
                state = client.read_flow_run(current_run().id).state
                if state is not None and (state.is_cancelling() or state.is_cancelled()):
                    fleet.cancel()
            raise
        except BaseException as error:
            hurry_if_ended_by(error)
            fleet.cancel()
            raise


class _Fleet:
    """The runs of one batch's shards."""

    def __init__(
        self,
        client: SyncPrefectClient,
        batch: Batch,
        shards: list[Shard],
        deployment: str,
        queue: str,
    ) -> None:
        self.runs: dict[UUID, _Run] = {}
        self._client = client
        self._batch = batch
        self._waiting = deque(shards)
        self._starting: tuple[Shard, int] | None = None
        self._deployment = deployment
        self._queue = queue
        self._next_poll = 0.0
        # a poll that the server did not answer does not count, so this is longer when it is away
        silent_seconds = max(_SILENT_SECONDS, 3 * batch.settings.limits.image_seconds)
        self._silent_polls = silent_seconds / _POLL_SECONDS
        self._log = get_run_logger()

    def poll(self) -> None:
        """Learns how the runs are, when it is time, and starts what may be started."""
        if time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + _POLL_SECONDS
        if not is_away():  # else the runs go on without a server; so do we
            with self._asking():
                self._learn_all()
                self._start_waiting()
        done: dict[str, Counts] = {}
        for run in self.runs.values():
            done[run.worker] = done.get(run.worker, Counts()) + run.done
        self._batch.progress.elsewhere(done)

    def take(self) -> Shard | None:
        """A shard that nobody works on, to be cropped here; None where there is none."""
        if self._waiting:
            return self._waiting.pop()
        if is_gone() and self.runs:
            # Nothing can be learned of it any more. Its worker may be at work on it, or done: both
            # come to the same bytes, and what is done by then is not done again.
            return self.runs.popitem()[1].shard
        if not is_away():
            with self._asking():
                return self._take_scheduled() or self._take_silent()
        return None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """For calls to the server without whose answer the batch goes on."""
        try:
            with impatient():
                yield
        except httpx.HTTPError as error:
            self._log.warning("The Prefect server did not answer (%s); it is asked again.", error)

    def _start_waiting(self) -> None:
        while self._waiting and len(self.runs) < self._batch.settings.run.shards_at_once:
            self._start(self._waiting[0], attempt=1)
            self._waiting.popleft()

    def _take_scheduled(self) -> Shard | None:
        # from the end: workers begin with the oldest, and are told of it as soon as it is there
        for number, run in reversed(self.runs.items()):
            if not run.is_scheduled:
                continue
            now = self._client.read_flow_run(number).state  # what we know may be seconds old
            run.is_scheduled = now is not None and now.is_scheduled()
            if run.is_scheduled:
                # should a worker begin it at this very moment, both come to the same bytes
                cropped_here: State[None] = Cancelled(message="Cropped by its batch's run.")
                self._client.set_flow_run_state(number, cropped_here)
                return self.runs.pop(number).shard
        return None

    def _take_silent(self) -> Shard | None:
        """One whose worker died, and the server has not noticed: events are lost with a server.

        Were the worker at work after all, both would come to the same bytes.
        """
        for number, run in self.runs.items():
            if run.unchanged_polls < self._silent_polls:
                continue
            crashed: State[None] = Crashed(message="Nothing was heard of it; its batch crops it.")
            self._client.set_flow_run_state(number, crashed, force=True)
            self._log.warning("Shard %d: nothing is heard of it any more.", run.shard.number)
            return self.runs.pop(number).shard
        return None

    def cancel(self) -> None:
        """End what is still running."""
        try:
            if self._starting is not None:
                # The server has made its run, or will, though a signal kept us from hearing of it:
                # its key finds it.
                self._start(*self._starting)
        except (httpx.HTTPError, ObjectNotFound) as error:
            self._log.warning("A shard's run may have been started all the same: %s", error)
        known = FlowRunFilter(id=FlowRunFilterId(any_=list(self.runs)))
        try:
            found = self._client.read_flow_runs(flow_run_filter=known)
        except httpx.HTTPError as error:
            self._log.warning("The batch's shards could not be cancelled: %s", error)
            return
        for run in found:
            # What runs is ended by its worker, which waits for Cancelling; what does not run
            # has nobody who would, and nothing to end.
            waits = run.state is not None and run.state.is_scheduled()
            ending: State[None] = Cancelled() if waits else Cancelling()
            try:
                self._client.set_flow_run_state(run.id, ending)
            except httpx.HTTPError as error:
                self._log.warning("Shard's run %s could not be cancelled: %s", run.id, error)

    def _learn_all(self) -> None:
        if not self.runs:
            return
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(self.runs)))
        snapshots = read_snapshots(self._client, list(self.runs))
        for found in self._client.read_flow_runs(flow_run_filter=wanted):
            if found.state is None:
                continue
            run = self.runs[found.id]
            done = snapshots[found.id].counts if found.id in snapshots else run.done
            same = (found.state_name, done) == (run.state, run.done)
            # as at first, or rescheduled by a worker that was stopped
            run.is_scheduled = found.state.is_scheduled()
            run.unchanged_polls = run.unchanged_polls + 1 if same and not run.is_scheduled else 0
            run.state, run.done, run.worker = found.state_name, done, worker_of(found)
            if found.state.is_final() or found.state.is_cancelling():
                self._end(run, found.state)
                del self.runs[found.id]

    def _end(self, run: _Run, state: State[Any]) -> None:
        """Count a shard that is done, and start again one that is not."""
        if state.is_completed():
            # whatever its last report was, it has done all of its shard
            done = replace(run.done, members=run.shard.members)
            self._batch.progress.finish_elsewhere(run.worker, done)
        # Alone, or with a batch that goes on now: no failure of its own. One that was cancelled
        # while it was being started stays Cancelling for minutes.
        elif state.is_cancelled() or state.is_cancelling():
            self._start(run.shard, run.attempt)
        elif run.attempt < ATTEMPTS:
            self._log.warning(
                "Shard %d: %s (%s); attempt %d of %d follows.",
                *(run.shard.number, state.name, state.message, run.attempt + 1, ATTEMPTS),
            )
            self._start(run.shard, run.attempt + 1)
        else:
            raise ShardError(
                f"Shard {run.shard.number} failed {ATTEMPTS} times, the last so: "
                f"{state.name}: {state.message}. Run the batch again to go on."
            )

    def _start(self, shard: Shard, attempt: int) -> None:
        self._starting = shard, attempt
        self.runs[self._find_or_make(shard, attempt)] = _Run(shard, attempt)
        self._starting = None

    def _find_or_make(self, shard: Shard, attempt: int) -> UUID:
        turn = 0
        while True:
            # The key gives a run back that an earlier run of this batch started, and that may
            # still be at work; one that has ended left something undone, or we would not be here.
            key = f"{self._batch.id}-{shard.number}-{attempt}-{turn}"
            if self._batch.lots > 1:  # a run of before the last extension has other chunks
                key += f"-{self._batch.lots}"
            run = run_deployment(
                self._deployment,
                parameters={
                    "archive": self._batch.archive.uri,
                    "output": self._batch.output.uri,
                    "shard": shard.number,
                    "batch": self._batch.id,
                    # a worker of another version has the same defaults, and refuses what it
                    # does not know
                    "settings": self._batch.settings.model_dump(mode="json", exclude_defaults=True),
                },
                flow_run_name=name_shard(self._batch.archive.uri, shard.number),
                idempotency_key=key,
                work_queue_name=self._queue,
                timeout=0,
            )
            assert isinstance(run, FlowRun)
            if run.state is None or not (run.state.is_final() or run.state.is_cancelling()):
                return run.id
            turn += 1
