"""`facecrop cleanup`: shows what is old and needed by nothing, and removes it when told to."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName

from intake.exits import DONE, WRONG_USE, complain
from intake.oldruns import batches, old_runs, unfinished
from intake.queues import console
from intake.render import table
from intake.status import ROWS_SHOWN, asked
from intake.uploads import UPLOADS
from storage.errors import ArchiveError, OutputError, StorageError
from storage.location import probe, resolve
from storage.output import MANIFEST, Output
from storage.sweep import CutOff, Shelf

BATCHES = "batches"  # below the store
_DAY = 86_400.0
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_PARTS = re.compile(r"[/\\]")


@dataclass(frozen=True, slots=True)
class Old:
    """Something in the store that may be removed.

    Attributes:
        place: its path below the store.
        bytes: that it takes; None where the storage does not tell.
        days: since it was written last; of a batch, since it was begun.
        why: it may be removed.
    """

    place: str
    bytes: int | None
    days: float
    why: str


def clean_up(
    days: float, store: str | None, *, outputs: bool, remove: bool, as_json: bool
) -> int:
    """Prints what is old, removes it if that is asked for, and returns the exit code.

    Args:
        days: what is old.
        store: of the HTTP service; None for its own setting, and without one only runs count.
        outputs: whether finished batches' outputs in the store are to go, too.
        remove: whether to remove anything.
        as_json: JSON objects instead of a table.
    """
    store = store or os.environ.get("FACECROP_HTTP_STORE")
    if outputs and not store:
        complain("--batches: name the store with --store or FACECROP_HTTP_STORE")
        return WRONG_USE
    sweep = _Sweep(days, store, outputs=outputs, remove=remove, as_json=as_json)
    return asked(sweep.run, as_json=as_json)
