"""`facecrop doctor`: whether everything that a batch needs is there, and what to do if not."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from urllib.parse import quote
from uuid import uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import WorkPool, WorkPoolStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.events.schemas.events import ResourceSpecification
from rich.text import Text

from intake.exits import DONE, FAILED, mask, plain
from intake.queues import (
    ANSWER_SECONDS,
    PAGE,
    POOL_PREFIX,
    ServerError,
    api_url,
    console,
    due,
    explain_server,
    pools,
    server,
)
from intake.workers import WorkerSight, read_workers
from storage.errors import StorageError, TransientError

_FLOWS = ("crop-archive", "crop-shard")
_POOLS = ("process", "docker", "kubernetes")
_REGISTER = "run `python -m deployments`"
_EVENTS = 50  # the most that the server hands out at a time
_STORE_SECONDS = 20  # for each step of the object store's check
_REDIS_SECONDS = 5
_TRUE = ("1", "true", "t", "yes", "y", "on")  # as Prefect reads a setting
_VERSION = re.compile(r"\d+\.\d+[\w.+!-]*")  # what `serve` records is a hash of the flow's file
_STYLES = {"ok": "green", "bad": "bold red", "-": "dim"}
_DETAIL_COLUMN = 30


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        check: what.
        status: `-` where it does not matter or cannot be told.
        reason: what was found; one line without secrets.
        fix: what to do, if anything is to be done.
    """

    check: str
    status: Literal["ok", "bad", "-"]
    reason: str
    fix: str = ""


def examine(output: str | None, *, as_json: bool) -> int:
    """Prints a line for each check as soon as it is made, and returns the exit code.

    Args:
        output: folder or URI to write a small object to, and delete it again; None to leave out.
        as_json: one JSON object a check.
    """
    bad = 0
    out = console()
    for check in _checks(output):
        bad += check.status == "bad"
        if as_json:
            print(json.dumps(asdict(check)), flush=True)
        else:
            line = Text.assemble(
                (f"{check.status:<4}", _STYLES[check.status]),
                plain(f"{check.check:<{_DETAIL_COLUMN}} {check.reason}"),
                (f"; {check.fix}" if check.fix else "", "bold"),
            )
            out.print(line, soft_wrap=True)
    return FAILED if bad else DONE


def _checks(output: str | None) -> Iterator[Check]:
    try:
        with server(ANSWER_SECONDS) as client:
            yield from _server_checks(client)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one bad line
        yield Check("Prefect server", "bad", explain_server(error))
    yield from _redis_checks(os.environ)
    yield _store_check(output)


def _server_checks(client: SyncPrefectClient) -> Iterator[Check]:
    """What the server says; the first is whether it says anything.

    Raises:
        Exception: the server does not answer, or not as a Prefect server.
    """
    took = _ready(client)
    # `/ready` answers anybody, so this is what tells whether the authentication is accepted
    at_server = _server_version(client)
    yield Check("Prefect server", "ok", f"{mask(api_url())} is ready, in {took}, and lets us in")
    yield _same_version(at_server)
    steps: dict[str, Callable[[], Iterator[Check]]] = {
        "server settings": lambda: _settings(client),
        "work pools": lambda: _pools(client),
        "workers": lambda: _workers(client, at_server),
        "deployments": lambda: _deployments(client),
    }
    for name, step in steps.items():
        try:
            yield from step()
        except Exception as error:  # noqa: BLE001 - the others may still be told
            yield Check(name, "bad", explain_server(error))


def _ready(client: SyncPrefectClient) -> str:
    """How long the server took to say that it is ready."""
    started = time.monotonic()
    try:
        client.request("GET", "/ready")
    except httpx.HTTPStatusError as error:
        if error.response.status_code != 503:
            raise
        raise ServerError(
            f"the Prefect server at {mask(api_url())} is not ready: it does not reach its "
            "database; start the database, or correct the server's settings"
        ) from error
    return _since(started)


def _server_version(client: SyncPrefectClient) -> str:
    answered = client.api_version()
    if not isinstance(answered, str) or not _VERSION.fullmatch(answered):
        raise ValueError("no version")
    return answered


def _same_version(at_server: str) -> Check:
    here = version("prefect")
    if _minor(at_server) == _minor(here):
        return Check("Prefect version", "ok", f"{at_server} at the server, {here} here")
    return Check(
        "Prefect version",
        "bad",
        f"{at_server} at the server, {here} here",
        f"install prefect {_minor(at_server)} here or {_minor(here)} there",
    )


def _minor(full: str) -> str:
    return ".".join(full.split(".")[:2])


def _settings(client: SyncPrefectClient) -> Iterator[Check]:
    settings = client.request("GET", "/admin/settings").json()["server"]
    database = settings["database"]
    driver = database.get("driver") or ""
    if driver.startswith("postgresql"):
        yield Check("database", "ok", f"PostgreSQL on {database.get('host') or 'its default host'}")
    elif driver.startswith("sqlite"):
        yield Check("database", "ok", "SQLite: for one machine only")
    else:  # Prefect shows a connection URL to nobody, not even which kind it is
        yield Check(
            "database",
            "-",
            "the server does not say; without PREFECT_SERVER_DATABASE_CONNECTION_URL it is SQLite, "
            "for one machine only",
        )
    broker = settings["events"]["messaging_broker"]
    if broker.endswith(".memory"):
        yield Check("messaging", "ok", "in the server's memory: for one machine only")
    elif broker.startswith("prefect_redis"):
        yield Check("messaging", "ok", f"Redis ({broker})")
    else:
        yield Check("messaging", "-", f"{broker}, which Facecrop has not been tried with")


def _pools(client: SyncPrefectClient) -> Iterator[Check]:
    found = pools(client)
    if not found:
        yield Check("work pools", "bad", f"there is no {POOL_PREFIX}* pool", _REGISTER)
        return
    some_ready = any(pool.status == WorkPoolStatus.READY for pool in found)
    for pool in found:
        yield _pool(client, pool, some_ready=some_ready)
    there = {pool.name for pool in found}
    for name in (POOL_PREFIX + kind for kind in _POOLS):
        if name not in there:
            yield Check(f"pool {name}", "-", "not registered, so batches cannot run on it")


def _pool(client: SyncPrefectClient, pool: WorkPool, *, some_ready: bool) -> Check:
    name = f"pool {pool.name}"
    if pool.is_paused:
        return Check(name, "bad", "paused", f"run `prefect work-pool resume {pool.name}`")
    if pool.status == WorkPoolStatus.READY:
        return Check(name, "ok", "ready")
    fix = f"start one: `prefect worker start --pool {pool.name}`"
    waiting = client.count_flow_runs(
        flow_run_filter=due(),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name])),
    )
    if waiting:
        return Check(name, "bad", f"not ready: no worker polls it, and {waiting:,} runs wait", fix)
    # Who uses one kind of pool does not mind the others.
    return Check(name, "-" if some_ready else "bad", "not ready: no worker polls it", fix)


def _workers(client: SyncPrefectClient, at_server: str) -> Iterator[Check]:
    by_pool: dict[str, list[WorkerSight]] = {}
    for worker in read_workers(client, forgotten=False):
        by_pool.setdefault(worker.pool, []).append(worker)
    for pool, workers in by_pool.items():
        name = f"workers {pool}"
        online = [worker for worker in workers if worker.status == "ONLINE"]
        offline = sum(worker.status == "OFFLINE" for worker in workers)
        versions = _worker_versions(client, online)
        told = ", ".join(f"{count} of Prefect {one}" for one, count in sorted(versions.items()))
        reason = f"{len(online)} online, {offline} offline" + (f"; {told}" if told else "")
        if any(_minor(one) != _minor(at_server) for one in versions):
            fix = f"install prefect {_minor(at_server)}, as the server has it, and restart them"
            yield Check(name, "bad", reason, fix)
        else:
            yield Check(name, "ok" if online else "-", reason)
    if not by_pool:
        yield Check("workers", "-", "none has polled in a day")


def _worker_versions(client: SyncPrefectClient, workers: list[WorkerSight]) -> Counter[str]:
    """How many workers have which Prefect, of those that have told.

    A worker tells in the events of its start and of each run that it takes, which the server keeps
    for a week.
    """
    versions: Counter[str] = Counter()
    names = [worker.name for worker in workers]
    for first in range(0, len(names), _EVENTS):
        page = client.read_events(
            EventFilter(
                event=EventNameFilter(
                    name=["prefect.worker.started", "prefect.worker.submitted-flow-run"]
                ),
                resource=EventResourceFilter(
                    labels=ResourceSpecification(
                        {"prefect.resource.name": names[first : first + _EVENTS]}
                    ),
                    distinct=True,  # the newest of each worker
                ),
            ),
            limit=_EVENTS,
        )
        told = (event.resource.get("prefect.version") for event in page.events)
        versions.update(one for one in told if one)
    return versions


def _deployments(client: SyncPrefectClient) -> Iterator[Check]:
    found: list[DeploymentResponse] = []
    for flow in _FLOWS:
        there = client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])), limit=PAGE
        )
        found += there
        name = f"deployments {flow}/*"
        if there:
            yield Check(name, "ok", ", ".join(sorted(one.name for one in there)))
        else:
            yield Check(name, "bad", "there is none", _REGISTER)
    yield _same_packages(found)


def _same_packages(deployments: list[DeploymentResponse]) -> Check:
    """Whether the deployments were made with the packages that are installed here."""
    name = "deployed versions"
    here = {package: version(package) for package in ("facecrop", "prefect")}
    recorded = {
        (package, one)
        for deployment in deployments
        for package, one in _recorded(deployment.version, deployment.tags).items()
        if package in here
    }
    local = ", ".join(f"{package} {one}" for package, one in here.items())
    other = sorted(f"{package} {one}" for package, one in recorded if one != here[package])
    if other:
        fix = f"{_REGISTER} where the newer version is"
        return Check(name, "bad", f"{local} here, but {', '.join(other)} deployed", fix)
    if recorded:
        return Check(name, "ok", f"{local} here, and deployed")
    return Check(name, "-", f"{local} here; the deployments record none")


def _recorded(stated: str | None, tags: list[str]) -> dict[str, str]:
    """Versions by package, of a deployment's version and of its tags such as `prefect==3.8.8`."""
    found = {"facecrop": stated} if stated and _VERSION.fullmatch(stated) else {}
    tagged = (tag.partition("==") for tag in tags)
    return found | {package: one for package, equal, one in tagged if equal}


def _redis_checks(environ: Mapping[str, str]) -> Iterator[Check]:
    """A ping of each Redis that this environment names; on most machines that is none."""
    messaging = _messaging_url(environ)
    if messaging:
        yield _ping("PREFECT_REDIS_MESSAGING_*", messaging)
    docket = environ.get("PREFECT_SERVER_DOCKET_URL", "")
    if docket.startswith("redis"):
        yield _ping("PREFECT_SERVER_DOCKET_URL", docket)


def _messaging_url(environ: Mapping[str, str]) -> str:
    """The Redis of prefect-redis's settings as a URL; "" if there are none."""
    prefix = "PREFECT_REDIS_MESSAGING_"
    given = {
        name.removeprefix(prefix): value
        for name, value in environ.items()
        if name.startswith(prefix) and value
    }
    if "URL" in given or not given.keys() & {"HOST", "PORT"}:
        return given.get("URL", "")
    scheme = "rediss" if given.get("SSL", "").lower() in _TRUE else "redis"
    user, password = (quote(given.get(key, ""), safe="") for key in ("USERNAME", "PASSWORD"))
    login = f"{user}:{password}@" if password else ""
    host, port = given.get("HOST", "localhost"), given.get("PORT", "6379")
    return f"{scheme}://{login}{host}:{port}/{given.get('DB', '0')}"


def _ping(variable: str, url: str) -> Check:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    name = "Redis"
    where = f"{mask(url)} of {variable}"
    if "+" in url.partition("://")[0]:
        return Check(name, "-", f"{where}: only redis:// and rediss:// are tried")
    started = time.monotonic()
    try:
        with redis.Redis.from_url(
            url,
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
            protocol=2,  # as prefect-redis has it, for Redis before 6
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        told = mask(" ".join(str(error).split()))
        return Check(name, "bad", f"{where}: {told}", f"start it, or correct {variable}")
    except ValueError:  # which may quote the password
        return Check(name, "bad", f"{where}: is no address of a Redis", f"correct {variable}")
    return Check(name, "ok", f"{where} answers, in {_since(started)}")


def _store_check(output: str | None) -> Check:
    """Whether batches can be written where they shall be."""
    name = "output"
    if not output:
        fix = "name one with --output or FACECROP_DOCTOR_OUTPUT"
        return Check(name, "-", "not tried", fix)
    where = mask(output)
    started = time.monotonic()
    try:
        _write_and_delete(output)
    except (StorageError, TransientError) as error:
        return Check(name, "bad", mask(str(error)))
    except Exception as error:  # noqa: BLE001 - a file system that cannot be written to, say
        told = " ".join(str(error).split())
        return Check(name, "bad", mask(f"cannot write {output}: {type(error).__name__} {told}"))
    return Check(name, "ok", f"{where}: written, read back and deleted, in {_since(started)}")


def _since(started: float) -> str:
    """How long ago that was, of the monotonic clock."""
    return f"{1000 * (time.monotonic() - started):,.0f} ms"


def _write_and_delete(output: str) -> None:
    """Writes a small object, compares what is read back and deletes it.

    Raises:
        StorageError, TransientError: what did not work.
    """
    from storage.errors import OutputError
    from storage.location import FOREIGN, resolve, translate

    @contextmanager
    def doing(verb: str) -> Iterator[None]:
        try:
            yield
        except FOREIGN as error:
            raise translate(error, output, verb, permanent=OutputError) from error

    location = resolve(output)
    folder = Path(location.path)
    if location.is_local:  # a batch makes the folder, so what matters is what it would be made in
        while not folder.exists():
            folder = folder.parent
    path = f"{folder if location.is_local else location.path}/.facecrop-doctor-{uuid4().hex}"
    data = uuid4().bytes
    limit = {"timeout": _STORE_SECONDS} if location.fs.async_impl else {}
    with doing("write"):
        location.fs.pipe_file(path, data, **limit)
    try:
        with doing("read"):
            back = location.fs.cat_file(path, **limit)
    finally:
        with doing("delete"):
            location.fs.rm_file(path, **limit)
    if back != data:
        raise OutputError(f"{output} gives back other bytes than were written to it")
