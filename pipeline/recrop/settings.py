"""Every choice a person has about a recrop: one model for the run's form, the command, HTTP."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from detection.settings import CutSettings
from pipeline.settings import RunSettings
from storage.output.where import MOST_CHARACTERS, WhereError, parse_where

_MOST_CUTS = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # it becomes a folder's, everywhere


class RecropSettings(BaseModel):
    """All settings of a recrop; what is not here is as the batch was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: CutSettings = Field(
        CutSettings(), description="How faces are cut out, where cuts are not given."
    )
    cuts: dict[str, CutSettings] = Field(
        {},
        max_length=_MOST_CUTS,
        description="Several ways of cutting faces out in one pass, by name: each is an output of "
        "its own, in a folder of that name.",
    )
    where: str = Field(
        "",
        max_length=MOST_CHARACTERS,
        description="Which faces are wanted, by columns of faces.parquet and manifest.parquet, as "
        "in: sharpness > 0.5 and abs(yaw) < 20. Empty: all.",
    )
    layout: Literal["files", "shards", "parquet"] = Field(
        "files", description="How crops are laid out, as output.layout says of a batch."
    )
    run: RunSettings = Field(
        RunSettings(), description="How the recrop is run; does not change its result."
    )

    @field_validator("where")
    @classmethod
    def _is_an_expression(cls, where: str) -> str:
        where = where.strip()
        if where:
            try:
                parse_where(where)
            except WhereError as error:
                raise ValueError(str(error)) from error
        return where

    @field_validator("run")
    @classmethod
    def _is_not_extended(cls, run: RunSettings) -> RunSettings:
        if run.existing == "extend":
            raise ValueError("a recrop is not extended: recrop the batch into another output")
        return run

    @field_validator("cuts")
    @classmethod
    def _are_names(cls, cuts: dict[str, CutSettings]) -> dict[str, CutSettings]:
        for name in cuts:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name for a folder: 64 letters, digits, dots and dashes at most"
                )
        if len({name.casefold() for name in cuts}) < len(cuts):
            raise ValueError("two names differ by their case alone, which some disks do not tell")
        return cuts
