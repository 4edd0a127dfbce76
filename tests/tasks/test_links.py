"""Links to runs lead to the interface that people are shown."""

from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from tasks.reporting.links import run_link

RUN = UUID(int=1)


@pytest.mark.parametrize(
    ("api", "ui", "base"),
    [
        ("http://127.0.0.1:4200/api", None, "http://127.0.0.1:4200/v2"),
        ("https://prefect.school.example/api", None, "https://prefect.school.example/v2"),
        ("http://server:4200/api", "https://runs.school.example", "https://runs.school.example"),
        ("http://server:4200/api", "https://school.example/v2", "https://school.example/v2"),
    ],
)
def test_a_link_leads_to_v2_unless_the_address_is_set(api: str, ui: str | None, base: str) -> None:
    chosen = {PREFECT_API_URL: api} | ({} if ui is None else {PREFECT_UI_URL: ui})
    with temporary_settings(chosen):
        assert run_link(RUN) == f"{base}/runs/flow-run/{RUN}"
