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

from storage.output.columns import FACES, MEMBERS, told_type
from storage.output.counts import Counts

_MARK = "# facecrop-card/1 sha256:"
_BEGIN = re.compile(rf"---\n{_MARK}([0-9a-f]{{64}})\n".encode())
_MOST_BYTES = 1 << 20
_MEANINGS = {
    **{column.name: column.about for column in (*MEMBERS, *FACES)},
    "image": "the crop: its file's bytes, and its name",
    "folder": "that the photograph lies in",
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
    return "Image" if pa.types.is_struct(kind) else told_type(kind)
