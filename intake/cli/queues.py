"""`facecrop queues`: what waits, runs and has ended in each queue."""

from __future__ import annotations

from intake.cli.asking import answer
from intake.control.queues import read_queues


def show_queues(hours: float, *, empty: bool, as_json: bool) -> int:
    """Print the queues and return the exit code."""
    return answer(
        lambda client: read_queues(client, hours, empty=empty),
        {
            "pool": lambda row: row.pool,
            "queue": lambda row: row.queue + (" (paused)" if row.paused else ""),
            "waiting": lambda row: f"{row.waiting:,}",
            "running": lambda row: f"{row.running:,}",
            "done": lambda row: f"{row.done:,}",
            "failed": lambda row: f"{row.failed:,}",
            "late": lambda row: f"{row.late:,}",
            "oldest wait": lambda row: (
                "" if row.oldest_wait_seconds is None else f"{row.oldest_wait_seconds:,.0f} s"
            ),
        },
        as_json=as_json,
        nothing=f"nothing waits or runs, and nothing has ended in {hours:g} hours "
        "(--all shows the empty queues)",
    )
