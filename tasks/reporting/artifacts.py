"""What a run shows on its page in the Prefect UI: made once, and then updated in place."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact

from tasks.lifecycle.current import current_run

Kind = Literal["progress", "table", "markdown"]


class RunArtifact:
    """One artifact of the current flow run, the same one in each attempt of the run.

    Args:
        key: lower-case letters, digits and dashes.
        kind: how the UI shows it.
        description: above it, for people.
    """

    def __init__(self, key: str, kind: Kind, description: str) -> None:
        self._key = key
        self._kind = kind
        self._description = description
        self._id: UUID | None = None

    def show(self, data: Any) -> None:
        """Show this from now on.

        Args:
            data: a number from 0 to 100, a list of rows as JSON, or Markdown.

        Raises:
            httpx.HTTPError: the server did not answer.
        """
        client = get_client(sync_client=True)
        run, known = current_run(), self._id
        if known is None and run.run_count > 1:  # an earlier attempt may have made it
            known = next((one.id for one in read_artifacts(client, [run.id], self._key)), None)
        if known is None:
            made = ArtifactCreate(
                key=self._key,
                type=self._kind,
                data=data,
                description=self._description,
                flow_run_id=run.id,
            )
            known = client.create_artifact(made).id
        else:
            client.update_artifact(known, ArtifactUpdate(data=data))
        self._id = known


def read_artifacts(client: SyncPrefectClient, runs: list[UUID], key: str) -> list[Artifact]:
    """Those of some flow runs that have a key; at most 200, as the server hands out no more."""
    return client.read_artifacts(
        artifact_filter=ArtifactFilter(
            flow_run_id=ArtifactFilterFlowRunId(any_=runs), key=ArtifactFilterKey(any_=[key])
        )
    )
