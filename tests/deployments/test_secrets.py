"""The object store's keys, kept by a real server and put into what a container is started with."""

import asyncio
import json

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import BlockDocument, WorkPool
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration

from deployments.pools import PREFIX, apply_pool
from deployments.secrets import save_keys

pytestmark = pytest.mark.service

KEYS = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "2718281828"}
BLOCKS = ["facecrop-aws-access-key-id", "facecrop-aws-secret-access-key"]


@pytest.fixture(autouse=True)
def keys(prefect: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def block(name: str, *, secrets: bool = True) -> BlockDocument:
    with get_client(sync_client=True) as client:
        return client.read_block_document_by_name(name, "secret", include_secrets=secrets)


def docker_pool() -> WorkPool:
    with get_client(sync_client=True) as client:
        apply_pool(client, "docker", DockerWorker)
        return client.read_work_pool(PREFIX + "docker")


def test_keys_are_kept_once() -> None:
    assert save_keys() == BLOCKS
    first = [block(name) for name in BLOCKS]
    assert save_keys() == BLOCKS
    again = [block(name) for name in BLOCKS]
    assert [(one.id, one.data) for one in again] == [(one.id, one.data) for one in first]
    assert [one.data for one in first] == [{"value": value} for value in KEYS.values()]


def test_a_changed_key_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    save_keys()
    before = block(BLOCKS[1])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    save_keys()
    after = block(BLOCKS[1])
    assert (after.id, after.data) == (before.id, {"value": "another"})


def test_a_session_token_is_kept_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token")
    assert save_keys() == [*BLOCKS, "facecrop-aws-session-token"]
    assert block("facecrop-aws-session-token").data == {"value": "a-token"}


def test_nothing_is_asked_for_where_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    assert save_keys() == []
    assert "prefect.blocks" not in json.dumps(docker_pool().base_job_template)


def test_a_template_has_references_and_a_container_has_keys() -> None:
    save_keys()
    template = docker_pool().base_job_template
    environment = template["variables"]["properties"]["env"]["default"]
    for name, reference in zip(KEYS, BLOCKS, strict=True):
        assert environment[name] == f"{{{{ prefect.blocks.secret.{reference} }}}}"
        assert KEYS[name] not in json.dumps(template)
        assert KEYS[name] not in block(reference, secrets=False).model_dump_json()
    started = asyncio.run(DockerWorkerJobConfiguration.from_template_and_values(template, {}))
    assert KEYS.items() <= started.env.items()
