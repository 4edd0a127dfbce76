"""A dataset card: the README.md by which Hugging Face's `datasets` and its Hub know an output.

Its first lines, in YAML, say which files are the data: without them, `load_dataset` of the output
would take its tables for data, too. It says what Facecrop knows, and claims nothing else.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from storage.output.counts import Counts

_MARK = "# facecrop-card/1 sha256:"
_BEGIN = re.compile(rf"---\n{_MARK}([0-9a-f]{{64}})\n".encode())
_MOST_BYTES = 1 << 20
_MEANINGS = {
    "image": "the crop: its file's bytes, and its name",
    "member": "place of the photograph in the archive, from 0",
    "path": "of the photograph in the archive",
    "folder": "that the photograph lies in",
    "width": "of the upright photograph, in pixels",
    "height": "of the upright photograph, in pixels",
    "sha256": "of the photograph's file",
    "rank": "0 for the face of its photograph that comes first, by `crop.pick`",
    "page": "of the photograph's file, from 0",
    "x": "of the face's box, in pixels of the upright photograph",
    "y": "likewise",
    "w": "likewise",
    "h": "likewise",
    "score": "how sure the detector was, 0 to 1",
    "landmarks": "x, y of right eye, left eye, nose, right and left corner of the mouth",
    "crop_x": "of what was cut out, in pixels of the upright photograph",
    "crop_y": "likewise",
    "crop_side": "likewise",
    "outside": "share of the crop that lies past the photograph",
    "turn": "degrees clockwise that the crop was turned by",
    "roll": "degrees clockwise of the line of the eyes in the photograph",
    "sharpness": "of the face's box, 0 to 1 (Crete et al., 2007)",
    "crop": "path below this folder",
    "pick_score": "what the face was ranked by, 0 to 1",
    "sharpness_scale": "size of the pixels that the sharpness is of, over the full size",
    "yaw": "degrees, to the right of the upright picture, estimated",
    "pitch": "degrees, up, estimated",
    "brightness": "mean of the luma of the face's box, 0 to 255",
    "contrast": "its standard deviation",
    "kept": "whether the face met the thresholds of the settings",
    "kept_why": "codes: why it did not",
    "crop_w": "of the crop, in pixels",
    "crop_h": "likewise",
    "crop_scale": "pixels of the crop a pixel of the photograph",
    "eye_distance": "in pixels of the photograph",
    "matrix": "2 x 3, by rows: from pixels of the upright photograph to those of the crop",
    "head_height": "chin to crown, over the crop's height, estimated",
    "eye_line": "of the eyes, from the crop's top, over its height",
}


def card(record: Mapping[str, Any], totals: Counts, data_files: str, columns: pa.Schema) -> bytes:
    """The card of a finished batch.

    Args:
        record: what `batch.json` says.
        totals: the counts of the batch.
        data_files: pattern of the files that are the data, below the output.
        columns: what there is of each crop.
    """
    archive = _plain(str(record["archive"].get("uri", "")))
    made = record.get("versions", {}).get("facecrop", "")
    rows = {
        "faces": totals.faces,
        "photographs with a face": totals.cropped,
        "photographs without": totals.no_face,
        "files that failed": totals.failed,
        "files that are no images": totals.skipped,
    }
    counts = "\n".join(f"| {name} | {number:,} |" for name, number in rows.items())
    table = "\n".join(
        f"| `{field.name}` | {_type(field.type)} | {_MEANINGS[field.name]} |" for field in columns
    )
    settings = json.dumps(record["settings"], indent=2)
    text = f"""configs:
- config_name: default
  data_files: "{data_files}"
pretty_name: {json.dumps(f"Faces of {archive}")}
---

# Faces of `{archive}`

Each is a face that Facecrop {made} found in a photograph of
`{archive}` and cut out, in a batch begun {record.get("created", "")}.

| | |
|---|---:|
{counts}

`manifest.parquet` has a row for every file of the archive, `faces.parquet` one for every face,
`failed.csv` what failed and why.

## Columns

| name | type | |
|---|---|---|
{table}

## What is not known

No detector finds every face, and some of what it finds is none. Nothing was labelled by people; who
is shown, and whether they agreed to that, is not recorded here. The photographs' licences hold for
the crops.

## Settings

```json
{settings}
```
"""
    body = text.encode()
    return f"---\n{_MARK}{hashlib.sha256(body).hexdigest()}\n".encode() + body


def is_card(data: bytes) -> bool:
    """Whether a README.md is one of Facecrop's, and nobody has changed it since."""
    found = _BEGIN.match(data)
    if found is None or len(data) > _MOST_BYTES:
        return False
    return hashlib.sha256(data[found.end() :]).hexdigest().encode() == found[1]


def _plain(text: str) -> str:
    """A text from outside that stays text in Markdown's code, in a heading, and in YAML."""
    name = " ".join(text.split()).replace("`", "'")
    return "".join(one if one.isprintable() else "?" for one in name)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "Image"
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)
