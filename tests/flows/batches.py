"""What a finished batch left, in a form that two runs can be compared by."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any, cast

import cv2
import fsspec
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

_CLAIM = re.compile(r"^((?:parts|plan|lots)/\d+)-[0-9a-f]{8}(?=\.)")
_TIMES = {"decode_ms", "detect_ms", "crop_ms"}


@dataclass(frozen=True)
class Result:
    """Everything at an output, but for times of day and durations.

    Attributes:
        names: path of every file, without the claim that is in the names of parts and plans.
        crops: bytes of every crop, by path.
        manifest, faces: rows, without the columns that are durations.
        failed: `failed.csv` as it stands.
    """

    names: list[str]
    crops: dict[str, bytes]
    manifest: list[dict[str, Any]]
    faces: list[dict[str, Any]]
    failed: str


def result(output: str) -> Result:
    """Read an output, wherever it is."""
    found = files(output)
    return Result(
        names=sorted(_CLAIM.sub(r"\1", name) for name in found),
        crops={name: data for name, data in found.items() if name.startswith("crops/")},
        manifest=_rows(found["manifest.parquet"]),
        faces=_rows(found["faces.parquet"]),
        failed=found["failed.csv"].decode("utf-8-sig"),
    )


def files(place: str) -> dict[str, bytes]:
    """Every file of an output, by its path in it."""
    fs, path = fsspec.url_to_fs(place, use_listings_cache=False)
    root = path.rstrip("/") + "/"
    return {name.removeprefix(root): fs.cat_file(name) for name in fs.find(path)}


def _rows(data: bytes) -> list[dict[str, Any]]:
    table = pq.read_table(io.BytesIO(data))
    kept = [name for name in table.column_names if name not in _TIMES]
    rows: list[dict[str, Any]] = table.select(kept).to_pylist()
    return rows


def picture(data: bytes) -> NDArray[np.uint8]:
    """A crop's pixels, (h, w, 3) BGR."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return cast("NDArray[np.uint8]", pixels)
