"""What a plan keeps of its members' names: which are repeated, and which are archives."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from storage.archives.cutting import Column, Marks
from storage.output.names import NESTED, digest, lies_in_nested, nests, repeats


class Names:
    """The names of an archive's members, in their order; some 8 bytes are kept of each.

    Args:
        opens: whether archives among the members are to be opened.
        before: names of members of the same batch that precede them all.
    """

    def __init__(self, *, opens: bool, before: Sequence[str] = ()) -> None:
        self._opens = opens
        self._before = b"".join(map(digest, before))
        self._digests = bytearray()
        self._nested = array("q")
        self._inside = array("q")

    def add(self, names: Sequence[str]) -> None:
        """Take in the next names."""
        first = len(self._digests) // 8
        self._digests += b"".join(map(digest, names))
        if not self._opens:
            return
        # one search of all of them: hardly any archive holds another
        text = "\n".join(names).lower()
        if not any(ending in text for ending in NESTED):
            return
        for index, name in enumerate(names, first):
            if nests(name):
                self._nested.append(index)
            if lies_in_nested(name):
                self._inside.append(index)

    def replace(self, index: int, name: str) -> None:
        """Take another spelling of a name for it; what is an archive stays one."""
        self._digests[8 * index : 8 * index + 8] = digest(name)

    @property
    def nested(self) -> Column:
        """Indexes of the members that are named like archives that can be opened."""
        return np.array(self._nested, np.int64)

    @property
    def again(self) -> Marks:
        """Flags of the members whose crop name another may have.

        An earlier member has it, or it lies in a folder that is called like an archive, and that
        archive may lie there, too, with a member of this name.
        """
        marks = repeats(self._before + self._digests)[len(self._before) // 8 :]
        marks[np.array(self._inside, np.int64)] = True
        return marks
