"""Addresses of runs in Prefect's UI."""

from __future__ import annotations

from uuid import UUID

from prefect.settings import get_current_settings
from prefect.utilities.urls import url_for

_V2 = "/v2"
_API = "/api"  # how the address of a server of one's own ends


def run_link(run: UUID) -> str:
    """The page of a flow run.

    That of the interface which a server sends browsers to by itself, V2: Prefect's own links lead
    to V1. Where PREFECT_UI_URL is set, it says which.
    """
    settings = get_current_settings()
    link = str(url_for("flow-run", obj_id=run))
    if "ui_url" in settings.model_fields_set or not str(settings.api.url).endswith(_API):
        return link
    base = str(settings.ui_url)
    return base + _V2 + link.removeprefix(base)
