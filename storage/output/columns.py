"""The columns of a batch's tables and lists: name, type, and what each says."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

_NUMBER = pa.float32()


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: as the file has it.
        type: as Parquet has it; of a CSV file, what its cells are to be read as.
        about: what it says, for people.
        nullable: whether a row may have nothing there.
    """

    name: str
    type: pa.DataType
    about: str
    nullable: bool = True

    @property
    def field(self) -> pa.Field:
        """Of a schema."""
        return pa.field(self.name, self.type, nullable=self.nullable)


def told_type(kind: pa.DataType) -> str:
    """A type, for people."""
    return f"list of {kind.value_type}" if pa.types.is_list(kind) else str(kind)


MEMBERS = (
    Column("member", pa.int64(), "place in the archive, from 0", nullable=False),
    Column("path", pa.string(), "name in the archive", nullable=False),
    Column("status", pa.string(), "what became of it: a code", nullable=False),
    Column("error", pa.string(), "a code: why it failed or was skipped"),
    Column("message", pa.string(), "the same in a sentence"),
    Column("bytes", pa.int64(), "size of the file, unpacked", nullable=False),
    Column("width", pa.int32(), "of the upright photograph, in pixels"),
    Column("height", pa.int32(), "of the upright photograph, in pixels"),
    Column("faces", pa.int32(), "how many were found", nullable=False),
    Column("decode_ms", _NUMBER, "milliseconds that it was decoded in"),
    Column("detect_ms", _NUMBER, "milliseconds that faces were looked for"),
    Column("crop_ms", _NUMBER, "milliseconds that crops were cut and coded in"),
    Column("sha256", pa.string(), "of the photograph's file"),
    Column("pages", pa.int32(), "pictures in the file, where its format may have several"),
    Column("warnings", pa.list_(pa.string()), "codes: what was done with a doubt"),
    Column("attempts", pa.int32(), "above 1: it failed, and was retried", nullable=False),
    Column("not_kept", pa.int32(), "how many of its faces were not kept, by the thresholds"),
    Column("file", pa.string(), "path below the output of the photograph with its faces covered"),
    Column("phash", pa.string(), "16 hexadecimal digits, alike where pictures look alike"),
    Column("duplicate_of", pa.int64(), "the member with the same bytes that was cropped instead"),
)
"""Of `manifest.parquet`."""

FACES = (
    Column(
        "rank",
        pa.int32(),
        "0 for the face of its photograph that comes first, by `crop.pick`",
        nullable=False,
    ),
    Column("page", pa.int32(), "of the photograph's file, from 0"),
    Column(
        "x",
        _NUMBER,
        "left edge of the face's box, in pixels of the upright photograph",
        nullable=False,
    ),
    Column("y", _NUMBER, "its upper edge", nullable=False),
    Column("w", _NUMBER, "its width", nullable=False),
    Column("h", _NUMBER, "its height", nullable=False),
    Column("score", _NUMBER, "how sure the detector was, 0 to 1; Haar gives none"),
    Column(
        "landmarks",
        pa.list_(_NUMBER),
        "x, y of right eye, left eye, nose, right and left corner of the mouth; Haar gives none",
    ),
    Column(
        "crop_x",
        pa.int32(),
        "left edge of what was cut out, or of the square that it fits into, in pixels of the "
        "upright photograph",
        nullable=False,
    ),
    Column("crop_y", pa.int32(), "its upper edge", nullable=False),
    Column("crop_side", pa.int32(), "its width and height", nullable=False),
    Column("outside", _NUMBER, "share of the crop, 0 to 1, that lies past the photograph"),
    Column(
        "turn",
        pa.int32(),
        "degrees clockwise, 0 to 270, that the crop was turned by, as the faces say that the "
        "photograph does not stand",
    ),
    Column("roll", _NUMBER, "degrees clockwise of the line of the eyes in the photograph"),
    Column("sharpness", _NUMBER, "of the face's box, 0 to 1 (Crete et al., 2007)", nullable=False),
    Column(
        "crop",
        pa.string(),
        "path below the output; null where the face was dropped, and of blurred photographs",
    ),
    Column("pick_score", _NUMBER, "what the face was ranked by, 0 to 1"),
    Column(
        "sharpness_scale",
        _NUMBER,
        "size of the pixels that the sharpness is of, over the full size",
    ),
    Column("yaw", _NUMBER, "degrees, to the right of the upright picture, estimated"),
    Column("pitch", _NUMBER, "degrees, up, estimated"),
    Column("brightness", _NUMBER, "mean of the luma of the face's box, 0 to 255"),
    Column("contrast", _NUMBER, "its standard deviation"),
    Column("kept", pa.bool_(), "whether the face met the thresholds of the settings"),
    Column("kept_why", pa.list_(pa.string()), "codes: why it did not"),
    Column("crop_w", pa.int32(), "width of the crop's file, in pixels"),
    Column("crop_h", pa.int32(), "its height"),
    Column("crop_scale", _NUMBER, "pixels of the crop a pixel of the photograph"),
    Column("eye_distance", _NUMBER, "from eye to eye, in pixels of the photograph"),
    Column(
        "matrix",
        pa.list_(pa.float64()),
        "2 x 3, by rows: from pixels of the upright photograph to those of the crop",
    ),
    Column("head_height", _NUMBER, "chin to crown, over the crop's height, estimated"),
    Column("eye_line", _NUMBER, "of the eyes, from the crop's top, over its height, estimated"),
)
"""Of `faces.parquet`, behind `member` and `path`."""

FAILED = tuple(one for one in MEMBERS if one.name in ("member", "path", "error", "message"))
"""Of `failed.csv` and `skipped.csv`."""

CHANGES = (
    Column("member", pa.int64(), "of an archive that was opened, its first one", nullable=False),
    Column("path", pa.string(), "as the manifest has it", nullable=False),
    Column("change", pa.string(), "what became of it: a code", nullable=False),
    Column("bytes", pa.int64(), "its size when it was taken"),
    Column("bytes_now", pa.int64(), "its size when the batch was last extended"),
)
"""Of `changes.csv`."""

UNMATCHED = (
    Column("what", pa.string(), "`photograph` or `person`", nullable=False),
    Column("member", pa.int64(), "of a photograph"),
    Column("path", pa.string(), "of a photograph; the roster's own columns follow"),
)
"""Of `unmatched.csv`, before the roster's own."""

LOT = (
    Column("path", pa.string(), "of a file of the folder or list", nullable=False),
    Column("bytes", pa.int64(), "its size; -1 where nobody has asked", nullable=False),
    Column("version", pa.string(), "time of its last change, or its ETag", nullable=False),
    Column("members", pa.int64(), "how many it came to", nullable=False),
)
"""Of each file in `lots/`."""


def names(columns: tuple[Column, ...]) -> tuple[str, ...]:
    """Of some columns, in their order."""
    return tuple(column.name for column in columns)
