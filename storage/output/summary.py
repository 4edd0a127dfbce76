"""The counts of a finished batch as one small file: no status reads a manifest of a million rows.

It is written just before the manifest and names its size, so that it never speaks for another one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from storage.output.counts import Counts

SUMMARY_FORMAT = "facecrop-summary/1"


def encode_summary(totals: Counts, manifest_bytes: int, notes: Sequence[str] = ()) -> bytes:
    """The counts of a batch, notes on it, and the size of the manifest that they are from."""
    data = {
        "format": SUMMARY_FORMAT,
        "manifest_bytes": manifest_bytes,
        **totals.as_dict(),
        "notes": list(notes),
    }
    return json.dumps(data, indent=2).encode() + b"\n"


def decode_summary(data: bytes, manifest_bytes: int) -> Counts | None:
    """The counts; None where the file is not Facecrop's, or of a manifest of another size."""
    try:
        found = json.loads(data)
        if (found["format"], found["manifest_bytes"]) != (SUMMARY_FORMAT, manifest_bytes):
            return None
        return Counts.of(found)
    except (ValueError, KeyError, TypeError):
        return None


def decode_notes(data: bytes) -> list[str]:
    """The notes of `encode_summary`; none where the file is not Facecrop's, or an older one's."""
    try:
        return [str(line) for line in json.loads(data)["notes"]]
    except (ValueError, KeyError, TypeError):
        return []
