"""A batch that is urgent does not wait for one that is not."""

from pathlib import Path
from typing import Any

import pytest

from intake.cli.samples import write_sample
from tests.workers import (
    look,
    process_workers,
    shards_of,
    state,
    states,
    submit,
    wait,
    wait_for_end,
)

MEMBERS = 2_400


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_urgent_batch_starts_next_on_the_only_slot(
    deployed: dict[str, str], tmp_path: Path
) -> None:
    write_sample(tmp_path / "large.zip", MEMBERS)
    write_sample(tmp_path / "small.zip", 20)
    settings: dict[str, Any] = {"run": {"shard_members": 100, "threads": 1}}
    with process_workers(deployed, tmp_path) as start_worker:
        start_worker("only")
        slow = submit(str(tmp_path / "large.zip"), str(tmp_path / "large"), settings, priority=9)
        wait(lambda: len(shards_of(slow.id)) > 20)
        urgent = submit(str(tmp_path / "small.zip"), str(tmp_path / "small"), {}, priority=1)
        waiting = sum(shard.state_name in ("Scheduled", "Late") for shard in shards_of(slow.id))
        assert waiting >= 20
        wait_for_end(urgent.id)
        assert state(urgent.id).is_completed()
        assert not state(slow.id).is_final()

        # the preempted batch and its shards go on after it
        wait(lambda: any(one.state_name == "Completed" for one in shards_of(slow.id)))
        assert "AwaitingRetry" in states(slow.id)
        assert "Crashed" not in states(slow.id)
        ended = look(urgent.id).end_time
        assert ended is not None
        begun = [one.start_time for one in shards_of(slow.id) if one.state_name != "Cancelled"]
        assert all(one is None or one > ended for one in begun)
