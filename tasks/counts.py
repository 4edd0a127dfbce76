"""How far a run is, as a table on its page that people read, and programs too."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)

from storage.manifest import Totals
from tasks.progress import Snapshot

COUNTS_KEY: Final = "batch-counts"
PAGE = 200  # rows: the most that the server hands out at a time

_MEMBERS, _TOTAL, _SHARE = "done", "of", "share of the batch"
_RATE, _MEAN, _LEFT = "images a second", "images a second, on average", "seconds left"
_FIELDS = {
    "with a face": "cropped",
    "without a face": "no_face",
    "no images": "skipped",
    "failed": "failed",
    "faces": "faces",
}
_FAILED = "failed: "


def to_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The table's rows, each with a name and a number."""
    counts = snapshot.counts
    values: dict[str, Any] = {_MEMBERS: counts.members, _TOTAL: snapshot.total}
    values |= {name: getattr(counts, field) for name, field in _FIELDS.items()}
    values |= {_FAILED + code: number for code, number in counts.errors.most_common()}
    values |= {
        _SHARE: round(snapshot.share, 6),
        _RATE: round(snapshot.images_per_second, 2),
        _MEAN: round(snapshot.mean_images_per_second, 2),
        _LEFT: None if snapshot.seconds_left is None else round(snapshot.seconds_left, 1),
    }
    return [{"count": name, "number": number} for name, number in values.items()]


def from_rows(rows: list[dict[str, Any]]) -> Snapshot:
    """What `to_rows` was given."""
    values = {row["count"]: row["number"] for row in rows}
    errors = {
        name.removeprefix(_FAILED): number
        for name, number in values.items()
        if name.startswith(_FAILED)
    }
    counts = Totals(
        members=values[_MEMBERS],
        errors=Counter(errors),
        **{field: values[name] for name, field in _FIELDS.items()},
    )
    names = (_TOTAL, _SHARE, _RATE, _MEAN, _LEFT)
    return Snapshot(counts, *(values[name] for name in names))


def read_snapshots(client: SyncPrefectClient, runs: list[UUID]) -> dict[UUID, Snapshot]:
    """How far flow runs are, by their tables; at most `PAGE` of them."""
    artifacts = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=runs),
            key=ArtifactFilterKey(any_=[COUNTS_KEY]),
        ),
        limit=PAGE,
    )
    return {
        artifact.flow_run_id: from_rows(json.loads(str(artifact.data)))
        for artifact in artifacts
        if artifact.flow_run_id is not None
    }
