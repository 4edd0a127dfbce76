"""The report of a finished batch written anew; on request, with its photographs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.batch import open_again
from pipeline.extend import without
from pipeline.photographs.reading import Small, small_photographs
from pipeline.report import (
    MOST_FACES,
    MOST_FAILURES,
    MOST_MEMBERS,
    Section,
    cut,
    section_of,
    thinned,
    write_report,
)
from pipeline.settings import CropSettings, RunSettings
from pipeline.summary import Summary
from storage.archives.members import Archive
from storage.errors import OutputError
from storage.fs.redact import shown
from storage.output.counts import Status
from storage.output.output import Output

_MOST = 100  # photographs
_MOST_BYTES = 1_500_000  # of them: a report has room for its crops beside
_COLUMNS = ("path", "sha256", "width", "height")
_FACE_COLUMNS = ("page", "x", "y", "w", "h", "score")
_IMAGES = {Status.CROPPED.value, Status.NO_FACE.value}


def rewrite_report(output: str, *, photographs: bool) -> str:
    """Write the report of a finished batch anew.

    Args:
        output: the batch's.
        photographs: whether it shows photographs, too, each with the boxes of all faces that were
            found in it, and some in which none was: they are read from the archive again.

    Returns:
        URI of the report.

    Raises:
        ArchiveError: photographs are asked for, and the archive is gone or another one.
        OutputError: there is no finished batch, or its photographs are not to be shown.
        TransientError: storage failed on every attempt; run it again.
    """
    place = Output(output)
    record = place.join()
    place.require_finished()
    blurred = place.is_blurred
    if photographs and blurred:
        raise OutputError(
            f"{place.uri} has photographs whose faces are covered: its report does not show them "
            "as they were."
        )
    section = None
    if photographs:
        opened, settings, lots = open_again(place, record, RunSettings())
        section = _section(place, without(opened, lots, [0]).archive, settings)
    uri = shown(record["archive"].get("uri", ""))
    summary = Summary.of(uri, place.uri, place.totals(), None, 0.0, place.notes(), blurred=blurred)
    return write_report(place, summary, section)


def _section(place: Output, archive: Archive, settings: CropSettings) -> Section:
    sample = place.sample(MOST_MEMBERS, MOST_FACES, MOST_FAILURES)
    images = [row["member"] for row in sample.members if row["status"] in _IMAGES]
    images = thinned(images, _MOST)
    rows = dict(place.rows_of(images, _COLUMNS))
    faces: dict[int, list[dict[str, Any]]] = {member: [] for member in rows}
    for member, face in place.rows_of(images, _FACE_COLUMNS, faces=True):
        if not face.get("page"):
            faces[member].append(face)
    boxes = {
        member: [(face["x"], face["y"], face["w"], face["h"]) for face in some]
        for member, some in faces.items()
    }
    made = dict(small_photographs(archive, settings, rows, boxes))
    shown_ones = sorted(made)
    while sum(len(made[member].picture) for member in shown_ones) > _MOST_BYTES:
        shown_ones = shown_ones[::2]
    told = {
        "shown": [_shown(rows[member], faces[member], made[member]) for member in shown_ones],
        "unread": len(rows) - len(made),
    }
    return section_of("pipeline.photographs", {"photographs": told})


def _shown(
    row: Mapping[str, Any], faces: Sequence[Mapping[str, Any]], small: Small
) -> dict[str, Any]:
    return {
        "path": cut(row["path"]),
        "size": [row["width"], row["height"]],
        "inside": _rounded(small.inside),
        "faces": [
            {"box": _rounded(box), "score": face["score"]}
            for box, face in zip(small.boxes, faces, strict=True)
        ],
        "picture": base64.b64encode(small.picture).decode(),
    }


def _rounded(box: tuple[float, float, float, float]) -> list[float]:
    return [round(side, 1) for side in box]
