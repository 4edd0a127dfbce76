"""Every choice a person has about a batch: one model for the UI's form, the flags, the environment.

A flag is `--GROUP-FIELD`, an environment variable `FACECROP_GROUP_FIELD`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from detection.settings import CutSettings, DetectionSettings

MIB = 1 << 20
_PIECEMEAL_MIB, _WHOLE_MIB = 256, 64


class LimitSettings(BaseModel):
    """Bounds that hold whatever an archive says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_pixels: int = Field(
        100_000_000,
        ge=1,
        le=1_000_000_000,
        description="Largest image in pixels, width times height. Larger ones fail, undecoded.",
    )
    max_member_mib: int = Field(
        256,
        title="Max Member MiB",
        ge=1,
        le=4096,
        description="Largest member in MiB, unpacked. Larger ones fail, unread.",
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
        "100 megapixels with an alpha channel take 2300.",
    )


class ChunkSettings(BaseModel):
    """How an archive is cut into units of work: whichever bound comes first closes a chunk.

    A batch that is taken up again keeps the chunks that it was begun with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class OutputSettings(BaseModel):
    """How crops are laid out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["files", "shards"] = Field(
        "files",
        description="files: one file a face, in the archive's folders. shards: one WebDataset TAR "
        "a chunk, for object stores and training.",
    )


class RunSettings(BaseModel):
    """How a batch is run. Changes nothing in its result, so it is no part of its identity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    existing: Literal["resume", "overwrite"] = Field(
        "resume",
        description="resume: complete what this batch left at the output. overwrite: remove any "
        "batch that is there first.",
    )


class CropSettings(BaseModel):
    """All settings of a batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detection: DetectionSettings = Field(DetectionSettings(), description="How faces are found.")
    crop: CutSettings = Field(CutSettings(), description="How faces are cut out.")
    limits: LimitSettings = Field(
        LimitSettings(), description="Bounds that hold whatever an archive says."
    )
    chunk: ChunkSettings = Field(
        ChunkSettings(), description="How an archive is cut into units of work."
    )
    output: OutputSettings = Field(OutputSettings(), description="How crops are laid out.")
    run: RunSettings = Field(
        RunSettings(), description="How the batch is run; does not change its result."
    )

    def identity(self) -> dict[str, Any]:
        """The settings that decide what comes out, as plain JSON values that make them again."""
        spelled_out = self.model_copy(update={"detection": self.detection.spelled_out()})
        return spelled_out.model_dump(mode="json", exclude={"run"})
