"""Every sample of the documents is run, parsed, or left for a reason that it gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.account import account_for, runnable
from tests.docs.stage import Stage, wanted


def test_every_sample_is_accounted_for() -> None:
    account = account_for()
    assert account.run == runnable()
    assert account.table().startswith(f"{account.blocks} blocks")


def _pages() -> Iterator[object]:
    for page, blocks in runnable().items():
        servers = wanted(blocks)
        marks = [
            pytest.mark.slow,
            pytest.mark.timeout(900),
            *([pytest.mark.service] if servers else []),
        ]
        yield pytest.param(page, servers, id=page, marks=marks)


@pytest.mark.parametrize(("page", "servers"), [*_pages()])
def test_samples_do_what_the_page_says(
    page: str, servers: set[str], stage: Stage, request: pytest.FixtureRequest
) -> None:
    if "s3" in servers:
        stage.environment |= request.getfixturevalue("s3").environment
    for server, fixture in (("prefect", "served"), ("local", "local")):
        if server in servers:
            request.getfixturevalue(fixture)
    blocks = runnable()[page]
    stage.run(page, blocks)
    if any("FACECROP_WEBHOOK_URL" in block.text for block in blocks):
        from tests.deployed import forget_webhook

        forget_webhook()
