"""Which photographs of an output were forgotten, so that nothing brings them back.

`batch.json` has an entry for each: its index, and hashes of its file and of its path. Neither says
who was on it; both tell it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from storage.output.cells import as_text

FORGOTTEN = "forgotten"  # key of batch.json
FORGETTING = "forgetting"  # key that is there until all is removed
_MARK = "forgotten:"  # begins what stands for a path in a lot

Entries = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Tombs:
    """What is not to come back.

    Attributes:
        members: indexes.
        sha256s: of files.
        paths: hashes of paths, by `path_hash`.
    """

    members: frozenset[int]
    sha256s: frozenset[str]
    paths: frozenset[str]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Tombs:
        """Those of an output, by its `batch.json`."""
        entries = record.get(FORGOTTEN, ())
        return cls(*(frozenset(_known(entries, key)) for key in ("member", "sha256", "path")))

    def __bool__(self) -> bool:
        return bool(self.members or self.sha256s or self.paths)

    def hold(self, member: int, path: str, data: bytes | memoryview | None) -> bool:
        """Whether a member is not to come back, by its index, its path or its content."""
        if member in self.members or path_hash(path) in self.paths:
            return True
        return data is not None and hashlib.sha256(data).hexdigest() in self.sha256s


def tomb(member: int, path: str, sha256: str | None, at: str) -> dict[str, Any]:
    """The entry of a photograph; `at` says when it was forgotten."""
    return {"member": member, "path": path_hash(path), "sha256": sha256, "at": at}


def carried(there: Mapping[str, Any], record: Mapping[str, Any]) -> Entries:
    """The entries of a batch that another one replaces, as that one has them.

    Its members may have other indexes, and of another archive the same path is another file.
    """
    same = there.get("archive", {}).get("uri") == record["archive"].get("uri")
    entries: Entries = there.get(FORGOTTEN, [])
    kept = [entry | {"member": None} | ({} if same else {"path": None}) for entry in entries]
    return [entry for entry in kept if entry["sha256"] or entry["path"]]


def path_hash(path: str) -> str:
    """What stands for a path, as the manifest has it."""
    return hashlib.sha256(as_text(path).encode()).hexdigest()


def marked(path: str) -> str:
    """What stands for a path in a lot: it still tells the file again."""
    return path if is_marked(path) else f"{_MARK}{path_hash(path)}"


def is_marked(path: str) -> bool:
    """Whether it stands for another one."""
    return path.startswith(_MARK)


def unmarked(paths: Iterable[str], among: Callable[[], Iterable[str]]) -> list[str]:
    """Paths of lots, with those that are marked spelled out where they are known.

    Args:
        paths: of lots.
        among: gives the paths of today.
    """
    found = list(paths)
    if not any(map(is_marked, found)):
        return found
    known = {marked(path): path for path in among()}
    return [known.get(path, path) for path in found]


def _known(entries: Iterable[Mapping[str, Any]], key: str) -> Iterable[Any]:
    return (entry[key] for entry in entries if entry.get(key) is not None)
