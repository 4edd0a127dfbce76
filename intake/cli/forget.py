"""`facecrop forget`: shows what a batch has of a photograph, and removes it when told to."""

from __future__ import annotations

import json

from intake.cli.console import DONE, counted, fail, plain
from pipeline.forget import Found, forget, look_up
from storage.errors import StorageError, TransientError
from storage.fs.redact import shown
from storage.output.finding import Wanted

_NAMED = 20  # crops in a list


def forget_photograph(
    output: str, path: str | None, sha256: str | None, *, remove: bool, as_json: bool
) -> int:
    """Print what would go, or the receipt of what went, and return the exit code.

    Args:
        output: of the batch.
        path, sha256: of the photograph; see `Wanted`.
        remove: whether it is to go.
        as_json: JSON objects instead of lines.
    """
    try:
        found = look_up(output, Wanted(path or "", sha256 or ""))
        if not remove:
            print("\n".join(_json(found) if as_json else _lines(found)), flush=True)
            return DONE
        receipt = forget(output, found.rows)
    except (StorageError, TransientError) as error:
        return fail(str(error), as_json=as_json)
    if as_json:
        print(json.dumps(receipt), flush=True)
        return DONE
    files = counted(sum(receipt["files"].values()), "file")
    print(
        f"forgotten: {counted(len(receipt['members']), 'photograph')}; {files} removed, "
        f"{len(receipt['rewritten']):,} rewritten; {plain(shown(output))}/forgotten.json has the "
        "receipt",
        flush=True,
    )
    return DONE


def _json(found: Found) -> list[str]:
    return [json.dumps(row | {"removed": False}) for row in found.rows]


def _lines(found: Found) -> list[str]:
    lines = [
        f"{row['path']}: {row['status']}, {counted(len(row['faces']), 'face')}"
        for row in found.rows
    ]
    crops = found.crops
    lines += [f"  {name}" for name in crops[:_NAMED]]
    if len(crops) > _NAMED:
        lines.append(f"  and {len(crops) - _NAMED:,} more")
    if found.is_cut_off:
        lines.append("what was being forgotten before is not all gone: --yes goes on with it, too")
    lines.append(
        f"{counted(len(found.rows), 'photograph')} with {counted(len(crops), 'crop')} may go, with "
        "all rows, for good; --yes removes all of it"
    )
    return [plain(shown(line)) for line in lines]
