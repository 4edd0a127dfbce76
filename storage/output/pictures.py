"""A crop on its way to the output, with all that its batch knows of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from storage.output.cells import as_text
from storage.output.manifest import FACE_FIELDS, MEMBER_FIELDS, FaceRow, MemberRow

_OF_MEMBER = ("member", "path", "width", "height", "sha256")
ABOUT_FIELDS = [
    *(field for field in MEMBER_FIELDS if field.name in _OF_MEMBER),
    pa.field("folder", pa.string()),  # that the photograph lies in: in many sets it is a label
    *FACE_FIELDS,
]
"""Of what `Picture.about` gives: columns of the photograph's row, and all of the face's."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded crop, or photograph, with its rows.

    Attributes:
        member, face: the rows of `manifest.parquet` and `faces.parquet`.
        path: below the output.
        data: the file.
    """

    member: MemberRow
    face: FaceRow
    path: str
    data: bytes

    @property
    def name(self) -> str:
        """Its own, without folders."""
        return self.path.rpartition("/")[2]

    @property
    def about(self) -> dict[str, Any]:
        """What goes with it where it is packed, by the names of ABOUT_FIELDS."""
        member = {name: getattr(self.member, name) for name in _OF_MEMBER}
        member["path"] = as_text(self.member.path)
        folder = member["path"].replace("\\", "/").rpartition("/")[0].rpartition("/")[2]
        face = {name: getattr(self.face, name) for name in FaceRow.__slots__}
        return member | {"folder": folder} | face


def by_pack(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    """Pictures by the file that they are packed in: their own paths begin with its path."""
    packs: dict[str, list[Picture]] = {}
    for picture in pictures:
        packs.setdefault(picture.path.rpartition("/")[0], []).append(picture)
    return packs
