"""The flow run that this code is a part of."""

from __future__ import annotations

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext


def current_run() -> FlowRun:
    """The current flow run, as it was when its process began."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    return context.flow_run
