"""Photos looked at by several sides in turn, round by round, so that all of them fare alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import track


class Side(Protocol):
    """What is measured, and keeps its own figures of each round."""

    def begin(self) -> None:
        """A round begins."""

    def look_at(self, data: bytes) -> None:
        """The next photo of the round."""


def look_in_turn(sides: Sequence[Side], contents: Sequence[bytes], rounds: int) -> None:
    """Shows every side every photo once a round, photo by photo."""
    numbers = range(rounds)
    for number in track(numbers, "Rounds", console=Console(stderr=True), transient=True):
        for side in sides:
            side.begin()
        for photo, data in enumerate(contents):
            turn = (number + photo) % len(sides)
            for side in [*sides[turn:], *sides[:turn]]:  # nobody always finds it in the cache
                side.look_at(data)
