"""Every choice a person has about a batch: one model for the UI's form, the flags, the environment.

A flag is `--GROUP-FIELD`, an environment variable `FACECROP_GROUP_FIELD`.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from detection.options import Cover
from detection.settings import CutSettings, DetectionSettings
from storage.archives.spelling import AUTO, is_encoding
from storage.fs.redact import shown_uri
from storage.output.template import MOST_CHARACTERS, Template
from storage.roster import Key

MIB = 1 << 20

COMMON = (
    *(("crop", name) for name in ("preset", "size", "padding", "align", "max_faces")),
    *(("output", name) for name in ("kind", "layout")),
    ("detection", "profile"),
    ("keep", "min_sharpness"),
    ("run", "existing"),
)
"""The settings that most people choose by, as group and field: they are shown first."""

_PIECEMEAL_MIB, _WHOLE_MIB = 256, 64


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSettings(_Group, title="Input"):
    """How what was handed in is read."""

    nested: int = Field(
        1,
        ge=0,
        le=8,
        description="How many levels of archives in archives are opened: of a ZIP or TAR in a ZIP, "
        "a TAR, a folder or a list. 0: they are skipped.",
    )
    skip_system: Literal["yes", "no"] = Field(
        "yes",
        description="yes: waste baskets, and what a NAS, a system or a program keeps in folders of "
        "its own, such as thumbnails (@eaDir, $RECYCLE.BIN, .picasaoriginals), are skipped.",
    )
    follow_links: Literal["no", "yes"] = Field(
        "no",
        description="yes: symbolic links in a local folder are followed, also out of it. no: they "
        "are skipped.",
    )
    redirects: str = Field(
        "origin",
        pattern=r"^(origin|no|https?://\S+( https?://\S+)*)$",
        max_length=4096,
        description="Where a web server may redirect to. origin: the same scheme, host and port. "
        "no: nowhere. Else prefixes of addresses, with blanks between them.",
    )
    name_encoding: str = Field(
        "auto",
        max_length=40,
        description="Encoding of names in a ZIP or TAR that are not marked as UTF-8, such as cp932 "
        "(Shift-JIS), gb18030, cp1252 or cp437. auto: guessed from all of them together.",
    )

    dedupe: Literal["no", "exact"] = Field(
        "no",
        description="exact: of photographs with the same bytes the first is cropped, and the rows "
        "of the others point to it (duplicate_of). Those of one size are read twice for that.",
    )

    @field_validator("name_encoding")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != AUTO and not is_encoding(name):
            raise ValueError(f"{name!r} is no encoding that Python knows; cp932 and cp437 are")
        return name


class LimitSettings(_Group, title="Limits"):
    """Bounds that hold whatever an archive says."""

    max_pixels: int = Field(
        100_000_000,
        ge=1,
        le=1_000_000_000,
        description="Largest image in pixels, width times height. Larger ones fail, undecoded. "
        "JPEGs may be 8 times as large, as they are decoded reduced.",
    )
    max_member_mib: int = Field(
        256,
        title="Max Member MiB",
        ge=1,
        le=4096,
        description="Largest member in MiB, unpacked. Larger ones fail, unread.",
    )
    max_nested_mib: int = Field(
        4096,
        title="Max Nested MiB",
        ge=1,
        le=65_536,
        description="Largest compressed archive within an archive in MiB, unpacked: it is copied "
        "to a temporary file. Larger ones fail.",
    )
    image_seconds: int = Field(
        120,
        ge=1,
        le=3600,
        description="Most seconds that one image may be worked on. Where it takes longer it fails.",
    )
    image_mib: int = Field(
        3072,
        title="Image MiB",
        ge=256,
        le=65_536,
        description="Most MiB of memory that one image may take. One that needs more fails. "
        "100 megapixels with an alpha channel take 2300, a JPEG of 200 takes 600, and 900 more "
        "where it is progressive.",
    )

    def raised(self, others: LimitSettings) -> LimitSettings:
        """The same, with what others set where that is higher.

        All but which archives in archives are opened: then all that follows has other numbers.
        """
        higher = {
            name: max(getattr(self, name), getattr(others, name))
            for name in others.model_fields_set - {"max_nested_mib"}
        }
        return self.model_copy(update=higher)


class ChunkSettings(_Group, title="Chunk"):
    """How an archive is cut into units of work: whichever bound comes first closes a chunk.

    A batch that is resumed keeps the chunks that it was begun with.
    """

    members: int = Field(256, ge=1, le=10_000, description="Most members in a chunk.")
    mib: int = Field(
        0,
        title="MiB",
        ge=0,
        le=1024,
        description="Most MiB of archive in a chunk. 0: 256 where a chunk is read a piece at a "
        "time (a ZIP, a folder, a list), else 64 (a TAR), as three chunks are in memory then "
        "and one more for every four cores, of a compressed TAR twice as many.",
    )

    def spelled_out(self, *, piecemeal: bool, shard_members: int) -> ChunkSettings:
        """With its own number where the archive decides, and no larger than a shard.

        Args:
            piecemeal: whether the archive holds only some of a chunk in memory.
            shard_members: most members in a shard.
        """
        mib = self.mib or (_PIECEMEAL_MIB if piecemeal else _WHOLE_MIB)
        return ChunkSettings(members=min(self.members, shard_members), mib=mib)


class KeepSettings(_Group, title="Keep"):
    """Which of the faces that were found are worth keeping, and what is done with others."""

    # `else` is a word of Python's own
    model_config = ConfigDict(
        validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    min_sharpness: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest sharpness, 0 to 1, of a face that is kept; 0: any. Most faces in focus "
        "have 0.3 to 0.65.",
    )
    max_yaw: float = Field(
        0.0,
        ge=0,
        le=90,
        description="Degrees, at most, by which a face that is kept is turned to either side; 0: "
        "any. A profile has 90.",
    )
    min_face: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Smallest face that is kept, in pixels of the original image: the shorter side "
        "of its box. 0: any.",
    )
    min_score: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Lowest score, 0 to 1, of the detector for a face that is kept; 0: any.",
    )

    otherwise: Literal["mark", "drop", "folder"] = Field(
        "mark",
        alias="else",
        description="What is done with other faces. mark: their crops are written as all are, and "
        "the column kept tells. drop: they have no crop. folder: their crops go to a folder of "
        "their own, crops/_rejected. Each has a row in faces.parquet, that says why.",
    )


class OutputSettings(_Group, title="Output"):
    """What comes out, and how it is laid out."""

    kind: Literal["crops", "blurred"] = Field(
        "crops",
        description="crops: the faces. blurred: the photographs, with their faces covered, each in "
        "its own format where that is JPEG, PNG, WebP or TIFF. Faces that are not found stay as "
        "they are: no detector finds all.",
    )
    layout: Literal["files", "shards", "parquet"] = Field(
        "files",
        description="files: one file a face, in the archive's folders. shards: one WebDataset TAR "
        "a chunk, for object stores and training. parquet: one Parquet file a chunk, a row a face, "
        "for datasets.load_dataset.",
    )
    cover: Cover = Field(
        "blur",
        description="What is put on the faces of blurred photographs. blur and pixelate keep the "
        "mean colours of four cells along a face; mask, black, keeps nothing.",
    )
    name: str = Field(
        "",
        max_length=MOST_CHARACTERS,
        description="What crops are called, without the extension, such as {folder}/{stem}_{rank}: "
        "{stem}, {folder}, {subject} (the innermost folder), {rank}, {page}, {member} (place in "
        "the archive), {sha256}, and columns of the roster; {rank:02d} has leading zeros, / makes "
        "folders. Empty: as in the archive.",
    )


class RosterSettings(_Group, title="Roster"):
    """Who is on the photographs, where somebody has a list of that."""

    file: str = Field(
        "",
        max_length=4096,
        description="A CSV file with a row for each person, as a path or URI. Its columns are "
        "joined to the tables as roster_NAME, and output.name may have them as {NAME}; "
        "unmatched.csv tells who is left over on either side. Empty: none.",
    )
    key: Key = Field(
        "stem",
        description="What of a photograph the roster's column of this name holds, or else its "
        "first: stem, the file's name without its extension; path, that in the archive; subject, "
        "the innermost folder.",
    )
    sha256: str = Field(
        "",
        title="SHA-256",
        pattern="^([0-9a-f]{64})?$",
        description="Digest that the file must have; a batch notes it, and goes on with no other. "
        "Empty: any.",
    )


class RunSettings(_Group, title="Run"):
    """How a batch is run. Changes nothing in its result, so it is no part of its identity."""

    existing: Literal["resume", "extend", "overwrite"] = Field(
        "resume",
        description="resume: complete what this batch left at the output. extend: that, and crop "
        "what has come to its folder, prefix or list since, into the same output. overwrite: "
        "remove any batch that is there first.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Images worked on at once, each in a process of its own. 0: as many as there "
        "are cores.",
    )
    shard_members: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Members in a shard, where the batch runs on a work pool. Starting a shard "
        "costs some 5 seconds of CPU, so it should be worth minutes.",
    )
    shards_at_once: int = Field(
        32, ge=1, le=200, description="Most shards handed to the work pool at a time."
    )


class CropSettings(_Group):
    """All settings of a batch."""

    crop: CutSettings = Field(CutSettings(), description="How faces are cut out.")
    output: OutputSettings = Field(
        OutputSettings(), description="What comes out, and how it is laid out."
    )
    detection: DetectionSettings = Field(DetectionSettings(), description="How faces are found.")
    keep: KeepSettings = Field(
        KeepSettings(), description="Which of the faces are worth keeping; all, unless asked."
    )
    input: InputSettings = Field(InputSettings(), description="How what was handed in is read.")
    roster: RosterSettings = Field(
        RosterSettings(), description="Who is on the photographs, where there is a list of that."
    )
    limits: LimitSettings = Field(
        LimitSettings(), description="Bounds that hold whatever an archive says."
    )
    chunk: ChunkSettings = Field(
        ChunkSettings(), description="How an archive is cut into units of work."
    )
    run: RunSettings = Field(
        RunSettings(), description="How the batch is run; does not change its result."
    )

    @model_validator(mode="after")
    def _blurs_every_face(self) -> Self:
        needed = {
            "output.layout files": self.output.layout == "files",
            "crop.max_faces 0": self.crop.max_faces == 0,
            "detection.pages first": self.detection.pages == "first",
            "keep.else mark": self.keep.otherwise == "mark",
        }
        for setting, holds in needed.items():
            if self.output.kind == "blurred" and not holds:
                raise ValueError(f"output.kind blurred needs {setting}: it covers all faces")
        return self

    @model_validator(mode="after")
    def _names_every_crop(self) -> Self:
        if not self.output.name:
            return self
        try:
            chosen = Template.of(self.output.name, None if self.roster.file else ())
        except ValueError as error:
            raise ValueError(f"output.name: {error}") from error
        one = self.crop.max_faces == 1 and self.detection.pages == "first"
        of_faces = {"rank", "page"} & chosen.fields
        if self.output.layout != "files":
            raise ValueError(
                "output.name needs output.layout files: packed crops are called by their number"
            )
        if self.output.kind == "blurred" and of_faces:
            raise ValueError(
                f"output.name: a blurred photograph has no {{{min(of_faces)}}}, as all of its "
                "faces are in it"
            )
        if self.output.kind == "crops" and not one and "rank" not in chosen.read_back:
            raise ValueError(
                "output.name needs {rank}, at the beginning or the end of a part between slashes "
                "and with a sign beside it that is no digit, such as {stem}_{rank}: a photograph "
                "may have several faces"
            )
        if "page" in chosen.fields - chosen.read_back:
            raise ValueError(
                "output.name needs {page} beside {rank}, with a sign between them, such as "
                "{stem}_{page}_{rank}"
            )
        return self

    @model_validator(mode="after")
    def _knows_all_duplicates(self) -> Self:
        if self.input.dedupe == "exact" and self.run.existing == "extend":
            raise ValueError(
                "input.dedupe exact needs run.existing resume or overwrite: what is new is not "
                "compared with what a batch has"
            )
        return self

    @property
    def covers(self) -> Cover | None:
        """What is put on faces in the photographs themselves; None where crops are made."""
        return self.output.cover if self.output.kind == "blurred" else None

    def identity(self) -> dict[str, Any]:
        """The settings that decide what comes out, as plain JSON values that make them again.

        All but what is secret in the roster's URI: people may see them.
        """
        spelled_out = {name: getattr(self, name).spelled_out() for name in ("detection", "crop")}
        made = self.model_copy(update=spelled_out).model_dump(mode="json", exclude={"run"})
        made["roster"]["file"] = shown_uri(self.roster.file)
        return made
