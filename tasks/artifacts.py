"""What a run shows on its page in the Prefect UI: made once, then updated in place."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.runtime import flow_run

Kind = Literal["progress", "table", "markdown"]


class RunArtifact:
    """One artifact of the current flow run, the same one in each attempt of the run.

    Args:
        key: lower-case letters, digits and dashes.
        kind: how the UI shows it.
        data: a number from 0 to 100, a list of rows as JSON, or Markdown.
        description: above it, for people.

    Raises:
        httpx.HTTPError: the server did not answer; so does `update`.
    """

    def __init__(self, key: str, kind: Kind, data: Any, description: str) -> None:
        run = UUID(flow_run.get_id())
        client = get_client(sync_client=True)
        there = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[run]),
                key=ArtifactFilterKey(any_=[key]),
            ),
            limit=1,
        )
        if there:
            self._id = there[0].id
            self.update(data)
            return
        made = ArtifactCreate(
            key=key, type=kind, data=data, description=description, flow_run_id=run
        )
        self._id = client.create_artifact(made).id

    def update(self, data: Any) -> None:
        """Shows something newer instead."""
        get_client(sync_client=True).update_artifact(self._id, ArtifactUpdate(data=data))
