"""What is called how at an output."""

from __future__ import annotations

BATCH = "batch.json"
PARTS = "parts"
LOTS = "lots"  # of a folder or a list: which files it was made of, and extended with
PLAN = "plan"  # while a batch runs: its shards' chunks, and the names of crops being written
CROPS = "crops"
REJECTED = "_rejected"  # below it: crops of faces that were not to be kept
UNMATCHED = "_unmatched"  # below it: crops of photographs that the roster says nothing of
PHOTOS = "photos"
MANIFEST = "manifest.parquet"
FACES = "faces.parquet"
FAILED = "failed.csv"
SKIPPED = "skipped.csv"
CHANGES = "changes.csv"
UNMATCHED_LIST = "unmatched.csv"  # where there is a roster: who is left over on either side
RECEIPTS = "forgotten.json"  # what was removed, and when; it says of nobody who it was
SUMMARY = "summary.json"
REPORT = "report.html"
CARD = "README.md"
# the manifest last: where it is, the batch is finished
TABLES = (FACES, FAILED, SKIPPED, SUMMARY, MANIFEST)


def plan_name(shard: int, claim: str) -> str:
    """The file with the chunks of a shard."""
    return f"{PLAN}/{shard:06d}{_of(claim)}.parquet"


def copies_name(claim: str) -> str:
    """The file with the members that come twice."""
    return f"{PLAN}/copies{_of(claim)}.json"


def list_name(chunk: int, claim: str) -> str:
    """The file with the names of a chunk's crops, which is written before they are."""
    return f"{PLAN}/{chunk:08d}{_of(claim)}.json"


def lot_name(number: int, claim: str) -> str:
    """The file that names what a batch took in at once."""
    return f"{LOTS}/{number:06d}{_of(claim)}.parquet"


def part_name(chunk: int, claim: str) -> str:
    """The part of a chunk. It names its claim: no other's run overwrites it or takes it for its."""
    return f"{PARTS}/{chunk:08d}{_of(claim)}.parquet"


def _of(claim: str) -> str:
    return f"-{claim[:8]}" if claim else ""
