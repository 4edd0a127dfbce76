"""The route by which a photograph is found in one's batches."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from intake.control import batches
from intake.control.filters import PAGE
from intake.http.dependencies import Caller, ServiceOf
from intake.http.found import FoundImage, FoundPage
from intake.http.problems import ProblemError
from intake.http.routes.downloads import output_of
from storage.errors import StorageError, TransientError
from storage.output.finding import Wanted

router = APIRouter(prefix="/api/batch", tags=["fetch"])

_MOST_CHARACTERS = 4096  # of a path


@router.get("/find", response_model=FoundPage, summary="Find an image")
def find(
    service: ServiceOf,
    who: Caller,
    path: Annotated[
        str,
        Query(
            max_length=_MOST_CHARACTERS,
            description="In its archive, or the end of it from a folder or the file's name on.",
        ),
    ] = "",
    sha256: Annotated[
        str, Query(pattern="^([0-9a-fA-F]{64})?$", description="Of its file, in hexadecimal.")
    ] = "",
    offset: Annotated[int, Query(ge=0, le=1 << 40, description="Batches to leave out.")] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE, description="Batches to look at, at most.")] = 50,
) -> FoundPage:
    """Which batches have an image, and what became of it: those that are the caller's own.

    The newest batches first; for an admin those of all.
    """
    if bool(path.strip("/")) == bool(sha256):
        raise ProblemError(422, "Give either path or sha256.")
    runs = batches.newest(service.client, offset, limit + 1, who.confined_to)
    found: list[FoundImage] = []
    unread: list[UUID] = []
    for run in runs[:limit]:
        try:
            output = output_of(run)
            rows = output.find(Wanted(path, sha256)) if output.is_begun() else []
        except (StorageError, TransientError):
            unread.append(run.id)
            continue
        found += (FoundImage.model_validate(row | {"batch_id": run.id}) for row in rows)
    return FoundPage(offset=offset, limit=limit, found=found, unread=unread, more=len(runs) > limit)
