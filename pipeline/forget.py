"""A photograph forgotten: all that a finished batch has of it removed, with a receipt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.report import write_report
from pipeline.summary import Summary
from storage.errors import OutputError
from storage.fs.redact import shown
from storage.output.finding import Wanted
from storage.output.forgetting import ForgettingOutput
from storage.output.tombs import FORGETTING, path_hash, tomb


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to forget.

    Attributes:
        rows: of the photographs, with their faces.
        is_cut_off: whether an earlier run did not remove all that it was to.
    """

    rows: list[dict[str, Any]]
    is_cut_off: bool

    @property
    def crops(self) -> list[str]:
        """The crops and photographs that would go, by their paths."""
        files = [row["file"] for row in self.rows if row["file"]]
        faces = (face for row in self.rows for face in row["faces"])
        return files + [face["crop"] for face in faces if face["crop"]]


def look_up(output: str, wanted: Wanted) -> Found:
    """Find what would be forgotten: the photograph, and each other with the same content.

    Raises:
        OutputError: there is no such photograph, it is not clear which is meant, the batch is not
            finished, or a run is at work on it.
    """
    place = ForgettingOutput(output)
    record = place.open()
    is_cut_off = FORGETTING in record
    rows = _meant(place.uri, wanted, place.find(wanted))
    for digest in sorted({row["sha256"] for row in rows} - {None}):
        rows += place.find(Wanted(sha256=digest))
    for path in sorted({row["path"] for row in rows}):
        rows += place.find(Wanted(path=f"(behind {path})"))  # where a TAR is damaged behind it
    every = {row["member"]: row for row in rows}
    if not every and not is_cut_off:
        tombs = place.tombs
        known = wanted.sha256 in tombs.sha256s or path_hash(wanted.path) in tombs.paths
        raise OutputError(
            f"{place.uri} has forgotten it already"
            if known
            else f"{place.uri} has no photograph of that {wanted.column}; `facecrop find` looks in "
            "other batches"
        )
    return Found([every[member] for member in sorted(every)], is_cut_off)


def forget(output: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Forget photographs, and write what was removed down; it goes on where it was cut off.

    Args:
        output: of a finished batch.
        rows: of the photographs, by `look_up`.

    Returns:
        The receipt: when, what went, and hashes of files before and after.
    """
    place = ForgettingOutput(output)
    record = place.open()
    at, began = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    before = place.digests()
    new = [row for row in rows if row["member"] not in place.tombs.members]
    if new:
        place.bury(tomb(row["member"], row["path"], row["sha256"], at) for row in new)
    removed = place.remove_forgotten()
    uri, blurred = shown(record["archive"].get("uri", "")), place.is_blurred
    took = time.monotonic() - began
    counts = place.totals(), None, took, place.notes()
    write_report(place, Summary.of(uri, place.uri, *counts, blurred=blurred))
    after = place.digests()
    changed = {name: [before[name], after[name]] for name in after if before[name] != after[name]}
    receipt = {
        "at": at,
        "batch": record.get("id", ""),
        "members": sorted({row["member"] for row in rows} or place.tombs.members),
        "files": dict(removed.files),
        "contents": removed.contents,
        "rows": dict(removed.rows),
        "rewritten": removed.rewritten | changed,
    }
    place.end(receipt)
    return receipt


def _meant(uri: str, wanted: Wanted, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of photographs whose path ends alike, the one that is meant."""
    if wanted.sha256:
        return rows
    exact = [row for row in rows if row["path"] == wanted.path]
    if not exact and len(rows) > 1:
        raise OutputError(
            f"{uri} has {len(rows):,} photographs called {wanted.path}, {rows[0]['path']} for one. "
            "Name the whole path."
        )
    return exact or rows
