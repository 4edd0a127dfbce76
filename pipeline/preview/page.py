"""The report of a preview: the page of a batch's report, with what all of it would come to."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.preview.compare import Difference
from pipeline.preview.cropping import Tried
from pipeline.preview.told import lines, way_lines
from pipeline.report import (
    MOST_FACES,
    MOST_FAILURES,
    MOST_MEMBERS,
    cut,
    page,
    page_data,
    section_of,
    shown_face,
    shown_photo,
    thinned,
)
from pipeline.settings import CropSettings
from pipeline.summary import Summary
from storage.output.manifest import tables
from storage.output.sample import Sample, read_sample

if TYPE_CHECKING:
    from pipeline.preview.run import Preview

_MOST_DIFFERENCES = 120  # shown: of 10 kB each


def make_page(
    made: Preview,
    summary: Summary,
    tried: Sequence[Tried],
    differences: Sequence[Difference],
    settings: CropSettings,
    created: datetime,
) -> bytes:
    """One HTML file that needs nothing but a browser.

    Args:
        made: what it tells.
        summary: of the sample.
        tried: its members.
        differences: faces of it that not all profiles find.
        settings: with which they were cropped.
        created: when that was begun.
    """
    manifest, faces = tables([one.row for one in tried])
    sample = read_sample(
        io.BytesIO(manifest), io.BytesIO(faces), MOST_MEMBERS, MOST_FACES, MOST_FAILURES
    )
    data = page_data(summary, sample, settings.identity(), created)
    some = thinned(differences, _MOST_DIFFERENCES)
    told = {
        "sampled": made.estimate.sampled,
        "members": made.estimate.members.estimate,
        "ofBeginning": made.estimate.of_beginning,
        "seed": made.seed,
        "lines": lines(made.estimate, made.schedule),
        "profiles": way_lines(made.profiles) if made.profiles else [],
        "disagreements": made.disagreements,
        "differences": [
            {
                "path": cut(one.path),
                "page": one.page,
                "score": one.score,
                "pixels": round(one.pixels),
                "found": one.found,
                "box": one.box,
                "picture": base64.b64encode(one.picture).decode(),
            }
            for one in some
        ],
    }
    section = section_of("pipeline.preview", {"preview": told})
    return page(data, list(_pictures(sample, tried)), section)


def _pictures(sample: Sample, tried: Sequence[Tried]) -> Iterator[dict[str, Any]]:
    """The sampled faces, or photographs with their faces covered, for a page."""
    small = {path: picture for one in tried for path, picture in one.pictures.items()}
    for place, member in enumerate(sample.members):
        if (picture := small.get(member["file"])) is not None:
            yield shown_photo(sample, place, picture)
    places = {row["member"]: place for place, row in enumerate(sample.members)}
    for face in sample.faces:
        if (picture := small.get(face["crop"])) is not None:
            yield shown_face(face, places[face["member"]], picture)
