"""Settings of the HTTP service, from the environment: FACECROP_HTTP_*."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from storage.errors import StorageError
from storage.fs.location import resolve
from storage.output.output import Output

PREFIX = "FACECROP_HTTP_"
GIB = 1 << 30


class ServiceError(Exception):
    """The service cannot start like this; the message is a line a fault."""


class ServiceSettings(BaseModel):
    """Every choice about the service. `FACECROP_HTTP_STORE` is `store`, and so on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str = Field(
        "./facecrop-data",
        validate_default=True,
        description="Folder or prefix. Uploads go to uploads/ID/ in it, batches to batches/ID/, "
        "previews to previews/ID/. It is marked with facecrop-store.json, for facecrop cleanup.",
    )
    deployment: str = Field(
        "crop-archive/process", pattern="^[^/]+/[^/]+$", description="What crops, as FLOW/NAME."
    )
    prefixes: tuple[str, ...] = Field(
        (),
        description="Folders and prefixes, with commas between, under which clients may name "
        "archives, images and rosters. Empty: the store.",
    )
    keys: str = Field("", description="File of API keys. Empty: none, and loopback only.")
    max_upload_gib: float = Field(
        64, gt=0, le=5120, description="Largest body of an upload in GiB."
    )
    max_images: int = Field(
        100_000, ge=1, le=10_000_000, description="Most images that one request may list or hold."
    )
    uploads: int = Field(16, ge=1, le=1000, description="Uploads at a time. More get 503.")
    rate: float = Field(
        500, gt=0, le=100_000, description="Requests a second that each key may make. More get 429."
    )
    stall_seconds: float = Field(
        60,
        gt=0,
        le=3600,
        description="A body of which no 64 KiB come in so long is given up, and a download of "
        "which as little is taken.",
    )
    grace_seconds: int = Field(
        30, ge=0, le=3600, description="How long uploads may go on once the service is to stop."
    )

    connections: int = Field(
        4096,
        ge=64,
        le=100_000,
        description="Connections at a time, or fewer where the process may not open so many files. "
        "The oldest idle one makes room for a new one.",
    )
    head_seconds: float = Field(
        15,
        gt=0,
        le=3600,
        description="A connection on which no whole request head comes for so long is closed.",
    )
    max_pixels: int = Field(
        100_000_000, ge=1, le=1_000_000_000, description="Ceiling of limits.max_pixels."
    )
    max_member_mib: int = Field(256, ge=1, le=4096, description="Of limits.max_member_mib.")
    max_nested_mib: int = Field(4096, ge=1, le=65_536, description="Of limits.max_nested_mib.")
    follow_links: Literal["no", "yes"] = Field(
        "no",
        description="yes: a client may have symbolic links followed, wherever they lead: "
        "input.follow_links.",
    )
    max_nested: int = Field(3, ge=0, le=8, description="Of input.nested.")
    max_image_seconds: int = Field(120, ge=1, le=3600, description="Of limits.image_seconds.")
    max_image_mib: int = Field(3072, ge=256, le=65_536, description="Of limits.image_mib.")
    max_chunk_mib: int = Field(256, ge=1, le=1024, description="Of chunk.mib.")
    min_chunk_mib: int = Field(16, ge=1, le=1024, description="Least chunk.mib but 0.")
    min_chunk_members: int = Field(10, ge=1, le=10_000, description="Least chunk.members.")
    max_threads: int = Field(
        32,
        ge=1,
        le=256,
        description="Of run.threads. Where it is set, a batch that leaves them to the worker has "
        "so many, else one a core.",
    )
    max_shards_at_once: int = Field(32, ge=1, le=200, description="Of run.shards_at_once.")
    min_shard_members: int = Field(
        1000,
        ge=1,
        le=10_000,
        description="Least run.shard_members: the smaller, the more Prefect's server has to do.",
    )
    max_side: int = Field(
        4096,
        ge=64,
        le=4096,
        description="Of detection.side, the profile's as well, but not of passes that follow the "
        "picture: below 640, these are not run.",
    )
    max_crop_size: int = Field(
        2048, ge=16, le=2048, description="Of crop.size, width and height, and of a preset."
    )

    @field_validator("store")
    @classmethod
    def _absolute(cls, store: str) -> str:
        try:
            Output(f"{store}/batches")  # refuses what no batch could be written to
            place = resolve(store)
        except StorageError as error:
            raise ValueError(str(error)) from error
        return str(Path(place.path).resolve()) if place.is_local else store.rstrip("/")

    @field_validator("prefixes", mode="before")
    @classmethod
    def _split(cls, prefixes: Any) -> Any:
        if not isinstance(prefixes, str):
            return prefixes
        return tuple(part.strip() for part in prefixes.split(",") if part.strip())

    @property
    def max_upload_bytes(self) -> int:
        """Bytes of the largest body of an upload."""
        return int(self.max_upload_gib * GIB)


def read_settings(environ: Mapping[str, str]) -> ServiceSettings:
    """The settings that an environment chooses, else the defaults.

    Raises:
        ServiceError: a value cannot be, or a variable is misspelt.
    """
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX)
    }
    try:
        return ServiceSettings.model_validate(given)
    except ValidationError as error:
        raise ServiceError("\n".join(map(_complaint, error.errors()))) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is bound to a host, or calls itself by it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _complaint(fault: Any) -> str:
    name = f"{PREFIX}{fault['loc'][0]}".upper()
    if fault["type"] == "extra_forbidden":
        return f"{name} is no setting of the service; see docs/reference/settings.md"
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return f"{name} {fault['input']}: {message}"
