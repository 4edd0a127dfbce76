"""What the server says of runs that are due, so that nobody has to ask it each second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventRelatedFilter, EventResourceFilter

_SCHEDULED = {"prefect.state-type": StateType.SCHEDULED.value}


async def runs_due(pool: UUID) -> AsyncIterator[None]:
    """Yield whenever a run of a work pool has been scheduled, for as long as the server is heard.

    Whoever listens has to ask now and then all the same: an event may be lost, and it comes when a
    run is scheduled, not at the time that it is scheduled for.

    Raises:
        Exception: the connection could not be made or was lost; of many types.
    """
    wanted = EventFilter.model_validate(
        {
            "resource": EventResourceFilter.model_validate({"labels": _SCHEDULED}),
            "related": EventRelatedFilter.model_validate({"id": [f"prefect.work-pool.{pool}"]}),
        }
    )
    async with get_events_subscriber(wanted, reconnection_attempts=0) as events:
        async for _ in events:
            yield
