"""The page that a person opens first: `report.html`, one file that needs nothing but a browser.

All that comes from outside goes into the page as JSON, and from there into text, never into HTML.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from itertools import islice
from typing import Any, TypeVar

from pipeline.cores import cores
from pipeline.summary import Summary
from storage.errors import SkipReason
from storage.fs.redact import shown
from storage.output.layout import REPORT
from storage.output.layouts import layout_of
from storage.output.output import Output
from storage.output.sample import FACE_BINS, FACE_SIZES, Sample, Throughput, throughput

Item = TypeVar("Item")

_MOST_BYTES = 4_900_000  # of the page: all of it but the pictures never comes near that
MOST_MEMBERS = 1000
MOST_FACES = 400
MOST_FAILURES = 100
_MOST_LEFT_OVER = 100  # of the photographs and of the people that the roster has on one side alone
_MOST_TWICE = 100  # of the photographs that come again
_MOST_CHARACTERS = 160  # of a name or a message
_CROPS_AT_ONCE = 40
THUMBNAIL = 150  # pixels: half of a crop of the default size, which is quickest to decode
_MOST_PHOTOS = 120  # of which each is decoded again
PHOTO_THUMBNAIL = 240  # pixels
_PARTS_READ = 1000  # for their sizes
_SPANS = 60

_SPREADS = {
    "head_height": "The heads, as estimated, are",
    "eye_line": "The eyes, from the top, are at",
}

TWICE = SkipReason.DUPLICATE.value
SHEET_COLUMNS = 8
SHEET_CELL = 120
_CUTS = {"sharpness": "min_sharpness", "yaw": "max_yaw", "score": "min_score"}
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}


@dataclass(frozen=True, slots=True)
class Section:
    """What a page has beside what every report has.

    Attributes:
        data: that its script shows.
        html: that comes before the list of faces.
        script: that fills it in.
    """

    data: Mapping[str, Any]
    html: str = ""
    script: str = ""


def write_report(output: Output, summary: Summary, section: Section | None = None) -> str:
    """Write the report of a finished batch, and return its URI.

    Args:
        output: the batch's.
        summary: what came of it.
        section: what the page shows besides.

    Raises:
        OutputError: the batch is not finished, or a crop of it is gone.
    """
    sample = output.sample(MOST_MEMBERS, MOST_FACES, MOST_FAILURES)
    record = output.record()
    extended = output.extended_at()
    done = _throughput(output, datetime.fromisoformat(record["created"]), extended)
    data = {
        **page_data(summary, sample, record["settings"], datetime.fromisoformat(record["created"])),
        "packed": bool(layout_of(record).data_files),
        "leftOver": _left_over(output),
        "twice": [
            [cut(path), cut(first)]
            for path, first in (output.duplicates(_MOST_TWICE) if summary.skips.get(TWICE) else ())
        ],
        "throughput": {
            "since": "begun" if extended is None else "last extended",
            "seconds": done.seconds,
            "members": done.members,
        },
    }
    shown = _photographs(output, sample) if summary.blurred else _faces(output, sample)
    output.put_report(page(data, shown, section))
    return f"{output.uri}/{REPORT}"


def page_data(
    summary: Summary, sample: Sample, settings: Mapping[str, Any], created: datetime
) -> dict[str, Any]:
    """What a page shows of some members and their faces, but for the pictures.

    Args:
        summary: the counts that it tells.
        sample: the members and faces that it lists.
        settings: as `batch.json` has them; an older Facecrop has kept all faces.
        created: when the work on them was begun.
    """
    keep = settings.get("keep", {})
    dropped = sum(face["crop"] is None for face in sample.faces)
    return {
        **summary.model_dump(exclude={"archive", "output"}),
        "archive": cut(summary.archive),
        "notes": [cut(line) for line in summary.notes],
        "output": cut(summary.output),
        "rate": summary.images_per_second,
        "created": created.isoformat(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("facecrop"),
        "packed": False,
        "sample": {
            "members": [_with_cut(row, "path") for row in sample.members],
            "memberFaces": sum(map(_is_covered, sample.members))
            if summary.blurred
            else sample.member_faces - dropped,
        },
        "failures": [_with_cut(row, "path", "message") for row in sample.failures],
        "facesPerImage": sample.faces_per_image,
        "faceValues": {
            "size": {"from": FACE_SIZES, "faces": sample.face_sizes, "cut": keep.get("min_face")},
            **{
                name: {"from": FACE_BINS[name], "faces": faces, "cut": keep.get(_CUTS[name])}
                for name, faces in sample.face_values.items()
            },
        },
        "keepElse": keep.get("else"),
        "heads": heads(settings, sample),
        "throughput": None,
    }


def page(
    data: Mapping[str, Any], shown: list[dict[str, Any]], section: Section | None = None
) -> bytes:
    """A page, with as many of its pictures as it has room for.

    Args:
        data: of `page_data`.
        shown: faces or photographs, as `shown_face` and `shown_photo` make them.
        section: what it shows besides.
    """
    section = section or Section({})
    while len(made := _page({**data, **section.data, "shown": shown}, section)) > _MOST_BYTES:
        shown = shown[::2]
    return made


def section_of(package: str, data: Mapping[str, Any]) -> Section:
    """A section by the `sections.html` and `sections.js` of a package."""
    html, script = (
        files(package).joinpath(name).read_text("utf-8")
        for name in ("sections.html", "sections.js")
    )
    return Section(data, html, script)


def heads(settings: Mapping[str, Any], sample: Sample) -> list[str]:
    """How alike the heads of a batch are in its crops, where these are framed by the head.

    Args:
        settings: as `batch.json` has them; an older Facecrop has framed no heads.
        sample: of the batch.

    Returns:
        A sentence each for the height of the heads and for the line of the eyes, or nothing.
    """
    crop = settings.get("crop", {})
    if crop.get("frame") != "head" or crop.get("align") not in ("none", "level"):
        return []
    return [
        f"{what} {100 * spread.middle:.1f} % of the crop's height in the middle, "
        f"{100 * spread.low:.1f} to {100 * spread.high:.1f} % in 9 of 10 crops"
        for name, what in _SPREADS.items()
        if (spread := sample.spreads.get(name)) is not None
    ]


def sheet(output: Output, sample: Sample) -> bytes | None:
    """A JPEG of some crops of a finished batch, or of its photographs whose faces are covered.

    None where it has none of these.

    Args:
        output: the batch's.
        sample: of it, some forty members and faces at most.

    Raises:
        OutputError: a crop is gone.
    """
    from detection.contact_sheet import contact_sheet  # brings the codecs

    if output.is_blurred:
        pictures = [picture for _, picture in _small(output, sample, 2 * SHEET_CELL)]
    else:
        names = (face["crop"] for face in sample.faces if face["crop"] is not None)
        pictures = [data for _, data in output.read_crops(names)]
    return contact_sheet(pictures, SHEET_COLUMNS, SHEET_CELL) if pictures else None


def _left_over(output: Output) -> dict[str, list[str]] | None:
    """Photographs and people that the roster has on one side alone; None without a roster."""
    found = output.unmatched(_MOST_LEFT_OVER)
    if found is None:
        return None
    photos, people = found
    return {
        "photos": [cut(path) for path in photos],
        "people": [cut(" · ".join(filter(None, cells))) for cells in people],
    }


def _is_covered(member: Mapping[str, Any]) -> bool:
    """Whether its photograph can be shown: one without a face is as the archive has it."""
    return bool(member["faces"] and member.get("file"))


def _small(output: Output, sample: Sample, side: int) -> Iterator[tuple[int, bytes]]:
    """Photographs with their faces covered, made small, by the place of the image in the sample."""
    from detection.contact_sheet import PHOTO_PIXELS, thumbnail

    places = [place for place, row in enumerate(sample.members) if _is_covered(row)]
    places = thinned(places, _MOST_PHOTOS)
    photos = output.read_crops(sample.members[place]["file"] for place in places)
    for place, (_, data) in zip(places, photos, strict=True):
        small = thumbnail(data, side, PHOTO_PIXELS)
        if small is not None:
            yield place, small


def _photographs(output: Output, sample: Sample) -> list[dict[str, Any]]:
    """The sampled photographs with their faces covered, as `_faces` has faces."""
    return [
        shown_photo(sample, place, picture)
        for place, picture in _small(output, sample, PHOTO_THUMBNAIL)
    ]


def shown_photo(sample: Sample, place: int, picture: bytes) -> dict[str, Any]:
    """A photograph with its faces covered, for a page.

    Args:
        sample: that it is in.
        place: of its member there.
        picture: a small JPEG of it.
    """
    return {
        "of": place,
        "crop": sample.members[place]["file"],
        "why": [],
        "picture": base64.b64encode(picture).decode(),
    }


def _throughput(output: Output, created: datetime, extended: float | None) -> Throughput:
    """How fast it was; of a batch that was extended, since it was last."""
    times, began = output.part_times(), created.timestamp()
    if extended is not None:
        began = extended
        times = {chunk: at for chunk, at in times.items() if at >= began}
    chunks = sorted(times)
    some = thinned(chunks, _PARTS_READ)
    sizes = dict(zip(some, output.part_sizes(some), strict=True))
    return throughput(began, times, sizes, _SPANS)


def _faces(output: Output, sample: Sample) -> list[dict[str, Any]]:
    """The sampled faces, each with its picture and the place of its image in the sample."""
    from detection.contact_sheet import thumbnail

    places = {row["member"]: place for place, row in enumerate(sample.members)}
    faces = [face for face in sample.faces if face["crop"] is not None]
    crops = (crop for _, crop in output.read_crops(face["crop"] for face in faces))
    pictures: list[bytes | None] = []
    with ThreadPoolExecutor(cores()) as pool:
        while some := list(islice(crops, _CROPS_AT_ONCE)):  # of which each may have megabytes
            pictures += pool.map(partial(thumbnail, side=THUMBNAIL), some)
    return [
        shown_face(face, places[face["member"]], picture)
        for face, picture in zip(faces, pictures, strict=True)
        if picture is not None
    ]


def shown_face(face: dict[str, Any], place: int, picture: bytes) -> dict[str, Any]:
    """A face, for a page.

    Args:
        face: of a sample.
        place: of its member in the sample.
        picture: a small JPEG of its crop.
    """
    return {
        "of": place,
        "score": face["score"],
        "box": [round(face[side]) for side in ("x", "y", "w", "h")],
        "crop": face["crop"],
        "sharpness": _rounded(face, "sharpness", 2) if face.get("sharpness_scale") else None,
        "yaw": _rounded(face, "yaw", 0),
        "pitch": _rounded(face, "pitch", 0),
        "why": face.get("kept_why") or [],
        "picture": base64.b64encode(picture).decode(),
    }


def _rounded(face: dict[str, Any], name: str, digits: int) -> float | None:
    value = face.get(name)
    return None if value is None else round(value, digits)


def _page(data: dict[str, Any], section: Section) -> bytes:
    page = files("pipeline").joinpath("report_page.html").read_text("utf-8")
    page = page.replace("{sections}", section.html, 1).replace("{script}", section.script, 1)
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash_of('style', page)}; script-src {_hash_of('script', page)}"
    )
    # `<` would end the element that holds the data; the encoder itself escapes all but ASCII
    embedded = json.dumps(data, separators=(",", ":")).translate(_ESCAPES)
    return page.replace("{policy}", policy, 1).replace("{data}", embedded, 1).encode()


def _hash_of(element: str, page: str) -> str:
    """What a Content-Security-Policy calls the only `<style>` or `<script>` of the page."""
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _with_cut(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return row | {name: cut(row[name] or "") for name in names}


def thinned(items: Sequence[Item], most: int) -> list[Item]:
    """Every so many-th of some items, so that there are at most as many as asked for."""
    return list(items[:: -(-len(items) // most) or 1])


def cut(text: str) -> str:
    """The text without secrets, and without its middle where it is too long."""
    text = shown(text)
    half = _MOST_CHARACTERS // 2
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:half]}…{text[-half:]}"
