"""How far a run is, as a table on its page that people read, and programs too."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient

from pipeline.progress import Snapshot
from storage.output.counts import Counts
from tasks.reporting.artifacts import read_artifacts

COUNTS_KEY: Final = "batch-counts"

_MEMBERS, _TOTAL, _SHARE = "done", "of", "share of the batch"
_RATE, _MEAN, _LEFT = "images a second", "images a second, on average", "seconds left"
_FIELDS = {
    "with a face": "cropped",
    "without a face": "no_face",
    "no images": "skipped",
    "failed": "failed",
    "faces": "faces",
    "faces not kept": "not_kept",
    "with no face that was kept": "none_kept",
}
_OLDER = {"faces not kept": 0, "with no face that was kept": 0}  # what older tables have no row of
_BY_CODE = {
    "failed: ": "errors",
    "skipped: ": "skips",
    "in doubt: ": "warnings",
    "not kept: ": "rejects",
}


def to_rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The table's rows, each with a name and a number."""
    counts = snapshot.counts
    values: dict[str, Any] = {_MEMBERS: counts.members, _TOTAL: snapshot.total}
    values |= {name: getattr(counts, field) for name, field in _FIELDS.items()}
    for prefix, field in _BY_CODE.items():
        values |= {prefix + code: n for code, n in getattr(counts, field).most_common()}
    values |= {
        _SHARE: round(snapshot.share, 6),
        _RATE: round(snapshot.images_per_second, 2),
        _MEAN: round(snapshot.mean_images_per_second, 2),
        _LEFT: None if snapshot.seconds_left is None else round(snapshot.seconds_left, 1),
    }
    return [{"count": name, "number": number} for name, number in values.items()]


def from_rows(rows: list[dict[str, Any]]) -> Snapshot:
    """What `to_rows` was given."""
    values = _OLDER | {row["count"]: row["number"] for row in rows}
    counted: dict[str, Any] = {field: values[name] for name, field in _FIELDS.items()}
    for prefix, field in _BY_CODE.items():
        codes = (name for name in values if name.startswith(prefix))
        counted[field] = Counter({code.removeprefix(prefix): values[code] for code in codes})
    counts = Counts(members=values[_MEMBERS], **counted)
    names = (_TOTAL, _SHARE, _RATE, _MEAN, _LEFT)
    return Snapshot(counts, *(values[name] for name in names))


def read_snapshots(client: SyncPrefectClient, runs: list[UUID]) -> dict[UUID, Snapshot]:
    """How far flow runs are, by their tables; at most 200 of them."""
    return {
        artifact.flow_run_id: from_rows(json.loads(str(artifact.data)))
        for artifact in read_artifacts(client, runs, COUNTS_KEY)
        if artifact.flow_run_id is not None
    }
