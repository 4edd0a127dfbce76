"""What of an output Facecrop wrote itself, by its tables, its parts and its lists of crops.

Only that may be removed. A person may have put files beside it, and into its folders.
"""

from __future__ import annotations

import itertools
import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import OutputError, StorageError
from storage.output.card import is_card
from storage.output.changes import CHANGE_COLUMNS
from storage.output.folder import Folder
from storage.output.layout import (
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
    REJECTED,
    REPORT,
    SKIPPED,
    SUMMARY,
    UNMATCHED_LIST,
)
from storage.output.manifest import FACES_SCHEMA, FAILED_COLUMNS, MANIFEST_SCHEMA, decode_part
from storage.output.people import UNMATCHED_COLUMNS, is_joined
from storage.output.summary import SUMMARY_FORMAT

_AT_ONCE = 1000
_ALONE = (
    MANIFEST,
    FACES,
    SUMMARY,
    REPORT,
    CHANGES,
    UNMATCHED_LIST,
    SKIPPED,
    FAILED,
)  # the manifest is removed last
_IN_PARTS = re.compile(r"\d{8}(-[0-9a-f]{8})?\.parquet")
_IN_LOTS = re.compile(r"\d{6}(-[0-9a-f]{8})?\.parquet")
_IN_PLAN = re.compile(r"\d{6}(-[0-9a-f]{8})?\.parquet|(\d{8}|copies)-[0-9a-f]{8}\.json")
_PACK, _PACKED = re.compile(r"\d{8}\.(tar|parquet)"), re.compile(r"\d{8}_\d+\.")
_PARQUET = b"PAR1"  # begins and ends a file of the format
_FOOTER_END = struct.Struct("<I4s")  # how many bytes the footer has before this, and the above
_FAILED_BEGINS = ",".join(FAILED_COLUMNS).encode()
_SHEETS = {
    FAILED: _FAILED_BEGINS,
    SKIPPED: _FAILED_BEGINS,
    CHANGES: ",".join(CHANGE_COLUMNS).encode(),
    UNMATCHED_LIST: ",".join(UNMATCHED_COLUMNS).encode(),
}


def remove_written(
    folder: Folder, keep: str = "", check: Callable[[], None] = lambda: None
) -> None:
    """Remove what batches wrote to an output, but for `batch.json`; their parts go last.

    May be called again where it was interrupted.

    Args:
        folder: of the output, whose `batch.json` is Facecrop's.
        keep: id of a claim whose parts stay.
        check: raises where removing has to stop; called before each thousand files or so.
    """
    parts = [name for name in _named(folder, PARTS, _IN_PARTS) if not _of(name, keep)]
    plan = [name for name in _named(folder, PLAN, _IN_PLAN) if not _of(name, keep)]
    lots = [name for name in _named(folder, LOTS, _IN_LOTS) if not _of(name, keep)]
    known = (
        _crops_in_faces(folder),
        _photos_in_manifest(folder),
        _files_in_parts(folder, parts),
        _files_in_lists(folder, plan),
    )
    crops = itertools.chain.from_iterable(known)
    while some := list(itertools.islice(crops, _AT_ONCE)):
        check()
        folder.remove(dict.fromkeys(some))
    check()
    alone = (CARD, *reversed(_ALONE))
    folder.remove([name for name in alone if folder.exists(name) and not is_anothers(folder, name)])
    folder.remove(plan)
    folder.remove(lots)
    folder.remove(parts)


def refuse_in_the_way(folder: Folder, names: Iterable[str]) -> None:
    """Raise OutputError where one of these tables or the report is there and is another's."""
    for name in names:
        if is_anothers(folder, name):
            raise in_the_way(folder, name)


def in_the_way(folder: Folder, name: str) -> OutputError:
    """The error where another's file is in the place of one of Facecrop's."""
    return OutputError(
        f"{folder.uri}/{name} is in the way, and Facecrop did not write it. Move it elsewhere."
    )


def left_over(folder: Folder, most: int) -> list[str]:
    """What is still there under names that a batch writes to, `most` files at most."""
    files = (one for name in (CROPS, PHOTOS, PARTS, LOTS, PLAN) for one in folder.files(name))
    alone = (name for name in _ALONE if folder.exists(name))
    return list(itertools.islice(itertools.chain(alone, files), most))


def _named(folder: Folder, name: str, pattern: re.Pattern[str]) -> list[str]:
    names = (str(file["name"]).rpartition("/")[2] for file in folder.list(name))
    return [f"{name}/{one}" for one in names if pattern.fullmatch(one)]


def _of(name: str, claim: str) -> bool:
    return bool(claim) and f"-{claim[:8]}." in name


def _crops_in_faces(folder: Folder) -> Iterator[str]:
    if _is_table(folder, FACES, FACES_SCHEMA):
        with folder.fs.open(folder.path(FACES), "rb") as file:
            for rows in pq.ParquetFile(file).iter_batches(columns=["crop"]):
                yield from _files_of(rows["crop"].to_pylist())


def _photos_in_manifest(folder: Folder) -> Iterator[str]:
    if _is_table(folder, MANIFEST, MANIFEST_SCHEMA):
        with folder.fs.open(folder.path(MANIFEST), "rb") as file:
            table = pq.ParquetFile(file)
            if "file" in table.schema_arrow.names:
                for rows in table.iter_batches(columns=["file"]):
                    yield from _files_of(rows["file"].to_pylist())


def _files_in_parts(folder: Folder, parts: Iterable[str]) -> Iterator[str]:
    for name in parts:
        try:
            rows = decode_part(name, folder.read(name) or b"")
        except StorageError:
            continue  # damaged: what it named stays
        for faces in rows["face_rows"].to_pylist():
            yield from _files_of(face["crop"] for face in faces or ())
        yield from _files_of(rows["file"].to_pylist())


def _files_in_lists(folder: Folder, plan: Iterable[str]) -> Iterator[str]:
    for name in plan:
        if name.endswith(".json"):
            try:
                listed = json.loads(folder.read(name) or b"[]")
            except ValueError:
                continue
            yield from _files_of(listed if isinstance(listed, list) else [])


def _files_of(crops: Iterable[Any]) -> Iterator[str]:
    """The files that crops are in: themselves, or the one that they were packed into."""
    for crop in crops:
        steps = str(crop or "").split("/")
        if steps[0] not in (CROPS, PHOTOS) or len(steps) < 2 or {"", ".", ".."} & set(steps):
            continue  # no name that Facecrop gives
        in_crops = steps[:-2] in ([CROPS], [CROPS, REJECTED])
        packed = in_crops and _PACK.fullmatch(steps[-2]) and _PACKED.match(steps[-1])
        yield "/".join(steps[:-1] if packed else steps)


def is_anothers(folder: Folder, name: str) -> bool:
    """Whether a table, summary, report or card is there and Facecrop did not write it as it is."""
    # twice: an object store may answer with bytes of another range, and seldom does so again
    return _seems_anothers(folder, name) and _seems_anothers(folder, name)


def _seems_anothers(folder: Folder, name: str) -> bool:
    if not folder.exists(name):
        return False
    if name == CARD:
        return not is_card(folder.read(name) or b"")
    schema = {FACES: FACES_SCHEMA, MANIFEST: MANIFEST_SCHEMA}.get(name)
    if schema is None:
        return not _is_text(folder, name)
    footer = _footer(folder, name)
    return not (_is_ours(footer, schema) if footer else _is_cut_short(folder, name))


def _is_cut_short(folder: Folder, name: str) -> bool:
    """A file without a footer that a power cut left empty, or of a table: nobody's work."""
    with folder.fs.open(folder.path(name), "rb") as file:
        return _PARQUET.startswith(file.read(len(_PARQUET)))


def _is_table(folder: Folder, name: str, schema: pa.Schema) -> bool:
    return folder.exists(name) and _is_ours(_footer(folder, name), schema)


def _is_ours(footer: bytes, schema: pa.Schema) -> bool:
    try:
        names = set(pq.read_schema(pa.BufferReader(footer)).names)
    except (pa.ArrowException, OSError):  # of the bytes: what storage raises says nothing of them
        return False
    own = {name for name in names if not is_joined(name)}
    return {"member", "path"} <= own <= set(schema.names)


def _footer(folder: Folder, name: str) -> bytes:
    """The end of a Parquet file, with its schema; nothing of another file."""
    with folder.fs.open(folder.path(name), "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _FOOTER_END.size))
        end = file.read()
        if size <= _FOOTER_END.size or not end.endswith(_PARQUET):
            return b""
        length, _ = _FOOTER_END.unpack(end)
        file.seek(max(0, size - _FOOTER_END.size - length))
        footer: bytes = file.read()
    return footer


def _is_text(folder: Folder, name: str) -> bool:
    with folder.fs.open(folder.path(name), "rb") as file:
        head: bytes = file.read(4096)
    if not head:
        return True
    if name in _SHEETS:
        return head.removeprefix(b"\xef\xbb\xbf").replace(b'"', b"").startswith(_SHEETS[name])
    return (SUMMARY_FORMAT.encode() if name == SUMMARY else b"Facecrop") in head
