"""The parts of a batch: which are there, when each was committed, and their rows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

import pyarrow as pa

from storage.fs.fingerprint import written_at
from storage.output.folder import Folder
from storage.output.layout import PARTS, part_name
from storage.output.manifest import AccountingError, decode_part

_PART = re.compile(r"(\d{8})(-[0-9a-f]{8})?")
_AT_ONCE = 64


def list_parts(folder: Folder, claim: str) -> dict[int, float | None]:
    """The chunks that are done under a claim, with when each was committed.

    Args:
        folder: the output's.
        claim: id of the claim; "" in the first format.

    Returns:
        Seconds since the epoch, None where the file system does not tell, by the chunk's number.
    """
    found = {}
    with folder.errors("list"):
        for file in folder.list(PARTS):
            name = str(file["name"]).rpartition("/")[2].removesuffix(".parquet")
            if (matched := _PART.fullmatch(name)) and is_under(claim, f"{name}."):
                found[int(matched[1])] = written_at(file)
    return found


def is_under(claim: str, name: str) -> bool:
    """Whether a part or plan is of a claim, by its name."""
    return f"-{claim[:8]}." in name if claim else "-" not in name


def read_parts(folder: Folder, claim: str, chunks: Iterable[int]) -> Iterator[tuple[str, pa.Table]]:
    """The name and the rows of each chunk's part, in the order of `chunks`.

    Raises:
        AccountingError: a part is missing, damaged, or another claim's.
        What the file system raises.
    """
    numbers = iter(chunks)
    while some := list(itertools.islice(numbers, _AT_ONCE)):
        names = [part_name(number, claim) for number in some]
        found = folder.objects.get([folder.path(name) for name in names])
        for name, data in zip(names, found, strict=True):
            if isinstance(data, FileNotFoundError):
                raise AccountingError(f"{folder.uri}/{name} is missing. Run it again.") from data
            if isinstance(data, Exception):
                raise data
            yield name, decode_part(name, data, claim)
