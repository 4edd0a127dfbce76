"""`facecrop cleanup`: shows what is old and needed by nothing, and removes it when told to."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient

from intake.cli.asking import asked
from intake.cli.console import DONE, WRONG_USE, complain, plain
from intake.cli.tables import ROWS_SHOWN, console, table
from intake.control.cleanup import Left, Old, find_old, remove_old
from intake.control.connection import patience
from intake.control.oldruns import old_runs
from pipeline.progress import size_of
from tasks.variables import HTTP_STORE

_NAMED = 3  # places in one line


def clean_up(days: float, store: str | None, *, outputs: bool, remove: bool, as_json: bool) -> int:
    """Print what is old, remove it if that is asked for, and return the exit code.

    Args:
        days: how long ago it ended, or was written.
        store: of the HTTP service; None for the one that its own setting names, and where there is
            none only runs are considered.
        outputs: whether the outputs of finished batches in the store are to go, too.
        remove: whether anything is to go at all.
        as_json: JSON objects instead of a table.
    """
    store = store or HTTP_STORE.read()
    if outputs and not store:
        complain("--batches: name the store, with --store or FACECROP_HTTP_STORE")
        return WRONG_USE

    def sweep(client: SyncPrefectClient) -> int:
        with patience():
            before = datetime.now(UTC) - timedelta(days=days)
            found: list[Old | Left] = []
            if store:
                found = list(find_old(client, store, days, outputs=outputs, warn=complain))
            old = [one for one in found if isinstance(one, Old)]
            left = [one for one in found if isinstance(one, Left)]
            runs = old_runs(client, before, remove=False)
            show = _print_json if as_json else _print_table
            show(runs, old, days)
            size = sum(one.bytes for one in old)
            if remove:
                old, size, more = remove_old(client, old)
                left += more
                runs = old_runs(client, before, remove=True)  # last: they know what uploads are for
            (_print_left_json if as_json else _print_left)(left)
            _print_end(runs.total(), len(old), size, removed=remove, as_json=as_json)
        return DONE

    return asked(sweep, as_json=as_json)


def _print_table(runs: Counter[str], old: list[Old], days: float) -> None:
    rows = [
        (f"runs of {flow}", f"{count:,}", "", f"over {days:g} days old")
        for flow, count in runs.items()
        if count
    ]
    rows += [
        (one.place, size_of(one.bytes), f"{one.days:,.0f} days", one.why)
        for one in old[:ROWS_SHOWN]
    ]
    if rows:
        console().print(table(("what", "how much", "age", "why"), rows))
    if len(old) > ROWS_SHOWN:
        print(f"and {len(old) - ROWS_SHOWN:,} more places, which --json names")


def _print_json(runs: Counter[str], old: list[Old], days: float) -> None:
    for flow, count in runs.items():
        if count:
            print(json.dumps({"runs_of": flow, "count": count, "days": days}))
    for one in old:
        values = {"place": one.place, "bytes": one.bytes, "days": round(one.days, 1)}
        print(json.dumps(values | {"why": one.why}))


def _print_left(left: list[Left]) -> None:
    """A line for each reason: what Facecrop does not remove, a person may have to."""
    for why in dict.fromkeys(one.why for one in left):
        places = [one.place for one in left if one.why == why]
        more = f" and {len(places) - _NAMED:,} more" if len(places) > _NAMED else ""
        named = ", ".join(map(plain, places[:_NAMED]))
        print(f"left, {why}: {named}{more}; remove by hand what nobody needs")


def _print_left_json(left: list[Left]) -> None:
    for one in left:
        print(json.dumps({"left": one.place, "why": one.why}))


def _print_end(runs: int, places: int, size: int, *, removed: bool, as_json: bool) -> None:
    if as_json:
        values = {"removed": removed, "runs": runs, "places": places, "bytes": size}
        print(json.dumps(values), flush=True)
        return
    found = [f"{runs:,} runs"] if runs else []
    if places:
        found.append(f"{places:,} places in the store ({size_of(size)})")
    if not found:
        line = "nothing to remove"
    elif removed:
        line = f"removed {' and '.join(found)}"
    else:
        line = f"{' and '.join(found)} may go; --yes removes them"
    print(line, flush=True)
