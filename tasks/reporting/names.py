"""Names that make the list of runs readable."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.runtime import flow_run

from pipeline.summary import Summary
from storage.fs.redact import bare, printable, shown_uri

TAG = "facecrop"
"""By which a batch's run that nobody deployed is known to be Facecrop's."""

PROJECT_TAG = "project:"
_WORKER_LABEL = "prefect.worker.name"  # a worker gives it to each run that it takes


def worker_of(run: FlowRun) -> str:
    """The worker that took a run; "" for one that no worker runs."""
    return str(run.labels.get(_WORKER_LABEL, ""))


def project_of(tags: list[str]) -> str:
    """Whom a batch is for, by its run's tags; "" for nobody in particular."""
    named = (tag.removeprefix(PROJECT_TAG) for tag in tags if tag.startswith(PROJECT_TAG))
    return next(named, "")


def batch_name() -> str:
    """The current batch's name."""
    given: dict[str, Any] = flow_run.get_parameters()
    priority = given.get("priority", 5) if given.get("work_pool") else 5
    return name_batch(str(given["archive"]), project_of(flow_run.get_tags()), priority)


def name_batch(archive: str, project: str, priority: int) -> str:
    """A batch's name: `photos.zip · school · priority 2`, without what is as usual."""
    parts = (base_name(archive), project, f"priority {priority}" if priority != 5 else "")
    return " · ".join(filter(None, parts))


def shard_name() -> str:
    """The current shard's name."""
    given: dict[str, Any] = flow_run.get_parameters()
    return name_shard(str(given["archive"]), given["shard"])


def name_shard(archive: str, shard: int) -> str:
    """A shard's name: `photos.zip · shard 12`."""
    return f"{base_name(archive)} · shard {shard}"


def preview_name() -> str:
    """The name of the current preview."""
    return f"preview of {base_name(str(flow_run.get_parameters()['archive']))}"


def inbox_name() -> str:
    """The name of the current scan of an inbox."""
    return f"watch {shown_uri(str(flow_run.get_parameters()['inbox']))}"


def ended_name(name: str, summary: Summary) -> str:
    """A batch's name at its end: with its result."""
    failed = f", {summary.failed:,} failed" if summary.failed else ""
    return f"{name} · {summary.members:,} images, {summary.faces:,} faces{failed}"


def base_name(uri: str) -> str:
    """The last part of a path or URI, without secrets."""
    plain = printable(bare(uri))
    return plain.replace("\\", "/").rstrip("/").rpartition("/")[2] or plain
