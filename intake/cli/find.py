"""`facecrop find`: which batches below a prefix have a photograph, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from intake.cli.console import DONE, FAILED, WRONG_USE, complain, counted, fail, plain
from intake.control.store import RECORDS, UPLOADS
from storage.errors import StorageError, TransientError
from storage.fs.redact import shown
from storage.output.finding import Wanted
from storage.output.reading import OutputReader
from storage.outputs import outputs_below
from tasks.variables import HTTP_STORE


def find(
    store: str | None, path: str | None, sha256: str | None, batch: str | None, *, as_json: bool
) -> int:
    """Print what is found, and return the exit code.

    Args:
        store: a folder or prefix; None for that of the HTTP service.
        path, sha256: of a photograph; see `Wanted`.
        batch: an id, of a batch instead.
        as_json: one JSON object a photograph or batch.
    """
    store = store or HTTP_STORE.read()
    if not store:
        complain("name where the outputs lie, with --store or FACECROP_HTTP_STORE")
        return WRONG_USE
    wanted = None if batch else Wanted(path or "", sha256 or "")
    count = unread = looked = 0
    try:
        for uri in outputs_below(store, (UPLOADS, RECORDS)):
            looked += 1
            try:
                rows = list(_of_output(OutputReader(uri), wanted, batch))
            except (StorageError, TransientError) as error:
                unread += 1
                complain(f"left out: {error}")
                continue
            for row in rows:
                print(json.dumps(row) if as_json else _lines(row), flush=True)
            count += len(rows)
    except (StorageError, TransientError) as error:
        return fail(str(error), as_json=as_json)
    if not count and not as_json:
        print(plain(shown(f"not found in {counted(looked, 'output')} below {store}")))
    return FAILED if unread else DONE


def _of_output(
    output: OutputReader, wanted: Wanted | None, batch: str | None
) -> Iterator[dict[str, Any]]:
    record = output.record()
    about = {
        "output": output.uri,
        "batch": record.get("id", ""),
        "archive": record["archive"].get("uri", ""),
        "created": record.get("created", ""),
    }
    if wanted is not None:
        yield from (about | row for row in output.find(wanted))
    elif batch in (record.get("id"), record.get("run"), output.uri.rpartition("/")[2]):
        finished = output.finished()
        yield about | {"counts": None if finished is None else finished.as_dict()}


def _lines(found: dict[str, Any]) -> str:
    """For a person: the output, what became of the photograph, and each crop."""
    lines = [f"{found['output']}  ({found['archive']}, {found['created']})"]
    if "path" not in found:
        counts = found["counts"]
        faces = "not finished" if counts is None else counted(counts["members"], "member")
        lines.append(f"  {faces}")
    else:
        why = f" ({found['error']}: {found['message'] or ''})" if found["error"] else ""
        faces = f", {counted(len(found['faces']), 'face')}" if found["status"] == "cropped" else ""
        lines.append(f"  {found['path']}: {found['status']}{why}{faces}")
        files = [found["file"], *(face["crop"] for face in found["faces"])]
        lines += [f"    {name}" for name in files if name]
    return "\n".join(plain(shown(line)) for line in lines)
