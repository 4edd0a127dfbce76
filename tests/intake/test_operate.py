"""What operators look at and turn, on real Prefect servers, with a real worker and real runs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Crashed, Failed, Late, Pending, Running, Scheduled
from prefect.workers.process import ProcessWorker

from infra.servers.process import end
from intake.cli.main import main
from storage.fs.redact import shown
from tests.services import S3, free_ports

service = pytest.mark.service
slow = pytest.mark.slow

Rows = list[dict[str, Any]]
Ask = Callable[..., tuple[int, Rows]]
ROOT = Path(__file__).resolve().parents[2]
NOBODY = "http://127.0.0.1:9/api"
AUTH = "operator:not-to-be-seen"


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command with --json; give its exit code and its objects."""

    def run(*arguments: str) -> tuple[int, Rows]:
        code = main([*arguments, "--json"])
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


@dataclass
class Pool:
    """A work pool with the queues priority-1 and priority-2, and a deployment into the second."""

    client: SyncPrefectClient
    name: str
    deployment: UUID

    def run(self, state: State | None = None, queue: str = "priority-2", **parameters: Any) -> UUID:
        run = self.client.create_flow_run_from_deployment(
            self.deployment, parameters=parameters, work_queue_name=queue
        )
        if state is not None:
            self.client.set_flow_run_state(run.id, state, force=True)
        return run.id


def make_pool(client: SyncPrefectClient, folder: Path, *, flow: str, deployment: str) -> Pool:
    """A process pool of its own name, for a flow that sleeps."""
    name = f"facecrop-{uuid4().hex[:12]}"
    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))
    for priority in (1, 2):
        client.create_work_queue(f"priority-{priority}", priority=priority, work_pool_name=name)
    (folder / "sleeping.py").write_text(
        "import time\nfrom prefect import flow\n\n@flow\ndef sleeping(seconds: float = 0):\n"
        "    time.sleep(seconds)\n"
    )
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
    made = client.create_deployment(
        flow_id=client.create_flow_from_name(flow),
        name=deployment,
        entrypoint="sleeping.py:sleeping",
        pull_steps=[step],
        work_pool_name=name,
        work_queue_name="priority-2",
        parameter_openapi_schema={
            "type": "object",
            "properties": {"seconds": {"type": "number"}},
        },
    )
    return Pool(client, name, made)


@pytest.fixture
def pool(prefect: dict[str, str], tmp_path: Path) -> Iterator[Pool]:
    with get_client(sync_client=True) as client:
        made = make_pool(client, tmp_path, flow="sleeping", deployment=uuid4().hex)
        yield made
        client.delete_deployment(made.deployment)
        client.delete_work_pool(made.name)


def in_pool(rows: Rows, pool: Pool) -> Rows:
    return [row for row in rows if row["pool"] == pool.name]


# Queues


@service
def test_queues_count_the_runs_of_each_state(pool: Pool, ask: Ask) -> None:
    pool.run(Completed())
    time.sleep(1)
    now = datetime.now(UTC)
    pool.run(Scheduled(scheduled_time=now))
    pool.run(Late(scheduled_time=now - timedelta(seconds=500)))
    pool.run(Scheduled(scheduled_time=now + timedelta(hours=1)))  # not due
    states: list[State] = [Pending(), Running(), Running(), Completed(), Failed(), Crashed()]
    for state in states:
        pool.run(state)

    code, rows = ask("queues")
    assert code == 0
    (row,) = in_pool(rows, pool)  # the other queues are empty
    waited = row.pop("oldest_wait_seconds")
    assert 500 <= waited < 600
    assert row.pop("late") in (1, 2)  # the server soon calls the other one late, too
    assert row == {
        "pool": pool.name,
        "queue": "priority-2",
        "priority": 2,
        "paused": False,
        "waiting": 2,
        "running": 3,
        "done": 2,
        "failed": 2,
    }
    hours = (datetime.now(UTC) - now) / timedelta(hours=1)
    _, rows = ask("queues", "--since", str(hours))
    assert [in_pool(rows, pool)[0][key] for key in ("done", "failed")] == [1, 2]
    _, rows = ask("queues", "--since", "0.000001")
    assert [in_pool(rows, pool)[0][key] for key in ("running", "done", "failed")] == [3, 0, 0]


@service
def test_empty_queues_are_shown_only_if_asked_for(
    pool: Pool, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    pool.run(Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1)))  # not due
    assert in_pool(ask("queues")[1], pool) == []
    pool.client.update_work_pool(pool.name, WorkPoolUpdate(is_paused=True))
    rows = in_pool(ask("queues", "--all")[1], pool)
    assert [row["queue"] for row in rows] == ["priority-1", "priority-2", "default"]
    assert {(row["waiting"], row["oldest_wait_seconds"]) for row in rows} == {(0, None)}
    assert all(row["paused"] for row in rows)

    pool.run(Running(), queue="priority-1")
    assert main(["queues"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["pool", "queue", "waiting", "running"]
    (line,) = (line for line in lines if line.startswith(pool.name))
    assert line.split() == [pool.name, "priority-1", "(paused)", "0", "1", "0", "0", "0"]


# Workers


@service
@slow
def test_a_worker_is_seen_with_its_runs_and_its_version(
    pool: Pool, prefect: dict[str, str], ask: Ask, tmp_path: Path
) -> None:
    """The pool has two workers: one at work, one that has stopped sending heartbeats."""
    pool.client.send_worker_heartbeat(pool.name, "silent", heartbeat_interval_seconds=1)
    run = pool.run(seconds=300)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, "--pool", pool.name, "--name", "busy"],
            env=os.environ | prefect | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: state_of(pool, run) == "Running", 120)
        code, rows = ask("workers")
        assert code == 0
        busy, silent = in_pool(rows, pool)
        assert 0 <= busy.pop("heartbeat_seconds") < 60
        assert busy == {
            "name": "busy",
            "pool": pool.name,
            "type": "process",
            "status": "ONLINE",
            "runs": 1,
        }
        assert (silent["name"], silent["status"], silent["runs"]) == ("silent", "OFFLINE", 0)
        assert silent["heartbeat_seconds"] > 3

        def told() -> str:
            found = {row["check"]: row for row in ask("doctor")[1]}
            assert found[f"pool {pool.name}"]["status"] == "ok"
            assert found[f"workers {pool.name}"]["status"] == "ok"
            return str(found[f"workers {pool.name}"]["reason"])

        expected = f"1 online, 1 offline; 1 of Prefect {version('prefect')}"
        # events take a moment to be stored
        wait_until(lambda: told() == expected, 30)
    finally:
        end(worker)


def state_of(pool: Pool, run: UUID) -> str | None:
    state = pool.client.read_flow_run(run).state
    return state.name if state else None


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.5)


@service
def test_a_run_that_no_worker_has_taken_is_not_left_out(pool: Pool, ask: Ask) -> None:
    pool.run(Running())
    (row,) = in_pool(ask("workers")[1], pool)
    assert (row["status"], row["runs"], row["heartbeat_seconds"]) == ("UNKNOWN", 1, None)


# Doctor


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with nothing on it, that asks for authentication; give its API's address."""
    home = tmp_path_factory.mktemp("guarded")
    (port,) = free_ports(1)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
    }
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port)],
            env=environment
            | {
                "PREFECT_HOME": str(home),
                "PREFECT_SERVER_API_AUTH_STRING": AUTH,
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_DATABASE_DRIVER": "sqlite+aiosqlite",
                "PREFECT_SERVER_DATABASE_NAME": str(home / "prefect.db"),
            },
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}/api"
        wait_until(lambda: process.poll() is not None or is_ready(url), 180)
        yield url
    finally:
        end(process)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def let_in(guarded: str) -> Iterator[SyncPrefectClient]:
    """This process uses the guarded server, and has what it asks for."""
    with (
        temporary_settings({PREFECT_API_URL: guarded, PREFECT_API_AUTH_STRING: AUTH}),
        get_client(sync_client=True) as client,
    ):
        yield client


@pytest.fixture
def complete(let_in: SyncPrefectClient, tmp_path: Path) -> Iterator[Pool]:
    """All that a batch needs is on the guarded server."""
    pool = make_pool(let_in, tmp_path, flow="crop-archive", deployment="process")
    let_in.send_worker_heartbeat(pool.name, "there", heartbeat_interval_seconds=30)
    shard = let_in.create_deployment(
        flow_id=let_in.create_flow_from_name("crop-shard"), name="process"
    )
    yield pool
    let_in.delete_deployment(pool.deployment)
    let_in.delete_deployment(shard)
    let_in.delete_work_pool(pool.name)


def statuses(rows: Rows) -> dict[str, str]:
    return {row["check"]: row["status"] for row in rows}


def bad(rows: Rows) -> Rows:
    return [row for row in rows if row["status"] == "bad"]


@service
@slow
def test_doctor_says_what_an_empty_server_lacks(let_in: SyncPrefectClient, ask: Ask) -> None:
    code, rows = ask("doctor")
    assert code == 1
    found = statuses(rows)
    assert [found[name] for name in ("Prefect server", "Prefect version")] == ["ok", "ok"]
    assert {row["check"] for row in bad(rows)} == {
        "work pools",
        "deployments crop-archive/*",
        "deployments crop-shard/*",
    }
    assert {row["fix"] for row in bad(rows)} == {"run `python -P -m deployments`"}
    reasons = {row["check"]: row["reason"] for row in rows}
    assert reasons["database"] == "SQLite: for one machine only"
    assert reasons["messaging"] == "in the server's memory: for one machine only"
    assert rows[0]["check"] == "Facecrop"
    assert rows[0]["reason"].startswith(f"{version('facecrop')}, Python 3.")
    assert AUTH not in json.dumps(rows)


@service
@slow
def test_doctor_is_content_with_a_server_that_has_everything(
    complete: Pool, ask: Ask, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, rows = ask("doctor", "--output", str(tmp_path / "not" / "made" / "yet"))
    assert (bad(rows), code) == ([], 0)
    assert statuses(rows)["output"] == "ok"
    assert not (tmp_path / "not").exists()
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rows)
    assert f"ok  pool {complete.name}" in "\n".join(lines)
    assert lines[-1].startswith("-   output")


@service
@slow
def test_doctor_sees_what_keeps_runs_waiting(complete: Pool, ask: Ask, tmp_path: Path) -> None:
    client = complete.client
    client.update_work_pool(complete.name, WorkPoolUpdate(is_paused=True))
    code, rows = ask("doctor")
    assert code == 1
    assert [(row["check"], row["reason"]) for row in bad(rows)] == [
        (f"pool {complete.name}", "paused")
    ]
    client.update_work_pool(complete.name, WorkPoolUpdate(is_paused=False))

    idle = make_pool(client, tmp_path, flow="crop-archive", deployment="idle")
    try:
        code, rows = ask("doctor")
        assert (code, statuses(rows)[f"pool {idle.name}"]) == (0, "-")  # nobody may need it
        idle.run()
        code, rows = ask("doctor")
        assert code == 1
        (row,) = bad(rows)
        assert row["reason"] == "not ready: no worker polls it, and 1 runs wait"
        assert row["fix"] == f"start one: `prefect worker start --pool {idle.name}`"
    finally:
        client.delete_deployment(idle.deployment)
        client.delete_work_pool(idle.name)


@service
@slow
def test_doctor_compares_the_versions_that_deployments_record(complete: Pool, ask: Ask) -> None:
    flow = complete.client.create_flow_from_name("crop-shard")
    made = [
        complete.client.create_deployment(flow_id=flow, name="hash", version="0123456789abcdef"),
        complete.client.create_deployment(flow_id=flow, name="old", version="0.0.9"),
        complete.client.create_deployment(flow_id=flow, name="tag", tags=["prefect==3.0.1"]),
    ]
    code, rows = ask("doctor")
    for deployment in made:
        complete.client.delete_deployment(deployment)
    assert code == 1
    (row,) = bad(rows)
    assert row["check"] == "deployed versions"
    assert row["reason"].endswith("but facecrop 0.0.9, prefect 3.0.1 deployed")


@service
@slow
def test_doctor_tries_the_object_store(
    complete: Pool, s3: S3, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    place = f"s3://{s3.bucket}/doctor"
    monkeypatch.setenv("FACECROP_DOCTOR_OUTPUT", place)
    code, rows = ask("doctor")
    assert (bad(rows), code) == ([], 0)
    assert rows[-1]["reason"].startswith(f"{place}: written, read back and deleted")
    left = s3fs.S3FileSystem().find(f"s3://{s3.bucket}", withdirs=True)
    assert [path for path in left if "facecrop-doctor" in path] == []

    code, rows = ask("doctor", "--output", "s3://no-such-bucket/doctor")
    assert code == 1
    assert [row["check"] for row in bad(rows)] == ["output"]
    assert "not found" in rows[-1]["reason"]

    s3fs.S3FileSystem.clear_instance_cache()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
        code, rows = ask("doctor")
    s3fs.S3FileSystem.clear_instance_cache()
    assert code == 1
    (row,) = bad(rows)
    assert row["reason"].startswith(f"cannot write {place}: permission denied")
    assert "wrong-and-secret" not in json.dumps(rows)


@service
@slow
def test_a_server_that_refuses_is_one_bad_line(guarded: str, ask: Ask) -> None:
    wrong = {PREFECT_API_URL: guarded, PREFECT_API_AUTH_STRING: "operator:guessed"}
    with temporary_settings(wrong):
        code, rows = ask("doctor")
        assert code == 1
        (row,) = bad(rows)
        assert "refuses with 401; set PREFECT_API_AUTH_STRING" in row["reason"]
        assert "guessed" not in json.dumps(rows)
        assert ask("queues") == (1, [{"error": row["reason"]}])


@pytest.mark.parametrize("command", ["doctor", "queues", "workers"])
def test_a_server_that_does_not_answer_is_one_line_in_seconds(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    with temporary_settings({PREFECT_API_URL: NOBODY.replace("//", "//me:hush@")}):
        assert main([command]) == 1
    assert time.monotonic() - started < 10
    out, err = capsys.readouterr()
    (line,) = (line for line in (out + err).splitlines() if not line.startswith(("-", "ok")))
    assert f"no Prefect server answers at {NOBODY.replace('//', '//***@')}" in line
    assert "hush" not in out + err


@pytest.mark.parametrize("command", ["doctor", "queues", "workers"])
def test_no_server_is_started_where_none_is_named(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert main([command]) == 1
    out, err = capsys.readouterr()
    (line,) = (line for line in (out + err).splitlines() if not line.startswith(("-", "ok")))
    assert "PREFECT_API_URL is not set" in line


def test_a_redis_that_does_not_answer_is_bad_and_its_password_stays_secret(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_REDIS_MESSAGING_HOST", "127.0.0.1")
    monkeypatch.setenv("PREFECT_REDIS_MESSAGING_PORT", "9")
    monkeypatch.setenv("PREFECT_REDIS_MESSAGING_PASSWORD", "hush/a@b")
    monkeypatch.setenv("PREFECT_SERVER_DOCKET_URL", "redis://:hush/a@127.0.0.1:9/1")  # no URL
    with temporary_settings({PREFECT_API_URL: NOBODY}):
        code, rows = ask("doctor")
    assert code == 1
    first, second = (row for row in bad(rows) if row["check"] == "Redis")
    assert first["reason"].startswith("redis://***@127.0.0.1:9/0 of PREFECT_REDIS_MESSAGING_*: ")
    assert second["reason"].endswith("is no address of a Redis")
    assert "hush" not in json.dumps(rows)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("no http://me:hush@host/api", "no http://***@host/api"),
        ("redis://:hush@host:1/0", "redis://***@host:1/0"),
        ("redis://:hu/s@h@host:1/0", "redis://***@host:1/0"),
        ("http://token@host/a", "http://***@host/a"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("http://host:1/a and me@home", "http://host:1/a and me@home"),
    ],
)
def test_what_is_before_the_host_of_a_url_is_hidden(text: str, masked: str) -> None:
    assert shown(text) == masked


# Scaling


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put a shell script on a PATH that has nothing else; it records what it is called with."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(name: str, script: str) -> None:
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\n{script}\n'
        )
        (tmp_path / name).chmod(0o755)

    return put


def last_call(folder: Path) -> str:
    return (folder / "calls").read_text().splitlines()[-1].replace(f"{ROOT}/", "")


CLUSTER = 'case "$1" in config) echo there;; get) echo deployment.apps/facecrop-worker;; esac'
NO_CLUSTER = 'echo "error: current-context is not set" >&2; exit 1'
PROJECT = 'case "$*" in *"ps --quiet") echo 0123456789ab;; esac'


def test_workers_are_scaled_on_kubernetes_first(
    on_path: Callable[[str, str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With stubs for kubectl and docker: no cluster can run in a test."""
    on_path("kubectl", CLUSTER)
    on_path("docker", PROJECT)
    assert main(["workers", "scale", "7"]) == 0
    command = "kubectl scale deployment/facecrop-worker --replicas=7"
    assert last_call(tmp_path) == command
    assert capsys.readouterr().out == f"{command}\n"
    monkeypatch.setenv("FACECROP_KUBE_DEPLOYMENT", "deployment/others")
    assert main(["workers", "scale", "0"]) == 0
    assert last_call(tmp_path) == "kubectl scale deployment/others --replicas=0"


@pytest.mark.parametrize(
    "kubectl",
    [
        NO_CLUSTER,
        'case "$1" in config) echo there;; *) echo "Error: NotFound" >&2; exit 1;; esac',
        None,
    ],
    ids=["no cluster", "a cluster without Facecrop", "no kubectl"],
)
def test_workers_are_scaled_by_compose_where_no_cluster_has_them(
    kubectl: str | None, on_path: Callable[[str, str], None], tmp_path: Path, ask: Ask
) -> None:
    """With stubs for kubectl and docker: no cluster can run in a test."""
    if kubectl:
        on_path("kubectl", kubectl)
    on_path("docker", PROJECT)
    code, (told,) = ask("workers", "scale", "1000")
    assert (code, told["workers"]) == (0, 1000)
    command = "compose -f infra/compose.yaml up -d --no-recreate --scale worker=1000 worker"
    assert last_call(tmp_path) == f"docker {command}"
    assert " ".join(told["command"]).endswith(command.rpartition("infra/")[2])


@pytest.mark.parametrize(
    ("docker", "why"),
    [
        (None, "docker compose: not installed"),
        ("exit 0", "docker compose: Facecrop is not up"),
        ("echo no daemon >&2; echo See --help >&2; exit 1", "docker compose: no daemon"),
    ],
)
def test_no_workers_to_scale_is_one_line(
    docker: str | None,
    why: str,
    on_path: Callable[[str, str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With stubs for kubectl and docker: no cluster can run in a test."""
    on_path("kubectl", NO_CLUSTER)
    if docker:
        on_path("docker", docker)
    assert main(["workers", "scale", "2"]) == 1
    assert capsys.readouterr().err == (
        "facecrop: there are no workers to scale here: "
        f"kubectl: error: current-context is not set; {why}\n"
    )
    assert "scale" not in (tmp_path / "calls").read_text()


def test_scaling_that_fails_is_one_line(
    on_path: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """With a stub for kubectl: no cluster can run in a test."""
    on_path("kubectl", f"{CLUSTER}\nif [ $1 = scale ]; then echo forbidden >&2; exit 1; fi")
    assert main(["workers", "scale", "2"]) == 1
    command = "kubectl scale deployment/facecrop-worker --replicas=2"
    assert capsys.readouterr().err == f"facecrop: {command}: forbidden\n"


@pytest.mark.parametrize(
    "arguments",
    [
        *(["workers", "scale", count] for count in ("-1", "1001", "two", "1.5", "")),
        *(["queues", "--since", hours] for hours in ("0", "-1", "nan", "9000", "soon")),
        ["doctor", "everything"],
    ],
)
def test_wrong_use_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err
