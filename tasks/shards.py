"""A batch cut into shards, each a run of `crop-shard` on a work pool.

The run that plans a batch holds a worker's slot of its own, so it does not only wait: it crops
shards, too, those that no worker has begun. A batch therefore ends however few workers there are,
down to none, and every worker that is added takes shards from it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.deployments import run_deployment
from prefect.exceptions import Abort, TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling, Crashed

from storage.errors import StorageError
from storage.manifest import Totals
from storage.members import Chunk
from storage.plan import decode_chunks, encode_chunks
from tasks.batch import Batch
from tasks.counts import read_snapshots
from tasks.naming import name_shard, worker_of
from tasks.priority import give_way, queue_name
from tasks.reporter import Reporter
from tasks.retries import ATTEMPTS
from tasks.window import crop_chunks

_LOOK_SECONDS = 4.0
_SILENT_SECONDS = 600
_UNANSWERED = "The Prefect server did not answer (%s); it is asked again."


class ShardError(StorageError):
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
    done: Totals = field(default_factory=Totals)
    worker: str = ""
    state: str | None = None
    same_looks: int = 0  # in which nothing of it had changed


def plan_shards(batch: Batch) -> Plan:
    """Cuts a batch into shards of `run.shard_members`, and writes the plan of each to the output.

    The plan is a function of the archive and the settings: made again, it is the same.
    """
    members = chunks = 0
    shards: list[Shard] = []
    every_chunk = batch.archive.chunks(batch.chunk_size)
    for number, run in enumerate(_runs(every_chunk, batch.settings.run.shard_members)):
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
        reporter: told how far the whole batch is.

    Raises:
        ShardError: one failed `ATTEMPTS` times.
        Abort: the run gives way to one of a higher priority, and is scheduled again.
    """
    with get_client(sync_client=True) as client:
        own = _own_run()
        fleet = _Fleet(client, own, batch, shards, deployment, queue_name(priority))

        def tick() -> None:
            fleet.look()
            reporter.tick()

        try:
            fleet.look()
            while (shard := fleet.take()) or fleet.runs:
                if shard is None:
                    time.sleep(1)
                    tick()
                    continue
                crop_chunks(batch, decode_chunks(batch.output.plan(shard.number)), tick)
                give_way(client, own, priority)
        except Abort:  # to go on later: the shards' runs are found again by their keys
            raise
        except TerminationSignal:  # to go on elsewhere, unless it is for good
            state = client.read_flow_run(own.id).state
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                fleet.cancel()
            raise
        except BaseException:
            fleet.cancel()
            raise


def _own_run() -> FlowRun:
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    return context.flow_run


class _Fleet:
    """The runs of one batch's shards."""

    def __init__(
        self,
        client: SyncPrefectClient,
        own: FlowRun,
        batch: Batch,
        shards: list[Shard],
        deployment: str,
        queue: str,
    ) -> None:
        self.runs: dict[UUID, _Run] = {}
        self._client = client
        self._own = own
        self._batch = batch
        self._waiting = deque(shards)
        self._scheduled: set[UUID] = set()
        self._deployment = deployment
        self._queue = queue
        self._next_look = 0.0
        # a look that the server did not answer is none, so this is longer when it is away
        silent_seconds = max(_SILENT_SECONDS, 3 * batch.settings.limits.image_seconds)
        self._silent_looks = silent_seconds / _LOOK_SECONDS
        self._log = get_run_logger()

    def look(self) -> None:
        """Learns how the runs are, when it is time, and starts what may be started."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        try:
            self._learn_all()
            while self._waiting and len(self.runs) < self._batch.settings.run.shards_at_once:
                self._start(self._waiting[0], attempt=1)
                self._waiting.popleft()
        except httpx.HTTPError as error:  # the runs go on without a server; so do we
            self._log.warning(_UNANSWERED, error)
        done: dict[str, Totals] = {}
        for run in self.runs.values():
            done[run.worker] = done.get(run.worker, Totals()) + run.done
        self._batch.progress.elsewhere(done)

    def take(self) -> Shard | None:
        """A shard that nobody works on, to be cropped here; None where there is none."""
        if self._waiting:
            return self._waiting.pop()
        return self._take_scheduled() or self._take_silent()

    def _take_scheduled(self) -> Shard | None:
        for number in list(self._scheduled):
            try:
                now = self._client.read_flow_run(number).state  # what we know may be seconds old
                if now is not None and now.is_scheduled():
                    # should a worker begin it at this very moment, both come to the same bytes
                    cropped_here: State[None] = Cancelled(message="Cropped by its batch's run.")
                    self._client.set_flow_run_state(number, cropped_here)
                    self._scheduled.discard(number)
                    return self.runs.pop(number).shard
            except httpx.HTTPError as error:
                self._log.warning(_UNANSWERED, error)
                return None
            self._scheduled.discard(number)
        return None

    def _take_silent(self) -> Shard | None:
        """One whose worker died, and the server has not noticed: events are lost with a server.

        Were the worker at work after all, both would come to the same bytes.
        """
        for number, run in self.runs.items():
            if run.same_looks < self._silent_looks:
                continue
            crashed: State[None] = Crashed(message="Nothing was heard of it; its batch crops it.")
            try:
                self._client.set_flow_run_state(number, crashed, force=True)
            except httpx.HTTPError as error:
                self._log.warning(_UNANSWERED, error)
                return None
            self._log.warning("Shard %d: nothing is heard of it any more.", run.shard.number)
            return self.runs.pop(number).shard
        return None

    def cancel(self) -> None:
        """Ends what is still running."""
        known = FlowRunFilter(id=FlowRunFilterId(any_=list(self.runs)))
        # a signal may have come between the start of a run and our note of it
        starting = FlowRunFilter(
            parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[self._own.id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        )
        try:
            found = {
                run.id: run.state
                for wanted in (known, starting)
                for run in self._client.read_flow_runs(flow_run_filter=wanted)
            }
        except httpx.HTTPError as error:
            self._log.warning("The batch's shards could not be cancelled: %s", error)
            return
        for number, now in found.items():
            # What runs is ended by its worker, which waits for Cancelling; what does not run
            # has nobody who would, and nothing to end.
            waits = now is not None and now.is_scheduled()
            ending: State[None] = Cancelled() if waits else Cancelling()
            try:
                self._client.set_flow_run_state(number, ending)
            except httpx.HTTPError as error:
                self._log.warning("Shard's run %s could not be cancelled: %s", number, error)

    def _learn_all(self) -> None:
        if not self.runs:
            return
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(self.runs)))
        snapshots = read_snapshots(self._client, list(self.runs))
        for found in self._client.read_flow_runs(flow_run_filter=wanted):
            run = self.runs[found.id]
            done = snapshots[found.id].counts if found.id in snapshots else run.done
            same = (found.state_name, done) == (run.state, run.done)
            waits = found.state is None or found.state.is_scheduled()
            run.same_looks = run.same_looks + 1 if same and not waits else 0
            run.state, run.done = found.state_name, done
            self._learn(found)

    def _learn(self, found: FlowRun) -> None:
        state, run = found.state, self.runs[found.id]
        if state is None:
            return
        run.worker = worker_of(found)
        if state.is_scheduled():  # as at first, or given back by a worker that was stopped
            self._scheduled.add(found.id)
        else:
            self._scheduled.discard(found.id)
        if not (state.is_final() or state.is_cancelling()):
            return
        if state.is_completed():
            del self.runs[found.id]
            # whatever its last report was, it has done all of its shard
            done = replace(run.done, members=run.shard.members)
            self._batch.progress.finish_elsewhere(run.worker, done)
        # Alone, or with a batch that goes on now: no failure of its own. One that was cancelled
        # while it was being started stays Cancelling for minutes.
        elif state.is_cancelled() or state.is_cancelling():
            self._start(run.shard, run.attempt)
            del self.runs[found.id]
        elif run.attempt < ATTEMPTS:
            self._log.warning(
                "Shard %d: %s (%s); attempt %d of %d follows.",
                *(run.shard.number, state.name, state.message, run.attempt + 1, ATTEMPTS),
            )
            self._start(run.shard, run.attempt + 1)
            del self.runs[found.id]
        else:
            raise ShardError(
                f"Shard {run.shard.number} failed {ATTEMPTS} times, the last so: "
                f"{state.name}: {state.message}. Run the batch again to go on."
            )

    def _start(self, shard: Shard, attempt: int) -> None:
        for turn in count():
            # The key gives a run back that an earlier run of this batch started, and that may
            # still be at work; one that has ended left something undone, or we would not be here.
            key = f"{self._batch.id}-{shard.number}-{attempt}-{turn}"
            run = run_deployment(
                self._deployment,
                parameters={
                    "archive": self._batch.archive.uri,
                    "output": self._batch.output.uri,
                    "shard": shard.number,
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
                self.runs[run.id] = _Run(shard, attempt)
                self._scheduled.add(run.id)
                return
