"""Which kinds of work pool there are, and with which templates."""

from pathlib import Path

import pytest

from deployments.pools import job_template, worker_types

JOB_TEMPLATE = Path(__file__).parents[2] / "infra" / "kubernetes" / "job-template.json"


@pytest.mark.slow
def test_jobs_on_kubernetes_are_made_from_our_template(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "kubernetes" not in worker_types()
    monkeypatch.setenv("FACECROP_KUBERNETES_JOB_TEMPLATE", str(JOB_TEMPLATE))
    made = job_template(worker_types()["kubernetes"])
    assert made["job_configuration"]["job_manifest"]["kind"] == "Job"
    environment = made["variables"]["properties"]["env"]["default"]
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


@pytest.mark.parametrize("kind", ["process", "docker"])
def test_every_run_sends_heartbeats(kind: str) -> None:
    environment = job_template(worker_types()[kind])["variables"]["properties"]["env"]["default"]
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
