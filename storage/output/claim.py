"""Whose an output is: one batch's alone, by the id in a `batch.json` that is made exclusively."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from storage.errors import OutputError, TransientError
from storage.output.folder import Folder
from storage.output.layout import (
    BATCH,
    CARD,
    CHANGES,
    CROPS,
    FACES,
    FAILED,
    LOTS,
    MANIFEST,
    PARTS,
    PHOTOS,
    PLAN,
    RECEIPTS,
    REPORT,
    SKIPPED,
    TABLES,
    UNMATCHED_LIST,
    lot_name,
)
from storage.output.lots import count_lots, decode_lot
from storage.output.tombs import FORGETTING, FORGOTTEN, carried
from storage.output.written import left_over, refuse_in_the_way, remove_written

Existing = Literal["resume", "extend", "overwrite"]

GROWING = ("folder", "list")
"""Kinds of archives that a batch can be extended with what is new in them."""

_IDENTITY = ("archive", "settings", "recrop")
_VERSION = ("archive.size", "archive.version")  # of the identity, what an extension may change
_OF_EVERY_BATCH = frozenset(("format", "archive", "settings"))  # keys of batch.json
_CUT = "settings.chunk."
FORMATS = (1, 2, 3, 4)
"""In the first, parts did not carry the id of their claim; up to the second, nothing was turned; up
to the third, nothing was forgotten."""

_MOST_KEPT = 10_000  # files of others in the folders of an output that is overwritten
_UNCLAIMED = "0" * 7 + "1"  # names the writers of batches in the first format


def claim(
    folder: Folder,
    record: Mapping[str, Any],
    existing: Existing,
    defaults: Mapping[str, Any],
    sources: Callable[[], Iterable[str]],
) -> dict[str, Any]:
    """Make an output a batch's, or resume it; see `output.Output.claim`.

    Returns:
        What `batch.json` says then.
    """
    with folder.errors("read"), folder.alone():
        there = _read(folder, existing)
        if there is None:
            strange = left_over(folder, 1)
            if not strange and folder.create(BATCH, _as_json(record)):
                return dict(record)
            there = _read(folder, existing)  # another run was first, and what is there is its
            if there is None:
                raise _strange(folder, strange[0]) if strange else _claimed_meanwhile(folder)
            if existing == "overwrite":
                existing = "resume"
        _refuse_unknown(folder, there)
        if existing == "overwrite" and not _same_run(there, record):
            return _replace(folder, there, record, sources)
        settings = _filled(there.get("settings"), defaults)
        now = {**there, "archive": _extended(folder, there), "settings": settings}
        _refuse_another(folder, now, record, existing)
        refuse_half_forgotten(folder, there)
        # killed while it made room, it goes on with that
        return _make_room(folder, there) if "replaces" in there else there


def read_record(folder: Folder) -> dict[str, Any]:
    """What `batch.json` says.

    Raises:
        OutputError: no batch was begun here.
    """
    with folder.errors("read"):
        there = _read(folder, "resume")
    if there is None:
        raise OutputError(f"{folder.uri} holds no batch: it has no {BATCH}.")
    return there


def claim_of(record: Mapping[str, Any]) -> str:
    """The id that parts of a batch carry, by its `batch.json`; "" in the first format."""
    return str(record.get("id", "")) if record.get("format", 1) != 1 else ""


def claim_there(folder: Folder) -> str:
    """The id that parts of the batch at an output carry; "" also where nothing says so."""
    with folder.errors("read"):
        return claim_of(_glance(folder))


def writer_of(claim: str) -> str:
    """The name under which the holder of a claim writes; see `Folder.put`."""
    return claim or _UNCLAIMED


def check_owner(folder: Folder, owner: object, forgotten: object = None) -> None:
    """Make sure that an output is still a batch's, and that nothing was forgotten meanwhile.

    Args:
        folder: the output's.
        owner: id of the batch.
        forgotten: what its `batch.json` has under FORGOTTEN, as far as the caller knows.

    Raises:
        OutputError: another batch has taken it, it was removed, or a photograph was.
    """
    there = _glance(folder)
    if not there or there.get("id") != owner:
        raise OutputError(
            f"{folder.uri} is no longer this batch's: another one has taken it, or it was removed. "
            "Name another output."
        )
    if there.get(FORGOTTEN) != forgotten:
        raise OutputError(
            f"A photograph of {folder.uri} was forgotten meanwhile. Run it again to go on."
        )


def refuse_half_forgotten(folder: Folder, there: Mapping[str, Any]) -> None:
    """Raise OutputError where a photograph was being forgotten, and all of it is not gone yet."""
    if FORGETTING in there:
        raise OutputError(
            f"A photograph of {folder.uri} is being forgotten, or that was cut off: run that "
            "`facecrop forget` again first."
        )


def refuse_another_version(folder: Folder, there: Mapping[str, Any]) -> None:
    """Raise OutputError for a batch of a format that this version does not know."""
    if there.get("format", 1) not in FORMATS:
        raise OutputError(
            f"{folder.uri} was begun by another version of Facecrop, which has to go on with it: "
            f"its format is {there['format']}, not {FORMATS[-1]}."
        )


def remove(folder: Folder) -> list[str]:
    """Remove a batch, and nothing else; see `output.Output.remove`."""
    _refuse_unknown(folder, read_record(folder))
    with folder.errors("remove"), folder.alone():
        folder.evict("")
        remove_written(folder)
        left = left_over(folder, _MOST_KEPT)
        folder.remove([RECEIPTS, BATCH])
        folder.remove_if_empty()
    return left


def _read(folder: Folder, existing: Existing) -> dict[str, Any] | None:
    """What `batch.json` says; None where there is none, or a damaged one is to be replaced."""
    data = folder.read(BATCH)
    if data is None:
        return None
    try:
        there = json.loads(data)
    except ValueError as error:
        if existing == "overwrite":
            return {"format": FORMATS[-1], "id": "", "archive": {}, "settings": {}}
        raise OutputError(
            f"{folder.uri}/{BATCH} is damaged. Name another output, put it back from a copy, "
            "or overwrite (run.existing), which removes what Facecrop wrote here, and no more."
        ) from error
    if not isinstance(there, dict):
        raise _not_a_batch(folder)
    return there


def _glance(folder: Folder) -> dict[str, Any]:
    """What `batch.json` says; {} where it says nothing."""
    try:
        there = json.loads(folder.read(BATCH) or b"{}")
    except ValueError:
        return {}
    return there if isinstance(there, dict) else {}


def _claimed_meanwhile(folder: Folder) -> TransientError:
    return TransientError(f"{folder.uri} is being claimed by another run")


def _refuse_unknown(folder: Folder, there: Mapping[str, Any]) -> None:
    if not there.keys() >= _OF_EVERY_BATCH:
        raise _not_a_batch(folder)


def _not_a_batch(folder: Folder) -> OutputError:
    return OutputError(f"{folder.uri}/{BATCH} is not one of Facecrop's. Name another output.")


def _strange(folder: Folder, name: str) -> OutputError:
    return OutputError(
        f"{folder.uri} holds {name}, and no {BATCH} says that it is Facecrop's. "
        "Name another output."
    )


def _extended(folder: Folder, there: Mapping[str, Any]) -> Any:
    """What a batch's record says of its archive, as of its last extension."""
    archive = there["archive"]
    if not isinstance(archive, dict) or archive.get("kind") not in GROWING:
        return archive
    count = count_lots(folder, claim_of(there))
    if not count:
        return archive
    name = lot_name(count - 1, claim_of(there))
    last = decode_lot(f"{folder.uri}/{name}", folder.read(name) or b"").files.fingerprint
    return {**archive, "size": last.size, "version": last.version}


def _refuse_another(
    folder: Folder, there: Mapping[str, Any], record: Mapping[str, Any], existing: Existing
) -> None:
    refuse_another_version(folder, there)
    # how it was cut changes no row and no crop's content: a batch keeps the cut that it has
    differences = [
        f"{name}: {old!r} there, {new!r} now"
        for name, old, new in _differences(
            {key: there.get(key) for key in _IDENTITY},
            {key: record.get(key) for key in _IDENTITY},
        )
        if not name.startswith(_CUT)
    ]
    changed = bool(differences) and all(line.startswith(_VERSION) for line in differences)
    grows = record["archive"].get("kind") in GROWING and "recrop" not in record
    if changed and existing == "extend":
        if not grows:
            raise OutputError(
                f"{record['archive']['uri']} has changed since {folder.uri} was made of it, and "
                "only a folder, a prefix or a list can be extended. Name another output, or put "
                "what is new into a folder."
            )
    elif differences:
        fix = ", or extend it (--run-existing extend)" if changed and grows else ""
        raise OutputError(
            f"{folder.uri} holds another batch ({'; '.join(differences[:3])}). "
            f"Name another output{fix}."
        )


def _replace(
    folder: Folder,
    there: Mapping[str, Any],
    record: Mapping[str, Any],
    sources: Callable[[], Iterable[str]],
) -> dict[str, Any]:
    """Take the output from another batch, and remove what that one wrote."""
    begun, asked = there.get("created", ""), record.get("asked", "")
    if asked and begun > asked:
        raise OutputError(
            f"{folder.uri} holds a batch that was begun after this run was asked for. "
            "Run it again if it is to go, or name another output."
        )
    for source in sources():
        written = (CROPS, PHOTOS, PARTS, LOTS, PLAN, *TABLES, CHANGES, UNMATCHED_LIST)
        for name in (*written, REPORT, CARD, BATCH):
            if folder.holds(source, name):
                raise OutputError(
                    f"{source} lies in what would be removed ({folder.uri}/{name}). "
                    "Nothing was touched. Name another output."
                )
    refuse_in_the_way(folder, (FACES, FAILED, SKIPPED, CHANGES, UNMATCHED_LIST, MANIFEST, REPORT))
    taken = {**record, "replaces": there.get("id", "")}
    if forgotten := carried(there, record):
        taken |= {"format": FORMATS[-1], FORGOTTEN: forgotten}
    folder.put({BATCH: _as_json(taken)})
    return _make_room(folder, taken)


def _make_room(folder: Folder, record: Mapping[str, Any]) -> dict[str, Any]:
    """Remove what the batches before wrote, whose place a new one has just taken."""
    mine = str(record.get("id", ""))
    folder.evict(mine)
    remove_written(folder, mine, lambda: _check_room_is_made(folder, mine))
    left = [name for name in left_over(folder, _MOST_KEPT + 1) if f"-{mine[:8]}." not in name]
    kept = {key: value for key, value in record.items() if key != "replaces"}
    if len(left) > _MOST_KEPT:
        raise OutputError(
            f"{folder.uri} holds too many files that Facecrop did not write, {left[0]} for one. "
            "Move them elsewhere, or name another output."
        )
    if left:
        kept["beside"] = left
    writer = writer_of(claim_of(kept))
    with folder.errors("write"):
        folder.put({BATCH: _as_json(kept)}, writer, lambda: _check_mine(folder, kept))
    return kept


def _check_mine(folder: Folder, record: Mapping[str, Any]) -> None:
    check_owner(folder, record.get("id"), record.get(FORGOTTEN))


def _check_room_is_made(folder: Folder, claim: str) -> None:
    """Make sure that no other process has gone on with a claim, and writes crops by now.

    So it is where one was taken for dead, and its run was started again.

    Raises:
        TransientError: one has.
    """
    there = _glance(folder)
    if str(there.get("id", "")) != claim or "replaces" not in there:
        raise _claimed_meanwhile(folder)


def _as_json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=2).encode()


def _same_run(there: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a run finds its own claim again, as after a crash."""
    return bool(record.get("run")) and there.get("run") == record.get("run")


def _filled(there: Any, defaults: Any) -> Any:
    """A nested record, with what it lacks."""
    if not isinstance(there, dict) or not isinstance(defaults, Mapping):
        return there
    known = {key: _filled(value, defaults.get(key)) for key, value in there.items()}
    return {**defaults, **known}


def _differences(there: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each leaf in which two nested records differ."""
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted(there.keys() | now.keys()):
            yield from _differences(there.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif there != now:
        yield name, there, now
